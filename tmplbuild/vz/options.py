"""What `ve create` and `ve set` can be asked for: options in vzctl's words, as values of VEID.conf.

One table says what there is; the command line's parser, the values' checks and the manual page all
come from it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tmplbuild.errors import UsageError
from tmplbuild.vz.addresses import address
from tmplbuild.vz.sizes import size

_MIB = 1 << 20
_HOSTNAME = re.compile(
    r"(?=.{1,253}$)[A-Za-z0-9](?:[A-Za-z0-9-]{0,62})(?:\.[A-Za-z0-9](?:[A-Za-z0-9-]{0,62}))*\.?"
)


@dataclass(frozen=True, slots=True)
class Option:
    """One option that becomes one value of VEID.conf.

    Parameters:
        flags: its names on the command line, the first being ours to show.
        key: of VEID.conf.
        parse: from the option's text to the file's; raises UsageError.
        many: it may be given several times; the values are joined by blanks.
        live: "" when a running VE takes it at once, else why it does not.
    """

    flags: tuple[str, ...]
    key: str
    metavar: str
    text: str
    parse: Callable[[str], str]
    many: bool = False
    live: str = ""


def _hostname(text: str) -> str:
    if not _HOSTNAME.fullmatch(text):
        raise UsageError(f"{text!r} is no host name", hint="letters, digits and '-', parts joined by '.'")
    return text.rstrip(".")


def _server(text: str) -> str:
    return text if text == "inherit" else str(address(text))


def _domain(text: str) -> str:
    return _hostname(text) if text else ""


def _yes_no(text: str) -> str:
    if text.lower() not in ("yes", "no"):
        raise UsageError(f"{text!r} is neither yes nor no")
    return text.lower()


def _count(text: str) -> str:
    if text != "unlimited" and not (text.isascii() and text.isdigit()):
        raise UsageError(f"{text!r} is no whole number")
    return text


def _pair(text: str, parse: Callable[[str], str]) -> str:
    soft, _, hard = text.partition(":")
    return f"{parse(soft)}:{parse(hard or soft)}"


def _counts(text: str) -> str:
    return _pair(text, _count)


def _megabytes(text: str) -> str:
    count = size(text)
    if count is not None and 0 < count < _MIB:
        raise UsageError(
            f"{text!r} is less than 1M", hint="bytes are meant where no unit is given, as by vzctl"
        )
    return "0:unlimited" if count is None else f"0:{count // _MIB}M"


def _kilobytes(text: str) -> str:
    def one(word: str) -> str:
        count = size(word, 1 << 10)
        return "unlimited" if count is None else f"{count >> 10}K"

    return _pair(text, one)


def _percent(text: str) -> str:
    word = text.rstrip("%")
    if not re.fullmatch(r"[0-9]{1,6}", word):
        raise UsageError(f"{text!r} is no percentage", hint="100 is one processor, 0 no limit")
    return word


def _priority(text: str) -> str:
    if text not in tuple("01234567"):
        raise UsageError(f"{text!r} is no priority", hint="0 to 7; 4 is the usual")
    return text


def _net(text: str) -> str:
    if text not in ("none", "host", "venet"):
        raise UsageError(f"there is no network {text!r}", hint="none, venet or host")
    return text


def _line(text: str) -> str:
    if "\n" in text:
        raise UsageError("a description is one line")
    return text


_NEXT = "at its next start"

OPTIONS = (
    Option(("--hostname",), "HOSTNAME", "NAME", "its host name", _hostname),
    Option(
        ("--nameserver",), "NAMESERVER", "ADDR",
        "a name server (may be given several times); inherit: those of the host", _server, many=True,
    ),
    Option(
        ("--searchdomain",), "SEARCHDOMAIN", "NAME",
        "a domain to look names up in (may be given several times)", _domain, many=True,
    ),
    Option(
        ("--net",), "NETMODE", "MODE",
        "venet: routed addresses (usual); none: loopback only; host: the host's own network",
        _net, live=_NEXT,
    ),
    Option(
        ("--nat",), "NAT", "YES|NO", "what it sends beyond the host bears the host's address",
        _yes_no, live=_NEXT,
    ),
    Option(("--memory", "--ram"), "PHYSPAGES", "SIZE", "memory (512M, 2G, unlimited)", _megabytes),
    Option(("--swap",), "SWAPPAGES", "SIZE", "swap beyond the memory", _megabytes),
    Option(("--cpus",), "CPUS", "N", "how many processors it may keep busy", _count),
    Option(("--cpulimit",), "CPULIMIT", "PERCENT", "the same in percent of one processor", _percent),
    Option(("--cpuunits",), "CPUUNITS", "N", "its share of scarce processors; the usual is 1000", _count),
    Option(("--ioprio",), "IOPRIO", "N", "its share when the disk is busy: 0 to 7, usually 4", _priority),
    Option(("--pids", "--numproc"), "NUMPROC", "N", "processes and threads", _counts),
    Option(("--diskspace",), "DISKSPACE", "SIZE", "what its files may take (2G; N is kilobytes)", _kilobytes),
    Option(("--diskinodes",), "DISKINODES", "N", "files, directories and links it may add", _counts),
    Option(("--onboot",), "ONBOOT", "YES|NO", "start it with the host", _yes_no),
    Option(("--bootorder",), "BOOTORDER", "N", "when, with the host: the higher, the earlier", _count),
    Option(("--disabled",), "DISABLED", "YES|NO", "do not start it", _yes_no),
    Option(("--description",), "DESCRIPTION", "TEXT", "what it is for", _line),
)  # fmt: skip


def option_of(key: str) -> Option | None:
    """The option that sets a key of VEID.conf."""
    return next((option for option in OPTIONS if option.key == key), None)


def parsed(option: Option, given: str | Sequence[str]) -> str:
    """An option's value for VEID.conf. Raises UsageError that names the option."""
    words = [given] if isinstance(given, str) else list(given)
    try:
        return " ".join(word for word in (option.parse(word) for word in words) if word)
    except UsageError as error:
        raise UsageError(f"{option.flags[0]}: {error.what}", hint=error.hint) from error
