"""A step that is run beside the ones before it: the boot test, while the tree is judged and packed.

Both only look at the tree, and a VE mostly waits: for its init, for the package manager. What the step says
is held back until its turn has come, so that whoever watches sees one step after the other.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

from tmplbuild.core.waits import until
from tmplbuild.events import Emit, Event, Progress

_ASK_AGAIN_S = 0.2


class Held:
    """An emit that keeps what it is told until `release`, and passes it on from then on."""

    def __init__(self, emit: Emit) -> None:
        self._emit = emit
        self._lock = threading.RLock()
        self._kept: list[Event] | None = []

    def __call__(self, event: Event) -> None:
        with self._lock:
            if self._kept is None:
                self._emit(event)
            elif not (isinstance(event, Progress) and self._kept and isinstance(self._kept[-1], Progress)):
                self._kept.append(event)
            else:
                self._kept[-1] = event  # only the last word is news

    def release(self) -> None:
        """Pass on what was kept."""
        with self._lock:
            for event in self._kept or ():
                self._emit(event)
            self._kept = None


class Beside:
    """Runs `work` in a thread from now on; `join` waits for it, `cancel` has it end.

    Parameters:
        work: the step; what it is given is called with what ends it (from another thread, more than once).
    """

    def __init__(self, work: Callable[[Callable[[Callable[[], None]], None]], dict[str, Any]]) -> None:
        self.seconds = 0.0
        self._work = work
        self._end: Callable[[], None] = lambda: None
        self._note: dict[str, Any] = {}
        self._error: BaseException | None = None
        # Waited for instead of the thread: Thread.join, when a signal's handler raises within it, takes a
        # thread that runs for one that has ended (Python before 3.13).
        self._ended = threading.Event()
        threading.Thread(target=self._run, name="beside", daemon=True).start()

    def join(self) -> dict[str, Any]:
        """The step's note, once it has ended. Raises the step's own error."""
        until(self._ended)
        if self._error is not None:
            raise self._error
        return self._note

    def cancel(self) -> None:
        """Have it end, and wait until it has; what it says of that is nobody's business."""
        while not self._ended.is_set():
            self._end()
            self._ended.wait(_ASK_AGAIN_S)  # a VE that was only just being started is ended next time

    def _ended_by(self, end: Callable[[], None]) -> None:
        self._end = end

    def _run(self) -> None:
        start = time.monotonic()
        try:
            self._note = self._work(self._ended_by)
        except BaseException as error:  # noqa: BLE001  # `join` raises it
            self._error = error
        finally:
            self.seconds = time.monotonic() - start
            self._ended.set()
