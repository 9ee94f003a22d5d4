"""A step that is run beside the ones before it: the boot test, while the tree is judged and packed.

Both only look at the tree, and a VE mostly waits: for its init, for the package manager. What the step says
is held back until its turn has come, so that whoever watches sees one step after the other.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

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
        self._thread = threading.Thread(target=self._run, name="beside", daemon=True)
        self._thread.start()

    def join(self) -> dict[str, Any]:
        """The step's note, once it has ended. Raises the step's own error."""
        self._thread.join()
        if self._error is not None:
            raise self._error
        return self._note

    def cancel(self) -> None:
        """Have it end, and wait until it has; what it says of that is nobody's business."""
        while self._thread.is_alive():
            self._end()
            self._thread.join(_ASK_AGAIN_S)  # a VE that was only just being started is ended next time

    def _ended_by(self, end: Callable[[], None]) -> None:
        self._end = end

    def _run(self) -> None:
        start = time.monotonic()
        try:
            self._note = self._work(self._ended_by)
        except BaseException as error:  # noqa: BLE001  # `join` raises it
            self._error = error
        self.seconds = time.monotonic() - start
