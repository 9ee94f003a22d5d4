"""--json: one JSON object a line on stdout, for programs.

Each object has "event" (the event's class in lower case with underscores: run_started,
stage_started, progress, stage_done, stage_failed, bytes, command, note, run_done, output) and
"time" (seconds since the epoch); the other fields are those of `tmplbuild.events`, by name. The
last object is "run_done", or "error" with "exit_code", "class", "what", "where", "why", "hint".
Output of commands is only sent with -v; "bytes" at most twice a second for each label, and once
more when the transfer has ended.
"""

from __future__ import annotations

import dataclasses
import json
import re
import time
from collections.abc import Callable
from typing import TextIO

from tmplbuild.events import Bytes, Command, Event, Output
from tmplbuild.ui.screen import Screen

BYTES_EVERY_S = 0.5
"""Least seconds between two "bytes" objects of one label."""


def event_object(event: Event) -> dict[str, object]:
    """`event` as a JSON object, without the time."""
    name = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", type(event).__name__).lower()
    found: dict[str, object] = {"event": name}
    for field in dataclasses.fields(event):
        value = getattr(event, field.name)
        found[field.name] = value.decode("utf-8", "backslashreplace") if isinstance(value, bytes) else value
    return found


class JsonLines(Screen):
    """Writes every event as one line of JSON.

    Parameters:
        out: where the lines go.
        verbose: send the output of commands too.
        clock: seconds since the epoch.
    """

    def __init__(self, out: TextIO, *, verbose: bool = False, clock: Callable[[], float] = time.time) -> None:
        super().__init__()
        self._out = out
        self._verbose = verbose
        self._clock = clock
        self._sent: dict[str, float] = {}

    def show(self, event: Event) -> None:
        """Write one event."""
        if isinstance(event, (Output, Command)) and not self._verbose:
            return
        if isinstance(event, Bytes) and not self._due(event):
            return
        self.write(event_object(event))

    def write(self, found: dict[str, object]) -> None:
        """Write one object with the time added. Raises OSError."""
        stamped = {"event": found["event"], "time": round(self._clock(), 3)} | found
        print(json.dumps(stamped, default=str), file=self._out, flush=True)

    def _due(self, event: Bytes) -> bool:
        now = self._clock()
        if event.ended:
            self._sent.pop(event.label, None)
            return True
        if now - self._sent.get(event.label, -BYTES_EVERY_S) < BYTES_EVERY_S:
            return False
        self._sent[event.label] = now
        return True
