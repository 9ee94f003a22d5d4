"""dnf, as called in a VE: dnf(8), dnf5(8). A script that failed does not change its exit status.

The calls are such that dnf 4 (Enterprise Linux, Mageia) and dnf 5 (Fedora) take them alike: what belongs to a
command stands behind it, and what the two spell differently is said by --setopt.
"""

from __future__ import annotations

import re
from types import MappingProxyType

from tmplbuild.managers import Manager, rpm

_DNF = ("dnf", "-y", "--setopt=retries=3", "--setopt=timeout=30")
_CHANGE = (*_DNF, "--setopt=install_weak_deps=False")

# dnf 5: "[ 3/12] Upgrading bash-0:5.3.0-2.fc44.x86_64    100% |  12.0 MiB/s |   1.9 MiB |  00m00s"
_ROW_5 = re.compile(rb"\[\s*(?P<at>\d+)/(?P<of>\d+)\] (?P<what>[A-Z][a-z]+ing) (?P<name>\S+)\s+100%.*")
# "  Upgrading        : bash-5.1.8-9.el9.x86_64                          3/9 "
_ROW = re.compile(
    rb"\s+(?P<what>Installing|Upgrading|Downgrading|Reinstalling|Cleanup|Erasing|Obsoleting"
    rb"|Running scriptlet)\s*: (?P<name>\S+)\s+(?P<at>\d+)/(?P<of>\d+)\s*"
)


def _progress(line: bytes) -> tuple[str, float] | None:
    found = _ROW.fullmatch(line) or _ROW_5.fullmatch(line)
    if found is None or not int(found["of"]):
        return None
    words = f"{found['what'].decode().lower()} {found['name'].decode('utf-8', 'replace')}"
    return words, min(int(found["at"]) / int(found["of"]), 1.0)


TABLE = Manager(
    name="dnf",
    # without the second one dnf, run as root, would leave files that no package owns
    env=MappingProxyType({"HOME": rpm.HOME, "PYTHONDONTWRITEBYTECODE": "1"}),
    update=(*_DNF, "makecache", "--refresh"),
    download=(*_CHANGE, "distro-sync", "--downloadonly"),
    upgrade=(*_CHANGE, "distro-sync"),
    autoremove=(*_CHANGE, "autoremove"),
    clean=("dnf", "clean", "all"),
    audits=(("rpm", "-Va", "--nofiles"), ("dnf", "--quiet", "check", "--dependencies", "--obsoleted")),
    prepare=("sh", "-c", rpm.PREPARE),
    purge=(*_CHANGE, "--setopt=clean_requirements_on_remove=False", "remove"),
    install=(*_CHANGE, "install"),
    manual=("dnf", "--quiet", "repoquery", "--userinstalled", "--qf", "%{name}\\n"),
    mark_auto=("sh", "-c", rpm.MARK_AUTO, "mark"),
    hold=lambda argv, names: (*argv, f"--exclude={','.join(names)}"),
    progress=_progress,
    failure=rpm.failure,
    installed=rpm.installed,
    owners=rpm.owners,
    listed=rpm.listed,
)
