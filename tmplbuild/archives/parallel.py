"""A few threads for work that waits for the network; an error or Ctrl-C ends all of it at once."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Sequence
from typing import TypeVar

from tmplbuild.core.waits import taken

T = TypeVar("T")

_GRACE_S = 2.0


class Stopped(Exception):
    """Another task failed, or the run was interrupted, while this one was at work."""


def run_all(
    tasks: Sequence[Callable[[], T]], jobs: int, stop: threading.Event, cut: Callable[[], None]
) -> list[T]:
    """Run `tasks` in up to `jobs` threads; the results in the order of the tasks.

    Parameters:
        stop: of this run alone: set, for good, when a task fails or the caller is interrupted; the others
            look at it and raise Stopped, be it after we have given them up.
        cut: called after `stop` is set, to wake threads that wait for something.

    Raises the first error.
    """
    if len(tasks) == 1:
        return [tasks[0]()]
    todo: queue.SimpleQueue[int] = queue.SimpleQueue()
    done: queue.SimpleQueue[tuple[int, list[T], BaseException | None]] = queue.SimpleQueue()
    for index in range(len(tasks)):
        todo.put(index)

    def work() -> None:
        while not stop.is_set():
            try:
                index = todo.get_nowait()
            except queue.Empty:
                return
            try:
                done.put((index, [tasks[index]()], None))
            except BaseException as error:  # noqa: BLE001 - it is raised in the caller's thread
                done.put((index, [], error))
                return

    # daemons: a thread that hangs in a name look-up must not hold up the end of the program
    threads = [threading.Thread(target=work, daemon=True) for _ in range(min(jobs, len(tasks)))]
    results: dict[int, T] = {}
    try:
        for thread in threads:
            thread.start()
        while len(results) < len(tasks):
            index, result, error = taken(done)
            if error is not None:
                raise error
            results[index] = result[0]
    except BaseException:
        stop.set()
        cut()
        for thread in threads:
            if thread.ident is not None:  # it was started
                thread.join(_GRACE_S)
        raise
    for thread in threads:
        thread.join()
    return [results[index] for index in range(len(tasks))]
