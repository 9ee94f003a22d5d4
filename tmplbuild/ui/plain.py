"""Time-stamped lines for a log, a pipe, cron: nothing moves, nothing is said twice."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TextIO

from tmplbuild.events import (
    Bytes,
    Command,
    Detail,
    Event,
    Note,
    Output,
    RunDone,
    RunStarted,
    StageDone,
    StageFailed,
    StageStarted,
)
from tmplbuild.ui.screen import Lines, Screen
from tmplbuild.ui.style import Ink
from tmplbuild.ui.summary import summary_lines
from tmplbuild.ui.words import on, plural, printable, rate, seconds, size


class Plain(Screen):
    """One line when a stage starts, one when it ends; bytes only at the end of a transfer.

    Parameters:
        out: where the result goes.
        err: where all the rest goes.
        verbose: show commands and their output too.
        ink: colours of the result.
        clock: seconds of a clock that never goes back.
        stamp: the time of day as text.
    """

    def __init__(
        self,
        out: TextIO,
        err: TextIO,
        *,
        verbose: bool = False,
        ink: Ink | None = None,
        width: int = 80,
        clock: Callable[[], float] = time.monotonic,
        stamp: Callable[[], str] = lambda: time.strftime("%Y-%m-%d %H:%M:%S"),
    ) -> None:
        super().__init__()
        self._out = out
        self._err = err
        self._verbose = verbose
        self._ink = ink or Ink()
        self._width = width
        self._clock = clock
        self._stamp = stamp
        self._lines = Lines()
        self._stage = ""  # the running one
        self._reason = ""  # its reason, which is not said twice
        self._transfers: dict[str, tuple[float, int]] = {}  # label: (clock at the first event, bytes then)

    def show(self, event: Event) -> None:
        """Render one event."""
        match event:
            case RunStarted(template, steps):
                self._say(f"{template}: {plural(len(steps), 'stage')}")
            case StageStarted(stage, index, total, reason, host):
                self._stage, self._reason = stage, reason
                self._say(f"[{index}/{total}] {stage}: start{on(host)}{f': {reason}' if reason else ''}")
            case StageDone(stage, index, total, duration, cached, note):
                self._end_output()
                how = "cached" if cached else f"done in {seconds(duration)}"
                note = "" if note == self._reason and not cached else note
                self._stage = ""
                self._say(f"[{index}/{total}] {stage}: {how}{f': {note}' if note else ''}")
            case StageFailed(stage, duration, log, host):
                self._end_output()
                said = f"{stage}: FAILED{on(host)} after {seconds(duration)}"
                self._say(f"{said}{f', log: {log}' if log else ''}")
            case Bytes():
                self._bytes(event)
            case Note(text, level):
                self._say(f"{f'{level}: ' if level != 'info' else ''}{text}")
            case Detail(text) if self._verbose:
                self._say(f"  {text}")
            case Command(argv, where) if self._verbose:
                self._say(f"  $ {' '.join(argv)}{f'  ({where})' if where else ''}")
            case Output(data) if self._verbose:
                self._output(self._lines.feed(data))
            case RunDone():
                self._err.flush()
                print(*summary_lines(event, self._ink, self._width), sep="\n", file=self._out, flush=True)
            case _:
                pass

    def close(self, *, interrupted: bool = False) -> None:
        """Show what a command wrote without a line end, and which stage was interrupted."""
        self._end_output()
        if interrupted and self._stage:
            self._say(f"{self._stage}: interrupted")

    def _bytes(self, event: Bytes) -> None:
        now = self._clock()
        began, first = self._transfers.setdefault(event.label, (now, event.done))
        if not event.ended:
            return
        del self._transfers[event.label]
        took = now - began
        speed = rate(event.done - first, took)
        self._say(f"  {event.label}: {size(event.done)} in {seconds(took)}{f' ({speed})' if speed else ''}")

    def _end_output(self) -> None:
        self._output(self._lines.flush())

    def _output(self, lines: list[str]) -> None:
        for line in lines:
            self._say(f"  | {line}")

    def _say(self, text: str) -> None:
        print(self._stamp(), printable(text), file=self._err, flush=True)


class Quiet(Screen):
    """Only warnings, for -q: a run that went well says nothing."""

    def __init__(self, err: TextIO) -> None:
        super().__init__()
        self._err = err

    def show(self, event: Event) -> None:
        """Render one event."""
        if isinstance(event, Note) and event.level != "info":
            print(f"tmplbuild: {event.level}: {printable(event.text)}", file=self._err, flush=True)
