"""Dist configurations: how the VEs of each distribution are told their address, name and passwords.

Which way a distribution takes is data (`data/*.toml`, and the machine's own files before them); what
a way means is one short function (`net_files`, `identity`, `accounts`, `created`). All of them only
think changes out (`draft`), so that the same code serves a stopped tree and a VE that runs.
"""

from __future__ import annotations

from tmplbuild.core.tree import Tree
from tmplbuild.vz.dists import accounts
from tmplbuild.vz.dists.choose import SHIPPED, Dist, choose
from tmplbuild.vz.dists.created import STEPS
from tmplbuild.vz.dists.draft import Draft, as_script, write_into
from tmplbuild.vz.dists.identity import NAMES, RESOLVERS, name_now
from tmplbuild.vz.dists.net_files import WRITERS
from tmplbuild.vz.dists.wish import DEVICE, Wish

__all__ = [
    "DEVICE", "SHIPPED", "Dist", "Draft", "Wish", "as_script", "choose", "network_of", "plan",
    "write_into",
]  # fmt: skip


def plan(tree: Tree, dist: Dist, wish: Wish, *, after: Draft | None = None) -> Draft:
    """The changes that give a VE what is wished for; its files are only read.

    Parameters:
        after: changes that will have been made by then.

    What the tree has no way for is told in the draft's notes. Raises UsageError for a password of a
    user that the VE does not have, HostError when none can be hashed.
    """
    draft = Draft(tree, after)
    if wish.created:
        for step in dist.post_create:
            STEPS[step](draft)
    if wish.addresses is not None:
        way = _first(dist.network, WRITERS, draft)
        if way:
            WRITERS[way][1](draft, wish)
        elif wish.addresses:
            draft.notes.append(
                f"no network system of {dist.name} is in the VE ({', '.join(dist.network)}): "
                "its address is set from outside, and is not in its files"
            )
    if wish.hostname is not None:
        for way in dist.hostname:
            NAMES[way](draft, wish)
        name_now(draft, wish)
    if wish.nameservers is not None or wish.searchdomains is not None:
        way = _first(dist.dns, RESOLVERS, draft)
        if way:
            RESOLVERS[way][1](draft, wish)
    for user, password in wish.passwords:
        accounts.set_password(draft, user, accounts.hashed(password))
    return draft


def network_of(tree: Tree, dist: Dist) -> str:
    """The network system whose files would be written; "" where the tree has none of the dist's."""
    return _first(dist.network, WRITERS, Draft(tree))


def _first(names: tuple[str, ...], known: dict[str, tuple], draft: Draft) -> str:  # type: ignore[type-arg]
    return next((name for name in names if known[name][0](draft)), "")
