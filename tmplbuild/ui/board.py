"""The screen of a run over several templates: one live line for each that is being built, results above."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TextIO

from tmplbuild.events import (
    Bytes,
    Event,
    NightDone,
    NightStarted,
    Note,
    Progress,
    StageDone,
    StageStarted,
    TemplateDone,
    TemplateEvent,
)
from tmplbuild.ui.live import Line, LivePart
from tmplbuild.ui.nightlines import show_report
from tmplbuild.ui.screen import Screen
from tmplbuild.ui.style import Ink
from tmplbuild.ui.terminal import hue, percent
from tmplbuild.ui.words import on, plural, printable, seconds, size

_MARKS = {"failed": (1, "red"), "unchanged": (2, "dim"), "skipped": (2, "dim"), "busy": (2, "yellow")}


@dataclass
class _Build:
    """Where one build is."""

    began: float
    stage: str = "starting"
    host: str = ""
    index: int = 0
    total: int = 0
    text: str = ""
    share: float | None = None
    bytes: str = ""


class Board(Screen):
    """One line a template.

    Parameters:
        out: where the report goes. err: the terminal.
        quiet_unchanged: no report when nothing changed.
        clock: seconds of a clock that never goes back.
    """

    def __init__(
        self,
        out: TextIO,
        err: TextIO,
        *,
        colour: bool = True,
        ink: Ink | None = None,
        quiet_unchanged: bool = False,
        width: int | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__()
        self._out = out
        self._ink = ink or Ink()
        self._quiet_unchanged = quiet_unchanged
        self._clock = clock
        self._builds: dict[str, _Build] = {}
        self._names = 16
        self._todo = 0
        self._ended = 0
        self._live = LivePart(err, self._picture, self._lock, colour=colour, width=width)

    def show(self, event: Event) -> None:
        """Render one event."""
        match event:
            case NightStarted(templates):
                self._todo = len(templates)
                self._names = max([self._names, *(len(printable(name)) for name in templates)])
                if templates:
                    self._live.start()
            case TemplateEvent(template, of):
                self._heard(template, of)
            case TemplateDone():
                self._done(event)
            case Note(text, level):
                self._live.say([(f"  {level}: {printable(text)}", hue(level))], fold=True)
            case NightDone(report):
                self.close()
                show_report(
                    self._out, report, self._ink, self._live.width, quiet_unchanged=self._quiet_unchanged
                )
            case _:
                pass

    def close(self, *, interrupted: bool = False) -> None:
        """Take the live lines away, and say which builds were interrupted."""
        builds = dict(self._builds)
        self._builds.clear()
        self._live.stop()
        if interrupted:
            for template, build in builds.items():
                took = seconds(self._clock() - build.began)
                self._row(self._live.marks[1], "yellow", template, took, f"interrupted in {build.stage}")

    def _heard(self, template: str, event: Event) -> None:
        build = self._builds.get(template)
        if build is None:
            build = self._builds[template] = _Build(self._clock())
            self._live.start()
        match event:
            case StageStarted(stage, index, total, reason, host):
                build.stage, build.host, build.index, build.total = printable(stage), on(host), index, total
                build.text, build.share, build.bytes = printable(reason), None, ""
            case StageDone():
                build.text, build.share, build.bytes = "", None, ""
            case Progress(text, share):
                build.text, build.share = printable(text), share
            case Bytes(label, done, total, ended):
                of = f" of {size(total)}" if total else ""
                build.bytes = "" if ended else f"{printable(label)}: {size(done)}{of}"
            case Note(text, level) if level != "info":
                self._live.say([(f"  {template}: {level}: {printable(text)}", hue(level))], fold=True)
            case _:
                pass

    def _done(self, event: TemplateDone) -> None:
        was_built = self._builds.pop(event.template, None) is not None
        self._ended += was_built
        if was_built:
            self._live.refresh()  # its live line goes before the one that stays comes
        mark, style = _MARKS.get(event.outcome, (0, "green"))
        took = seconds(event.seconds) if event.seconds else ""
        text = f"{event.outcome}: {printable(event.text)}"
        if event.outcome != "skipped":  # the report lists them
            self._row(self._live.marks[mark], style, event.template, took, text)

    def _row(self, mark: str, style: str, template: str, took: str, text: str) -> None:
        self._live.say(
            [(mark, style), (f" {printable(template):<{self._names}}  {took:>10}  ", ""), (text, "dim")]
        )

    def _picture(self) -> list[Line]:
        if not self._builds:
            return []
        now = self._clock()
        room = max(self._live.height - 2, 1)
        rows: list[Line] = [self._line(name, build, now) for name, build in self._builds.items()]
        more: list[Line] = []
        if len(rows) > room:
            more = [[(f"  and {plural(len(rows) - room, 'more build')}", "dim")]]
        waiting = self._todo - self._ended - len(self._builds)
        if waiting > 0:
            more.append([(f"  {plural(waiting, 'template')} to come", "dim")])
        return [*rows[:room], *more]

    def _line(self, template: str, build: _Build, now: float) -> Line:
        return [
            (self._live.frame(now), "cyan"),
            (f" {printable(template):<{self._names}}  {seconds(now - build.began):>10}  ", ""),
            (f"{build.index}/{build.total} " if build.total else "", "dim"),
            (build.stage, "bold"),
            (f"{build.host} ", "cyan"),
            (percent(build.share), ""),
            (build.bytes or build.text, ""),
        ]
