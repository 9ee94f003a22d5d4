"""apk, as called in a VE: apk(8). It removes what nothing needs any more with every change it makes."""

from __future__ import annotations

import re
from types import MappingProxyType

from tmplbuild.managers import Manager, apkdb, filed

_APK = ("apk", "--no-progress")
# "(3/12) Installing busybox (1.37.0-r5)"
_ROW = re.compile(rb"\((\d+)/(\d+)\) (\w+) (\S+) \(.*\)\s*")
_FAILED = re.compile(rb"(?m)^ERROR: .*$|^.*: script exited with error.*$")


def _progress(line: bytes) -> tuple[str, float] | None:
    found = _ROW.fullmatch(line)
    if found is None or found[2] == b"0":
        return None
    words = f"{found[3].decode().lower()} {found[4].decode('utf-8', 'replace')}"
    return words, min(int(found[1]) / int(found[2]), 1.0)


def failure(said: bytes) -> str:
    """What in apk's output tells of a failure, whatever its exit status; "" if nothing does."""
    return filed.lines(_FAILED, said)


TABLE = Manager(
    name="apk",
    env=MappingProxyType({}),
    update=(*_APK, "update"),
    download=(),
    upgrade=(*_APK, "upgrade", "--available"),
    autoremove=(),
    clean=("sh", "-c", "rm -rf /var/cache/apk/*"),
    audits=((*_APK, "--no-network", "fix", "--simulate"),),
    purge=(*_APK, "del"),
    install=(*_APK, "add"),
    manual=("cat", apkdb.WORLD),
    hold=lambda argv, names: tuple(word for word in argv if word != "--available"),
    progress=_progress,
    failure=failure,
    installed=filed.installed(apkdb.packages),
    owners=filed.owners(apkdb.packages),
    listed=filed.listed(apkdb.packages),
)
