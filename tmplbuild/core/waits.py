"""Waits that heed signals.

Python runs a signal's handler when a lock's wait returns, if the signal comes after its last look for one and
before the wait (signal: "Execution of Python signal handlers"): a wait without an end might be the last thing
that a program does, Ctrl-C or not. These look once a second.
"""

from __future__ import annotations

import queue
import threading
from typing import TypeVar

T = TypeVar("T")

_HEED_S = 1.0


def until(event: threading.Event) -> None:
    """Wait until an event is set."""
    while not event.wait(_HEED_S):
        pass


def taken(source: queue.SimpleQueue[T]) -> T:
    """The next thing out of a queue, once there is one."""
    while True:
        try:
            return source.get(timeout=_HEED_S)
        except queue.Empty:
            continue
