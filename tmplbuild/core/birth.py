"""The VE's side of its birth: from a fork of the monitor to the tree's init.

Two processes pass through here. The first leaves the host's namespaces and forks the second, which
is the VE's process 1. Each waits for the monitor's word before it goes on, so that neither outlives
a monitor that was killed.
"""

from __future__ import annotations

import os
import signal
import socket
from contextlib import suppress

from tmplbuild.core import cgroup, inside, linux, nosync, wire

_SPACES = (
    linux.CLONE_NEWNS
    | linux.CLONE_NEWUTS
    | linux.CLONE_NEWIPC
    | linux.CLONE_NEWPID
    | linux.CLONE_NEWCGROUP
    | linux.CLONE_NEWNET
)
_HIDES_NOTHING = ("autofs", "binfmt_misc")
"""Types of what lies where the kernel's /proc has a directory that is empty, for just this."""
PROXY_PORT = 3142
SEARCH_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def leave_host(sock: socket.socket, config: wire.Message, joins: list[str]) -> None:
    """The first process. Never returns."""
    try:
        linux.die_with_parent()
        step = "join the control groups"
        try:
            cgroup.join(joins)
            step = "see all of /proc"
            uncover_proc()
            step = "make a user namespace"
            linux.unshare(linux.CLONE_NEWUSER)
            wire.call(sock, {"step": "userns"})
            step = "become the VE's root"
            become_root()
            linux.die_with_parent()
            step = "make the VE's namespaces"
            linux.unshare(_SPACES if config["net"] != "host" else _SPACES & ~linux.CLONE_NEWNET)
            pid = os.fork()
        except OSError as error:
            wire.send(sock, {"error": str(error), "step": step})
            os._exit(1)
        if pid == 0:
            _first_process(sock, config)
        wire.send(sock, {"step": "pid", "pid": pid})
    except (OSError, EOFError):
        os._exit(1)
    finally:
        os._exit(0)


def uncover_proc() -> None:
    """See a whole /proc where the machine's own is covered in parts, for it is a container itself: else the
    kernel lets nobody mount one in a user namespace (mount_too_revealing in its fs/namespace.c)."""
    if all(kind in _HIDES_NOTHING or not point.startswith("/proc/") for kind, point, _ in cgroup.mounts()):
        return
    linux.unshare(linux.CLONE_NEWNS)
    linux.mount("none", "/", flags=linux.MS_REC | linux.MS_PRIVATE)
    with suppress(PermissionError):  # not even the root of this machine may: the VE's own mount tells
        linux.mount("proc", "/proc", "proc", linux.MS_NOSUID | linux.MS_NODEV | linux.MS_NOEXEC)


def become_root() -> None:
    """Take the ids of the root of the user namespace one is in."""
    os.setresgid(0, 0, 0)
    os.setgroups([])
    os.setresuid(0, 0, 0)


def _first_process(sock: socket.socket, config: wire.Message) -> None:
    """The VE's process 1. Never returns."""
    try:
        _message, fds = wire.receive(sock)  # the first process has ended: the monitor is our parent
        linux.die_with_parent()
        try:
            kind = _furnish(config, fds)
            about, out = _report(config, kind)
            wire.call(sock, about, out)
            for fd in out:
                os.close(fd)
            become_plain(Plain(32 if about["bits"] == 32 else 64, bool(config["suppress_sync"])))
            if config["init"]:
                _run_init(config, kind)  # never returns
            _reap(sock)
        except OSError as error:
            wire.send(sock, {"error": f"{error}", "step": "set up the VE"})
    except (OSError, EOFError):
        os._exit(1)
    finally:
        os._exit(1)


