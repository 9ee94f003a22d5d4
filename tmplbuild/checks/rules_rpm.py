"""Rules: rpm's database, and what ALT expects of a container."""

from __future__ import annotations

import re

from tmplbuild.checks.rule import Faults, rule
from tmplbuild.checks.subject import Subject

DATABASES = ("/var/lib/rpm", "/usr/lib/sysimage/rpm", "/usr/share/rpm")
LOCKS = ("__db.*", ".dbenv.lock", ".rpm.lock", "log.*", "rpmdb.sqlite-shm", "rpmdb.sqlite-wal")
PACKAGES = ("Packages", "Packages.db", "rpmdb.sqlite")
BUILD_MACRO = re.compile(
    r"\s*%(_netsharedpath|_rpmscript_werror|_httpproxy|_httpport|_ftpproxy|_excludedocs_build)\b"
)
HASHER_FILES = ("/.host", "/.in", "/.out", "/.fakedata", "/.install-log", "/.empty")


@rule(
    "rpm-lock-left",
    "No locks or shared memory of rpm's database",
    why="They belong to processes of the build; rpm in the container stumbles over them.",
    fix="Remove __db.*, .dbenv.lock and .rpm.lock when no rpm runs.",
    severity="warning",
    families=("rpm",),
)
def rpm_lock_left(subject: Subject) -> Faults:
    for entry in subject.view.glob(*(f"{base}/{name}" for base in DATABASES for name in LOCKS)):
        if entry.size or not entry.name.startswith("rpmdb.sqlite"):
            yield entry.path, "left by a process that had the database open"


@rule(
    "rpm-database-missing",
    "rpm's database has its packages",
    why="Without it nothing can be upgraded.",
    fix="rpmdb --rebuilddb in the tree, or build anew.",
    families=("rpm",),
)
def rpm_database_missing(subject: Subject) -> Faults:
    found = [
        entry for base in DATABASES for entry in subject.view.glob(*(f"{base}/{name}" for name in PACKAGES))
    ]
    if not any(entry.size for entry in found):
        yield DATABASES[0], "there is no Packages, Packages.db or rpmdb.sqlite with content"


@rule(
    "rpm-rebuild-left",
    "rpm's database was not left in the middle of a rebuild",
    why="ALT's rpm rebuilds it in the background after its own upgrade; packed too early it is torn.",
    fix="Wait until no rpmdb or postupdate process is left, then pack.",
    families=("rpm",),
)
def rpm_rebuild_left(subject: Subject) -> Faults:
    for entry in subject.view.glob(
        "/var/lib/rpmrebuilddb.*", "/var/lib/rpmold.*", "/usr/lib/sysimage/rpmrebuilddb.*"
    ):
        yield entry.path, "a rebuild that did not end"


@rule(
    "rpm-macro-of-build",
    "rpm's macros are not the build's",
    why="Settings for the build (shared paths, strict scriptlets, proxies) change what rpm does in the "
    "container.",
    fix="Remove the lines from /etc/rpm/macros.",
    families=("rpm",),
)
def rpm_macro_of_build(subject: Subject) -> Faults:
    for entry in subject.view.glob("/etc/rpm/macros", "/etc/rpm/macros.d/*", "/root/.rpmmacros"):
        for line in subject.view.lines(entry.path):
            if match := BUILD_MACRO.match(line):
                yield entry.path, f"it sets %{match[1]}"


@rule(
    "alt-firsttime-flag",
    "ALT's first-time scripts will run",
    why="Scripts in /etc/firsttime.d run at the first boot only where /etc/firsttime.flag is there.",
    fix="touch /etc/firsttime.flag, or remove the flag where there are no scripts.",
    severity="warning",
    families=("alt",),
)
def alt_firsttime_flag(subject: Subject) -> Faults:
    scripts = subject.view.listdir("/etc/firsttime.d")
    flag = subject.view.exists("/etc/firsttime.flag")
    if scripts and not flag:
        yield "/etc/firsttime.flag", f"missing, so {', '.join(scripts[:3])} will not run"
    elif flag and not scripts:
        yield "/etc/firsttime.flag", "there are no scripts for it in /etc/firsttime.d"


@rule(
    "alt-tcb-missing",
    "ALT's passwords lie in /etc/tcb",
    why="ALT's PAM reads /etc/tcb/NAME/shadow and nothing else: without it nobody can ever log in.",
    fix="Run tcb_convert in the tree (the package tcb-utils does at its first installation).",
    families=("alt",),
)
def alt_tcb_missing(subject: Subject) -> Faults:
    uses_tcb = any("pam_tcb" in line for line in subject.view.lines("/etc/pam.d/system-auth-local"))
    if uses_tcb and not subject.view.is_file("/etc/tcb/root/shadow"):
        yield "/etc/tcb/root/shadow", "the file is missing"


@rule(
    "alt-sysconfig-clock",
    "ALT's init does not touch the hardware clock",
    why="The clock is the host's.",
    fix="Leave /etc/sysconfig/clock without HWCLOCK_ADJUST and CLOCKMODE, or disable the service clock.",
    severity="warning",
    families=("alt",),
)
def alt_sysconfig_clock(subject: Subject) -> Faults:
    for line in subject.view.lines("/etc/sysconfig/clock"):
        if re.match(r"\s*(HWCLOCK_ADJUST|CLOCKMODE)=[\"']?(true|yes|local|gmt)", line, re.IGNORECASE):
            yield "/etc/sysconfig/clock", f"it says {line.strip()[:60]}"
