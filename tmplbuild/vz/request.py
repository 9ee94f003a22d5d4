"""One request to change a VE: what it makes of its configuration."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from tmplbuild.errors import UsageError
from tmplbuild.vz.addresses import Address, address
from tmplbuild.vz.conf import Conf
from tmplbuild.vz.dists.accounts import check


@dataclass(frozen=True, slots=True)
class Request:
    """What is asked for.

    Parameters:
        values: new values by key of VEID.conf; None takes one away.
        add, drop: addresses; `drop_all` takes away all that there were.
        passwords: by user.
    """

    values: dict[str, str | None] = field(default_factory=dict)
    add: tuple[Address, ...] = ()
    drop: tuple[Address, ...] = ()
    drop_all: bool = False
    passwords: tuple[tuple[str, str], ...] = ()

    def changed(self, conf: Conf) -> dict[str, str | None]:
        """The values that VEID.conf gets. Raises UsageError for an address to drop that is not there."""
        values = dict(self.values)
        if self.add or self.drop or self.drop_all:
            kept = [] if self.drop_all else list(addresses_of(conf))
            for one in self.drop:
                if one not in kept:
                    raise UsageError(f"VE {conf.veid} has no address {one}")
                kept.remove(one)
            kept += [one for one in self.add if one not in kept]
            values["IP_ADDRESS"] = " ".join(str(one) for one in kept)
        return values


def addresses_of(conf: Conf) -> tuple[Address, ...]:
    """The addresses of VEID.conf. Raises UsageError."""
    return tuple(dict.fromkeys(address(word) for word in conf.words("IP_ADDRESS")))


def dropped(words: Sequence[str]) -> tuple[tuple[Address, ...], bool]:
    """What `--ipdel` names: addresses, and whether it is all of them."""
    return tuple(address(word) for word in words if word != "all"), "all" in words


def password(text: str, ask: Callable[[str], str]) -> tuple[str, str]:
    """USER:PASSWORD, or USER alone, whose password is asked for. Raises UsageError."""
    user, colon, word = text.partition(":")
    if not colon:
        check(user, "x")
        word = ask(user)
    check(user, word)
    return user, word
