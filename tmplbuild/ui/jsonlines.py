"""--json: one JSON object a line on stdout, for programs.

Each object has "event" (the event's class in lower case with underscores: run_started,
stage_started, progress, stage_done, stage_failed, bytes, command, note, run_done, output; of a part
that a fleet's worker does also away; of a run over several templates night_started,
template_event, template_done, night_done) and
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
from collections.abc import Callable, Mapping
from typing import Any, TextIO

from tmplbuild.events import Bytes, Command, Event, Output, TemplateEvent
from tmplbuild.ui.screen import Screen

BYTES_EVERY_S = 0.5
"""Least seconds between two "bytes" objects of one label."""


def _name(kind: type[Event]) -> str:
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", kind.__name__).lower()


_KINDS = {_name(kind): kind for kind in Event.__subclasses__()}


def event_object(event: Event) -> dict[str, object]:
    """`event` as a JSON object, without the time."""
    found: dict[str, object] = {"event": _name(type(event))}
    for field in dataclasses.fields(event):
        value = getattr(event, field.name)
        if isinstance(value, bytes):
            value = value.decode("utf-8", "backslashreplace")
        found[field.name] = event_object(value) if isinstance(value, Event) else value
    return found


def event_of(found: Mapping[str, Any]) -> Event | None:
    """The event that an object was made from; None for an object of another kind ("error")."""
    kind = _KINDS.get(str(found.get("event")))
    if kind is None:
        return None
    values: dict[str, Any] = {}
    for field in dataclasses.fields(kind):
        value = found.get(field.name)
        if isinstance(value, list):
            value = tuple(value)
        elif field.type == "bytes":
            value = str(value).encode()
        elif field.type == "Event":
            value = event_of(value or {})
        values[field.name] = value
    return kind(**values)


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
        inner = event.of if isinstance(event, TemplateEvent) else event
        if isinstance(inner, (Output, Command)) and not self._verbose:
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
