"""A recipe, this machine's settings, and the archives as they are now: what a plan is made from."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import tmplbuild.recipes as recipes
from tmplbuild.archives import local, mirrors, packed
from tmplbuild.archives.arrival import MoreWanted
from tmplbuild.archives.cache import PackageCache
from tmplbuild.archives.fetch import Fetcher
from tmplbuild.archives.logins import logins
from tmplbuild.archives.model import ArchiveState, Closure
from tmplbuild.archives.wishes import Wishes
from tmplbuild.config import Settings
from tmplbuild.core.foreign import Emulator, emulator, is_foreign
from tmplbuild.engine import families, pinning
from tmplbuild.engine.pins import Pins
from tmplbuild.engine.plan import Plan, make_plan
from tmplbuild.engine.steps import NAMES, names_of, steps
from tmplbuild.engine.store import Store
from tmplbuild.errors import HostError, RecipeError, UsageError
from tmplbuild.events import Detail, Emit, Note, Progress

if TYPE_CHECKING:
    from tmplbuild.archives.gateway import Gateway
    from tmplbuild.core import Core
    from tmplbuild.engine.source import Source


@dataclass(frozen=True, slots=True)
class Wish:
    """What the user asked for beside the recipe's name.

    `seen` is for a run that another one started: the archives' state as it was read a moment ago is
    taken, and packages are fetched all the same. `out_of` is the recipe of an earlier release whose
    template this one is to be made out of, and `called` what the template is then called.
    """

    arch: str | None = None
    rerun_from: str | None = None
    rebuild: bool = False
    offline: bool = False
    seen: bool = False
    allow_older: bool = False
    boot_test: bool = True
    out_of: str | None = None
    called: str | None = None


@dataclass(frozen=True, slots=True)
class World:
    """All that is known before anything is built.

    `made_there` tells whether other machines, which make the layers where this one is not to, have the layer
    of a key (tmplbuild.engine.elsewhere); None where this one makes them.
    """

    loaded: recipes.LoadedRecipe
    settings: Settings
    make_core: Callable[[], Core]
    store: Store
    cache: PackageCache
    mirrors: Mapping[str, Sequence[str]]
    fetcher: Fetcher
    emit: Emit
    made_there: Callable[[str], bool] | None = None

    @property
    def core(self) -> Core:
        """The container core; made when it is first asked for: most nights nobody does."""
        return self.make_core()

    @property
    def is_foreign(self) -> bool:
        """Whether the template is for a processor whose programs this machine can only emulate."""
        return is_foreign(self.loaded.ve_arch)

    @property
    def emulator(self) -> Emulator | None:
        """What runs the template's programs here, where that is needed. Raises HostError."""
        return emulator(self.loaded.ve_arch) if self.is_foreign else None

    @property
    def template(self) -> str:
        """The template's name without suffix (debian-12-x86_64)."""
        return self.loaded.recipe.image.name

    def has(self, key: str) -> bool:
        """Whether the layer of a key is there, wherever layers are made."""
        return self.store.get(key) is not None if self.made_there is None else self.made_there(key)

    def record(self) -> dict[str, Any] | None:
        """The record of the last good build."""
        return self.store.read_record(self.template)


@dataclass(frozen=True, slots=True)
class Resolved:
    """The archives' verified state, the pins chosen from it, and why these; the template that the tree
    begins with, where it is not made of packages."""

    states: tuple[ArchiveState, ...]
    pins: Pins
    reason: str
    source: Source | None = None


def open_world(
    name: str,
    wish: Wish,
    settings: Settings,
    emit: Emit,
    *,
    loaded: recipes.LoadedRecipe | None = None,
    made_there: Callable[[str], bool] | None = None,
) -> World:
    """Load the recipe and open the store, the caches and the core. No network yet.

    Parameters:
        loaded: the recipe, if it has been read already.
        made_there: see `World`.

    Raises UsageError, RecipeError, StoreError.
    """
    roots = recipes.recipe_roots(settings.recipes)
    loaded = loaded or recipes.load(name, arch=wish.arch, roots=roots)
    if wish.out_of is not None:
        earlier = recipes.load(wish.out_of, arch=wish.arch, roots=roots)
        loaded = recipes.as_upgrade(loaded, earlier, wish.called)
    loaded = recipes.without_release_steps(loaded)
    # an emulated init does not come up: QEMU's user mode has no namespaces of its own, among others
    foreign = made_there is None and is_foreign(loaded.ve_arch)  # a fleet has machines of each kind
    if not wish.boot_test or foreign:
        loaded = recipes.without_boot_test(loaded)
    if faults := [finding for finding in recipes.lint(loaded) if finding.level == "error"]:
        raise recipes_error(name, faults)
    loaded = recipes.with_local_digests(loaded)
    stages = names_of(loaded.recipe)
    if wish.rerun_from is not None and wish.rerun_from not in stages:
        raise no_stage(wish.rerun_from, "--from", stages)
    return world_of(loaded, settings, emit, offline=wish.offline, made_there=made_there)


