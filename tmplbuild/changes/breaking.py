"""breaking: what of all differences would break those who make containers of a template, or work in them."""

from __future__ import annotations

import re
from collections.abc import Iterator

from tmplbuild.changes.comparison import Comparison, PackageChange

_TRAITS = {
    "distribution": "another distribution",
    "release": "another release",
    "arch": "another architecture",
    "libc": "another C library",
    "usr": "/bin and /usr/bin",
    "shell": "another /bin/sh",
    "init": "another init",
    "network": "the network is configured otherwise",
    "resolver": "names are resolved otherwise",
    "ssh": "ssh",
    "ssh_root": "ssh, root's login",
    "ssh_passwords": "ssh, logins by password",
    "ssh_keys": "ssh, host keys",
}
_LIBRARY = re.compile(r"lib[\w.+-]*\d[\w.+-]*")
_SHOWN = 8  # names in a line


def breaking(found: Comparison) -> tuple[str, ...]:
    """A line for each thing that somebody may have counted on, the gravest first."""
    return tuple(_lines(found))


def _lines(found: Comparison) -> Iterator[str]:
    for one in found.kind("trait"):
        yield f"{_TRAITS.get(one.name, one.name)}: {one.before or 'none'} -> {one.after or 'none'}"
    removed = found.of("removed")
    yield from _names("packages removed", [one.name for one in removed if not one.auto])
    gone = [one.name for one in removed if one.auto and _LIBRARY.fullmatch(one.name)]
    yield from _names("libraries gone", gone)
    major = [one for one in found.packages if one.major and not one.auto and one.change != "downgraded"]
    yield from _names("major versions", [_version(one) for one in major])
    yield from _names("downgraded", [_version(one) for one in found.of("downgraded")])
    stopped = [
        one.name for one in found.kind("service") if one.before == "enabled" and one.after != "enabled"
    ]
    yield from _names("services no longer started", stopped)
    for kind in ("user", "group"):
        rows = [one for one in found.kind(kind) if one.before]
        yield from _names(f"{kind}s removed", [one.name for one in rows if not one.after])
        moved = [one for one in rows if one.after and _number(one.before) != _number(one.after)]
        yield from _names(
            f"{kind}s with another id",
            [f"{one.name} {_number(one.before)} -> {_number(one.after)}" for one in moved],
        )


def _names(what: str, names: list[str]) -> Iterator[str]:
    if names:
        more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
        yield f"{what}: {', '.join(names[:_SHOWN])}{more}"


def _version(one: PackageChange) -> str:
    return f"{one.name} {one.before} -> {one.after}"


def _number(told: str) -> str:
    return re.split(r"[:,]", told)[0]
