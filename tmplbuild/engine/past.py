"""The template before its upgrade, for stage leftovers: its layers lie below, and are only read."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager

from tmplbuild.core import Tree
from tmplbuild.engine.allowance import limits_of
from tmplbuild.engine.plan import Plan
from tmplbuild.engine.world import World
from tmplbuild.errors import StageError
from tmplbuild.stages.leftovers import Past

_PRISTINE = ("install", "bootstrap")  # a tree that began with an earlier template has no install


def past_of(world: World, plan: Plan) -> Past:
    """Opens the trees of earlier steps of a plan, which must be built when they are asked for."""
    key_of = {row.step.name: row.step.key for row in plan.steps}
    pristine = next(key_of[name] for name in _PRISTINE if name in key_of)
    names = list(key_of)
    before = key_of[names[names.index("upgrade") - 1]]

    def tree(key: str) -> AbstractContextManager[Tree]:
        return _tree(world, key)

    return Past(
        pristine=lambda: tree(pristine),
        before=lambda: tree(before),
        ask=lambda argv: _ask(world, pristine, argv),
    )


@contextmanager
def _tree(world: World, key: str) -> Iterator[Tree]:
    with (
        world.store.look(world.template, key) as draft,
        world.core.tree(draft.rootfs, writable=False) as tree,
    ):
        yield tree


def _ask(world: World, key: str, argv: tuple[str, ...]) -> bytes:
    """The output of a command that runs in the tree of a layer; what it writes is thrown away."""
    lower = tuple(layer.fs for layer in world.store.chain(key))
    with world.store.scratch(f"{world.template}-past", lower) as rootfs:
        ve = world.core.start(
            f"past-{world.template}",
            rootfs,
            init=False,
            net="none",
            limits=limits_of(world.loaded.recipe),
            hostname="localhost",
            emulator=world.emulator,
        )
        with ve:
            result = ve.exec(list(argv), env={"LC_ALL": "C.UTF-8"})
        if result.rc != 0 or result.signal:
            raise StageError(
                "the template before the upgrade cannot be asked for its configuration files",
                where=" ".join(argv),
                why=result.stderr.decode("utf-8", "replace").strip() or f"exit status {result.rc}",
            )
        return result.stdout
