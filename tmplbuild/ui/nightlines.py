"""A run over several templates where nothing moves on the screen: cron, a pipe, a log."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TextIO

from tmplbuild.events import Event, NightDone, NightStarted, Note, RunDone, TemplateDone, TemplateEvent
from tmplbuild.ui.night import is_quiet, night_lines
from tmplbuild.ui.plain import Plain
from tmplbuild.ui.screen import Screen
from tmplbuild.ui.style import Ink
from tmplbuild.ui.words import plural, printable, seconds


def show_report(
    out: TextIO, report: Mapping[str, Any], ink: Ink, width: int, *, quiet_unchanged: bool
) -> None:
    """Print the report, unless there is nothing to tell and nobody wants to hear that."""
    if not (quiet_unchanged and is_quiet(report)):
        print(*night_lines(report, ink, width), sep="\n", file=out, flush=True)


class NightReport(Screen):
    """Only the report at the end, and warnings.

    Parameters:
        only_bad: no report unless something failed or is stale.
        quiet_unchanged: none when nothing changed.
    """

    def __init__(
        self,
        out: TextIO,
        err: TextIO,
        *,
        only_bad: bool = False,
        quiet_unchanged: bool = False,
        ink: Ink | None = None,
        width: int = 80,
    ) -> None:
        super().__init__()
        self._out = out
        self._err = err
        self._only_bad = only_bad
        self._quiet_unchanged = quiet_unchanged
        self._ink = ink or Ink()
        self._width = width

    def show(self, event: Event) -> None:
        """Render one event."""
        if isinstance(event, Note) and event.level != "info":
            print(f"tmplbuild: {event.level}: {printable(event.text)}", file=self._err, flush=True)
        elif isinstance(event, NightDone) and (event.report["status"] or not self._only_bad):
            show_report(
                self._out, event.report, self._ink, self._width, quiet_unchanged=self._quiet_unchanged
            )


class NightLines(Plain):
    """Time-stamped lines of all builds, each with its template's name. Parameters as of `Plain`."""

    def __init__(self, out: TextIO, err: TextIO, *, quiet_unchanged: bool = False, **options: Any) -> None:
        super().__init__(out, err, **options)
        self._options = options
        self._quiet_unchanged = quiet_unchanged
        self._builds: dict[str, _Build] = {}

    def show(self, event: Event) -> None:
        """Render one event."""
        match event:
            case NightStarted(templates):
                names = f": {', '.join(templates)}" if templates else ""
                self._say(f"{plural(len(templates), 'template')} to be worked on{names}")
            case TemplateEvent(template, of):
                self._build(template)(of)
            case TemplateDone(template, outcome, text, duration):
                self._builds.pop(template, None)
                took = f" in {seconds(duration)}" if duration else ""
                self._say(f"{template}: {outcome}{took}: {text}")
            case NightDone(report):
                self._err.flush()
                show_report(self._out, report, self._ink, self._width, quiet_unchanged=self._quiet_unchanged)
            case _:
                super().show(event)

    def close(self, *, interrupted: bool = False) -> None:
        """End all builds' lines."""
        for build in self._builds.values():
            build.close(interrupted=interrupted)
        super().close(interrupted=interrupted)

    def _build(self, template: str) -> _Build:
        if template not in self._builds:
            self._builds[template] = _Build(template, self._out, self._err, **self._options)
        return self._builds[template]


class _Build(Plain):
    """The lines of one of the builds."""

    def __init__(self, template: str, out: TextIO, err: TextIO, **options: Any) -> None:
        super().__init__(out, err, **options)
        self._template = template

    def show(self, event: Event) -> None:
        """Render one event; the result is told by the report."""
        if not isinstance(event, RunDone):
            super().show(event)

    def _say(self, text: str) -> None:
        head = f"{self._template}: "
        super()._say(text if text.startswith(head) else head + text)
