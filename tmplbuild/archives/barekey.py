"""A pinned key whose certificate vouches for itself by a signature of an old kind: the key alone counts.

A recipe pins a key by its fingerprint, which is a digest of the key itself: the pin vouches for it, and its
certificate's signature over its own names adds nothing (docs/adr/0011-bare-keys.md). So nothing is believed
of such a certificate that would widen what the pin says: no subkey, no other name. What narrows it is: an end
of its time, and any revocation of the key.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tmplbuild.archives import packets
from tmplbuild.archives.packets import PUBLIC_KEY, SIGNATURE, Packet

_WEAK = packets.STRONG | {"sha1"}


@dataclass(frozen=True, slots=True)
class BareKey:
    """A key and what its certificate says against it.

    Parameters:
        body: the key's packet.
        expires: when it ends, seconds since the epoch (infinity for never).
        weak: whether DSA, and signatures over SHA-1, are accepted of it.
    """

    fingerprint: str
    body: bytes
    expires: float
    revoked: bool
    weak: bool = False

    @property
    def is_dsa(self) -> bool:
        """Whether nothing that it signed is accepted but where `weak` says so."""
        return packets.is_dsa(self.body)

    def signed(self, data: bytes, signature: bytes, now: float) -> bool:
        """Whether a signature over data, as the body of its packet, is by this key and counts today."""
        one = packets.parse(signature)
        if one is None or one.kind != packets.BINARY or one.unknown or self.revoked:
            return False
        if not packets.created(self.body) <= one.created <= now < self.expires:
            return False
        if one.expires and one.created + one.expires <= now:
            return False
        return packets.holds(one, self.body, data, _WEAK if self.weak else packets.STRONG)


def of(cert: Sequence[Packet], *, weak: bool) -> BareKey | None:
    """The primary key of a certificate's packets; None where it is of no form that is known."""
    if not cert or cert[0][0] != PUBLIC_KEY or cert[0][1][:1] != b"\x04":
        return None
    body = cert[0][1]
    own = packets.fingerprint(body)
    found = [one for kind, raw in cert if kind == SIGNATURE and (one := packets.parse(raw))]
    mine = [one for one in found if len(one.issuer) >= 16 and own.endswith(one.issuer)]
    # of whatever version and hash, as nothing is lost by believing one
    revoked = any(kind == SIGNATURE and packets.REVOKES_KEY in raw[1:3] for kind, raw in cert)
    vouching = [one for one in mine if one.kind in packets.CERTIFIES]
    newest = max(vouching, key=lambda one: one.created, default=None)
    ends = packets.created(body) + newest.key_expires if newest and newest.key_expires else float("inf")
    return BareKey(own, body, ends, revoked, weak)
