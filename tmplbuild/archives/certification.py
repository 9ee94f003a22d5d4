"""Certifications: who vouches for whom among OpenPGP keys. RFC 9580, 5.2; keys and signatures of version 4.

Whether a key's own signatures hold is the OpenPGP library's business; here only signatures that one key made
over the name of another are checked, which that library does not tell of.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from tmplbuild.archives import packets
from tmplbuild.archives.packets import PUBLIC_KEY, SIGNATURE, USER_ID, Packet, Signature, fingerprint


def certifiers(cert: Sequence[Packet], masters: Iterable[Sequence[Packet]], now: float) -> set[str]:
    """The fingerprints of those master keys that vouch for a name of a certificate today.

    Parameters:
        cert: the packets of the certificate; the first one is its primary key.
        masters: those of the keys that may vouch.
        now: seconds since the epoch.

    A certification over SHA-1, one that has expired, and one that its maker has taken back do not count.
    """
    if not cert or cert[0][0] != PUBLIC_KEY:
        return set()
    keys = {fingerprint(one[0][1]): one[0][1] for one in masters if one and one[0][0] == PUBLIC_KEY}
    found: set[str] = set()
    for name, signatures in _names(cert):
        for master, key in keys.items():
            made = [
                one
                for one in signatures
                if _by(one, master) and packets.holds(one, key, _hashed_words(cert[0][1], name))
            ]
            newest = max((one for one in made if one.kind in packets.CERTIFIES), key=_when, default=None)
            revoked = any(one.kind == packets.REVOKES_CERTIFICATION for one in made)
            if newest is not None and not revoked and _lasts(newest, now):
                found.add(master)
    return found


def _names(cert: Sequence[Packet]) -> Iterable[tuple[bytes, list[Signature]]]:
    """Each user id with the signatures that follow it."""
    name: bytes | None = None
    signatures: list[Signature] = []
    for tag, body in cert:
        if tag == SIGNATURE and name is not None:
            if (one := packets.parse(body)) is not None:
                signatures.append(one)
            continue
        if name is not None:
            yield name, signatures
        name, signatures = (body if tag == USER_ID else None), []
    if name is not None:
        yield name, signatures


def _lasts(one: Signature, now: float) -> bool:
    return one.created <= now and (not one.expires or now < one.created + one.expires)


def _when(one: Signature) -> int:
    return one.created


def _by(one: Signature, master: str) -> bool:
    return bool(one.issuer) and master.endswith(one.issuer) and len(one.issuer) >= 16


def _hashed_words(key: bytes, name: bytes) -> bytes:
    return packets.framed(key) + b"\xb4" + len(name).to_bytes(4) + name
