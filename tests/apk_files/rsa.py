"""RSA signatures (PKCS #1 v1.5), checked with nothing but Python: for the apk of the stand-in's trees.

RFC 8017, 8.2.2: what the key makes of a signature must be, byte for byte, the padded digest; so nothing of it
is parsed, and nothing can hide in it. A public key is a SubjectPublicKeyInfo in PEM (RFC 7468, 13).
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from dataclasses import dataclass

_PEM = re.compile(rb"-----BEGIN PUBLIC KEY-----\s([A-Za-z0-9+/=\s]+)-----END PUBLIC KEY-----\s*\Z")
_ALGORITHM = bytes.fromhex("300d06092a864886f70d0101010500")  # rsaEncryption, no parameters
# DigestInfo of each hash up to the digest: RFC 8017, 9.2, note 1
_INFO = {
    "sha1": bytes.fromhex("3021300906052b0e03021a05000414"),
    "sha256": bytes.fromhex("3031300d060960864801650304020105000420"),
    "sha512": bytes.fromhex("3051300d060960864801650304020305000440"),
}
_SHORTEST = 2048
_LONGEST = 16384


@dataclass(frozen=True, slots=True)
class PublicKey:
    """`fingerprint` is the SHA-256 of its SubjectPublicKeyInfo (DER), in lower-case hex."""

    fingerprint: str
    modulus: int
    exponent: int

    def verifies(self, signature: bytes, data: bytes, kind: str) -> bool:
        """Whether the signature is this key's over `data`, hashed by `kind` ("sha1", "sha256", "sha512")."""
        return self.verifies_digest(
            signature, hashlib.new(kind, data, usedforsecurity=kind != "sha1").digest(), kind
        )

    def verifies_digest(self, signature: bytes, digest: bytes, kind: str) -> bool:
        """The same for data whose digest is known."""
        length = (self.modulus.bit_length() + 7) // 8
        tail = _INFO[kind] + digest
        wanted = b"\x00\x01" + b"\xff" * (length - 3 - len(tail)) + b"\x00" + tail
        number = int.from_bytes(signature, "big")
        if len(signature) != length or number >= self.modulus:
            return False
        return pow(number, self.exponent, self.modulus).to_bytes(length, "big") == wanted


def read_pem(text: bytes) -> PublicKey:
    """The key in a PEM file. Raises ValueError for what is none, or is too short to be trusted."""
    found = _PEM.search(text)
    if found is None:
        raise ValueError("it is no public key in PEM")
    try:
        der = base64.b64decode(found[1])
    except binascii.Error as error:
        raise ValueError(f"its base64 is damaged: {error}") from error
    body, rest = _value(der, 0x30)
    if rest or not body.startswith(_ALGORITHM):
        raise ValueError("it is no RSA key")
    bits, rest = _value(body[len(_ALGORITHM) :], 0x03)
    if rest or bits[:1] != b"\0":
        raise ValueError("its form is damaged")
    numbers, rest = _value(bits[1:], 0x30)
    modulus, numbers = _value(numbers, 0x02)
    exponent, tail = _value(numbers, 0x02)
    if rest or tail:
        raise ValueError("its form is damaged")
    return checked(hashlib.sha256(der).hexdigest(), int.from_bytes(modulus), int.from_bytes(exponent))


def checked(fingerprint: str, modulus: int, exponent: int) -> PublicKey:
    """A key of these numbers. Raises ValueError where they cannot be trusted, or cost too much."""
    if not _SHORTEST <= modulus.bit_length() <= _LONGEST or not modulus & 1:
        raise ValueError(f"an RSA key of {modulus.bit_length()} bits is not accepted")
    if not 3 <= exponent < 1 << 33 or not exponent & 1:
        raise ValueError(f"the exponent {exponent} is not accepted")
    return PublicKey(fingerprint, modulus, exponent)


def _value(der: bytes, tag: int) -> tuple[bytes, bytes]:
    """The content of the first element, which must have this tag, and what follows it (X.690, 8.1)."""
    if len(der) < 2 or der[0] != tag:
        raise ValueError("its form is damaged")
    size, start = der[1], 2
    if size & 0x80:
        start += size & 0x7F
        size = int.from_bytes(der[2:start])
    if start > 6 or start + size > len(der):
        raise ValueError("its form is damaged")
    return der[start : start + size], der[start + size :]
