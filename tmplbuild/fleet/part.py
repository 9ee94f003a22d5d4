"""What Dask calls on a worker: a part of a build, in a process of its own, whose events are passed on."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from tmplbuild.core.forks import Running
from tmplbuild.errors import BusyError, StageError
from tmplbuild.fleet.identity import refuse_other
from tmplbuild.ui.errors import error_object

Found = dict[str, Any]

_EVERY_S = 0.3  # events go to the scheduler in bundles
_LOOK_S = 0.5
_GRACE_S = 60.0  # a part that is to stop takes down its VE first
_AT_ONCE = ("stage", "away")
_DULL = {"bytes", "output", "command"}


@dataclass(frozen=True, slots=True)
class Place:
    """What a worker knows of itself.

    Parameters:
        name: as the report calls it.
        words: options of each part: the shared store's address, as this machine reaches it.
        start: a run of the tool with this machine's settings.
        tell: sends a bundle of events to whoever listens.
        wanted: whether somebody still waits for a task, by its key.
        hand_back: raised by a part, has it given to another worker.
    """

    name: str
    words: Sequence[str]
    start: Callable[[Sequence[str]], Running]
    tell: Callable[[Found], None]
    wanted: Callable[[str], bool]
    hand_back: type[Exception]


here: Place | None = None
"""Set once, when the process becomes a worker."""

doing: dict[str, str] = {}
"""What each part does here, by the key of its task: the template and the stage."""

_leaving = threading.Event()
_running: set[threading.Event] = set()  # of each part here, set at its end


def leave() -> None:
    """Have all parts that run here stop, and wait for it: the worker ends."""
    _leaving.set()
    for ended in list(_running):
        ended.wait(_GRACE_S + 5)


def perform(tool: str, key: str, order: str, part: str, *before: Found) -> Found:
    """Do a part of an order. What goes wrong is in the result: only a worker that dies is a failure to Dask.
    Raises `Place.hand_back` when this worker ends first.

    Parameters:
        tool: who gave the order: see `tmplbuild.fleet.identity`.
        part: see `tmplbuild.fleet.order.PARTS`.
        key: the task's, under which its events go.
        before: what came of the parts that it rests on, so that Dask does them first and, if it can, here.
    """
    assert here is not None, "no worker"
    start = time.monotonic()
    about: Found = {"worker": here.name, "part": part, "order": order}
    for one in before:
        if "error" in one:
            return one
    refuse_other(tool, "the order")
    run = here.start(["task", order, part, *here.words, "--json"])
    last: Found = {}
    with _watched(run, key, here) as stopped:
        last = _followed(run, key, part, here, stopped)
        if last.get("event") == "task_done":  # what it still does is its own: nobody waits for it
            _let_end(run)
        else:
            status, said = run.wait()
    about["seconds"] = time.monotonic() - start
    done: Found = last.get("found", {})
    if done and not (stopped.is_set() and "error" in done):
        return about | done
    if stopped.is_set():
        if _leaving.is_set():
            raise here.hand_back
        why = "nobody waited for it any more"
        return about | {"error": error_object(BusyError("a part was stopped", where=here.name, why=why))}
    if last.get("event") == "error":
        return about | {"error": last}
    crash = StageError(
        "the process of a part of a build ended without a word",
        where=f"{part} on {here.name}",
        why=f"its status is {status}",
        tail=tuple(said.splitlines()[-20:]),
    )
    return about | {"error": error_object(crash), "lost": True}


def _followed(run: Running, key: str, part: str, place: Place, stopped: threading.Event) -> Found:
    """Pass the events of a part on. Returns its last word, if it says one."""
    bundle, last = _Bundle(key, part, place), {}
    doing[key], template = part, ""
    try:
        for line in run.lines():
            try:
                found = json.loads(line)
                name = found["event"]
            except (ValueError, KeyError, TypeError):
                continue
            if name in ("task_done", "error"):
                last = found
            elif name == "run_started":  # which is the whole build's to tell
                template = found["template"]
            elif name not in _DULL:
                bundle.add(found)
            if name == "stage_started":
                doing[key] = f"{template}: {found['stage']}"
            elif name == "task_done":
                break
    finally:
        del doing[key]
        if stopped.is_set() and _leaving.is_set() and "found" not in last:
            bundle.add(_handed_back(place.name))
        bundle.send()
    return last


def _handed_back(name: str) -> Found:
    text = f"stopped, for {name} ends: given to another machine"
    return {"event": "note", "text": text, "level": "warning"}


def _let_end(run: Running) -> None:
    """See a part's process off that has told what came of it."""
    ended = threading.Event()

    def wait() -> None:
        try:
            for _ in run.lines():
                pass
            run.wait()
        finally:
            _running.discard(ended)
            ended.set()

    _running.add(ended)
    threading.Thread(target=wait, name="end", daemon=True).start()


@contextmanager
def _watched(run: Running, key: str, place: Place) -> Iterator[threading.Event]:
    """Stop a part for which nobody waits any more; Dask itself lets a task that was called off run on.

    Yields what is set when that has been done.
    """
    ended, stopped = threading.Event(), threading.Event()

    def watch() -> None:
        while not ended.wait(_LOOK_S):
            if _leaving.is_set() or not place.wanted(key):
                stopped.set()
                run.stop()
                if not ended.wait(_GRACE_S):
                    run.kill()
                return

    _running.add(ended)
    threading.Thread(target=watch, name=f"watch {key}", daemon=True).start()
    try:
        yield stopped
    finally:
        ended.set()
        _running.discard(ended)


class _Bundle:
    def __init__(self, key: str, part: str, place: Place) -> None:
        self._about = {"key": key, "part": part, "host": place.name}  # "worker" is what Dask adds: an address
        self._place = place
        self._events: list[Found] = []
        self._sent = 0.0

    def add(self, event: Found) -> None:
        self._events.append(event)
        if time.monotonic() - self._sent >= _EVERY_S or event["event"].startswith(_AT_ONCE):
            self.send()

    def send(self) -> None:
        if self._events:
            self._place.tell({**self._about, "events": self._events})
            self._events, self._sent = [], time.monotonic()
