"""Rules: services and consoles that are the host's business."""

from __future__ import annotations

import re
from fnmatch import fnmatchcase

from tmplbuild.checks.rule import Faults, rule
from tmplbuild.checks.services import inittab, started
from tmplbuild.checks.subject import Subject

# Units by their full name, scripts of sysvinit, OpenRC and upstart by theirs.
UDEV = (
    "systemd-udevd*", "systemd-udev-*", "udev", "udev-finish", "udev-trigger", "udev-mtab", "udevd",
    "udevd-final", "eudev", "mdev", "hwdrivers", "udevmonitor", "udevtrigger", "hotplug",
)  # fmt: skip
CLOCK = (
    "hwclock*", "clock", "systemd-timesyncd.service", "chrony.service", "chronyd.service", "chrony",
    "chronyd", "ntp.service", "ntpd.service", "ntpsec.service", "ntp", "ntpd", "openntpd*", "ntpdate*",
)  # fmt: skip
CONSOLE = (
    "console-setup*", "keyboard-setup*", "keymap*", "kbd*", "systemd-vconsole-setup.service", "setvtrgb*",
    "plymouth*", "splash*", "gpm*", "fbsetfont", "consolefont", "consolesaver", "console-font*",
    "console-screen*", "keytable", "x11-common",
)  # fmt: skip
KERNEL = (
    "systemd-modules-load.service", "kmod-static-nodes.service", "kmod", "module-init-tools", "modules",
    "systemd-pstore.service", "systemd-binfmt.service", "binfmt-support*",
    "proc-sys-fs-binfmt_misc.automount", "dev-hugepages.mount", "sys-kernel-config.mount",
    "sys-kernel-debug.mount", "sys-kernel-tracing.mount", "sys-fs-fuse-connections.mount",
    "systemd-journald-audit.socket", "auditd*", "apparmor*", "klogd", "kdump*", "microcode*", "irqbalance*",
    "cpufreq*", "ondemand*", "multipathd*", "iscsi*", "open-iscsi*", "lvm2*", "mdadm*", "mdmonitor*",
    "smartd*", "smartmontools*", "acpid*", "fstrim.timer", "e2scrub_*", "rawdevices", "bluetooth*",
    "wpa_supplicant*", "ModemManager*", "fwupd*", "mcelog*", "hdparm*", "alsa*", "thermald*", "netfs",
    "quotarpc", "rngd*", "haveged*",
)  # fmt: skip
GETTY_UNIT = re.compile(r"(getty@tty\d+|autovt@tty\d+|serial-getty@.*|getty-static)\.service")
GETTY_LINE = re.compile(r":(respawn|askfirst|ondemand):.*getty.*\b(tty(S?\d+|AMA\d+|USB\d+))\b")
GETTY_JOBS = ("/etc/init/tty[0-9]*.conf", "/etc/event.d/tty[0-9]*")


@rule(
    "udev-enabled",
    "No device manager is started",
    why="Devices come from the host. In a container udev cannot work, slows the boot or makes units fail.",
    fix="Do not install udev, or mask systemd-udevd and its sockets (sysvinit: remove its start links).",
)
def udev_enabled(subject: Subject) -> Faults:
    yield from _started(subject, UDEV, "starts a device manager")


@rule(
    "clock-service-enabled",
    "Nothing sets the clock",
    why="The clock is the host's; a container may not set it, and services that try fail or waste memory.",
    fix="Mask hwclock, systemd-timesyncd, chrony and ntp, or do not install them.",
    severity="warning",
)
def clock_service_enabled(subject: Subject) -> Faults:
    yield from _started(subject, CLOCK, "sets the clock")


@rule(
    "console-service-enabled",
    "Nothing sets up fonts, keyboards or splash screens",
    why="A container has no screen and no keyboard.",
    fix="Purge console-setup, kbd, plymouth and gpm, or mask their services.",
    severity="warning",
)
def console_service_enabled(subject: Subject) -> Faults:
    yield from _started(subject, CONSOLE, "sets up a screen or keyboard")


@rule(
    "kernel-service-enabled",
    "Nothing that only the kernel's owner can do is started",
    why="Modules, kernel file systems, audit, disks and sensors belong to the host: such units fail in a "
    "container.",
    fix="Mask the unit (the recipe's strip.mask), or do not install its package.",
    severity="warning",
)
def kernel_service_enabled(subject: Subject) -> Faults:
    yield from _started(subject, KERNEL, "is the host's business")


@rule(
    "getty-on-tty",
    "No login waits on a virtual or serial terminal",
    why="A container has no /dev/tty1 of its own: a getty there respawns for ever. Managers add their "
    "console.",
    fix="Remove the links in getty.target.wants, the getty lines of /etc/inittab, /etc/init/tty*.conf.",
)
def getty_on_tty(subject: Subject) -> Faults:
    for name, path in sorted(started(subject.view).items()):
        if GETTY_UNIT.fullmatch(name):
            yield path, f"{name} is started"
    for line, entry in inittab(subject.view):
        if match := GETTY_LINE.search(line):
            yield entry.path, f"a getty on {match[2]}"
    for entry in subject.view.glob(*GETTY_JOBS):
        if entry.name.removesuffix(".conf") in started(subject.view):
            yield entry.path, "upstart starts a getty"


@rule(
    "getty-wants-missing",
    "/etc/systemd/system/getty.target.wants is there",
    why="vzctl's set_console.sh links a console into it and makes no directory: without it, it fails.",
    fix="Make the directory, empty.",
    severity="warning",
    families=("systemd",),
)
def getty_wants_missing(subject: Subject) -> Faults:
    path = "/etc/systemd/system/getty.target.wants"
    if not subject.view.is_dir(path):
        yield path, "the directory is missing"


@rule(
    "ctrlaltdel-set",
    "No key combination is bound in /etc/inittab",
    why="A container has no keys to press, and sysvinit asks the kernel for them at start.",
    fix="Comment the ctrlaltdel and kbrequest lines.",
    severity="warning",
    families=("sysvinit",),
)
def ctrlaltdel_set(subject: Subject) -> Faults:
    for line, entry in inittab(subject.view):
        action = line.split(":")[2]
        if action in ("ctrlaltdel", "kbrequest"):
            yield entry.path, f"the line {line.split(':')[0]} has the action {action}"


@rule(
    "syslog-to-tty",
    "No log goes to a virtual terminal",
    why="There is none: the logger fails to open it at every start.",
    fix="Remove the lines that name /dev/tty* or /dev/xconsole from the logger's configuration.",
    severity="warning",
)
def syslog_to_tty(subject: Subject) -> Faults:
    for entry in subject.view.glob(
        "/etc/syslog.conf", "/etc/rsyslog.conf", "/etc/rsyslog.d/*", "/etc/syslog.d/*"
    ):
        for number, line in enumerate(subject.view.lines(entry.path), 1):
            if re.match(r"[^#]*\s\|?-?/dev/(tty\d|xconsole|console)", line):
                yield entry.path, f"line {number} writes to a terminal"


def _started(subject: Subject, names: tuple[str, ...], text: str) -> Faults:
    for name, path in sorted(started(subject.view).items()):
        if any(fnmatchcase(name, pattern) for pattern in names):
            yield path, f"{name} {text}"