def world_of(
    loaded: recipes.LoadedRecipe,
    settings: Settings,
    emit: Emit,
    *,
    offline: bool = False,
    made_there: Callable[[str], bool] | None = None,
) -> World:
    """The world of a recipe that has been read, and of this machine's settings. Raises StoreError."""
    addresses = {
        **mirrors.table(loaded.recipe.archives, settings.mirror),
        **packed.addresses(loaded.recipe.bootstrap, settings.mirror),
    }
    return World(
        loaded=loaded,
        settings=settings,
        make_core=core_of(settings, emit),
        store=Store(settings.state_dir),
        cache=PackageCache(settings.cache_dir),
        mirrors=addresses,
        fetcher=Fetcher(
            addresses,
            emit=emit,
            offline=offline,
            vouchers=families.vouchers(loaded.recipe, keys_dirs(loaded)),
            logins=logins(loaded.recipe.archives, addresses, loaded.find),
        ),
        emit=emit,
        made_there=made_there,
    )


def core_of(settings: Settings, emit: Emit) -> Callable[[], Core]:
    """Makes the container core when it is first called."""

    def core() -> Core:
        from tmplbuild.core import Core

        return Core(settings.run_dir, uid_base=settings.uid_base, emit=emit)

    return functools.cache(core)


def prepare_host(world: World, *, stacks: bool = False) -> None:
    """See that VEs can run on this machine, and how layers are made here. Takes a twentieth of a second,
    so it is asked only when something is to be done. Raises HostError.

    Parameters:
        stacks: it has been tried already, and layers can be stacked.
    """
    if stacks or world.core.stacks(world.store.dir):
        world.store.mode = "overlay"
    else:
        _say_why_not(world)
    if (found := world.emulator) is not None:
        text = (
            f"programs of {found.arch} are run by {found.name}: slower, upgraded without init, no boot test"
        )
        world.emit(Note(text))


def _say_why_not(world: World) -> None:
    """Layers cannot be stacked: why, and whether a build can do without."""
    probe = world.core.probe(world.store.dir)
    if not probe.usable:
        raise HostError("VEs cannot be run on this machine", why=probe.why, hint=probe.fix)
    world.store.mode = probe.mode
    if probe.mode == "copy":
        world.emit(Note(f"layers are whole copies here: {probe.mode_reason}"))


def recipes_error(name: str, faults: Sequence[recipes.Finding]) -> RecipeError:
    """The error for a recipe that is well-formed and yet cannot be built."""
    rows = tuple(str(finding.fault) for finding in faults)
    return RecipeError(f"the recipe {name} has faults", faults=rows, hint=f"tmplbuild recipe lint {name}")


def no_stage(name: str, where: str, stages: Sequence[str] = NAMES) -> UsageError:
    """The error for a stage that does not exist."""
    return UsageError(f"there is no stage {name!r}", where=where, hint=f"the stages are: {', '.join(stages)}")


def read_states(world: World, wish: Wish) -> tuple[ArchiveState, ...]:
    """Ask the archives what is new, and verify it. Raises FetchError, VerifyError."""
    loaded, recipe = world.loaded, world.loaded.recipe
    world.emit(Progress("ask the archives what is new"))
    return families.of(recipe).read_archives(
        recipe.archives,
        loaded.arch,
        fetcher=world.fetcher,
        cache=world.cache,
        keys_dir=keys_dirs(loaded),
        offline=wish.offline or wish.seen,
        allow_older=wish.allow_older,
    )


