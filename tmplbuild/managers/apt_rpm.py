"""apt-rpm and rpm, as called in a VE: apt-get(8) of apt-rpm, rpm(8), /usr/lib/rpm of ALT's rpm.

What differs from apt on Debian: there is no `upgrade` but `dist-upgrade`; a file trigger that fails is
only a warning; after an upgrade of rpm itself, its `postupdate` goes on in the background.
"""

from __future__ import annotations

import re
from types import MappingProxyType

from tmplbuild.managers import Manager, rpm

_APT = ("apt-get", "-q", "-y", "-o", "Acquire::Retries=3", "-o", "Acquire::http::Timeout=30")

# Waits for each process that works on rpm's database; a new one may have begun meanwhile.
_SETTLE = r"""
busy=1
while [ "$busy" ]; do
    busy=
    for entry in /proc/[0-9]*; do
        read -r name 2>/dev/null < "$entry/comm" || continue
        case $name in
            pdeath_execute|postupdate|rpmdb|rpm|rpmi|apt-get|posttrans-filet*|0posttrans*)
                busy=1
                echo "wait for $name (process ${entry#/proc/})"
                tail --pid="${entry#/proc/}" -s 0.1 -f /dev/null ;;
        esac
    done
done
rpm -qa > /dev/null
"""
_WAITING = (
    "/var/lib/rpm/files-awaiting-filetriggers /var/lib/rpm/delay-posttrans-filetriggers"
    " /var/lib/rpmrebuilddb.* /var/lib/rpmold.*"
)
_NO_WAITING = f'for file in {_WAITING}; do if [ -e "$file" ]; then echo "$file is left"; fi; done'

# rpm's warnings may stand behind a progress bar, in the middle of a line.
_FAILED = re.compile(rb"(?m)(?:warning|error): [^\n]*?(?:filetriggers?|scriptlet)[^\n]*? failed[^\n]*$")


def _progress(line: bytes) -> tuple[str, float] | None:
    """rpm's lines of progress: ` 12: bash-5.2-alt1   ######## [ 45%]`."""
    found = re.fullmatch(rb"\s*\d+:\s*(\S+)\s+#+\s*\[\s*(\d+)%\]\s*", line)
    if found is None:
        return None
    return f"install {found[1].decode('utf-8', 'replace')}", min(int(found[2]) / 100, 1.0)


def failure(said: bytes) -> str:
    """What in the output of rpm or apt-get tells of a failure although the exit status was 0; "" if
    nothing does."""
    found = [match.group().decode("utf-8", "replace").strip() for match in _FAILED.finditer(said)]
    return "\n".join(dict.fromkeys(found))


TABLE = Manager(
    name="apt-rpm",
    env=MappingProxyType({"HOME": rpm.HOME}),
    update=(*_APT, "update"),
    download=(*_APT, "--download-only", "dist-upgrade"),
    upgrade=(*_APT, "dist-upgrade"),
    autoremove=(*_APT, "autoremove"),
    clean=("apt-get", "clean"),
    audits=(
        ("sh", "-c", _NO_WAITING),
        ("rpm", "-Va", "--nofiles"),
        ("apt-get", "-q", "check"),
    ),
    prepare=("sh", "-c", rpm.PREPARE),
    silent=(("sh", "-c", _NO_WAITING),),
    settle=("sh", "-c", _SETTLE),
    purge=("rpm", "-e"),
    manual=("apt-mark", "showmanual"),
    mark_auto=("apt-mark", "auto"),
    install=(*_APT, "install"),
    progress=_progress,
    failure=failure,
    installed=rpm.installed,
    owners=rpm.owners,
    listed=rpm.listed,
)
