"""That no worker of a fleet can do something: what is missing, and in words, what gives it to one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from tmplbuild.errors import HostError
from tmplbuild.secrets import PLACE, plain


def lacking(needs: Mapping[str, float], offers: Iterable[Mapping[str, float]]) -> list[str]:
    """What keeps each worker from a task; nothing if one can do it.

    Parameters:
        needs: what it takes, by the names of `tmplbuild.fleet.graph.needs_of`.
        offers: of each worker, in the words of `tmplbuild.fleet.grid.resources`.
    """
    lacks = [[name for name, amount in needs.items() if offer.get(name, 0) < amount] for offer in offers]
    common = [name for name in needs if all(name in lack for lack in lacks)]
    return common or min(lacks, key=len)


def nobody_has(
    lacks: Sequence[str], needs: Mapping[str, float], where: str, secrets: Iterable[str]
) -> HostError:
    """The error that tells it.

    Parameters:
        lacks: see `lacking`; needs: what that was asked of.
        where: the template and the part of its build.
        secrets: the names of those that it needs, as the recipe has them.
    """
    names = {plain(name): name for name in secrets}
    words, hints = [], []
    for kind, _, value in (lack.partition(" ") for lack in lacks):
        if kind == "version":
            return _error(
                where, "no worker of this version of tmplbuild is there", "start one (docs/fleet.md)"
            )
        if kind == "secret":
            name = names.get(value, value)
            words.append(f"the secret {name}")
            ways = f"put it into {PLACE / name} of a worker, or LoadCredential={name}:FILE into its unit"
            hints.append(f"{ways}, and start that worker again")
        elif kind == "memory_mib":
            words.append(f"{needs[kind]:g} MiB for a build")
            hints.append("lower limits.memory_mib of the recipe, or raise nightly.memory_mib of a worker")
        else:
            words.append(f"the architecture {value}")
            hints.append("start a worker on a machine of that kind")
    return _error(where, f"none has {' and '.join(words)}", "; ".join(hints))


def _error(where: str, why: str, hint: str) -> HostError:
    return HostError("no worker of the fleet can do this part of a build", where=where, why=why, hint=hint)
