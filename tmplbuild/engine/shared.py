"""What the templates of one run share: each archive is asked once, each closure worked out once."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, TypeVar, cast

from tmplbuild.archives.model import ArchiveState, Closure
from tmplbuild.engine import families, keys
from tmplbuild.engine.world import Wish, World, closures, keys_dirs, read_states
from tmplbuild.errors import TmplbuildError
from tmplbuild.recipes.model import plain

T = TypeVar("T")
States = tuple[ArchiveState, ...]


class Shared:
    """Results by what they are made of. Safe to use from several threads: who needs what another one
    is working out waits for it. An error is shared as well: a mirror that is down is tried once."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._at_work: dict[str, threading.Lock] = {}
        self._known: dict[str, Any] = {}
        self._solver = threading.Lock()  # a pool remembers what it was asked, without locks of its own

    def states(self, world: World, wish: Wish) -> States:
        """As `world.read_states`. Raises what that raises."""
        return self._once(self._archives(world), lambda: read_states(world, wish))

    def closures(self, world: World, states: States) -> tuple[Closure, Closure]:
        """As `world.closures`. Raises what that raises."""
        recipe, name = world.loaded.recipe, self._archives(world)
        asked = keys.digest([name, plain(recipe.bootstrap), plain(recipe.install)])

        def work_out() -> tuple[Closure, Closure]:
            pool = self._once(
                f"pool {name}", lambda: families.of(recipe).open_pool(states, world.loaded.arch)
            )
            with self._solver:
                return closures(world, states, pool)

        return self._once(asked, work_out)

    def _archives(self, world: World) -> str:
        loaded = world.loaded
        archives = {role: plain(archive) for role, archive in loaded.recipe.archives.items()}
        dirs = [str(path) for path in keys_dirs(loaded)]
        places = {role: list(row) for role, row in world.mirrors.items()}
        return keys.digest([loaded.recipe.upgrade.manager, loaded.arch, archives, places, dirs])

    def _once(self, name: str, work: Callable[[], T]) -> T:
        with self._lock:
            mine = self._at_work.setdefault(name, threading.Lock())
        with mine:
            if name not in self._known:
                try:
                    self._known[name] = work()
                except TmplbuildError as error:
                    self._known[name] = error
        found = self._known[name]
        if isinstance(found, TmplbuildError):
            raise found
        return cast(T, found)
