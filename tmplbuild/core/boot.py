"""The monitor's side of a VE's birth: groups, id maps, root tree, until init runs."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Mapping

from tmplbuild.core import birth, cgroup, layers, linux, quota, remains, resources, runstate, wire
from tmplbuild.errors import TmplbuildError

TYPE_CHECKING = False  # `typing` itself would cost the monitor 3 ms
if TYPE_CHECKING:
    from tmplbuild.core.line import Line

IDS = 65536
_PATIENCE_S = 60.0
"""Seconds for each step before init runs; how long init may take is another matter."""

# What the kernel answers where a file system or a version cannot map ids on a mount.
_NO_IDMAP = (errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP, errno.EPERM)


class StartError(Exception):
    """A VE that could not be started: at which step, and why."""

    def __init__(self, step: str, why: str) -> None:
        super().__init__(f"{step}: {why}")
        self.step = step
        self.why = why


class Born:
    """A VE whose init runs. `kind` is that of `inside.init_kind`, `mode` how its ids came about."""

    def __init__(self, pid: int, kind: str, bits: int, mode: str, joins: list[str]) -> None:
        self.pid = pid
        self.pidfd = os.pidfd_open(pid)
        self.kind = kind
        self.bits = bits
        self.mode = mode
        self.joins = joins
        self.console = -1
        self.console_slave = -1
        self.proxy = -1
        self.root = -1
        self.line: Line | None = None
        self.project: quota.Project | None = None


def give_birth(config: wire.Message, notify: socket.socket, mount: int = -1) -> Born:
    """Start the VE that `config` describes; `mount` is its root, where that comes as a mount.

    Raises StartError; what it made is for `remains.clear`.
    """
    step = "make the control groups"
    try:
        joins = cgroup.create(
            str(config["owner"]), str(config["veid"]), numbers(config["limits"]), whole(config["uid"])
        )
        step = "fork"
        ours, theirs = wire.pair()
        child = os.fork()
        if child == 0:
            ours.close()
            birth.leave_host(theirs, config, joins)
        theirs.close()
        ours.settimeout(_PATIENCE_S)
        return _raise_child(ours, child, config, joins, notify, mount)
    except resources.Unenforceable as error:
        raise StartError(step, str(error)) from error
    except (OSError, EOFError) as error:
        raise StartError(step, str(error)) from error


def _raise_child(
    sock: socket.socket,
    child: int,
    config: wire.Message,
    joins: list[str],
    notify: socket.socket,
    mount: int,
) -> Born:
    _expect(sock, "userns")
    uid = whole(config["uid"])
    for name in ("uid_map", "gid_map"):
        with open(f"/proc/{child}/{name}", "w", encoding="ascii") as file:
            file.write(f"0 {uid} {IDS}")
    userns = os.open(f"/proc/{child}/ns/user", os.O_RDONLY | os.O_CLOEXEC)
    root, mode = _root(config, userns, mount)
    os.close(userns)
    project = _project(config)
    message, _fds = _ask(sock, {"go": True}, "pid")
    os.waitpid(child, 0)
    pid = whole(message["pid"])
    cable = _line(config, pid)
    notify_dir = _notify_tree(config, notify)
    given = [root, notify_dir, *_emulator(config)]
    message, fds = _ask(sock, {"go": True}, "armed", given)
    for fd in given[1:]:
        os.close(fd)
    born = Born(pid, str(message["kind"]), whole(message["bits"]), mode, joins)
    born.root = root
    born.console, born.console_slave = fds[:2]
    born.proxy = fds[2] if len(fds) > 2 else -1
    born.line, born.project = cable, project
    wire.send(sock, {"run": True})
    try:
        message, _fds = wire.receive(sock)
    except EOFError:
        return born  # the socket closed by exec(2): init runs
    raise StartError(str(message["step"]), str(message["error"]))


def _emulator(config: wire.Message) -> list[int]:
    """The program that runs the VE's, which its root could perhaps not open by its path."""
    program = str(config.get("emulator") or "")
    try:
        return [os.open(program, os.O_RDONLY | os.O_CLOEXEC)] if program else []
    except OSError as error:
        raise StartError("open the emulator", str(error)) from error


def _expect(sock: socket.socket, step: str) -> tuple[wire.Message, list[int]]:
    try:
        message, fds = wire.receive(sock)
    except EOFError:
        raise StartError(f"wait for {step}", "the VE's first process was killed") from None
    if message.get("step") != step:
        raise StartError(str(message.get("step")), str(message.get("error")))
    return message, fds