def _furnish(config: wire.Message, fds: list[int]) -> str:
    """Mounts, host name, loopback, masks. Returns the kind of init."""
    root, notify, *emulators = fds
    old = inside.enter_root(root)
    os.close(root)
    inside.mount_all(old)
    inside.leave_old_root(old)
    for emulator in emulators:
        inside.register_emulator(str(config["emulation"]), emulator)
        os.close(emulator)
    socket.sethostname(str(config["hostname"]))
    if config["net"] != "host":
        linux.loopback_up()
    inside.offer_notify(notify)
    os.close(notify)
    kind = inside.init_kind() if not config["command"] else "command"
    masks = config["mask"]
    if config["init"] and kind == "systemd" and isinstance(masks, dict):
        inside.mask_units(masks["usual"], masks["asked"])
    if config["init"] and kind == "none":
        raise FileNotFoundError(2, "the tree has no init", "/sbin/init")
    return kind


def _report(config: wire.Message, kind: str) -> tuple[wire.Message, list[int]]:
    """What the monitor is told when all is set up, with both console ends and the proxy's socket."""
    out = list(inside.open_console())
    if config["net"] == "proxy":
        listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", PROXY_PORT))
        listener.listen(256)
        out.append(listener.detach())
    init = kind not in ("none", "command") and config["init"]
    bits = config["bits"] or inside.elf_bits(os.path.realpath("/sbin/init" if init else "/bin/sh"))
    return {"step": "armed", "kind": kind, "bits": bits}, out


class Plain:
    """What a process of the VE is: 32 or 64 `bits`, and whether it waits for no disk."""

    def __init__(self, bits: int, suppress_sync: bool) -> None:
        self.bits = bits
        self.suppress_sync = suppress_sync


def become_plain(how: Plain) -> None:
    """Undo what Python and the tool changed about the process, before something else runs in it."""
    for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, [])
    os.umask(0o022)
    if how.suppress_sync:
        nosync.suppress()
    if how.bits == 32 and os.uname().machine in ("x86_64", "aarch64"):
        linux.set_personality(linux.PER_LINUX32)


def _run_init(config: wire.Message, kind: str) -> None:
    """Become /sbin/init, or the command that was asked for. Returns only by an OSError."""
    env = {"PATH": SEARCH_PATH, "container": "tmplbuild", "TERM": "dumb"}
    if kind == "systemd":
        env["NOTIFY_SOCKET"] = "/run/host/notify.d/s"
    extra = config["env"]
    if isinstance(extra, dict):
        env.update(extra)
    os.setsid()
    console = os.open("/dev/console", os.O_RDWR | os.O_NOCTTY)
    for number in range(3):
        os.dup2(console, number)
    command = config["command"]
    argv = [str(word) for word in command] if isinstance(command, list) and command else ["/sbin/init"]
    try:
        become(argv, env)
    except FileNotFoundError:
        raise FileNotFoundError(2, "it is not in the tree", argv[0]) from None


def become(argv: list[str], env: dict[str, str]) -> None:
    """Become a command, found along the PATH of its environment (execvp(3)). Returns only by an OSError.

    os.execvpe loads modules for it (Python 3.13), which are not to be had within the tree.
    """
    name = argv[0]
    folders = [""] if "/" in name else [f"{part or '.'}/" for part in env.get("PATH", "").split(":")]
    refusal: OSError | None = None
    for folder in folders:
        try:
            os.execve(folder + name, argv, env)
        except (FileNotFoundError, NotADirectoryError) as error:
            # The file is there, but its interpreter (#! or ld.so) is not.
            if os.path.isfile(folder + name):
                refusal = error
        except OSError as error:
            refusal = error
    raise refusal or FileNotFoundError(2, "not found", name)


def _reap(sock: socket.socket) -> None:
    """Be a process 1 that only reaps. Never returns."""
    os.setsid()
    linux.set_name("tmplbuild-init")
    linux.prctl(linux.PR_SET_DUMPABLE, 1)  # /proc/1 belongs to the VE's root, as an init's would
    null = os.open("/dev/null", os.O_RDWR)
    for number in range(3):
        os.dup2(null, number)
    signals = {signal.SIGCHLD, signal.SIGTERM}
    signal.pthread_sigmask(signal.SIG_BLOCK, signals)
    sock.detach()
    linux.close_from(3)  # the monitor sees its socket closed: the VE runs
    while signal.sigwait(signals) == signal.SIGCHLD:
        try:
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        except ChildProcessError:
            continue
    os._exit(0)
