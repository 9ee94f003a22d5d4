"""Work shared with copies of this process, for what Python's threads cannot do side by side."""

from __future__ import annotations

import gc
import os
import pickle
import signal
import struct
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import NoReturn, TypeVar

from tmplbuild.core import linux
from tmplbuild.errors import StageError

T = TypeVar("T")
R = TypeVar("R")

_NUMBER = struct.Struct("=I")
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_MOST = 16_000  # numbers that a pipe holds


def share(work: Callable[[T], R], items: Sequence[T], workers: int) -> list[R]:
    """`work` on each item, the first items first; the results in the order of the items.

    Parameters:
        work: opens what it needs by itself and leaves what it did in the file system or in its result (which
            is pickled): nothing else of what it changes is seen by the caller. It imports nothing, and has
            no use for other threads.
        items: at most 16,000.
        workers: processes, the caller's own among them.

    Raises the first error that `work` raised, and StageError when a process was killed.
    """
    if workers <= 1 or len(items) <= 1:
        return [work(item) for item in items]
    assert len(items) <= _MOST
    todo, fill = os.pipe()
    with os.fdopen(todo, "rb", buffering=0), os.fdopen(fill, "wb") as pipe:
        pipe.write(b"".join(map(_NUMBER.pack, range(len(items)))))
        pipe.close()
        crew: dict[int, int] = {}
        try:
            for _ in range(min(workers, len(items)) - 1):
                child, answer = _copy(work, items, todo)
                crew[child] = answer
            found = _do(work, items, todo)
            for answer in crew.values():
                found += _answer(answer)
        finally:
            for child, answer in crew.items():
                os.kill(child, signal.SIGTERM)  # it has ended, or is of no use
                os.waitpid(child, 0)
                os.close(answer)
    return [result for _, result in sorted(found, key=lambda one: one[0])]


class _Over(BaseException):
    """What this process does is of no use any more."""


def _do(work: Callable[[T], R], items: Sequence[T], todo: int) -> list[tuple[int, R]]:
    try:
        return [(number, work(items[number])) for number in _numbers(todo)]
    except BaseException:
        for _ in _numbers(todo):  # nobody begins with anything more
            pass
        raise


def _numbers(todo: int) -> Iterator[int]:
    while record := os.read(todo, _NUMBER.size):
        yield _NUMBER.unpack(record)[0]


def _copy(work: Callable[[T], R], items: Sequence[T], todo: int) -> tuple[int, int]:
    """A process that works, and the descriptor from which its answer can be read."""
    answer, told = os.pipe()
    parent = os.getpid()
    with warnings.catch_warnings():
        # Python 3.12 warns of locks that other threads may hold now; `work` takes none of theirs
        warnings.simplefilter("ignore", DeprecationWarning)
        # what the caller does at a signal is not the copy's to do
        before = signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
        try:
            child = os.fork()
            if child == 0:
                _work(work, items, todo, told, parent)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
    os.close(told)
    return child, answer


def _work(work: Callable[[T], R], items: Sequence[T], todo: int, told: int, parent: int) -> NoReturn:
    try:
        gc.disable()  # what the caller's other threads hold is theirs to end
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # these reach the caller too, who then ends us
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, _end)  # `work` puts its things away, as in the caller
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
        linux.die_with_parent()
        if os.getppid() == parent:
            answer: list[tuple[int, R]] | Exception
            try:
                answer = _do(work, items, todo)
            except Exception as error:  # noqa: BLE001 - it is raised in the caller
                answer = error
            with os.fdopen(told, "wb") as file:
                file.write(pickle.dumps(answer))
            os._exit(0)
    finally:
        os._exit(1)


def _end(*_: object) -> NoReturn:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    raise _Over


def _answer(answer: int) -> list[tuple[int, R]]:
    """What a copy found, once it has ended. Raises what it raised."""
    with open(answer, "rb", closefd=False) as file:
        data = file.read()
    try:
        found: list[tuple[int, R]] | Exception = pickle.loads(data)
    except (EOFError, pickle.UnpicklingError):
        raise StageError("a process of tmplbuild was killed before its work was done") from None
    if isinstance(found, Exception):
        raise found
    return found
