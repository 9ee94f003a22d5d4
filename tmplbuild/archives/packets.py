"""Signature and key packets of OpenPGP, version 4, as far as bare keys check signatures. RFC 9580, 5.2.

For what the OpenPGP library cannot be asked: whether one key vouches for another one, and whether a key that
is known by its fingerprint alone has signed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable
from dataclasses import dataclass

PUBLIC_KEY, SIGNATURE, USER_ID = 6, 2, 13
BINARY = 0x00
"""The kind of a signature over data as they are."""
REVOKES_KEY, REVOKES_CERTIFICATION = 0x20, 0x30
CERTIFIES = frozenset({0x10, 0x11, 0x12, 0x13})
STRONG = frozenset({"sha224", "sha256", "sha384", "sha512"})
_HASHES = {2: "sha1", 8: "sha256", 9: "sha384", 10: "sha512", 11: "sha224"}
_RSA = frozenset({1, 3})
_DSA, _EDDSA = 17, 22
_ED25519 = bytes.fromhex("2b06010401da470f01")
_CREATED, _EXPIRES, _KEY_EXPIRES, _ISSUER, _ISSUER_FINGERPRINT = 2, 3, 9, 16, 33

_PREFERS = range(21, 31)  # what a certificate says of its owner's programs
_KNOWN = frozenset({_CREATED, _EXPIRES, _KEY_EXPIRES, _ISSUER, _ISSUER_FINGERPRINT, *_PREFERS})

Packet = tuple[int, bytes]
"""The number of a packet's kind, and its body."""


@dataclass(frozen=True, slots=True)
class Signature:
    """A signature: when it was made and how long it lasts, how long the key lasts that it vouches for
    (seconds, 0: without end), by which key it says to be, and whether it says something critical that is
    not known here."""

    kind: int
    algorithm: int
    hash: str
    created: int
    expires: int
    key_expires: int
    issuer: str
    unknown: bool
    head: bytes
    numbers: bytes


def fingerprint(body: bytes) -> str:
    """The fingerprint of a key packet of version 4, upper case."""
    return hashlib.sha1(framed(body), usedforsecurity=False).hexdigest().upper()


def framed(body: bytes) -> bytes:
    """A key packet as signatures and fingerprints cover it."""
    return b"\x99" + len(body).to_bytes(2) + body


def created(body: bytes) -> int:
    """When a key was made, seconds since the epoch."""
    return int.from_bytes(body[1:5])


def parse(body: bytes) -> Signature | None:
    """What is needed of a signature; None for one of another form."""
    if len(body) < 10 or body[0] != 4 or body[3] not in _HASHES:
        return None
    end = 6 + int.from_bytes(body[4:6])
    tail = end + 2 + int.from_bytes(body[end : end + 2])
    if tail + 2 > len(body):
        return None
    hashed = list(_subpackets(body[6:end]))
    inside = {kind & 0x7F: value for kind, value in hashed}
    beside = {kind & 0x7F: value for kind, value in _subpackets(body[end + 2 : tail])}
    issuer = inside.get(_ISSUER_FINGERPRINT, beside.get(_ISSUER_FINGERPRINT, b""))[1:]
    issuer = issuer or inside.get(_ISSUER, beside.get(_ISSUER, b""))
    return Signature(
        kind=body[1],
        algorithm=body[2],
        hash=_HASHES[body[3]],
        created=int.from_bytes(inside.get(_CREATED, b"")),
        expires=int.from_bytes(inside.get(_EXPIRES, b"")),
        key_expires=int.from_bytes(inside.get(_KEY_EXPIRES, b"")),
        issuer=issuer.hex().upper(),
        unknown=any(kind & 0x80 and kind & 0x7F not in _KNOWN for kind, _ in hashed),
        head=body[:end],
        numbers=body[tail + 2 :],
    )


def holds(one: Signature, key: bytes, words: bytes, hashes: Collection[str] = STRONG) -> bool:
    """Whether a signature over `words` is by the key in this packet.

    Parameters:
        hashes: those that count; with "sha1" among them DSA counts, too.
    """
    if len(key) < 6 or key[0] != 4 or one.hash not in hashes:
        return False
    from tmplbuild.archives import publickey  # few archives need it, and it loads long

    trailer = one.head + b"\x04\xff" + len(one.head).to_bytes(4)
    digest = hashlib.new(one.hash, words + trailer).digest()
    try:
        if key[5] in _RSA and one.algorithm in _RSA and one.hash != "sha224":
            modulus, exponent = _numbers(key[6:], 2)
            public = publickey.rsa_of(int.from_bytes(modulus), int.from_bytes(exponent))
            return public.verifies_digest(_numbers(one.numbers, 1)[0], digest, one.hash)
        if key[5] == _EDDSA == one.algorithm and key[7 : 7 + key[6]] == _ED25519:
            (point,) = _numbers(key[7 + key[6] :], 1)
            r, s = _numbers(one.numbers, 2)
            return point[:1] == b"\x40" and publickey.ed25519_verifies(
                point[1:], r.rjust(32, b"\0") + s.rjust(32, b"\0"), digest
            )
        if key[5] == _DSA == one.algorithm and "sha1" in hashes:
            domain = [int.from_bytes(number) for number in _numbers(key[6:], 4)]
            pair = [int.from_bytes(number) for number in _numbers(one.numbers, 2)]
            return publickey.dsa_verifies(domain, (pair[0], pair[1]), digest, one.hash)
    except (ValueError, IndexError):
        return False
    return False


def is_dsa(key: bytes) -> bool:
    """Whether a key packet is of DSA."""
    return key[5:6] == bytes([_DSA])


def _subpackets(data: bytes) -> Iterable[tuple[int, bytes]]:
    at = 0
    while at < len(data):
        first = data[at]
        if first < 192:
            size, at = first, at + 1
        elif first < 255:
            size, at = ((first - 192) << 8) + int.from_bytes(data[at + 1 : at + 2]) + 192, at + 2
        else:
            size, at = int.from_bytes(data[at + 1 : at + 5]), at + 5
        if size < 1 or at + size > len(data):
            return
        yield data[at], data[at + 1 : at + size]
        at += size


def _numbers(data: bytes, count: int) -> list[bytes]:
    """The first numbers (MPI). Raises ValueError where one is cut off."""
    found = []
    for _ in range(count):
        size = (int.from_bytes(data[:2]) + 7) // 8
        if len(data) < 2 + size:
            raise ValueError("a number is cut off")
        found.append(data[2 : 2 + size])
        data = data[2 + size :]
    return found
