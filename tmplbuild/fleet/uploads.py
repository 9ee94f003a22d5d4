"""What a part of a build makes goes to the fleet's store beside the build, in a process of its own that lets
the build go first."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any

from tmplbuild.config import Settings
from tmplbuild.core.aside import Aside, GoneError, Say
from tmplbuild.engine.store import Store
from tmplbuild.errors import StoreError
from tmplbuild.fleet import layers
from tmplbuild.fleet.shared import SharedStore

_NICE = 19  # it gets what is left of the processors, until its end is waited for


class Uploads:
    """Uploads in the order in which they are asked for. To be made before there are threads.

    Parameters:
        store: the shared store's address.
        tell: called with a line when it does not answer, and when it does again.
    """

    def __init__(self, store: str, settings: Settings, tell: Callable[[str], None]) -> None:
        self._address = store
        self._aside = Aside(lambda say: _Porter(store, settings, say), heard=tell, nice=_NICE)
        self._begun: list[Future[Any]] = []

    def packages(self, paths: Sequence[Path]) -> None:
        """Upload those files that are there."""
        self._begun.append(self._aside.tell("packages", paths))

    def layer(self, key: str, below: Sequence[str], *, made: bool, anew: bool) -> None:
        """Upload a layer that the fleet does not have, be it of an earlier run that was killed before it had
        uploaded what it made. What another machine has brought first stays, unless it is to be made anew.

        Parameters:
            below: keys of the layers that it cannot do without, topmost last.
            made: whether it was made just now.
            anew: whether it takes the place of one that is there.
        """
        self._begun.append(self._aside.tell("layer", key, below, made=made, anew=anew))

    def file(self, path: Path, sha256: str = "") -> Future[str]:
        """Upload a file. Returns its digest, when it is there.

        Parameters:
            sha256: the file's, if it is known.
        """
        future = self._aside.tell("file", path, sha256)
        self._begun.append(future)
        return future

    def finish(self) -> None:
        """Wait until all is there. Raises the first error that came up, StoreError among others."""
        self._aside.hurry()
        try:
            for future in self._begun:
                future.result()
        except GoneError:
            raise StoreError(
                "the process that uploads to the fleet's store was killed", where=self._address
            ) from None

    def close(self) -> None:
        """Leave off what was not waited for."""
        self._aside.stop()


class _Porter:
    def __init__(self, store: str, settings: Settings, say: Say) -> None:
        self._shared = SharedStore(store, patience_s=settings.store_patience_s, tell=say)
        self._settings = settings
        self._store = Store(settings.state_dir)

    def packages(self, paths: Sequence[Path]) -> None:
        for path in paths:
            if path.exists():
                self._shared.put(path)

    def layer(self, key: str, below: Sequence[str], *, made: bool, anew: bool) -> None:
        layer = self._store.get(key)
        assert layer is not None
        told = layers.known(layer) is not None and self._shared.read_json(layers.name_of(key)) is not None
        if told and not (anew and made):
            return
        scratch, threads = self._settings.state_dir / "fleet", len(os.sched_getaffinity(0))
        rests_on = [one for one in map(self._store.get, below) if one is not None]
        layers.push(layer, self._shared, scratch, threads=threads, below=rests_on, anew=anew)

    def file(self, path: Path, sha256: str) -> str:
        return self._shared.put(path, sha256)
