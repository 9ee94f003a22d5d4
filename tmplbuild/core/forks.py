"""Runs of this tool as copies of one that has loaded everything and has done nothing yet.

A Python that begins takes as long as a small step of a build. So one is kept (`Keeper`): it has one thread,
imports, and waits. For each run it forks; the copy has what a fresh process would have (a session of its own,
the output it is given, no signal handlers, nothing of an earlier run), and a crash of it is its own.

    keeper = Keeper(lambda socket: ["task", "--socket", str(socket)], env)    # who orders
    run = keeper.start(["task", ...])                                   # as a Sibling
    serve(socket, main, ...)                                            # the process that is kept
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import selectors
import signal
import socket
import struct
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import IO, NoReturn, Protocol

from tmplbuild.core.aside import begin
from tmplbuild.core.process import Sibling, become

_STATUS = struct.Struct("=i")
_BEGUN = b"B"
_PATIENCE_S = 60.0  # it may just be importing, on a machine that has much to do
_MOST = 65536  # bytes of a command line
_STOP, _KILL = b"T", b"K"


class Running(Protocol):
    """A run of the tool: a `Sibling`, or a copy."""

    def lines(self) -> Iterator[bytes]:
        """The lines of its output as they come."""

    def stop(self) -> None:
        """Ask it to clean up and leave."""

    def kill(self) -> None:
        """End it and what it started at once."""

    def wait(self) -> tuple[int, str]:
        """Its exit status (-N for signal N), and what it wrote to standard error."""


class Keeper:
    """Keeps a process from which runs are copied, and starts another one should it be gone.

    Parameters:
        words: the command line that has a run of the tool call `serve` with the descriptor it is told.
        env: what it sees on top of our environment.
    """

    def __init__(self, words: Callable[[int], Sequence[str]], env: Mapping[str, str]) -> None:
        self._words, self._env = words, env
        self._lock = threading.Lock()
        self._process: Sibling | None = None
        self._socket: socket.socket | None = None
        self.warm()

    def warm(self) -> None:
        """Begin with the process that is kept, if it does not run."""
        with self._lock:
            self._begin()

    def start(self, words: Sequence[str]) -> Running:
        """A run with this command line."""
        with self._lock, contextlib.suppress(OSError):
            return _Copy(self._begin(), words)
        return Sibling(words, self._env)  # whatever became of the other: this one depends on nobody

    def close(self) -> None:
        """Have it end. What was copied from it and still runs is killed."""
        with self._lock:
            self._end()

    def _begin(self) -> socket.socket:
        if self._process is not None and self._socket is not None and self._process.running():
            return self._socket
        self._end()
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self._process = Sibling(self._words(theirs.fileno()), self._env, pass_fds=(theirs.fileno(),))
        self._socket = ours
        return ours

    def _end(self) -> None:
        if self._socket is not None:
            self._socket.close()
        if self._process is not None:
            self._process.kill()
            self._process.wait()
        self._process = self._socket = None


class _Copy:
    """See `Running`. Raises OSError when nobody is there who could be copied."""

    def __init__(self, keeper: socket.socket, words: Sequence[str]) -> None:
        out, into = os.pipe()
        self._out: IO[bytes] = os.fdopen(out, "rb")
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115  # closed by `wait`
        self._talk, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            fds = [into, self._errors.fileno(), theirs.fileno()]
            socket.send_fds(keeper, [json.dumps(list(words)).encode()], fds)
            theirs.close()
            self._talk.settimeout(_PATIENCE_S)
            if not self._talk.recv(len(_BEGUN)):
                raise ConnectionResetError("the process that is kept has ended")
            self._talk.settimeout(None)
        except OSError:
            self._close()
            raise
        finally:
            os.close(into)
            theirs.close()

    def _close(self) -> None:
        self._out.close()
        self._errors.close()
        self._talk.close()

    def lines(self) -> Iterator[bytes]:
        yield from iter(self._out.readline, b"")  # by itself it would be closed with this generator

    def stop(self) -> None:
        self._tell(_STOP)

    def kill(self) -> None:
        self._tell(_KILL)

    def _tell(self, what: bytes) -> None:
        with contextlib.suppress(OSError):  # it has ended
            self._talk.send(what)

    def wait(self) -> tuple[int, str]:
        try:
            data = self._talk.recv(_STATUS.size)
        except OSError:
            data = b""
        code = _STATUS.unpack(data)[0] if data else -signal.SIGKILL  # who goes without a word took it along
        self._errors.seek(0)
        said = self._errors.read().decode("utf-8", "replace")
        self._close()
        return code, said


# -- the process that is kept ---------------------------------------------------------------------


def serve(control: int, main: Callable[[Sequence[str]], int], is_old: Callable[[], bool]) -> None:
    """Wait for command lines and run each in a copy of this process, until nobody can ask any more.

    Parameters:
        control: the socket's descriptor, which the process was started with.
        main: runs a command line; its result is the exit status.
        is_old: whether what was imported is no longer what lies on the disk: then a copy begins anew.
    """
    gc.collect()
    gc.freeze()  # a copy that collects garbage need not touch what it shares
    with socket.socket(fileno=control) as door, selectors.DefaultSelector() as selector:
        door.set_inheritable(False)
        _Nest(door, selector, main, is_old).run()


class _Nest:
    def __init__(
        self,
        door: socket.socket,
        selector: selectors.BaseSelector,
        main: Callable[[Sequence[str]], int],
        is_old: Callable[[], bool],
    ) -> None:
        self._door, self._selector, self._main, self._is_old = door, selector, main, is_old
        self._talks: dict[int, socket.socket] = {}  # by the copy's pid
        self._alarm, bell = socket.socketpair()
        self._bell = bell
        for end in (self._alarm, bell):
            end.setblocking(False)

    def run(self) -> None:
        """Until the door is closed from outside."""
        signal.set_wakeup_fd(self._bell.fileno(), warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda number, frame: None)
        self._selector.register(self._door, selectors.EVENT_READ, self._come)
        self._selector.register(self._alarm, selectors.EVENT_READ, self._reap)
        while True:
            for key, _ in self._selector.select():
                if key.data() is False:
                    return  # the copies die with us

    def _come(self) -> bool:
        data, fds, _, _ = socket.recv_fds(self._door, _MOST, 3)
        if not data:
            return False
        out, errors, talk = fds
        words = json.loads(data)
        alone = (
            len(os.listdir("/proc/self/task")) == 1
        )  # locks that another thread holds stay locked in a copy
        old = self._is_old() or not alone
        parent = os.getpid()
        try:
            pid = os.fork()
        except OSError:  # no room for one more; who asked hears of it by the end of the talk
            for fd in fds:
                os.close(fd)
            return True
        if pid == 0:
            self._be(words, out, errors, talk, parent, old=old)
        os.close(out)
        os.close(errors)
        self._talks[pid] = connection = socket.socket(fileno=talk)
        self._selector.register(connection, selectors.EVENT_READ, lambda: self._told(pid))
        with contextlib.suppress(OSError):  # `_told` will hear of it
            connection.send(_BEGUN)
        return True

    def _told(self, pid: int) -> bool:
        """Pass a signal on; who asked may also be gone."""
        if (talk := self._talks.get(pid)) is None:
            return True  # it has ended, and was reaped an instant ago
        what = b""
        with contextlib.suppress(OSError):
            what = talk.recv(1)
        if not what:
            self._selector.unregister(talk)
        # its number is not given to another one before we have reaped it
        if what == _KILL:
            with contextlib.suppress(ProcessLookupError):  # it may just be making its group
                os.killpg(pid, signal.SIGKILL)
        os.kill(pid, signal.SIGKILL if what == _KILL else signal.SIGTERM)
        return True

    def _reap(self) -> bool:
        with contextlib.suppress(BlockingIOError):
            while self._alarm.recv(4096):
                pass
        for pid in list(self._talks):
            found, status = os.waitpid(pid, os.WNOHANG)
            if found == 0:
                continue
            with self._talks.pop(pid) as talk:
                with contextlib.suppress(KeyError):
                    self._selector.unregister(talk)
                with contextlib.suppress(OSError):
                    talk.send(_STATUS.pack(os.waitstatus_to_exitcode(status)))
        return True

    def _be(self, words: list[str], out: int, errors: int, talk: int, parent: int, *, old: bool) -> NoReturn:
        """What a copy does; it never comes back."""
        status = 1
        try:
            os.setsid()
            begin(parent)
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            os.dup2(out, 1)
            os.dup2(errors, 2)
            for fd in (out, errors, talk):
                os.close(fd)
            self._selector.close()
            for end in (self._door, self._alarm, self._bell, *self._talks.values()):
                end.close()
            if old:
                become(words)
            status = self._main(words)
            sys.stdout.flush()
            sys.stderr.flush()
        finally:
            os._exit(status)
