"""A copy of this process that does what it is told beside it: with locks of its own, on another processor.

aside = Aside(lambda say: Clerk())          # forks; the copy makes what does the work
answer = aside.tell("write", letter)        # a Future of what Clerk().write(letter) returns
aside.close()
"""

from __future__ import annotations

import contextlib
import gc
import os
import pickle
import signal
import socket
import sys
import threading
import warnings
from collections.abc import Callable, Collection
from concurrent.futures import Future
from typing import Any, NoReturn

from tmplbuild.core import linux

_GRACE_S = 3.0

Say = Callable[[Any], None]
"""Tells the process that was copied something it did not ask for."""


class GoneError(Exception):
    """The copy has ended, or was killed, before it answered."""


class Aside:
    """A copy of this process, which ends with it at the latest. To be made before there are threads.

    Parameters:
        make: makes, in the copy, what does the work: methods are told to it by name. What it raises, everyone
            who asks is told.
        heard: called with what the copy says unasked.
        at_once: names of methods that are not done one after another, but each in a thread of its own.
        nice: how far the copy lets others go first, 0 to 19.
    """

    def __init__(
        self,
        make: Callable[[Say], object],
        *,
        heard: Callable[[Any], None] = lambda said: None,
        at_once: Collection[str] = (),
        nice: int = 0,
    ) -> None:
        self._heard = heard
        self._lock = threading.Lock()
        self._writing = threading.Lock()
        self._asked: dict[int, Future[Any]] = {}
        self._last = 0
        self._over = False
        self.answered = False
        """Whether it has answered anything so far."""
        self._socket, theirs = socket.socketpair()
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        parent = os.getpid()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # Python counts threads that are just ending
            self._pid = os.fork()
        if self._pid == 0:
            self._socket.close()
            _be(theirs, make, at_once, parent, nice)
        theirs.close()
        self._out, self._in = self._socket.makefile("wb"), self._socket.makefile("rb")
        self._thread = threading.Thread(target=self._listen, name="aside", daemon=True)
        self._thread.start()

    def tell(self, what: str, *words: Any, **more: Any) -> Future[Any]:
        """Have a method called. The future gets its result, its error, or GoneError."""
        answer: Future[Any] = Future()
        with self._lock:
            if self._over:
                answer.set_exception(GoneError())
                return answer
            self._last += 1
            number = self._last
            self._asked[number] = answer
        # Not with the lock that `_listen` needs: the copy may wait for it before it reads any more.
        with self._writing, contextlib.suppress(OSError):  # it is gone: `_listen` will notice, and answer
            pickle.dump((number, what, words, more), self._out)
            self._out.flush()
        return answer

    def hurry(self) -> None:
        """Let it be as important as this process from now on."""
        _let_go_first(self._pid, os.getpriority(os.PRIO_PROCESS, 0))

    def close(self) -> None:
        """Have it end when it has done all that it was told."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_WR)
        self._gone()

    def stop(self) -> None:
        """Have it leave off and clean up; what takes it more than some seconds, a server that says nothing,
        it leaves as a power cut would."""
        os.kill(self._pid, signal.SIGTERM)
        self._thread.join(_GRACE_S)  # it ends with the other end of the socket
        if self._thread.is_alive():
            os.kill(self._pid, signal.SIGKILL)
        self._gone()

    def kill(self) -> None:
        """End it at once."""
        os.kill(self._pid, signal.SIGKILL)
        self._gone()

    def _gone(self) -> None:
        os.waitpid(self._pid, 0)
        self._thread.join()
        with contextlib.suppress(OSError):  # what it was told last may still be unsent
            self._out.close()
        self._in.close()
        self._socket.close()

    def _listen(self) -> None:
        with contextlib.suppress(Exception):  # its end; or words that cannot be read, and then nothing can
            while True:
                number, found, error = pickle.load(self._in)
                if number == 0:
                    with contextlib.suppress(Exception):  # the answers are not to stop because of it
                        self._heard(found)
                    continue
                with self._lock:
                    self.answered = True
                    answer = self._asked.pop(number)
                if error is not None:
                    answer.set_exception(error)
                else:
                    answer.set_result(found)
        with self._lock:
            self._over = True
            left, self._asked = self._asked, {}
        for answer in left.values():
            answer.set_exception(GoneError())


def begin(parent: int) -> None:
    """Be a process of one's own after a fork: no handlers of signals are left, but who forked takes us along.

    Parameters:
        parent: the process id of who forked.
    """
    linux.die_with_parent()
    if os.getppid() != parent:
        os._exit(1)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:
            plain = signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL
            signal.signal(number, plain)


def _let_go_first(pid: int, nice: int) -> None:
    with contextlib.suppress(OSError):
        for thread in os.listdir(f"/proc/{pid}/task"):  # each has its own
            with contextlib.suppress(OSError):  # it has just ended
                os.setpriority(os.PRIO_PROCESS, int(thread), nice)
        with open(f"/proc/{pid}/autogroup", "w") as file:
            file.write(str(nice))


def _be(
    talk: socket.socket,
    make: Callable[[Say], object],
    at_once: Collection[str],
    parent: int,
    nice: int,
) -> NoReturn:
    try:
        gc.freeze()  # what was opened before is not ours to close
        begin(parent)
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # a Ctrl-C is for who told us
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        if nice:
            os.setsid()  # Linux divides the processors among sessions first (sched(7), autogroup)
            _let_go_first(os.getpid(), max(nice, os.getpriority(os.PRIO_PROCESS, 0)))
        _Copy(talk, at_once).work(make)
    finally:
        os._exit(0)


class _Copy:
    def __init__(self, talk: socket.socket, at_once: Collection[str]) -> None:
        self._out, self._in = talk.makefile("wb"), talk.makefile("rb")
        self._at_once = at_once
        self._lock = threading.Lock()
        self._who: object = None
        self._error: Exception | None = None

    def work(self, make: Callable[[Say], object]) -> None:
        """Answer until nobody can ask any more."""
        try:
            self._who = make(lambda said: self._send(0, said, None))
        except Exception as error:  # noqa: BLE001 - it is raised where it is asked
            self._error = error
        with contextlib.suppress(EOFError, OSError):
            while True:
                request = pickle.load(self._in)
                if request[1] in self._at_once:
                    threading.Thread(target=self._answer, args=request, daemon=True).start()
                else:
                    self._answer(*request)
        if self._error is None and hasattr(self._who, "close"):
            self._who.close()

    def _answer(self, number: int, what: str, words: tuple[Any, ...], more: dict[str, Any]) -> None:
        try:
            if self._error is not None:
                raise self._error
            found, error = getattr(self._who, what)(*words, **more), None
        except Exception as raised:  # noqa: BLE001 - it is raised where it is asked
            found, error = None, raised
        except BaseException as raised:  # who asked is not to wait for ever
            self._send(number, None, GoneError(repr(raised)))
            raise
        self._send(number, found, error)

    def _send(self, number: int, found: Any, error: Exception | None) -> None:
        try:
            data = pickle.dumps((number, found, error))
        except Exception as trouble:  # noqa: BLE001 - an error that does not travel
            data = pickle.dumps((number, None, RuntimeError(f"{trouble!r}: {error!r}")))
        with self._lock, contextlib.suppress(OSError):
            self._out.write(data)
            self._out.flush()
