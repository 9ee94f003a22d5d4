"""The screen of a person: finished stages scroll up, one live line and the bars stay at the bottom."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, TextIO

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.text import Text

from tmplbuild.events import (
    Bytes,
    Command,
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
from tmplbuild.ui.screen import Lines, Screen
from tmplbuild.ui.style import Ink, is_unicode
from tmplbuild.ui.summary import summary_lines
from tmplbuild.ui.words import plural, printable, seconds

_FRAMES = {True: "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏", False: "|/-\\"}
_MARKS = {True: ("✔", "✘", "·"), False: ("+", "x", "-")}  # ran, failed, cached
_FRAMES_A_SECOND = 10
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
        self._unicode = is_unicode(err)
        self._cut: Literal["ellipsis", "crop"] = "ellipsis" if self._unicode else "crop"
        self._stopped = threading.Event()  # set: nothing draws the live part
        self._stopped.set()
        self._stage: _Stage | None = None
        self._transfers: dict[str, _Transfer] = {}
        self._names = 10
        self._lines = Lines()
        self._mark = _MARKS[self._unicode]
        self._console = Console(
            file=err,
            force_terminal=True,
            no_color=not colour,
            highlight=False,
            markup=False,
            emoji=False,
            width=width,
        )
        self._live = Live(
            get_renderable=self._picture,
            console=self._console,
            auto_refresh=False,  # rich's own thread may draw while a line is printed, and garble both
            transient=True,
            redirect_stdout=False,
            redirect_stderr=False,
            vertical_overflow="crop",
        )

    def show(self, event: Event) -> None:
        """Render one event."""
        match event:
            case RunStarted(template, steps):
                self._end_stage()
                self._names = max([self._names, *(len(step) for step in steps)])
                self._say(Text(f"{printable(template)}: {plural(len(steps), 'stage')}", "bold"))
            case StageStarted(stage, index, total, reason):
                self._stage = _Stage(stage, index, total, self._clock(), printable(reason))
                self._animate()
            case Progress(text, share):
                self._progress(printable(text), share)
            case StageDone():
                self._stage_done(event)
            case StageFailed(stage, duration, log):
                self._end_stage()
                self._row(self._mark[1], "red", stage, seconds(duration), "failed")
                if log:
                    self._console.print(Text(f"  log: {printable(log)}"), soft_wrap=True)
            case Bytes():
                self._bytes(event)
            case Note(text, level):
                head = "" if level == "info" else f"{level}: "
                # what a person should know is never cut
                self._console.print(Text(f"  {head}{printable(text)}", _hue(level)), overflow="fold")
            case Command(argv, where) if self._verbose:
                self._say(Text(printable(f"  $ {' '.join(argv)}{f'  ({where})' if where else ''}"), "cyan"))
            case Output(data) if self._verbose:
                self._output(self._lines.feed(data))
            case RunDone():
                self.close()
                lines = summary_lines(event, self._ink, self._console.width)
                print(*([] if event.unchanged else [""]), *lines, sep="\n", file=self._out, flush=True)
            case _:
                pass

    def close(self, *, interrupted: bool = False) -> None:
        """Take the live line away and show the cursor again."""
        stage = self._stage
        self._end_stage()
        self._stopped.set()
        self._live.stop()
        if interrupted and stage is not None and stage.name:
            self._row(
                self._mark[1], "yellow", stage.name, seconds(self._clock() - stage.began), "interrupted"
            )

    # -- lines that stay -------------------------------------------------------------------------

    def _stage_done(self, event: StageDone) -> None:
        reason = self._stage.reason if self._stage and self._stage.name == event.stage else ""
        self._end_stage()
        text = printable(event.note) or reason
        if event.cached:
            self._row(self._mark[2], "dim", event.stage, "cached", text)
        else:
            self._row(self._mark[0], "green", event.stage, seconds(event.seconds), text)

    def _end_stage(self) -> None:
        self._output(self._lines.flush())
        self._stage = None
        self._transfers.clear()

    def _row(self, mark: str, style: str, stage: str, took: str, text: str) -> None:
        line = Text.assemble((mark, style), f" {stage:<{self._names}}  {took:>10}  ", (text, "dim"))
        self._say(line)

    def _output(self, lines: list[str]) -> None:
        for line in lines:
            self._say(Text(f"  {printable(line)}", "dim"))

    def _say(self, line: Text) -> None:
        # With -v nothing is cut; else a line that stays is one line, however narrow the screen.
        if self._verbose:
            self._console.print(line, overflow="fold")
        else:
            self._console.print(line, no_wrap=True, overflow=self._cut)

    # -- the live part ---------------------------------------------------------------------------

    def _animate(self) -> None:
        """Draw the live part, and go on doing so; every drawing and printing is under our lock."""
        self._live.start()
        self._live.refresh()
        if self._stopped.is_set():
            self._stopped = threading.Event()
            threading.Thread(target=self._draw, args=(self._stopped,), name="screen", daemon=True).start()

    def _draw(self, stopped: threading.Event) -> None:
        while not stopped.wait(1 / _FRAMES_A_SECOND):
            with self._lock:
                if not stopped.is_set():
                    self._refresh()

    def _refresh(self) -> None:
        try:
            self._live.refresh()
        except OSError:  # the terminal is gone; the next event finds that out
            self._stopped.set()

    def _progress(self, text: str, share: float | None) -> None:
        if self._stage is None:  # before the first stage: the archives are being asked
            self._stage = _Stage("", 0, 0, self._clock(), "")
            self._animate()
        self._stage.text, self._stage.share = text, share

    def _bytes(self, event: Bytes) -> None:
        if event.ended:
            self._transfers.pop(event.label, None)
            return
        now = self._transfers.get(event.label)
        if now is None:
            self._transfers[event.label] = _Transfer(self._clock(), event.done, event.done, event.total)
            self._animate()
        else:
            now.done, now.total = event.done, event.total

    def _picture(self) -> RenderableType:
        rows: list[RenderableType] = [] if self._stage is None else [self._stage_line(self._stage)]
        transfers = list(self._transfers.items())[:_BARS]
        return Group(*rows, *(self._bar(label, transfer) for label, transfer in transfers))

    def _stage_line(self, stage: _Stage) -> Text:
        now = self._clock()
        frames = _FRAMES[self._unicode]
        frame = frames[int(now * _FRAMES_A_SECOND) % len(frames)]
        took = seconds(now - stage.began)
        share = "" if stage.share is None else f"{min(max(stage.share, 0.0), 1.0):4.0%} "
        line = Text.assemble(
            (frame, "cyan"),
            f" {stage.name:<{self._names}}  {took:>10}  ",
            (f"{stage.index}/{stage.total} " if stage.total else "", "dim"),
            share,
            stage.text or stage.reason,
        )
        line.no_wrap = True
        line.truncate(max(self._console.width - 1, 1), overflow=self._cut)
        return line

    def _bar(self, label: str, transfer: _Transfer) -> Text:
        text = bar(
            label,
            transfer.done,
            transfer.total,
            first=transfer.first,
            elapsed_s=self._clock() - transfer.began,
            width=self._console.width - 3,
            unicode=self._unicode,
        )
        return Text("  " + text, no_wrap=True, overflow="crop")


def _hue(level: str) -> str:
    return {"warning": "yellow", "error": "red"}.get(level, "")
