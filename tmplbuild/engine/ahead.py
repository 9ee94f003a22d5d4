"""Packing ahead: packages' gzip members are compressed while the build waits for other things.

Compressing at the level that pays off in every later night costs several times what a build may wait
for. But what a member is made of is known long before the tree is packed: as soon as a layer with the
package is committed. Most of a build is one maintainer script after another, on one processor; so a
thread compresses on what is idle, for `pack` to find. What a later stage changes after all is only
compressed again: members are found by what they are made of, so nothing here can change a byte.
"""

from __future__ import annotations

import os
import queue
import threading
from collections.abc import Callable, Collection
from contextlib import AbstractContextManager, suppress
from types import TracebackType
from typing import Any

from tmplbuild.artifact.members import MemberCache
from tmplbuild.artifact.pack import pack_ahead
from tmplbuild.core import Tree
from tmplbuild.core.waits import until
from tmplbuild.errors import TmplbuildError

TreeOf = Callable[[str], AbstractContextManager[Tree]]
PackagesOf = Callable[[str, dict[str, Any]], Collection[str]]


class Ahead:
    """Compresses members of committed layers, one layer after the other, until the block is left.

    Parameters:
        tree_of: opens the tree of a committed layer, by its key.
        packages_of: the names of the packages that a step brought, by its name and its note.
        listed: whose each file of a tree is.
        members: where the members go.
        level, epoch: as `pack` will be told.
        jobs: compressing threads; they have the lowest priority.
    """

    def __init__(
        self,
        tree_of: TreeOf,
        packages_of: PackagesOf,
        listed: Callable[[Tree], dict[str, str]],
        members: MemberCache,
        *,
        level: int,
        epoch: int,
        jobs: int,
    ) -> None:
        self._tree_of = tree_of
        self._packages_of = packages_of
        self._listed = listed
        self._members = members
        self._level = level
        self._epoch = epoch
        self._jobs = jobs
        self._layers: queue.SimpleQueue[tuple[str, frozenset[str]] | None] = queue.SimpleQueue()
        self._over = threading.Event()
        self._ended = threading.Event()
        self._threads: list[int] = []
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Ahead:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.end()

    def committed(self, step: str, key: str, note: dict[str, Any]) -> None:
        """A step's layer is there: compress the packages that it brought when there is time."""
        wanted = frozenset(self._packages_of(step, note))
        if not wanted or self._over.is_set():
            return
        self._layers.put((key, wanted))
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="ahead", daemon=True)
            self._thread.start()

    def end(self) -> None:
        """Stop; what is being compressed at this moment is finished, the rest is left to `pack`."""
        self._over.set()
        self._layers.put(None)
        for thread in list(self._threads):  # now somebody waits for them
            if not os.path.exists(f"/proc/self/task/{thread}"):
                continue  # of one that ended, the number may be anyone's
            with suppress(OSError):
                os.setpriority(os.PRIO_PROCESS, thread, os.getpriority(os.PRIO_PROCESS, 0))
        if self._thread is not None and self._thread.ident is not None:  # else interrupted before it began
            until(self._ended)  # not Thread.join: see engine/beside.py

    def _run(self) -> None:
        try:
            self._work()
        finally:
            self._ended.set()

    def _work(self) -> None:
        while (one := self._layers.get()) is not None and not self._over.is_set():
            key, wanted = one
            try:
                with self._tree_of(key) as tree:
                    pack_ahead(
                        tree,
                        wanted,
                        epoch=self._epoch,
                        owners=self._listed(tree),
                        level=self._level,
                        members=self._members,
                        jobs=self._jobs,
                        over=self._over.is_set,
                        started=self._threads.append,
                    )
            except (TmplbuildError, OSError):
                return  # it only saves time: what is wrong, the stages will meet and tell
