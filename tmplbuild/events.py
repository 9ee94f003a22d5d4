"""What happens during a run, as plain facts. Renderers in `tmplbuild.ui` show them.

A part that does long work is handed an `Emit` and calls it; it never prints. Events are frozen,
hold only plain values, and may be emitted from any thread.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Event:
    """Base of all events."""


@dataclass(frozen=True, slots=True)
class RunStarted(Event):
    """A build begins. `steps` are the stages' names in order."""

    template: str
    steps: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class StageStarted(Event):
    """Stage number `index` (from 1) of `total` begins, for a reason a person can read; on another machine
    than this one, `host`."""

    stage: str
    index: int
    total: int
    reason: str
    host: str = ""


@dataclass(frozen=True, slots=True)
class Progress(Event):
    """What is being done right now within the running stage: a short text, and a share of 0..1 if known."""

    text: str
    share: float | None = None


@dataclass(frozen=True, slots=True)
class StageDone(Event):
    """A stage ended well, or was taken from the store (`cached`)."""

    stage: str
    index: int
    total: int
    seconds: float
    cached: bool
    note: str = ""


@dataclass(frozen=True, slots=True)
class StageFailed(Event):
    """A stage failed; the error that ends the run follows. `host` as of `StageStarted`."""

    stage: str
    seconds: float
    log: str
    host: str = ""


@dataclass(frozen=True, slots=True)
class Bytes(Event):
    """Bytes that came (or were packed): `done` of `total` so far (0: unknown), under one label.

    The same label is sent again and again; the transfer has ended when `ended` is true.
    """

    label: str
    done: int
    total: int
    ended: bool = False


@dataclass(frozen=True, slots=True)
class Output(Event):
    """Output of a command, as it came. Goes to the step's log; shown with -v."""

    data: bytes


@dataclass(frozen=True, slots=True)
class Command(Event):
    """A command is run (for the log and -v)."""

    argv: tuple[str, ...]
    where: str = ""


@dataclass(frozen=True, slots=True)
class Away(Event):
    """What a stage made lies in the fleet's store, while others still go on: the facts of the tree (check),
    the packed template (pack)."""

    stage: str
    sha256: str


@dataclass(frozen=True, slots=True)
class Note(Event):
    """Something a person should know: level is "info" or "warning"."""

    text: str
    level: str = "info"


@dataclass(frozen=True, slots=True)
class Detail(Event):
    """Something that explains a result, for those who ask (-v): which of several packages was taken."""

    text: str


@dataclass(frozen=True, slots=True)
class RunDone(Event):
    """A build ended: `summary` is what the final table shows and `--json` prints."""

    template: str
    unchanged: bool
    summary: dict[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class NightStarted(Event):
    """A run over several templates has looked at all of them: those in `templates` need work."""

    templates: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class TemplateEvent(Event):
    """An event of the build of one of several templates."""

    template: str
    of: Event


@dataclass(frozen=True, slots=True)
class TemplateDone(Event):
    """One of several templates is done with: `outcome` is "unchanged", "updated", "built", "failed",
    "busy" or "skipped", `text` says why."""

    template: str
    outcome: str
    text: str
    seconds: float


@dataclass(frozen=True, slots=True)
class NightDone(Event):
    """A run over several templates ended; `report` is what `--json` prints of it."""

    report: dict[str, object] = field(default_factory=dict)


Emit = Callable[[Event], None]


def silent(event: Event) -> None:
    """An `Emit` that forgets (for tests and library use)."""
