"""The [publish] table of the settings: which mirror, by which key, in which formats, and what is kept."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path

from tmplbuild.tomlfile import Fault, Node, did_you_mean, quote

FORMATS = ("tar.gz", "tar.xz", "tar.zst", "squashfs", "oci", "lxc", "incus", "wsl")
"""Everything that a template can be published as. "wsl" is made of templates whose variant is wsl."""


@dataclass(frozen=True, slots=True)
class PublishSettings:
    """How `tmplbuild publish` publishes.

    Keys:
        to: directory of the mirror.
        url: address under which that directory is served; where absolute addresses are needed, and
            only there, it is used.
        title: what the mirror is called.
        key: fingerprint of the OpenPGP key that signs; without it nothing is signed.
        gnupghome: GnuPG's directory with the key; by default its own (gpg(1), GNUPGHOME).
        passphrase_file: file with the key's passphrase, for unattended runs.
        formats: what each template is published as, beside tar.gz.
        page: make pages for people (index.html), too.
        patches: make a patch from the build before, which `tmplbuild fetch` takes where it has that one.
        keep: builds of a template that the indexes list, the newest first.
        keep_days: days for which older ones are listed, too.
        grace_hours: hours for which files stay after no index names them any more: as long as a mirror
            of this mirror, or a client with an old index, may take.
        xz_level: 0 to 9, of the .tar.xz.
        zstd_level: 1 to 19, of the .tar.zst and the squashfs.
        targets: places that the mirror is copied to, by name: what rsync(1) takes (a directory, HOST:DIR,
            rsync://HOST/MODULE), or rclone:REMOTE:PATH.
        bandwidth: most that is sent to a target, as rsync and rclone have it ("5M": MiB a second).
    """

    to: Path | None = None
    url: str = ""
    title: str = "Templates"
    key: str = ""
    gnupghome: Path | None = None
    passphrase_file: Path | None = None
    formats: tuple[str, ...] = FORMATS
    page: bool = True
    patches: bool = False
    keep: int = 3
    keep_days: float = 0.0
    grace_hours: float = 48.0
    xz_level: int = 6
    zstd_level: int = 12
    targets: Mapping[str, str] = field(default_factory=dict)
    bandwidth: str = ""
    origin: Mapping[str, str] = field(default_factory=dict, compare=False)


def read_publish(node: Node) -> tuple[PublishSettings, list[Fault]]:
    """The settings that a [publish] table makes, and its faults."""
    if not isinstance(node.value, dict):
        return PublishSettings(), [Fault(node.place, "publish", "expected a table")]
    values: dict[str, object] = {}
    origin: dict[str, str] = {}
    faults = []
    for key, item in node.value.items():
        reader = _READERS.get(key)
        if reader is None:
            hint = did_you_mean(key, _READERS) or "there are " + ", ".join(_READERS)
            faults.append(Fault(item.place, f"publish.{key}", "unknown setting", hint))
            continue
        try:
            values[key], origin[key] = reader(item.plain()), str(item.place)
        except ValueError as error:
            faults.append(Fault(item.place, f"publish.{key}", str(error)))
    return PublishSettings(**values, origin=origin), faults  # type: ignore[arg-type]


def fingerprint(value: object) -> str:
    """An OpenPGP fingerprint in upper case. Raises ValueError for a short id, which anyone can forge."""
    text = re.sub(r"\s+", "", value).upper().removeprefix("0X") if isinstance(value, str) else ""
    if not re.fullmatch(r"[0-9A-F]{40}|[0-9A-F]{64}", text):
        raise ValueError(f"expected a key's whole fingerprint (40 hex digits), found {_show(value)}")
    return text


def _path(value: object) -> Path:
    if isinstance(value, str) and "\0" not in value and (path := Path(value).expanduser()).is_absolute():
        return path
    raise ValueError(f"expected an absolute path, found {_show(value)}")


def _url(value: object) -> str:
    if isinstance(value, str) and re.fullmatch(r"https?://[^\s/?#]+[^\s?#]*", value):
        return value.rstrip("/")
    raise ValueError(f"expected an address (https://...), found {_show(value)}")


def _targets(value: object) -> dict[str, str]:
    """Addresses by name. None may look like an option of the program that it is handed to."""
    if not isinstance(value, dict) or not value:
        raise ValueError("expected a table of addresses by name")
    for name, address in value.items():
        plain = isinstance(address, str) and address.isprintable() and not address.startswith("-")
        if not plain or not re.fullmatch(r"(rclone:)?(/|\w+://|[^-\s:/][^:/]*:).*", address):
            raise ValueError(f"{name}: expected a directory, HOST:DIR or rclone:REMOTE:PATH")
    return {str(name): str(address) for name, address in value.items()}


def _bandwidth(value: object) -> str:
    if isinstance(value, str) and re.fullmatch(r"[1-9]\d*(\.\d+)?[KMG]?", value):
        return value
    raise ValueError(f'expected an amount a second ("5M"), found {_show(value)}')


def _text(value: object) -> str:
    if isinstance(value, str) and value.strip() and value.isprintable():
        return value.strip()
    raise ValueError(f"expected a line of text, found {_show(value)}")


def _formats(value: object) -> tuple[str, ...]:
    names = value if isinstance(value, list) else [value]
    for name in names:
        if name not in FORMATS:
            raise ValueError(f"unknown format {_show(name)}; there are {', '.join(FORMATS)}")
    return tuple(dict.fromkeys(["tar.gz", *names]))


def _switch(value: object) -> bool:
    if isinstance(value, bool):
        return value
    raise ValueError(f"expected true or false, found {_show(value)}")


def _whole(low: int, high: int) -> Callable[[object], int]:
    def read(value: object) -> int:
        if isinstance(value, int) and not isinstance(value, bool) and low <= value <= high:
            return value
        raise ValueError(f"expected a whole number from {low} to {high}, found {_show(value)}")

    return read


def _number(value: object) -> float:
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= 1e6:
        return float(value)
    raise ValueError(f"expected a number, found {_show(value)}")


def _show(value: object) -> str:
    return quote(value) if isinstance(value, str) else str(value).lower()


_READERS: dict[str, Callable[[object], object]] = {
    "to": _path,
    "url": _url,
    "title": _text,
    "key": fingerprint,
    "gnupghome": _path,
    "passphrase_file": _path,
    "formats": _formats,
    "page": _switch,
    "patches": _switch,
    "keep": _whole(1, 1000),
    "keep_days": _number,
    "grace_hours": _number,
    "xz_level": _whole(0, 9),
    "zstd_level": _whole(1, 19),
    "targets": _targets,
    "bandwidth": _bandwidth,
}
assert _READERS.keys() == {found.name for found in fields(PublishSettings)} - {"origin"}
