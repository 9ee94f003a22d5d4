"""What is wanted of a VE, whatever its distribution."""

from __future__ import annotations

from dataclasses import dataclass

from tmplbuild.vz.addresses import Address

DEVICE = "venet0"


@dataclass(frozen=True, slots=True)
class Wish:
    """What a VE's files are to say; None leaves a thing as it is.

    Parameters:
        addresses: of venet0; an empty tuple takes all away.
        hostname: as it was given, with or without a domain.
        nameservers, searchdomains: for the resolver.
        passwords: by user.
        created: the tree is new: what a VE must not share with its siblings is made its own.
    """

    addresses: tuple[Address, ...] | None = None
    hostname: str | None = None
    nameservers: tuple[str, ...] | None = None
    searchdomains: tuple[str, ...] | None = None
    passwords: tuple[tuple[str, str], ...] = ()
    created: bool = False

    @property
    def v4(self) -> list[str]:
        """The IPv4 addresses."""
        return [str(one) for one in self.addresses or () if one.version == 4]

    @property
    def v6(self) -> list[str]:
        """The IPv6 addresses."""
        return [str(one) for one in self.addresses or () if one.version == 6]

    @property
    def short(self) -> str:
        """The host name without its domain."""
        return (self.hostname or "").partition(".")[0]
