"""What a VE finds mounted, as data, and the steps that put it there.

The steps run in the VE's first process, in namespaces of its own and as the VE's root: whatever
goes wrong, the host's mounts are out of reach. Only pivot_root(2) leads into the tree, so that no
link in it can point at the host.
"""

from __future__ import annotations

import os
from collections.abc import Iterable

from tmplbuild.core import linux

_SAFE = linux.MS_NOSUID | linux.MS_NODEV | linux.MS_NOEXEC

# (type, where, flags, options); order matters
MOUNTS = (
    ("proc", "/proc", _SAFE, ""),
    # Read only: udev stays away where it cannot write to sysfs.
    ("sysfs", "/sys", _SAFE | linux.MS_RDONLY, ""),
    ("cgroup2", "/sys/fs/cgroup", _SAFE, ""),
    ("tmpfs", "/dev", linux.MS_NOSUID, "mode=0755,size=4m"),
    ("devpts", "/dev/pts", linux.MS_NOSUID | linux.MS_NOEXEC, "newinstance,ptmxmode=0666,mode=0620,gid=5"),
    ("tmpfs", "/dev/shm", linux.MS_NOSUID | linux.MS_NODEV, "mode=1777"),
    ("mqueue", "/dev/mqueue", _SAFE, ""),
    ("tmpfs", "/run", linux.MS_NOSUID | linux.MS_NODEV, "mode=0755"),
)

DEVICES = ("null", "zero", "full", "random", "urandom", "tty")

DEV_LINKS = (
    ("/proc/self/fd", "fd"),
    ("/proc/self/fd/0", "stdin"),
    ("/proc/self/fd/1", "stdout"),
    ("/proc/self/fd/2", "stderr"),
    ("pts/ptmx", "ptmx"),
    ("/proc/kcore", "core"),
)

_BINFMT = "/proc/sys/fs/binfmt_misc"
_STEPPING_STONES = ("/tmp", "/mnt", "/srv", "/opt")


def enter_root(root: int) -> int:
    """Make the detached mount `root` the root directory. Returns a descriptor of the old one."""
    linux.mount("none", "/", flags=linux.MS_REC | linux.MS_PRIVATE)
    old = os.open("/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    stone = next(path for path in _STEPPING_STONES if os.path.isdir(path))
    linux.move_mount(root, stone)
    os.chdir(stone)
    # Old and new lie on one another until `leave_old_root`: the new proc and sysfs may only be
    # mounted while the old ones can be seen.
    linux.pivot_root(".", ".")
    return old


def mount_all(old: int) -> None:
    """Mount what a system expects, with device nodes from the old root."""
    for fstype, where, flags, options in MOUNTS:
        _mount(old, fstype, where, flags, options)
        if where == "/dev":
            _fill_dev(old)


def _mount(old: int, fstype: str, where: str, flags: int, options: str) -> None:
    if not os.path.isdir(where):
        os.makedirs(where, 0o755)
    try:
        linux.mount(fstype, where, fstype, flags, options)
    except PermissionError:
        if fstype != "sysfs":
            raise
        # The kernel refuses a fresh sysfs where the host's own is partly hidden: show that one.
        fd = linux.open_tree("sys", dirfd=old, recursive=True)
        linux.move_mount(fd, where)
        linux.mount("tmpfs", f"{where}/fs/cgroup", "tmpfs", _SAFE, "mode=0755,size=1m")


def _fill_dev(old: int) -> None:
    for name in DEVICES:
        os.close(os.open(f"/dev/{name}", os.O_CREAT | os.O_WRONLY, 0o666))
        fd = linux.open_tree(f"dev/{name}", dirfd=old)
        linux.move_mount(fd, f"/dev/{name}")
        os.close(fd)
    for target, name in DEV_LINKS:
        os.symlink(target, f"/dev/{name}")


def register_emulator(line: str, program: int) -> None:
    """Have programs of another processor run by `program`, in this VE alone (binfmt_misc, Linux 6.7).

    Parameters:
        line: what binfmt_misc is told, with {} for the path.
    """
    linux.mount("binfmt_misc", _BINFMT, "binfmt_misc", _SAFE)
    with open(f"{_BINFMT}/register", "wb", buffering=0) as file:
        file.write(line.format(f"/proc/self/fd/{program}").encode())


def leave_old_root(old: int) -> None:
    """Let go of the host's files for good."""
    os.fchdir(old)
    linux.umount(".")
    os.close(old)
    os.chdir("/")


def open_console() -> tuple[int, int]:
    """A terminal of the VE's own as /dev/console. Returns both its ends.

    Both are to be kept: between two openers of the only slave end, the master would report a
    hang-up.
    """
    master, slave, path = open_terminal()
    os.close(os.open("/dev/console", os.O_CREAT | os.O_WRONLY, 0o600))
    fd = linux.open_tree(path)
    linux.move_mount(fd, "/dev/console")
    os.close(fd)
    return master, slave


def open_terminal() -> tuple[int, int, str]:
    """A new terminal on the VE's devpts: master, slave, the slave's path (pts(4))."""
    master = os.open("/dev/pts/ptmx", os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC)
    linux.unlock_terminal(master)
    path = f"/dev/pts/{linux.terminal_number(master)}"
    slave = os.open(path, os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC)
    return master, slave, path


def offer_notify(directory: int) -> None:
    """Show the monitor's notify socket at /run/host/notify.d (sd_notify(3))."""
    os.makedirs("/run/host/notify.d", 0o755)
    linux.move_mount(directory, "/run/host/notify.d")


def mask_units(units: Iterable[str], strictly: Iterable[str] = ()) -> None:
    """Mask systemd units for this run (systemd.unit(5)).

    Only for a tree whose init is systemd: in any other, /run/systemd/system would make its scripts
    believe that systemd runs.

    Parameters:
        units: masked unless the tree has a unit of its own in /etc/systemd/system, which comes first.
        strictly: masked whatever is there, by a directory that comes before that one (from systemd 232 on).
    """
    strict = tuple(strictly)
    for folder, names in (("system", (*units, *strict)), ("system.control", strict)):
        os.makedirs(f"/run/systemd/{folder}", 0o755, exist_ok=True)
        for name in names:
            path = f"/run/systemd/{folder}/{name}"
            if not os.path.lexists(path):
                os.symlink("/dev/null", path)


def init_kind() -> str:
    """What /sbin/init is: "systemd", "sysvinit", "openrc", "busybox", "other", or "none" where there is none.

    OpenRC's scripts run below one of several inits; "openrc" is its own.
    """
    path = os.path.realpath("/sbin/init")
    if not os.path.exists(path):
        return "none"
    known = {"systemd": "systemd", "openrc-init": "openrc", "busybox": "busybox"}.get(os.path.basename(path))
    if known:
        return known
    scripts = any(map(os.path.isdir, ("/etc/init.d", "/etc/rc.d")))
    return "sysvinit" if os.path.exists("/etc/inittab") and scripts else "other"


def elf_bits(path: str) -> int:
    """32 or 64 for a program of that class (elf(5)), 0 for anything else."""
    try:
        with open(path, "rb") as file:
            head = file.read(5)
    except OSError:
        return 0
    return {1: 32, 2: 64}.get(head[4], 0) if len(head) == 5 and head[:4] == b"\x7fELF" else 0
