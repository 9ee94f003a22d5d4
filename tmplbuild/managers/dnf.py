"""dnf, as called in a VE: dnf(8). What it says of scripts that failed does not change its exit status.

The trees it is called in bring what rpm must leave alone: see `apt_rpm`.
"""

from __future__ import annotations

import re
from types import MappingProxyType

from tmplbuild.managers import Manager, rpm

_DNF = ("dnf", "-y", "--setopt=retries=3", "--setopt=timeout=30")
_CHANGE = (*_DNF, "--setopt=install_weak_deps=False")

# "  Upgrading        : bash-5.1.8-9.el9.x86_64                          3/9 "
_ROW = re.compile(
    rb"\s+(Installing|Upgrading|Downgrading|Reinstalling|Cleanup|Erasing|Obsoleting|Running scriptlet)"
    rb"\s*: (\S+)\s+(\d+)/(\d+)\s*"
)
_FAILED = re.compile(rb"(?m)^.*(?:[Ee]rror in \S+ scriptlet|[Ss]criptlet failed|scriptlet failed).*$")


def _progress(line: bytes) -> tuple[str, float] | None:
    found = _ROW.fullmatch(line)
    if found is None or found[4] == b"0":
        return None
    words = f"{found[1].decode().lower()} {found[2].decode('utf-8', 'replace')}"
    return words, min(int(found[3]) / int(found[4]), 1.0)


def failure(said: bytes) -> str:
    """What in dnf's output tells of a failure although its exit status was 0; "" if nothing does."""
    found = [match.group().decode("utf-8", "replace").strip() for match in _FAILED.finditer(said)]
    return "\n".join(dict.fromkeys(found))


TABLE = Manager(
    name="dnf",
    # without the second one dnf, run as root, would leave files that no package owns
    env=MappingProxyType({"HOME": rpm.HOME, "PYTHONDONTWRITEBYTECODE": "1"}),
    update=(*_DNF, "makecache", "--refresh"),
    download=(*_CHANGE, "--downloadonly", "distro-sync"),
    upgrade=(*_CHANGE, "distro-sync"),
    autoremove=(*_CHANGE, "autoremove"),
    clean=("dnf", "clean", "all"),
    audits=(("rpm", "-Va", "--nofiles"), ("dnf", "--quiet", "check", "--dependencies", "--obsoleted")),
    prepare=("sh", "-c", rpm.PREPARE),
    purge=(*_CHANGE, "remove", "--noautoremove"),
    install=(*_CHANGE, "install"),
    mark_auto=("dnf", "--quiet", "mark", "remove"),
    progress=_progress,
    failure=failure,
    installed=rpm.installed,
    owners=rpm.owners,
)
