"""The last failure of a template: remembered until a build goes well, so that nobody forgets it.

What fails in a stage is written down by `tmplbuild.engine.execute`; what fails before the first stage (the
archives, the closure) or after the last one (the template cache) here.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from tmplbuild.engine.store import Store
from tmplbuild.errors import BusyError, StageError, TmplbuildError, UsageError

KIND = "failed"
"""The kind of record that tells of it (`Store.read_record`)."""

INTERRUPTED = "interrupted"


@contextmanager
def remembered(store: Store, template: str, phase: str) -> Iterator[None]:
    """Remember an error that is raised within, by the name of what failed ("resolve", "deliver")."""
    try:
        yield
    except TmplbuildError as error:
        remember(store, template, phase, error)
        raise


def remember(
    store: Store,
    template: str,
    stage: str,
    error: TmplbuildError | None,
    *,
    key: str = "",
    steps: Sequence[Mapping[str, str]] | None = None,
) -> None:
    """Write the record of a failure; None for an interrupt.

    Parameters:
        stage: the stage that failed, or the phase of the run.
        key: of the stage's layer: the next run makes that anew, whatever lies there.
        steps: name and key of the plan's steps, whose layers a later run resumes from; those of the
            failure before, if not given.

    That another run is at work, or that the command line is wrong, is no failure of the template.
    """
    if isinstance(error, (BusyError, UsageError)):
        return
    before = store.read_record(template, KIND) or {}
    in_a_row = bool(before) and before.get("error") != INTERRUPTED
    now = time.time()
    record: dict[str, Any] = {
        "stage": stage,
        "key": key,
        "time": now,
        "since": before.get("since", before.get("time", now)) if in_a_row else now,
        "times": int(before.get("times", 1)) + 1 if in_a_row else 1,
        "error": INTERRUPTED if error is None else str(error),
        "steps": list(before.get("steps", ()) if steps is None else steps),
    }
    if error is not None:
        record |= {"class": type(error).__name__, "exit_code": error.exit_code, "what": error.what}
        record |= {"why": error.why, "log": error.log if isinstance(error, StageError) else ""}
    store.write_record(template, record, KIND)
