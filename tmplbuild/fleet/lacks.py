"""That no worker of a fleet can do something, in words: what is missing, and what gives it to one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from tmplbuild.errors import HostError
from tmplbuild.secrets import PLACE, plain


def nobody_has(
    lacks: Sequence[str], needs: Mapping[str, float], where: str, secrets: Iterable[str]
) -> HostError:
    """The error that tells it.

    Parameters:
        lacks: see `tmplbuild.fleet.graph.lacking`; needs: what that was asked of.
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
