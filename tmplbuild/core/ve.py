"""A running VE, as the tool sees it: a thin client of the VE's monitor."""

from __future__ import annotations

import os
import select
import selectors
import socket
import struct
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Literal, Protocol

from tmplbuild.core import runstate, wire
from tmplbuild.core.model import Ending, ExecResult, Limits, Usage, address
from tmplbuild.errors import BusyError, HostError, StageError, UsageError

if TYPE_CHECKING:
    from tmplbuild.core.process import Helper

_END_TIMEOUT_S = 180.0
"""Seconds for a VE that is killed to be gone: its processes, and all that is to be removed."""
_SHELL = "if [ -x /bin/bash ]; then exec /bin/bash -l; fi; exec /bin/sh -l"

Output = Callable[[bytes, str], None]


class Home(Protocol):
    """Who started a VE, or found it: what is left of it is removed there (`tmplbuild.core.host.Core`)."""

    def folder(self, veid: str) -> Path: ...
    def clear(self, veid: str) -> bool: ...


class VE:
    """A VE that runs. Made by `Core.start` and `Core.attach`.

    Leaving a with-block stops it (with init) or kills it (without); any error in the block kills it.

    Attributes:
        veid: its id.
        pid: the process id of its init, as the host has it.
        init: whether the tree's init runs in it.
        kind: "systemd", "sysvinit", "openrc", "other"; "command" where one was given; "none" where the
            tree has no init.
        bits: 32 or 64 as its programs are, 0 where that is not known.
        mode: how its owners are mapped: "overlay", "idmap" or "shift".
        proxy_socket: listens on 127.0.0.1:3142 in the VE's network, for the tool to serve from the
            host's; None without net="proxy". Shut down when the VE ends, closed by `detach` and at
            the end of a with-block.
        limits: what it may use.
        addresses: those of its venet0.
        console_log: what init and its services wrote to the console; goes with the VE, unless
            `Core.start` was given a place for it. It is kept to 4 MiB, and 4 more in NAME.1.
    """

    def __init__(
        self,
        home: Home,
        veid: str,
        about: wire.Message,
        fds: list[int],
        *,
        tether: socket.socket | None = None,
        helper: Helper | None = None,
    ) -> None:
        self.veid = veid
        self.pid = int(str(about["pid"]))
        self.init = bool(about["init"])
        self.kind = str(about["kind"])
        self.bits = int(str(about["bits"]))
        self.mode = str(about["mode"])
        self.console_log = Path(str(about["console"]))
        self.proxy_socket = socket.socket(fileno=fds[0]) if fds else None
        self._home = home
        self._tether = tether
        self._learn(about)
        self._helper = helper

    # -- commands --------------------------------------------------------------------------------

    def exec(
        self,
        argv: Sequence[str],
        *,
        env: Mapping[str, str] | None = None,
        cwd: str = "/",
        stdin: bytes | int | None = None,
        output: Output | None = None,
        tty: bool = False,
        timeout_s: float | None = None,
        user: str = "root",
    ) -> ExecResult:
        """Run a command in the VE and wait for its end.

        It has a control group of its own, which is killed as a whole when the time is over, when
        the call is interrupted, and when the calling process dies. What the command leaves running
        by itself when it ends well (a daemon) lives on.

        Parameters:
            env: added to PATH, HOME, USER, LOGNAME, container (and http_proxy, https_proxy).
            stdin: bytes, or a descriptor; /dev/null if not given.
            output: called with each piece as it comes and "stdout" or "stderr"; without it the
                output is kept in the result.
            tty: give it a terminal; everything then comes as "stdout", and stdin must be None.
            timeout_s: seconds.
            user: name, "UID" or "UID:GID", as the VE knows it.

        Raises StageError when the VE ends meanwhile, HostError when it cannot be entered.
        """
        if not argv or any("\0" in word for word in argv):
            raise UsageError("A command needs at least one word, and no word may hold a NUL byte.")
        return _Command(self, argv, env or {}, cwd, stdin, output, tty, user).run(timeout_s)

    def shell(self, argv: Sequence[str] = ("/bin/sh", "-c", _SHELL)) -> int:
        """Run a shell on the caller's terminal until it ends. Returns its exit status.

        Raises UsageError when standard input is no terminal.
        """
        from tmplbuild.core.terminal import serve

        env = {"TERM": os.environ.get("TERM", "linux")}
        connection = self.connect()
        try:
            wire.send(connection, _request(argv, env, "/", "root", tty=True, stdin=False))
            return serve(connection)
        except EOFError as error:
            raise StageError("The VE ended while a shell ran in it.", where=self.veid) from error
        finally:
            connection.close()

    # -- limits and addresses ------------------------------------------------------------------------

    def usage(self) -> tuple[Usage, ...]:
        """What it uses, the most it did, its limits and how often they were hit. Raises HostError."""
        rows = self._ask({"op": "usage"})["rows"]
        assert isinstance(rows, list)
        return tuple(Usage(*row) for row in rows)

    def set_limits(self, limits: Limits) -> None:
        """Give it other limits while it runs: all of them, None lifts one.

        Take `dataclasses.replace(ve.limits, memory_mib=512)` to change some. Raises HostError when the
        machine cannot hold one, or more than that is in use; then the old ones are in force.
        """
        self._learn(self._ask({"op": "limits", "limits": limits.as_message()}))

    def add_address(self, text: str) -> None:
        """Give it one more address. Raises BusyError when the host or another VE has it, HostError."""
        self._learn(self._ask({"op": "add_address", "address": address(text)}))

    def remove_address(self, text: str) -> None:
        """Take an address away. Raises HostError when it has not got it."""
        self._learn(self._ask({"op": "remove_address", "address": address(text)}))

    def _learn(self, about: wire.Message) -> None:
        limits, addresses = about["limits"], about["addresses"]
        assert isinstance(limits, dict)
        assert isinstance(addresses, list)
        self.limits = Limits(**limits)
        self.addresses = tuple(str(one) for one in addresses)

    def _ask(self, message: wire.Message) -> wire.Message:
        try:
            with self.connect() as connection:
                answer, _fds = wire.call(connection, message)
        except EOFError as error:
            raise HostError("The VE does not run.", where=self.veid) from error
        if "error" in answer:
            kind = BusyError if answer.get("busy") else HostError
            raise kind(
                "The VE could not be changed.",
                where=self.veid,
                why=str(answer["error"]),
                hint=str(answer.get("hint", "")),
            )
        return answer

    # -- life ------------------------------------------------------------------------------------

    def status(self) -> Literal["running", "stopped"]:
        """Whether it still runs."""
        try:
            with self.connect() as connection:
                wire.call(connection, {"op": "about"})
        except (HostError, EOFError):
            return "stopped"
        return "running"

    def stop(self, timeout_s: float = 90) -> Ending:
        """Have its init shut it down; after `timeout_s` seconds kill it. Then nothing of it is left.

        Returns "clean" when init ended by itself, "killed", or "already" when it did not run.
        Raises HostError when something cannot be removed.
        """
        return self._end({"op": "stop", "timeout_s": timeout_s}, timeout_s + _END_TIMEOUT_S)

    def kill(self) -> None:
        """End it at once. Raises HostError when a process hangs in the kernel."""
        self._end({"op": "end"}, _END_TIMEOUT_S)

    def _end(self, message: wire.Message, timeout_s: float) -> Ending:
        ending: Ending = "already"
        try:
            with self.connect() as connection:
                connection.settimeout(timeout_s)
                monitor = _peer(connection)
                answer, _fds = wire.call(connection, message)
                if "error" in answer:
                    raise HostError("The VE could not be removed.", where=self.veid, why=str(answer["error"]))
                ending = "clean" if answer["ending"] == "clean" else "killed"
                if monitor is not None:
                    select.select([monitor], [], [], _END_TIMEOUT_S)
                    os.close(monitor)
        except EOFError:
            ending = "killed"  # its monitor was killed meanwhile
        except TimeoutError as error:
            raise HostError("The VE does not end.", where=self.veid, hint="tmplbuild ve gc") from error
        except HostError as error:
            if not isinstance(error.__cause__, OSError):
                raise
        self._let_go()
        self._home.clear(self.veid)
        return ending

    def _let_go(self) -> None:
        if self.proxy_socket is not None:
            # It may be served by a thread: that one is woken, and closing is left to `detach`.
            with suppress(OSError):
                self.proxy_socket.shutdown(socket.SHUT_RDWR)
        if self._tether is not None:
            self._tether.close()
            self._tether = None
        if self._helper is not None:
            self._helper.wait(_END_TIMEOUT_S)
            self._helper = None

    def detach(self) -> None:
        """Give back what this object holds; a VE without tether lives on, one with it is killed."""
        if self._helper is not None:
            self._helper.leave()
            self._helper = None
        for end in (self._tether, self.proxy_socket):
            if end is not None:
                end.close()
        self._tether = self.proxy_socket = None

    def __enter__(self) -> VE:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if self.init and error is None:
                self.stop()
            else:
                self.kill()
        finally:
            self.detach()

    def connect(self) -> socket.socket:
        """A connection to the monitor. Raises HostError when it is gone."""
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            here = os.open(self._home.folder(self.veid), os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
            try:  # by descriptor: the path itself may be too long for an address
                sock.connect(f"/proc/self/fd/{here}/{runstate.CONTROL}")
            finally:
                os.close(here)
        except OSError as error:
            sock.close()
            raise HostError("The VE does not run.", where=self.veid, why=str(error)) from error
        return sock


def _peer(connection: socket.socket) -> int | None:
    """A descriptor of the process at the other end, readable once it has ended; None if it has."""
    pid, _uid, _gid = struct.unpack("3i", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
    try:
        return os.pidfd_open(pid)
    except ProcessLookupError:
        return None


def _request(
    argv: Sequence[str], env: Mapping[str, str], cwd: str, user: str, *, tty: bool, stdin: bool
) -> wire.Message:
    return {
        "op": "exec",
        "argv": list(argv),
        "env": dict(env),
        "cwd": cwd,
        "user": user,
        "tty": tty,
        "stdin": stdin,
    }


class _Command:
    """One command in a VE while it runs: its connection and its output."""

    def __init__(
        self,
        ve: VE,
        argv: Sequence[str],
        env: Mapping[str, str],
        cwd: str,
        stdin: bytes | int | None,
        output: Output | None,
        tty: bool,
        user: str,
    ) -> None:
        self.what = " ".join(argv)
        self.veid = ve.veid
        self.kept: dict[str, list[bytes]] = {"stdout": [], "stderr": []}
        self.output = output or (lambda data, name: self.kept[name].append(data))
        self.status: int | None = None
        self.over_limit: tuple[str, ...] = ()
        self.timed_out = False
        self.selector = selectors.DefaultSelector()
        self.pipes: set[int] = set()
        self.connection = ve.connect()
        try:
            request = _request(argv, env, cwd, user, tty=tty, stdin=stdin is not None)
            self._send(request, stdin, tty)
        except EOFError as error:
            self.close()
            raise HostError("The VE does not run.", where=ve.veid, why=str(error)) from error
        except BaseException:
            self.close()
            raise
        self.selector.register(self.connection, selectors.EVENT_READ, "")

    def _send(self, request: wire.Message, stdin: bytes | int | None, tty: bool) -> None:
        given: list[int] = []
        try:
            if isinstance(stdin, bytes):
                given.append(_memory_file(stdin))
            elif stdin is not None:
                given.append(os.dup(stdin))
            for name in () if tty else ("stdout", "stderr"):
                reader, writer = os.pipe()
                given.append(writer)
                self._read_from(reader, name)
            wire.send(self.connection, request, given)
        finally:
            for fd in given:
                os.close(fd)

    def _read_from(self, fd: int, name: str) -> None:
        os.set_blocking(fd, False)
        self.pipes.add(fd)
        self.selector.register(fd, selectors.EVENT_READ, name)

    def run(self, timeout_s: float | None) -> ExecResult:
        """Serve it until it has ended."""
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        try:
            while self.status is None:
                left = None if deadline is None else deadline - time.monotonic()
                if left is not None and left <= 0:
                    self.timed_out, deadline = True, None
                    with suppress(EOFError):  # `_hear` tells that the VE has ended
                        wire.send(self.connection, {"op": "kill"})
                    continue
                self._turn(left)
            # What it wrote is in the pipes by now; a daemon that it left may hold them open.
            for fd in list(self.pipes):
                while self._read(fd):
                    pass
        except BaseException:
            self._cut()
            raise
        finally:
            self.close()
        return self._result(self.status)

    def _turn(self, timeout_s: float | None) -> None:
        for key, _events in self.selector.select(timeout_s):
            if key.data:
                self._read(key.fd)
            else:
                self._hear()

    def _read(self, fd: int) -> bool:
        """Hand on one piece of output. False when there is none now."""
        if fd not in self.pipes:
            return False
        name = str(self.selector.get_key(fd).data)
        try:
            data = os.read(fd, 1 << 16)
        except BlockingIOError:
            return False
        except OSError:
            data = b""  # EIO: the terminal's other side is closed
        if not data:
            self.selector.unregister(fd)
            self.pipes.discard(fd)
            os.close(fd)
            return False
        self.output(data, name)
        return True

    def _hear(self) -> None:
        try:
            message, fds = wire.receive(self.connection)
        except EOFError as error:
            raise StageError(
                "The VE ended while a command ran in it.", where=self.veid, why=self.what
            ) from error
        if "terminal" in message:
            self._read_from(fds[0], "stdout")
        elif "status" in message:
            self.status = int(str(message["status"]))
            hit = message["over_limit"]
            self.over_limit = tuple(hit) if isinstance(hit, list) else ()
        elif "over" in message:
            raise StageError("The VE was ended.", where=self.veid, why=str(message["over"]))
        else:
            raise HostError("The VE cannot be entered.", where=self.veid, why=str(message.get("error")))

    def _cut(self) -> None:
        """Have the command killed, and wait until it is."""
        try:
            self.connection.settimeout(_END_TIMEOUT_S)
            wire.send(self.connection, {"op": "kill"})
            while self.status is None:
                message, _fds = wire.receive(self.connection)
                self.status = int(str(message["status"])) if "status" in message else None
        except (OSError, EOFError):
            pass  # the monitor kills it when the connection closes

    def _result(self, status: int) -> ExecResult:
        number = os.WTERMSIG(status) if os.WIFSIGNALED(status) else None
        rc = 128 + number if number is not None else os.WEXITSTATUS(status)
        stdout, stderr = (b"".join(self.kept[name]) for name in ("stdout", "stderr"))
        return ExecResult(rc, number, self.timed_out, stdout, stderr, self.over_limit)

    def close(self) -> None:
        """Give back all descriptors."""
        self.selector.close()
        for fd in self.pipes:
            os.close(fd)
        self.pipes.clear()
        self.connection.close()


def _memory_file(data: bytes) -> int:
    fd = os.memfd_create("stdin")
    with open(fd, "wb", closefd=False) as file:
        file.write(data)
    os.lseek(fd, 0, os.SEEK_SET)
    return fd
