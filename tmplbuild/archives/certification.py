"""Certifications: who vouches for whom among OpenPGP keys. RFC 9580, 5.2; keys and signatures of version 4.

Whether a key's own signatures hold is the OpenPGP library's business; here only signatures that one key made
over the name of another are checked, which that library does not tell of.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from tmplbuild.archives import publickey

PUBLIC_KEY, SIGNATURE, USER_ID = 6, 2, 13
_CERTIFIES = frozenset({0x10, 0x11, 0x12, 0x13})
_REVOKES = 0x30
_HASHES = {8: "sha256", 9: "sha384", 10: "sha512", 11: "sha224"}
_RSA = frozenset({1, 3})
_EDDSA = 22
_ED25519 = bytes.fromhex("2b06010401da470f01")
_CREATED, _EXPIRES, _ISSUER, _ISSUER_FINGERPRINT = 2, 3, 16, 33

Packet = tuple[int, bytes]
"""The number of a packet's kind, and its body."""


@dataclass(frozen=True, slots=True)
class _Signature:
    kind: int
    algorithm: int
    hash: str
    created: int
    expires: int
    issuer: str
    head: bytes
    numbers: bytes


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
                if _by(one, master) and _holds(one, key, _hashed_words(cert[0][1], name))
            ]
            newest = max((one for one in made if one.kind in _CERTIFIES), key=_when, default=None)
            revoked = any(one.kind == _REVOKES for one in made)
            if newest is not None and not revoked and _lasts(newest, now):
                found.add(master)
    return found


def fingerprint(body: bytes) -> str:
    """The fingerprint of a key packet of version 4, upper case."""
    return hashlib.sha1(_framed(body), usedforsecurity=False).hexdigest().upper()


def _names(cert: Sequence[Packet]) -> Iterable[tuple[bytes, list[_Signature]]]:
    """Each user id with the signatures that follow it."""
    name: bytes | None = None
    signatures: list[_Signature] = []
    for tag, body in cert:
        if tag == SIGNATURE and name is not None:
            if (one := _parse(body)) is not None:
                signatures.append(one)
            continue
        if name is not None:
            yield name, signatures
        name, signatures = (body if tag == USER_ID else None), []
    if name is not None:
        yield name, signatures


def _lasts(one: _Signature, now: float) -> bool:
    return one.created <= now and (not one.expires or now < one.created + one.expires)


def _when(one: _Signature) -> int:
    return one.created


def _by(one: _Signature, master: str) -> bool:
    return bool(one.issuer) and master.endswith(one.issuer) and len(one.issuer) >= 16


def _framed(body: bytes) -> bytes:
    return b"\x99" + len(body).to_bytes(2) + body


def _hashed_words(key: bytes, name: bytes) -> bytes:
    return _framed(key) + b"\xb4" + len(name).to_bytes(4) + name


def _parse(body: bytes) -> _Signature | None:
    """What is needed of a signature; None for one of another form."""
    if len(body) < 10 or body[0] != 4 or body[3] not in _HASHES:
        return None
    end = 6 + int.from_bytes(body[4:6])
    tail = end + 2 + int.from_bytes(body[end : end + 2])
    if tail + 2 > len(body):
        return None
    inside = dict(_subpackets(body[6:end]))
    beside = dict(_subpackets(body[end + 2 : tail]))
    issuer = inside.get(_ISSUER_FINGERPRINT, beside.get(_ISSUER_FINGERPRINT, b""))[1:]
    issuer = issuer or inside.get(_ISSUER, beside.get(_ISSUER, b""))
    return _Signature(
        kind=body[1],
        algorithm=body[2],
        hash=_HASHES[body[3]],
        created=int.from_bytes(inside.get(_CREATED, b"")),
        expires=int.from_bytes(inside.get(_EXPIRES, b"")),
        issuer=issuer.hex().upper(),
        head=body[:end],
        numbers=body[tail + 2 :],
    )


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
        yield data[at] & 0x7F, data[at + 1 : at + size]
        at += size


def _holds(one: _Signature, key: bytes, words: bytes) -> bool:
    """Whether a signature over `words` is by the key in this packet."""
    if len(key) < 6 or key[0] != 4:
        return False
    trailer = one.head + b"\x04\xff" + len(one.head).to_bytes(4)
    digest = hashlib.new(one.hash, words + trailer).digest()
    try:
        if key[5] in _RSA and one.algorithm in _RSA and one.hash in ("sha256", "sha512"):
            modulus, rest = _number(key[6:])
            exponent, _ = _number(rest)
            public = publickey.rsa_of(int.from_bytes(modulus), int.from_bytes(exponent))
            value, _ = _number(one.numbers)
            return public.verifies_digest(value, digest, one.hash)
        if key[5] == _EDDSA == one.algorithm and key[7 : 7 + key[6]] == _ED25519:
            point, _ = _number(key[7 + key[6] :])
            r, rest = _number(one.numbers)
            s, _ = _number(rest)
            return point[:1] == b"\x40" and publickey.ed25519_verifies(
                point[1:], r.rjust(32, b"\0") + s.rjust(32, b"\0"), digest
            )
    except (ValueError, IndexError):
        return False
    return False


def _number(data: bytes) -> tuple[bytes, bytes]:
    """The first number (MPI) and what follows it. Raises ValueError where it is cut off."""
    size = (int.from_bytes(data[:2]) + 7) // 8
    if len(data) < 2 + size:
        raise ValueError("a number is cut off")
    return data[2 : 2 + size], data[2 + size :]
