"""slackpkg and pkgtools, as called in a VE: slackpkg(8), installpkg(8), removepkg(8)."""

from __future__ import annotations

import re
from types import MappingProxyType

from tmplbuild.managers import Manager, filed, pkgtools

# gpg keeps what slackpkg imports below HOME: here one that ends with the VE.
_HOME = "/run/tmplbuild-home"
# slackpkg ends with 20 where nothing is to be done.
_CALL = '"$@"; status=$?; test $status = 20 && exit 0; exit $status'
_SLACKPKG = (
    *("sh", "-c", _CALL, "sh", "slackpkg"),
    *("-batch=on", "-default_answer=y", "-dialog=off", "-postinst=off"),
)
_PREPARE = f"mkdir -p {_HOME} && HOME={_HOME} slackpkg -batch=on -default_answer=y update gpg"
_WHOLE = f"test -n \"$(ls {pkgtools.PLACES[0]})\" && ! grep -L '^FILE LIST:' {pkgtools.PLACES[0]}/* | grep ."
_ROW = re.compile(
    rb"(?:Installing|Upgrading) package (\S+?)\.t[xg]z.*|Package (\S+) (?:installed|upgraded).*"
)
_FAILED = re.compile(
    rb"(?m)^.*(?:md5sum|CHECKSUMS\.md5|gpg) (?:verification )?(?:failed|check failed|error).*$|^ERROR.*$"
)


def _progress(line: bytes) -> tuple[str, float] | None:
    found = _ROW.fullmatch(line.strip())
    return None if found is None else (f"install {(found[1] or found[2]).decode('utf-8', 'replace')}", 0.0)


def failure(said: bytes) -> str:
    """What in slackpkg's output tells of a failure although its exit status was 0; "" if nothing does."""
    return filed.lines(_FAILED, said)


TABLE = Manager(
    name="slackpkg",
    env=MappingProxyType({"HOME": _HOME, "TERSE": "1"}),
    prepare=("sh", "-c", _PREPARE),
    update=(*_SLACKPKG, "update"),
    download=(),
    upgrade=(*_SLACKPKG, "upgrade-all"),
    autoremove=(),
    clean=("sh", "-c", "rm -rf /var/cache/packages/*"),
    audits=(("sh", "-c", _WHOLE),),
    purge=("removepkg",),
    install=(*_SLACKPKG, "install"),
    progress=_progress,
    failure=failure,
    installed=filed.installed(pkgtools.packages),
    owners=filed.owners(pkgtools.packages),
    listed=filed.listed(pkgtools.packages),
)
