"""Which addresses an archive is fetched from: the recipe's mirrors, this machine's, or the user's.

A mirror never decides what is accepted (keys and hashes do), so it is no part of any key.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from urllib.parse import urlsplit

from tmplbuild.archives.deb822 import stanzas
from tmplbuild.errors import FetchError, UsageError
from tmplbuild.recipes.model import Archive

HOST = "host"
"""The word in a recipe that stands for the address that this machine's apt sources name."""

_SCHEMES = ("http://", "https://", "file://")
_APT = Path("/etc/apt")


def host_mirror(role: str, suites: Sequence[str] = (), etc: Path = _APT) -> str | None:
    """The address that this machine's apt sources give for an archive, None if they have none.

    Parameters:
        role: the archive's role in the recipe ("debian", "debian-security", "ubuntu"): the last
            component of the address's path must be it.
        suites: the suites wanted. A role that ends in "-security" may also be found by an entry
            whose suite does so, whatever its address.
        etc: apt's configuration directory.
    """
    entries = list(_entries(etc))
    named = [uri for uri, _ in entries if _last(uri) == role]
    if named:
        return named[0]
    if role.endswith("-security"):
        return next((uri for uri, suite in entries if suite in suites and suite.endswith("-security")), None)
    return None


def mirrors_for(
    role: str, mirrors: Iterable[str], suites: Sequence[str] = (), override: str = "", etc: Path = _APT
) -> tuple[str, ...]:
    """The addresses to try for an archive, in order, without a slash at the end.

    Parameters:
        mirrors: the recipe's list; "host" is replaced by `host_mirror`, or left out if there is none.
        override: MIRROR= or the setting: words parted by blanks, each an address or ROLE=ADDRESS.
            An address whose path ends in the role is taken as it is; one whose path ends in a
            role's first word ("debian" for "debian-security") gives its sibling; to any other
            the role is appended: http://mirror/debian and http://mirror/ both mean
            http://mirror/debian-security for the role debian-security.
            Where the override names something for the role, nothing else is tried.

    Raises UsageError for an override that is no address, FetchError if nothing is left to try.
    """
    forced = _override(role, override)
    chosen = forced or [found for mirror in mirrors if (found := _resolve(mirror, role, suites, etc))]
    unique = tuple(dict.fromkeys(mirror.rstrip("/") for mirror in chosen))
    if not unique:
        raise FetchError(
            f"no mirror is known for the archive {role!r}",
            why="the recipe names only this machine's own, and its apt sources have none",
            hint=f"name one: MIRROR={role}=http://...",
        )
    return unique


def table(
    archives: Mapping[str, Archive], override: str = "", etc: Path = _APT
) -> dict[str, tuple[str, ...]]:
    """The addresses of every archive of a recipe, by role, for a Fetcher; see `mirrors_for`."""
    return {
        role: mirrors_for(role, archive.mirrors, archive.suites, override, etc)
        for role, archive in archives.items()
    }


def named(role: str, override: str) -> tuple[str, ...]:
    """The addresses that an override (see `mirrors_for`) gives as ROLE=ADDRESS. Raises UsageError."""
    marks = [word.partition("=") for word in override.split()]
    return tuple(_address(address) for name, sign, address in marks if sign and name == role)


def _resolve(mirror: str, role: str, suites: Sequence[str], etc: Path) -> str | None:
    return host_mirror(role, suites, etc) if mirror == HOST else mirror


def _override(role: str, override: str) -> list[str]:
    general: list[str] = []
    named: list[str] = []
    for word in override.split():
        name, sign, address = word.partition("=")
        if sign and "/" not in name:
            if name == role:
                named.append(_address(address))
            else:
                _address(address)
        else:
            general.append(_derive(_address(word), role))
    return named or general


def _address(word: str) -> str:
    if not word.startswith(_SCHEMES):
        raise UsageError(
            f"not a mirror's address: {word!r}",
            where="mirror",
            hint="give http://..., https://... or file:///..., or ROLE=ADDRESS",
        )
    if "@" in urlsplit(word).netloc:
        raise UsageError(
            "a mirror's address with a password in it",
            where="mirror",
            hint="everybody on this machine can read it there: see archives.NAME.credentials (docs/rpm.md)",
        )
    return word.rstrip("/")


def _derive(address: str, role: str) -> str:
    last = _last(address)
    if last == role:
        return address
    parent = address.rpartition("/")[0]
    family = role.partition("-")[0]
    if last == family or last.startswith(f"{family}-"):
        return f"{parent}/{role}"
    return f"{address}/{role}"


def _last(address: str) -> str:
    return address.rstrip("/").partition("://")[2].rpartition("/")[2]


def _entries(etc: Path) -> Iterable[tuple[str, str]]:
    """(address, suite) of each enabled binary entry, in apt's order: sources.list, then by name."""
    files = [etc / "sources.list", *sorted((etc / "sources.list.d").glob("*"))]
    for path in files:
        try:
            text = path.read_text("utf-8", "replace")
        except OSError:
            continue
        if path.suffix == ".list":
            yield from _one_line(text)
        elif path.suffix == ".sources":
            yield from _deb822(text)


def _one_line(text: str) -> Iterable[tuple[str, str]]:
    # sources.list(5): deb [ option=value ... ] uri suite [component...]
    for line in text.splitlines():
        words = line.partition("#")[0].split()
        if words[:1] != ["deb"]:
            continue
        rest = words[1:]
        if rest and rest[0].startswith("["):
            closing = next((index for index, word in enumerate(rest) if word.endswith("]")), len(rest))
            rest = rest[closing + 1 :]
        if len(rest) >= 2 and rest[0].startswith(_SCHEMES):
            yield rest[0].rstrip("/"), rest[1]


def _deb822(text: str) -> Iterable[tuple[str, str]]:
    for fields in stanzas(text):
        enabled = fields.get("enabled", "yes").strip().lower() not in ("no", "false", "0", "off")
        if enabled and "deb" in fields.get("types", "").split():
            for uri in fields.get("uris", "").split():
                if uri.startswith(_SCHEMES):
                    for suite in fields.get("suites", "").split():
                        yield uri.rstrip("/"), suite