def _ask(
    sock: socket.socket, message: wire.Message, step: str, fds: list[int] | None = None
) -> tuple[wire.Message, list[int]]:
    wire.send(sock, message, fds or [])
    return _expect(sock, step)


def _root(config: wire.Message, userns: int, mount: int) -> tuple[int, str]:
    """The VE's root as a detached mount, and how it is made: overlay, idmap or shift."""
    rootfs = config["rootfs"]
    assert isinstance(rootfs, dict)
    directory = str(rootfs["directory"])
    uid = whole(config["uid"])
    if mount >= 0:
        linux.mount_setattr(mount, linux.MOUNT_ATTR_IDMAP, userns=userns)
        return mount, "idmap"
    if directory:
        return _plain_root(directory, str(config["copy"]), userns, uid)
    scratch = f"{config['state']}/{config['veid']}/scratch"
    os.mkdir(scratch)
    upper, image = str(rootfs["upper"]), str(rootfs["image"])
    if upper:
        remains.clean_work(str(rootfs["work"]))
        os.mkdir(str(rootfs["work"]), 0o700)
    try:
        lower = [str(path) for path in rootfs["lower"]]
        fd = layers.stacked(
            lower,
            upper,
            str(rootfs["work"]),
            scratch,
            image=image,
            userns=userns,
            uid=uid,
            read_only=not (upper or image),
            volatile=bool(rootfs["volatile"]),
        )
    except OSError as error:
        raise StartError("stack the layers", str(error)) from error
    return fd, "overlay"


def _plain_root(directory: str, copy: str, userns: int, uid: int) -> tuple[int, str]:
    remains.restore_owners(directory)
    if copy != "shift":
        try:
            return layers.whole(directory, userns=userns), "idmap"
        except OSError as error:
            if copy == "idmap" or error.errno not in _NO_IDMAP:
                raise StartError("map the owners", str(error)) from error
    from tmplbuild.core import shift  # only where it is needed: helpers must start fast

    shift.shift(directory, uid)
    return layers.whole(directory), "shift"


def _project(config: wire.Message) -> quota.Project | None:
    """The quota that holds the VE's limits on disk space, where the file system has such."""
    rootfs, limits = config["rootfs"], numbers(config["limits"])
    assert isinstance(rootfs, dict)
    where = str(rootfs["upper"] or rootfs["directory"])
    if not where or {"disk_mib", "inodes"}.isdisjoint(limits) or not quota.usable(where):
        return None
    project = quota.Project(where, str(rootfs["work"]))
    project.limit(limits)
    return project


def _line(config: wire.Message, pid: int) -> Line | None:
    """The VE's line to the host, where it is to have one."""
    wanted = config["venet"]
    if not isinstance(wanted, dict):
        return None
    from tmplbuild.core.line import Line  # most VEs have none, and helpers must start fast

    folder = f"{config['state']}/{config['veid']}"
    try:
        return Line(folder, str(config["owner"]), str(config["veid"]), pid, wanted)
    except (OSError, TmplbuildError) as error:
        why = error.strerror if isinstance(error, OSError) else None
        raise StartError("set up the network", why or str(error)) from error


def _notify_tree(config: wire.Message, notify: socket.socket) -> int:
    """The directory with the notify socket, as a mount to show in the VE."""
    folder = f"{config['state']}/{config['veid']}/{runstate.NOTIFY}"
    os.mkdir(folder, 0o711)
    os.chmod(folder, 0o711)
    here = os.open(folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    notify.bind(f"/proc/self/fd/{here}/s")  # the path itself may be too long for an address
    os.close(here)
    os.chmod(f"{folder}/s", 0o666)
    fd = linux.open_tree(folder)
    linux.mount_setattr(
        fd,
        linux.MOUNT_ATTR_RDONLY | linux.MOUNT_ATTR_NOSUID | linux.MOUNT_ATTR_NODEV | linux.MOUNT_ATTR_NOEXEC,
    )
    return fd


def whole(value: object) -> int:
    """A message's value as a whole number."""
    assert isinstance(value, (int, float))
    return int(value)


def numbers(value: object) -> Mapping[str, float]:
    """A message's value as named numbers."""
    assert isinstance(value, dict)
    return value
