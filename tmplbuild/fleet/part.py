"""What Dask calls on a worker: a part of a build, in a process of its own, whose events are passed on."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from tmplbuild.core.process import Sibling
from tmplbuild.errors import StageError
from tmplbuild.fleet.order import refuse_other
from tmplbuild.ui.errors import error_object

Found = dict[str, Any]

_EVERY_S = 0.3  # events go to the scheduler in bundles
_DULL = {"bytes", "output", "command"}


@dataclass(frozen=True, slots=True)
class Place:
    """What a worker knows of itself.

    Parameters:
        name: as the report calls it.
        store: the shared store's address, as this machine reaches it.
        env: the variables that give a build this machine's settings.
        tell: sends a bundle of events to whoever listens.
    """

    name: str
    store: str
    env: Mapping[str, str]
    tell: Callable[[Found], None]


here: Place | None = None
"""Set once, when the process becomes a worker."""


def perform(tool: str, key: str, order: str, part: str, *before: Found) -> Found:
    """Do a part of an order. What goes wrong is in the result: only a worker that dies is a failure to Dask.

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
    sibling = Sibling(["task", order, part, "--store", here.store, "--json"], here.env)
    last: Found = {}
    bundle = _Bundle(key, part, here)
    try:
        for line in sibling.lines():
            try:
                found = json.loads(line)
                name = found["event"]
            except (ValueError, KeyError, TypeError):
                continue
            if name in ("task_done", "error"):
                last = found
            elif name not in _DULL:
                bundle.add(found)
    finally:
        bundle.send()
        status, said = sibling.wait()
    about["seconds"] = time.monotonic() - start
    if last.get("event") == "task_done":
        done: Found = about | last["found"]
        return done
    if last.get("event") == "error":
        return about | {"error": last}
    crash = StageError(
        "the process of a part of a build ended without a word",
        where=f"{part} on {here.name}",
        why=f"its status is {status}",
        tail=tuple(said.splitlines()[-20:]),
    )
    return about | {"error": error_object(crash), "lost": True}


class _Bundle:
    def __init__(self, key: str, part: str, place: Place) -> None:
        self._about = {"key": key, "part": part, "worker": place.name}
        self._place = place
        self._events: list[Found] = []
        self._sent = 0.0

    def add(self, event: Found) -> None:
        self._events.append(event)
        if time.monotonic() - self._sent >= _EVERY_S or event["event"].startswith("stage"):
            self.send()

    def send(self) -> None:
        if self._events:
            self._place.tell({**self._about, "events": self._events})
            self._events, self._sent = [], time.monotonic()
