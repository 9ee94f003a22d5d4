"""Ctrl-C, SIGTERM and SIGHUP: one way out, through the context managers' clean-up."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Interrupted(KeyboardInterrupt):
    """A signal asked us to stop. `number` is the signal's."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.number = number


@contextmanager
def interruptible() -> Iterator[None]:
    """Turn the first signal into `Interrupted` in the main thread.

    A second one while the clean-up runs would leave a mess behind, so it only says so; the third
    is obeyed at once: a clean-up that hangs must not hold the user.
    """
    seen = 0

    def handle(number: int, frame: FrameType | None) -> None:
        nonlocal seen
        seen += 1
        if seen == 2:
            # os.write: print() may have been interrupted half-way and cannot be entered again
            os.write(2, b"\ntmplbuild: stopping; once more to leave without cleaning up\n")
        else:
            raise Interrupted(number)

    before = {}
    for number in _SIGNALS:
        old = signal.getsignal(number)
        if old is not signal.SIG_IGN:  # nohup, or started in the background by a shell
            before[number] = old
            signal.signal(number, handle)
    try:
        yield
    finally:
        for number, old in before.items():
            signal.signal(number, old)
