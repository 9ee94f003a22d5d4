"""The process that stands beside each VE: starts it, holds its console, runs commands, cleans up.

It is a small Python of its own (`python -I -S`), so that the tool's threads are never forked and
that a VE can outlive the tool. It answers on `<state>/<veid>/control`; a connection is either a
question or one running command, which dies when its connection closes. With a tether, the VE dies
when the tool does. Should the monitor itself be killed, the kernel kills the VE's init
(PR_SET_PDEATHSIG), and with it all in the VE; `remains.clear` does the rest.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import selectors
import signal
import socket
import stat
import sys
import time
from collections.abc import Callable

from tmplbuild.core import birth, boot, cgroup, enter, layers, linux, ready, remains, runstate, wire
from tmplbuild.core.console import ConsoleLog
from tmplbuild.core.upkeep import Upkeep

_STOP_SIGNALS = {
    "systemd": signal.SIGRTMIN + 3,  # systemd(1): poweroff.target
    "busybox": signal.SIGUSR2,  # its poweroff(8) sends that to process 1
    "command": signal.SIGTERM,
}
# These know no signal for it (sysvinit's SIGPWR is the power supply's, and Debian ignores it).
_STOP_COMMANDS = {"sysvinit": ["/sbin/init", "0"], "openrc": ["openrc-shutdown", "--poweroff", "now"]}
_TAIL = 4000
_LAST_WORD_S = 1.0  # who has connected is about to say what for


class Command:
    """One running command: its process, its control group, who waits for it, failures before it."""

    def __init__(self, pid: int, group: str, client: socket.socket | None, failures: dict[str, int]) -> None:
        self.pid = pid
        self.group = group
        self.client = client
        self.failures = failures


class Monitor:
    """The state of one VE, and what happens to it."""

    def __init__(self, config: wire.Message, tether: socket.socket, locks: list[int]) -> None:
        self.config = config
        self.number = tether.fileno()
        self.tether: socket.socket | None = tether
        rootfs = config["rootfs"]
        assert isinstance(rootfs, dict)
        self.mount = locks.pop() if rootfs["mounted"] else -1
        self.locks = locks
        self.folder = f"{config['state']}/{config['veid']}"
        self.selector = selectors.DefaultSelector()
        self.notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.control = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.commands: dict[int, Command] = {}
        self.groups: list[str] = []
        self.clients: set[socket.socket] = set()
        self.waiting: list[socket.socket] = []
        self.deadline: float | None = None
        self.ready = False
        self.over = ""
        self.reason = ""
        self.serial = 0
        self.born: boot.Born | None = None
        self.upkeep: Upkeep | None = None
        self.watch: ready.Watch | None = None

    # -- life ------------------------------------------------------------------------------------

    def run(self) -> None:
        """Start the VE, serve until it is over, clean up."""
        wakeup_reader, wakeup_writer = socket.socketpair()
        for end in (wakeup_reader, wakeup_writer):
            end.setblocking(False)
        signal.set_wakeup_fd(wakeup_writer.fileno(), warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda number, frame: None)
        signal.signal(signal.SIGTERM, self._terminated)
        self.console_log = ConsoleLog(str(self.config["console"]))
        try:
            self._start()
            self._watch(wakeup_reader, lambda: self._reap(wakeup_reader))
            while not self.over:
                self._turn()
        except boot.StartError as error:
            self._answer_start({"error": error.why, "step": error.step})
            self.over = "failed"
        finally:
            self._finish()

    def _start(self) -> None:
        self.born = boot.give_birth(self.config, self.notify, self.mount)
        self.deadline = time.monotonic() + boot.whole(self.config["timeout_s"])
        self.upkeep = Upkeep(self.config, self.born)
        self.control.bind(self._address(runstate.CONTROL))
        self.control.listen(64)
        self._watch(self.control, self._accept)
        self._watch(self.notify, self._notified)
        self._watch(self.born.console, self._read_console)
        if self.tether is not None:
            self._watch(self.tether, self._tether_moved)
        self._write_state("starting")
        if not self.config["init"] or self.born.kind == "command":
            self._is_ready()
        elif self.born.kind != "systemd":
            self.watch = ready.Watch(self.born.pid)

    def _turn(self) -> None:
        assert self.upkeep is not None
        moments = [self.upkeep.watchdog.next_s()]
        if self.deadline is not None:
            moments.append(max(0.0, self.deadline - time.monotonic()))
        if self.watch is not None:
            moments.append(ready.TICK_S)
        timeout = min((moment for moment in moments if moment is not None), default=None)
        for key, _events in self.selector.select(timeout):
            handler: Callable[[], None] = key.data
            handler()
        if self.watch is not None and self.watch.ready():
            self._is_ready()
        if self.deadline is not None and time.monotonic() >= self.deadline:
            self.over = "killed" if self.ready else "late"
        reason = "" if self.over else self.upkeep.watchdog.verdict()
        if reason:
            self._cut_off(reason)

    def _cut_off(self, reason: str) -> None:
        """End a VE that is over a limit, and tell all who wait for something of it why."""
        self.reason, self.over = reason, "killed"
        self.console_log.write(f"\ntmplbuild: the VE was ended: {reason}\n".encode())
        for command in self.commands.values():
            if command.client is not None:
                self._tell(command.client, {"over": reason})

    def _terminated(self, number: int, frame: object) -> None:
        self.over = self.over or "killed"

    def _watch(self, source: socket.socket | int, handler: Callable[[], None]) -> None:
        self.selector.register(source, selectors.EVENT_READ, handler)

    def _address(self, name: str) -> str:
        self._here = os.open(self.folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        return f"/proc/self/fd/{self._here}/{name}"

    # -- start -----------------------------------------------------------------------------------

    def _notified(self) -> None:
        if ready.notified(self.notify) and not self.ready:
            self._is_ready()

    def _is_ready(self) -> None:
        self.ready = True
        self.watch = None
        self.deadline = None
        self._write_state("running")
        message, fds = self._about()
        self._answer_start({**message, "ready": True}, fds)
        if not self.config["tether"]:
            self._drop_tether()

    def _about(self) -> tuple[wire.Message, list[int]]:
        born = self.born
        assert born is not None
        message: wire.Message = {
            "pid": born.pid,
            "kind": born.kind,
            "bits": born.bits,
            "mode": born.mode,
            "init": self.config["init"],
            "net": self.config["net"],
            "console": self.config["console"],
            **(self.upkeep.about() if self.upkeep else {}),
        }
        return message, [born.proxy] if born.proxy >= 0 else []

    def _write_state(self, state: str) -> None:
        message, _fds = self._about()
        message.update(state=state, tether=self.config["tether"], started=self.config["started"])
        runstate.write(f"{self.folder}/{runstate.STATE}", message)

    def _answer_start(self, message: wire.Message, fds: list[int] | None = None) -> None:
        if self.tether is None:
            return
        try:
            wire.send(self.tether, message, fds or [])
        except (OSError, EOFError):
            self.over = self.over or "killed"

    def _tether_moved(self) -> None:
        """The tool closed the connection, or died."""
        self.over = self.over or "killed"

    def _drop_tether(self) -> None:
        if self.tether is not None:
            self.selector.unregister(self.tether)
            self.tether.close()
            self.tether = None

    # -- what happens in the VE --------------------------------------------------------------------

    def _read_console(self) -> None:
        assert self.born is not None
        try:
            data = os.read(self.born.console, 65536)
        except OSError:
            return
        self.console_log.write(data)

    def _reap(self, wakeup: socket.socket) -> None:
        try:
            while wakeup.recv(4096):
                pass
        except BlockingIOError:
            pass
        self._reap_all()

    def _reap_all(self) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            if self.born is not None and pid == self.born.pid:
                # Linux ends the init of a VE that calls reboot(2) by one of two signals.
                asked = os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGHUP
                self.over = self.over or ("rebooted" if asked else "ended")
            command = self.commands.pop(pid, None)
            if command is not None:
                self._command_ended(command, status)

    def _command_ended(self, command: Command, status: int) -> None:
        self.groups.append(command.group)
        for group in list(self.groups):
            # Daemons that a command left live on in its group: it goes when it is empty.
            with contextlib.suppress(OSError):
                os.rmdir(group)
                self.groups.remove(group)
        if command.client is not None:
            assert self.upkeep is not None
            hit = self.upkeep.hit_since(command.failures)
            self._tell(command.client, {"status": status, "over_limit": hit})
            self._hang_up(command.client)

    # -- who asks --------------------------------------------------------------------------------

    def _accept(self) -> None:
        client, _address = self.control.accept()
        self.clients.add(client)
        self._watch(client, lambda: self._listen(client))

    def _hang_up(self, client: socket.socket) -> None:
        with contextlib.suppress(KeyError, ValueError):
            self.selector.unregister(client)
        self.clients.discard(client)
        client.close()

    def _tell(self, client: socket.socket, message: wire.Message, fds: list[int] | None = None) -> None:
        with contextlib.suppress(OSError, EOFError):  # whoever asked is gone; the selector will report it
            wire.send(client, message, fds or [])

    def _listen(self, client: socket.socket) -> None:
        try:
            message, fds = wire.receive(client)
        except (EOFError, OSError):
            self._client_gone(client)
            return
        try:
            self._serve(client, message, fds)
        finally:
            for fd in fds:
                os.close(fd)

    def _client_gone(self, client: socket.socket) -> None:
        for command in self.commands.values():
            if command.client is client:
                command.client = None
                self._kill_command(command)
        if client in self.waiting:
            self.waiting.remove(client)
        self._hang_up(client)

    def _serve(self, client: socket.socket, message: wire.Message, fds: list[int]) -> None:
        what = message.get("op")
        if what == "exec":
            self._exec(client, message, fds)
        elif what == "kill":
            for command in self.commands.values():
                if command.client is client:
                    self._kill_command(command)
        elif what == "about":
            about, given = self._about()
            self._tell(client, {**about, "ready": self.ready}, given)
        elif what in ("usage", "limits", "add_address", "remove_address"):
            assert self.upkeep is not None
            self._tell(client, self.upkeep.answer(message))
            if what != "usage":
                self._write_state("running" if self.ready else "starting")
        elif what == "stop":
            self.waiting.append(client)
            self._stop(boot.whole(message["timeout_s"]))
        elif what == "end":
            self.waiting.append(client)
            self.over = self.over or "killed"

    def _exec(self, client: socket.socket, request: wire.Message, fds: list[int]) -> None:
        try:
            self._spawn(client, request, fds)
        except (OSError, TimeoutError) as error:
            self._tell(client, {"error": str(error)})
            self._hang_up(client)

    def _spawn(self, client: socket.socket | None, request: wire.Message, fds: list[int]) -> None:
        assert self.born is not None
        assert self.upkeep is not None
        self.serial += 1
        failures = self.upkeep.failures()
        group = cgroup.exec_group(str(self.config["owner"]), str(self.config["veid"]), f"exec{self.serial}")
        joins = [f"{group}/cgroup.procs", *self.born.joins[1:]]
        env = {"PATH": birth.SEARCH_PATH, "container": "tmplbuild"}
        if self.config["net"] == "proxy":
            address = f"http://127.0.0.1:{birth.PROXY_PORT}"
            env.update(http_proxy=address, https_proxy=address)
        uid = boot.whole(self.config["uid"])
        for fd in fds[-2:]:
            if stat.S_ISFIFO(os.fstat(fd).st_mode):
                os.fchown(fd, uid, uid)  # scripts open /dev/stderr: a pipe of the host's root refuses
        extra = request["env"]
        assert isinstance(extra, dict)
        request["env"] = {**env, **extra}
        how = birth.Plain(self.born.bits, bool(self.config["suppress_sync"]))
        spaces = enter.SPACES if self.config["net"] != "host" else enter.SPACES & ~linux.CLONE_NEWNET
        try:
            pid = enter.spawn(self.born.pidfd, spaces, joins, request, fds, how, client)
        except OSError:
            cgroup.kill(group)
            cgroup.remove(group)
            raise
        self.commands[pid] = Command(pid, group, client, failures)

    def _kill_command(self, command: Command) -> None:
        # One that hangs in the kernel gives its status when it can.
        with contextlib.suppress(OSError, TimeoutError):
            cgroup.kill(command.group)

    def _stop(self, timeout_s: int) -> None:
        assert self.born is not None
        if self.over:
            return  # it ended by itself just now
        if not self.config["init"]:
            self.over = "killed"
            return
        self.deadline = time.monotonic() + timeout_s
        self.watch = None
        self.ready = True
        number = _STOP_SIGNALS.get(self.born.kind)
        if number is not None:
            signal.pidfd_send_signal(self.born.pidfd, number)
            return
        request: wire.Message = {
            "argv": _STOP_COMMANDS.get(self.born.kind, ["poweroff"]),
            "env": {},
            "cwd": "/",
            "user": "root",
            "tty": False,
            "stdin": False,
        }
        null = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
        try:
            self._spawn(None, request, [null, null])
        except OSError:
            self.over = self.over or "killed"
        finally:
            os.close(null)

    # -- the end -----------------------------------------------------------------------------------

    def _finish(self) -> None:
        """Kill what is left, remove every trace, tell whoever waits, in this order."""
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        trouble = ""
        try:
            cgroup.destroy(str(self.config["owner"]), str(self.config["veid"]))
            self._reap_all()
            self._reap_dead()
            self._release_mounts()
            if not self.ready:
                self._answer_start(self._failure())
            self._hear_last()
            if self.over == "rebooted" and self.ready and not self.config["tether"] and not self.waiting:
                self._start_again()
            trouble = self._clear()
            self._hear_last()
        except (OSError, TimeoutError) as error:
            trouble = str(error)
        for fd in self.locks:
            os.close(fd)
        how = "clean" if self.over in ("ended", "rebooted") else "killed"
        for client in self.waiting:
            self._tell(client, {"error": trouble} if trouble else {"ending": how})

    def _reap_dead(self) -> None:
        """Tell how the last commands ended: a process leaves its group a moment before it has a status."""
        for pid, command in list(self.commands.items()):
            with contextlib.suppress(ChildProcessError):
                _pid, status = os.waitpid(pid, 0)
                del self.commands[pid]
                self._command_ended(command, status)

    def _hear_last(self) -> None:
        """Have those wait for the end who ask for it while it comes by itself."""
        self.control.setblocking(False)
        with contextlib.suppress(OSError):
            while True:
                self._accept()
        for client in self.clients.difference(self.waiting):
            client.settimeout(_LAST_WORD_S)
            with contextlib.suppress(OSError, EOFError):
                message, _fds = wire.receive(client)
                if message.get("op") in ("stop", "end"):
                    self.waiting.append(client)

    def _start_again(self) -> None:
        """Give a VE that rebooted itself a new monitor, in our place. Returns only by an OSError."""
        assert self.upkeep is not None
        remains.remove_line(self.folder)
        remains.remove_folder(self.folder, keep=True, spare=(runstate.CONSOLE, f"{runstate.CONSOLE}.1"))
        self.config["limits"] = self.upkeep.limits
        if isinstance(self.config["venet"], dict):
            self.config["venet"]["addresses"] = self.upkeep.about()["addresses"]
        runstate.write(f"{self.folder}/{runstate.CONFIG}", self.config)
        ours, theirs = wire.pair()
        wire.send(ours, self.config, self.locks)
        # Nobody reads what is kept; its being open says that the start is wanted. Both ends get numbers
        # above the one that the next monitor looks at: a new pair may have that.
        fcntl.fcntl(ours, fcntl.F_DUPFD, self.number + 1)
        os.dup2(fcntl.fcntl(theirs, fcntl.F_DUPFD_CLOEXEC, self.number + 1), self.number)
        os.execv(sys.executable, sys.orig_argv)

    def _clear(self) -> str:
        # The tree's lock is ours: give it back, so that `clear` can take it.
        for fd in self.locks[1:]:
            os.close(fd)
        del self.locks[1:]
        try:
            remains.clear(str(self.config["state"]), str(self.config["veid"]), str(self.config["owner"]))
        except (OSError, TimeoutError) as error:
            return str(error)
        return ""

    def _failure(self) -> wire.Message:
        why = {
            "late": f"its init did not report that it is ready within {self.config['timeout_s']} seconds",
            "ended": "its init ended",
            "rebooted": "it rebooted",
        }.get(self.over, self.reason or "it was stopped")
        return {"error": why, "step": "boot", "tail": self.console_log.tail(_TAIL)}

    def _release_mounts(self) -> None:
        if self.born is not None:
            self._drain_console()
            os.close(self.born.root)
        scratch = f"{self.folder}/scratch"
        # Nothing is mounted there for a plain directory, or where the start failed early.
        with contextlib.suppress(OSError):
            linux.umount(scratch)

    def _drain_console(self) -> None:
        assert self.born is not None
        os.set_blocking(self.born.console, False)
        while True:
            try:
                data = os.read(self.born.console, 65536)
            except OSError:
                return
            if not data:
                return
            self.console_log.write(data)


def main(number: int) -> None:
    """Be the monitor of the VE that the first message on socket `number` describes."""
    tether = socket.socket(fileno=number)
    tether.set_inheritable(False)
    config, locks = wire.receive(tether)
    linux.set_name("tmplbuild-ve")
    linux.prctl(linux.PR_SET_CHILD_SUBREAPER, 1)
    os.chdir("/")
    os.umask(0o022)
    layers.private_mounts()
    Monitor(config, tether, locks).run()