def resolve(
    world: World,
    wish: Wish,
    *,
    read: Callable[[World, Wish], tuple[ArchiveState, ...]] = read_states,
    close: Callable[[World, tuple[ArchiveState, ...]], tuple[Closure, Closure]] | None = None,
) -> Resolved:
    """Ask the archives what is new, verify it, and choose the pins.

    Parameters:
        read, close: read the archives and work out `closures`; several templates may share what
            comes of it (tmplbuild.engine.shared).

    Raises FetchError, VerifyError, ResolveError.
    """
    loaded, recipe = world.loaded, world.loaded.recipe
    source = source_of(world, wish) if recipes.begins_packed(recipe) else None
    states = read(world, wish)
    last = world.record()
    same = pinning.unmoved(loaded.recipe, loaded.arch, states, last)
    begins = source.pinned(loaded.arch) if source is not None else None
    if same is not None and not wish.rebuild and begins in (None, same.base):
        return Resolved(states, same, "no index moved in the archives", source)
    world.emit(Progress("work out the packages"))
    base, full = (close or closures)(world, states)
    for choice in full.choices:
        world.emit(Detail(f"chosen: {choice}"))
    if begins is not None:
        pins, reason = pinning.choose_upgrade(
            recipe,
            loaded.arch,
            states,
            begins,
            full,
            last=last,
            now=int(time.time()),
            fresh=wish.rebuild,
        )
        return Resolved(states, pins, reason, source)
    pins, reason = pinning.choose(
        recipe,
        loaded.arch,
        states,
        base,
        full,
        last=last,
        now=int(time.time()),
        base_epoch=world.store.base_epoch,
        install_epochs=world.store.install_epochs,
        fresh=wish.rebuild,
    )
    return Resolved(states, pins, reason)


def source_of(world: World, wish: Wish) -> Source:
    """The packed tree that the recipe begins with. Raises StoreError, FetchError, VerifyError."""
    from tmplbuild.engine.source import find

    return find(
        world.loaded,
        world.settings,
        fetcher=world.fetcher,
        cache=world.cache,
        keys_dir=keys_dirs(world.loaded),
        offline=wish.offline or wish.seen,
    )


def keys_dirs(loaded: recipes.LoadedRecipe) -> tuple[Path, ...]:
    """The directories of the recipe's certificates. Raises RecipeError when one is missing."""
    return tuple(dict.fromkeys(path.parent for path in loaded.key_files()))


def closures(world: World, states: tuple[ArchiveState, ...], pool: Any = None) -> tuple[Closure, Closure]:
    """The base's packages, and all of the template's. Raises ResolveError.

    Parameters:
        pool: what the family's `open_pool` makes of the states, if it is there already.
    """
    recipe = world.loaded.recipe
    family = families.of(recipe)
    pool = family.open_pool(states, world.loaded.arch) if pool is None else pool
    files = local.taken_in(world.loaded.local_packages(), world.cache)
    pool, names = family.with_local(pool, files, world.cache) if files else (pool, [])
    base = _closure(world, pool, Wishes.of_base(recipe))
    full = _closure(world, pool, Wishes.of(recipe, also=names))
    local.refuse_others(full, files, names)
    return base, full


def _closure(world: World, pool: Any, wishes: Wishes) -> Closure:
    family = families.of(world.loaded.recipe)
    try:
        return family.closure(pool, wishes)
    except MoreWanted as more:
        world.fetcher.download(more.wanted, world.cache, "indexes")
    return family.closure(pool, wishes)


def plan_of(world: World, resolved: Resolved, wish: Wish) -> Plan:
    """What a build would do now, with reasons."""
    return make_plan(
        world.template,
        steps(world.loaded.recipe, world.loaded.digests, resolved.pins, emulated=world.is_foreign),
        resolved.pins,
        pins_reason=resolved.reason,
        has=world.has,
        last=world.record(),
        failed=world.store.read_record(world.template, "failed"),
        rerun_from=wish.rerun_from,
        rebuild=wish.rebuild,
    )


def gateway_of(world: World, resolved: Resolved) -> Gateway:
    """What serves a VE's proxy socket: the pinned indexes, and the packages of the recipe's archives."""
    from tmplbuild.archives.gateway import Gateway

    recipe = world.loaded.recipe
    routes = families.of(recipe).gateway_routes(
        recipe.archives, resolved.states, fetcher=world.fetcher, cache=world.cache
    )
    return Gateway(routes, emit=world.emit, errand=world.fetcher.errand())
