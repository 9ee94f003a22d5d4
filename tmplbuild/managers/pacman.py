"""pacman, as called in a VE: pacman(8), pacman-key(8).

pacman believes a package's signature by its keyring, and pacman-key makes a secret key when it makes one: it
must not be in a template. So each VE of a build has a keyring of its own, which ends with it.
"""

from __future__ import annotations

import re
from types import MappingProxyType

from tmplbuild.managers import Manager, filed, pacmandb

_KEYRING = "/run/tmplbuild-gnupg"
_PACMAN = ("pacman", "--noconfirm", "--noprogressbar", "--gpgdir", _KEYRING)
_PREPARE = f"pacman-key --gpgdir {_KEYRING} --init && pacman-key --gpgdir {_KEYRING} --populate"
# "(3/12) upgrading bash...": with --noprogressbar there are only such lines, without numbers
_ROW = re.compile(rb"(installing|upgrading|reinstalling|removing) (\S+?)\.\.\.\s*")
_FAILED = re.compile(rb"(?m)^error: .*$|^.*(?:command failed to execute correctly|failed to run hook).*$")
# Orphans are found and removed in one call; pacman -Qdtq fails where there are none.
_AUTOREMOVE = 'found=$(pacman -Qdtq) || exit 0; exec "$@" $found'


def _progress(line: bytes) -> tuple[str, float] | None:
    found = _ROW.fullmatch(line)
    return None if found is None else (f"{found[1].decode()} {found[2].decode('utf-8', 'replace')}", 0.0)


def failure(said: bytes) -> str:
    """What in pacman's output tells of a failure although its exit status was 0; "" if nothing does."""
    return filed.lines(_FAILED, said)


TABLE = Manager(
    name="pacman",
    env=MappingProxyType({}),
    prepare=("sh", "-c", _PREPARE),
    update=(*_PACMAN, "-Sy"),
    download=(*_PACMAN, "-Suw"),
    upgrade=(*_PACMAN, "-Su"),
    autoremove=("sh", "-c", _AUTOREMOVE, "sh", *_PACMAN, "-Rns"),
    clean=("sh", "-c", "rm -f /var/cache/pacman/pkg/*"),
    audits=(("pacman", "-Dk"),),
    purge=(*_PACMAN, "-Rn"),
    install=(*_PACMAN, "-S", "--needed"),
    manual=("pacman", "-Qqe"),
    mark_auto=("pacman", "-D", "--asdeps"),
    progress=_progress,
    failure=failure,
    installed=filed.installed(pacmandb.packages),
    owners=filed.owners(pacmandb.packages),
    listed=filed.listed(pacmandb.packages),
)
