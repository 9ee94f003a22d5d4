"""The screen of a person: finished stages scroll up, one live line and the bars stay at the bottom."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TextIO

from tmplbuild.events import (
    Bytes,
    Command,
    Detail,
    Event,
    Note,
    Output,
    Progress,
    RunDone,
    RunStarted,
    StageDone,
    StageFailed,
    StageStarted,
)
from tmplbuild.ui.bars import bar
from tmplbuild.ui.live import Line, LivePart
from tmplbuild.ui.screen import Lines, Screen
from tmplbuild.ui.style import Ink
from tmplbuild.ui.summary import summary_lines
from tmplbuild.ui.words import on, plural, printable, seconds

_BARS = 4  # transfers shown at once


@dataclass
class _Stage:
    name: str
    index: int
    total: int
    began: float
    reason: str
    text: str = ""
    share: float | None = None


@dataclass
class _Transfer:
    began: float
    first: int
    done: int
    total: int


class Terminal(Screen):
    """The live screen. Parameters as of `Plain`; `err` is the terminal."""

    def __init__(
        self,
        out: TextIO,
        err: TextIO,
        *,
        verbose: bool = False,
        colour: bool = True,
        ink: Ink | None = None,
        width: int | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__()
        self._out = out
        self._verbose = verbose
        self._ink = ink or Ink()
        self._clock = clock
        self._stage: _Stage | None = None
        self._transfers: dict[str, _Transfer] = {}
        self._names = 10
        self._lines = Lines()
        self._live = LivePart(err, self._picture, self._lock, colour=colour, width=width)

    def show(self, event: Event) -> None:
        """Render one event."""
        match event:
            case RunStarted(template, steps):
                self._end_stage()
                self._names = max([self._names, *(len(step) for step in steps)])
                self._say([(f"{printable(template)}: {plural(len(steps), 'stage')}", "bold")])
            case StageStarted(stage, index, total, reason, host):
                text = printable(": ".join(filter(None, (on(host).strip(), reason))))
                self._stage = _Stage(stage, index, total, self._clock(), text)
                self._live.start()
            case Progress(text, share):
                self._progress(printable(text), share)
            case StageDone():
                self._stage_done(event)
            case StageFailed(stage, duration, log, host):
                self._end_stage()
                self._row(self._live.marks[1], "red", stage, seconds(duration), f"failed{on(host)}")
                if log:
                    self._live.whole([(f"  log: {printable(log)}", "")])
            case Bytes():
                self._bytes(event)
            case Note(text, level):
                head = "" if level == "info" else f"{level}: "
                # what a person should know is never cut
                self._live.say([(f"  {head}{printable(text)}", hue(level))], fold=True)
            case Detail(text) if self._verbose:
                self._live.say([(f"  {printable(text)}", "dim")], fold=True)
            case Command(argv, where) if self._verbose:
                self._say([(printable(f"  $ {' '.join(argv)}{f'  ({where})' if where else ''}"), "cyan")])
            case Output(data) if self._verbose:
                self._output(self._lines.feed(data))
            case RunDone():
                self.close()
                lines = summary_lines(event, self._ink, self._live.width)
                print(*([] if event.unchanged else [""]), *lines, sep="\n", file=self._out, flush=True)
            case _:
                pass

    def close(self, *, interrupted: bool = False) -> None:
        """Take the live line away and show the cursor again."""
        stage = self._stage
        self._end_stage()
        self._live.stop()
        if interrupted and stage is not None and stage.name:
            took = seconds(self._clock() - stage.began)
            self._row(self._live.marks[1], "yellow", stage.name, took, "interrupted")

    # -- lines that stay -------------------------------------------------------------------------

    def _stage_done(self, event: StageDone) -> None:
        reason = self._stage.reason if self._stage and self._stage.name == event.stage else ""
        self._end_stage()
        text = printable(event.note) or reason
        if event.cached:
            self._row(self._live.marks[2], "dim", event.stage, "cached", text)
        else:
            self._row(self._live.marks[0], "green", event.stage, seconds(event.seconds), text)

    def _end_stage(self) -> None:
        self._output(self._lines.flush())
        self._stage = None
        self._transfers.clear()

    def _row(self, mark: str, style: str, stage: str, took: str, text: str) -> None:
        self._say([(mark, style), (f" {stage:<{self._names}}  {took:>10}  ", ""), (text, "dim")])

    def _output(self, lines: list[str]) -> None:
        for line in lines:
            self._say([(f"  {printable(line)}", "dim")])

    def _say(self, line: Line) -> None:
        # With -v nothing is cut; else a line that stays is one line, however narrow the screen.
        self._live.say(line, fold=self._verbose)

    # -- the live part ---------------------------------------------------------------------------

    def _progress(self, text: str, share: float | None) -> None:
        if self._stage is None:  # before the first stage: the archives are being asked
            self._stage = _Stage("", 0, 0, self._clock(), "")
            self._live.start()
        self._stage.text, self._stage.share = text, share

    def _bytes(self, event: Bytes) -> None:
        if event.ended:
            self._transfers.pop(event.label, None)
            return
        now = self._transfers.get(event.label)
        if now is None:
            self._transfers[event.label] = _Transfer(self._clock(), event.done, event.done, event.total)
            self._live.start()
        else:
            now.done, now.total = event.done, event.total

    def _picture(self) -> list[Line]:
        rows: list[Line] = [] if self._stage is None else [self._stage_line(self._stage)]
        transfers = list(self._transfers.items())[:_BARS]
        return [*rows, *([(self._bar(label, transfer), "")] for label, transfer in transfers)]

    def _stage_line(self, stage: _Stage) -> Line:
        now = self._clock()
        took = seconds(now - stage.began)
        return [
            (self._live.frame(now), "cyan"),
            (f" {stage.name:<{self._names}}  {took:>10}  ", ""),
            (f"{stage.index}/{stage.total} " if stage.total else "", "dim"),
            (percent(stage.share), ""),
            (stage.text or stage.reason, ""),
        ]

    def _bar(self, label: str, transfer: _Transfer) -> str:
        text = bar(
            label,
            transfer.done,
            transfer.total,
            first=transfer.first,
            elapsed_s=self._clock() - transfer.began,
            width=self._live.width - 3,
            unicode=self._live.unicode,
        )
        return f"  {text}"


def percent(share: float | None) -> str:
    """ " 42% ", or nothing where the share is not known."""
    return "" if share is None else f"{min(max(share, 0.0), 1.0):4.0%} "


def hue(level: str) -> str:
    """The colour of a note."""
    return {"warning": "yellow", "error": "red"}.get(level, "")
