"""Rules: ALT's accounts, archives and network are as a container's manager and its owner want them."""

from __future__ import annotations

import re
from collections.abc import Iterator

from tmplbuild.checks.rule import Faults, rule
from tmplbuild.checks.rules_accounts import NO_LOGIN
from tmplbuild.checks.subject import Subject

SOURCES = ("/etc/apt/sources.list", "/etc/apt/sources.list.d/*.list")
VENDORS = ("/etc/apt/vendors.list", "/etc/apt/vendors.list.d/*.list")
TCB = "/etc/tcb"
_SOURCE = re.compile(r"\s*rpm(?:-src|-dir|-src-dir)?\s+(?:\[(?P<vendor>[^\]]*)\]\s+)?(?P<address>\S+)")
_VENDOR = re.compile(r'simple-key\s+"([^"]+)"')
_SHARED = 0o007
FACILITIES = "/etc/control.d/facilities/*"
# control(8): a facility is a shell script that names its program, and what each state means for it
_BINARY = re.compile(r'\s*BINARY=["\']?(/[^"\'\s]+)["\']?\s*$')
_STATE = re.compile(r"\s*new_fmode\s+(\S+)\s+([0-7]{3,4})\s+(\S+)\s+(\S+)\s*$")


@rule(
    "rpm-filetriggers-waiting",
    "No file triggers of ALT's rpm wait to be run",
    why="What they register (libraries, services, caches) is not registered; the next transaction would do "
    "it, or fail.",
    fix="Run /usr/lib/rpm/posttrans-filetriggers in the tree, or build anew.",
    families=("rpm",),
)
def rpm_filetriggers_waiting(subject: Subject) -> Faults:
    for name in ("files-awaiting-filetriggers", "delay-posttrans-filetriggers"):
        if subject.view.exists(f"/var/lib/rpm/{name}"):
            yield f"/var/lib/rpm/{name}", "file triggers have not been run"


@rule(
    "alt-tcb-user",
    "Each account of ALT with a shell has its file in /etc/tcb",
    why="ALT's tools take an account without one for damaged: its password can be neither set nor locked.",
    fix="Run tcb_convert in the tree, or add /etc/tcb/NAME/shadow.",
    severity="warning",
    families=("alt",),
)
def alt_tcb_user(subject: Subject) -> Faults:
    if not subject.view.is_dir(TCB):
        return
    for account in subject.accounts:
        path = f"{TCB}/{account.name}/shadow"
        if (
            account.password == "x"
            and not account.shell.endswith(NO_LOGIN)
            and not subject.view.is_file(path)
        ):
            yield path, f"{account.name} has none"


@rule(
    "alt-tcb-open",
    "/etc/tcb is closed to others",
    why="It holds the hashes of passwords: tcb(5) has the directory 0710 and each user's own 2710.",
    fix="chmod o= on what is named.",
    families=("alt",),
)
def alt_tcb_open(subject: Subject) -> Faults:
    # the names in /etc/passwd are known to everybody: passing through is harmless, reading is not
    for entry in subject.view.glob(TCB, f"{TCB}/*", f"{TCB}/*/*"):
        if entry.kind != "link" and not entry.implied and entry.mode & _SHARED & ~0o001:
            yield entry.path, f"its mode is {entry.mode:04o}"


@rule(
    "alt-source-without-vendor",
    "Each of apt-rpm's sources names who signs it",
    why="Of a line without [VENDOR] apt-rpm verifies nothing, and says nothing.",
    fix="Write the vendor's id behind rpm: rpm [p11] http://...",
    families=("alt",),
)
def alt_source_without_vendor(subject: Subject) -> Faults:
    for path, vendor, address in _sources(subject):
        if not vendor:
            yield path, f"{address} has no vendor"


@rule(
    "alt-vendor-unknown",
    "apt-rpm knows the vendors of its sources",
    why="With a vendor that is in no vendors.list, apt-get update ends with `Unknown vendor ID`.",
    fix="Add a simple-key block with the vendor's fingerprint to /etc/apt/vendors.list.d.",
    families=("alt",),
)
def alt_vendor_unknown(subject: Subject) -> Faults:
    files = subject.view.glob(*VENDORS)
    known = {name for entry in files for name in _VENDOR.findall("\n".join(subject.view.lines(entry.path)))}
    for path, vendor, _ in _sources(subject):
        if vendor and vendor not in known:
            yield path, f"the vendor {vendor} is in no vendors.list"


@rule(
    "alt-etcnet-default",
    "etcnet has its loopback and its defaults",
    why="vzctl's etcnet-add_ip.sh writes a directory beside them: without default an interface has no "
    "options, without lo nothing works.",
    fix="Reinstall the package etcnet.",
    families=("alt",),
)
def alt_etcnet_default(subject: Subject) -> Faults:
    if not subject.view.is_dir("/etc/net/ifaces"):
        return
    for name in ("default", "lo"):
        path = f"/etc/net/ifaces/{name}/options"
        if not subject.view.is_file(path):
            yield path, "the file is missing"


@rule(
    "alt-securetty",
    "root may log in where a container's console is",
    why="Managers give a pseudo terminal, and pam_securetty lets root in only on terminals that are listed.",
    fix="echo pts/0 >> /etc/securetty.",
    severity="warning",
    families=("alt",),
)
def alt_securetty(subject: Subject) -> Faults:
    path = "/etc/securetty"
    if subject.view.is_file(path) and "pts/0" not in map(str.strip, subject.view.lines(path)):
        yield path, "pts/0 is not listed"


@rule(
    "alt-control-state",
    "What control(8) governs is in one of its states",
    why="control keeps a facility's state in the mode and group of its program. What a mere chmod made of it "
    "is no state: the next update of the package gives it another one.",
    fix="control NAME STATE, in the recipe as a command of configure (control NAME help lists the states).",
    severity="warning",
    families=("alt",),
)
def alt_control_state(subject: Subject) -> Faults:
    groups = dict(line.split(":")[0:3:2] for line in subject.view.lines("/etc/group") if line.count(":") >= 2)
    for facility in subject.view.glob(FACILITIES):
        lines = subject.view.lines(facility.path)
        programs = [match[1] for line in lines if (match := _BINARY.match(line))]
        states = [match for line in lines if (match := _STATE.match(line))]
        entry = subject.view.stat(programs[0]) if len(programs) == 1 and states else None
        if entry is None or entry.kind != "file":
            continue
        known = {(int(state[2], 8), groups.get(state[4], state[4])) for state in states}
        if (entry.mode, str(entry.gid)) not in known:
            names = ", ".join(state[1] for state in states)
            yield entry.path, f"its mode is {entry.mode:04o}, its group {entry.gid}: none of {names}"


def _sources(subject: Subject) -> Iterator[tuple[str, str, str]]:
    """(file, vendor, address) of each source in force."""
    for entry in subject.view.glob(*SOURCES):
        for line in subject.view.lines(entry.path):
            if match := _SOURCE.match(line):
                yield entry.path, match["vendor"] or "", match["address"]
