"""zypper, as called in a VE: zypper(8). `dist-upgrade` brings all packages to what the repositories have,
whoever their vendor is: only the recipe's archives are there.

A status of 102 or 103 says that it went well, and that a reboot or another call would see more (zypper(8),
EXIT CODES). What was only pulled in, libzypp keeps in a list of names.
"""

from __future__ import annotations

import re
from types import MappingProxyType

from tmplbuild.managers import Manager, rpm
from tmplbuild.managers.rpmnames import PUBKEY

_ZYPPER = ("zypper", "--non-interactive", "--gpg-auto-import-keys", "--no-cd")
_AGREED = ("--auto-agree-with-licenses",)
_SPARING = (*_AGREED, "--no-recommends")
_DUP = (*_ZYPPER, "dist-upgrade", *_SPARING, "--allow-vendor-change")

# rows are "i  | opensuse   | libfoo | 1.0-1 | x86_64"
_UNNEEDED = f"""
names=$(zypper --quiet --no-refresh packages --unneeded | sed -n 's/^i[^|]*|[^|]*| *\\([^ |]*\\) .*/\\1/p')
[ -z "$names" ] || exec {" ".join((*_ZYPPER, "--no-refresh", "remove"))} $names
"""
_ASKED_FOR = f"""
rpm -qa --qf '%{{NAME}}\\n' | grep -v -x -F -f {rpm.ZYPP_AUTO} -e {PUBKEY} || [ $? = 1 ]
"""
# what a repository has in an older version, dist-upgrade would take back
_HOLD = f"""
names=$1 locks=/etc/zypp/locks
shift
had=$(ls $locks 2> /dev/null)
{" ".join(_ZYPPER)} --no-refresh addlock $names || exit
"$@"
status=$?
{" ".join(_ZYPPER)} --no-refresh removelock $names || exit
[ "$had" ] || rm -f $locks
exit $status
"""
_WHOLE = (
    f"{' '.join((*_ZYPPER, '--no-refresh', 'verify', '--dry-run', '--no-recommends'))} | tee /dev/stderr | "
)
_WHOLE += "grep -q 'Dependencies of all installed packages are satisfied'"

# "( 3/12) Installing: bash-5.2.15-1.x86_64 [.....done]", "(1/4) Removing tree-2.1.1-1.x86_64 [....done]"
_ROW = re.compile(rb".*\(\s*(\d+)/(\d+)\) (Installing|Removing|Retrieving):? (?:package )?(\S+?)[ ,].*")


# it gives up, and its exit status is 0
_GIVEN_UP = re.compile(rb"(?m)^ABORT request: .*$")


def failure(said: bytes) -> str:
    """What in zypper's output tells of a failure although its exit status was 0; "" if nothing does."""
    found = [match.group().decode("utf-8", "replace") for match in _GIVEN_UP.finditer(said)]
    return "\n".join((*dict.fromkeys(found), *filter(None, (rpm.failure(said),))))


def _progress(line: bytes) -> tuple[str, float] | None:
    found = _ROW.fullmatch(line)
    if found is None or not int(found[2]):
        return None
    words = f"{found[3].decode().lower()} {found[4].decode('utf-8', 'replace')}"
    return words, min(int(found[1]) / int(found[2]), 1.0)


TABLE = Manager(
    name="zypper",
    env=MappingProxyType({"HOME": rpm.HOME, "ZYPP_LOCK_TIMEOUT": "60"}),
    update=(*_ZYPPER, "refresh", "--force"),
    download=(*_DUP, "--download-only"),
    upgrade=_DUP,
    autoremove=("sh", "-c", _UNNEEDED),
    clean=(*_ZYPPER, "clean", "--all"),
    audits=(("rpm", "-Va", "--nofiles"), ("sh", "-c", _WHOLE)),
    prepare=("sh", "-c", rpm.PREPARE),
    purge=(*_ZYPPER, "--no-refresh", "remove"),
    install=(*_ZYPPER, "install", *_SPARING),
    manual=("sh", "-c", _ASKED_FOR),
    mark_auto=("sh", "-c", rpm.MARK_AUTO, "mark"),
    hold=lambda argv, names: ("sh", "-c", _HOLD, "hold", " ".join(names), *argv),
    progress=_progress,
    failure=failure,
    installed=rpm.installed,
    owners=rpm.owners,
    listed=rpm.listed,
    well=(0, 102, 103),
)
