"""Signatures by bare public keys, checked only: the one module that imports `cryptography`.

For what OpenPGP's library does not tell of: Alpine's RSA signatures, certifications of OpenPGP keys by
others, and keys that a recipe accepts and that library's policy does not. RSA is PKCS #1 v1.5 (RFC 8017,
8.2.2), EdDSA is Ed25519 (RFC 8032, 5.1.7). A public key in PEM is a SubjectPublicKeyInfo (RFC 7468, 13).
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import dsa, padding
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey, RSAPublicNumbers
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed, encode_dss_signature

_HASHES: dict[str, hashes.HashAlgorithm] = {
    "sha1": hashes.SHA1(),  # Alpine's packages and older indexes
    "sha256": hashes.SHA256(),
    "sha384": hashes.SHA384(),
    "sha512": hashes.SHA512(),
}
_SHORTEST = 2048
_LONGEST = 16384
_BEGIN = b"-----BEGIN PUBLIC KEY-----"


@dataclass(frozen=True, slots=True)
class RsaKey:
    """An RSA key. `fingerprint` is the SHA-256 of its SubjectPublicKeyInfo (DER), in lower-case hex."""

    fingerprint: str
    key: RSAPublicKey

    def verifies(self, signature: bytes, data: bytes, kind: str) -> bool:
        """Whether the signature is this key's over `data`, hashed by `kind` ("sha1", "sha256", "sha512")."""
        return self._accepts(signature, data, _HASHES[kind])

    def verifies_digest(self, signature: bytes, digest: bytes, kind: str) -> bool:
        """The same for data whose digest is known."""
        return self._accepts(signature, digest, Prehashed(_HASHES[kind]))

    def _accepts(self, signature: bytes, data: bytes, how: hashes.HashAlgorithm | Prehashed) -> bool:
        length = (self.key.key_size + 7) // 8  # a number that lost its leading zeros is shorter
        try:
            self.key.verify(signature.rjust(length, b"\0"), data, padding.PKCS1v15(), how)
        except InvalidSignature:
            return False
        return True


def read_rsa(text: bytes) -> RsaKey:
    """The RSA key in a PEM file. Raises ValueError for what is none, or cannot be trusted."""
    if not text.lstrip().startswith(_BEGIN):
        raise ValueError("it is no public key in PEM")
    try:
        key = serialization.load_pem_public_key(text)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise ValueError(f"its form is damaged: {str(error).splitlines()[0]}") from error
    if not isinstance(key, RSAPublicKey):
        raise ValueError("it is no RSA key")
    return _checked(key)


def rsa_of(modulus: int, exponent: int) -> RsaKey:
    """The RSA key of these numbers. Raises ValueError where they cannot be trusted, or cost too much."""
    _check_size(modulus.bit_length())
    return _checked(RSAPublicNumbers(exponent, modulus).public_key())


def ed25519_verifies(public: bytes, signature: bytes, message: bytes) -> bool:
    """Whether a signature (64 bytes) over a message is by this Ed25519 key (32 bytes)."""
    try:
        Ed25519PublicKey.from_public_bytes(public).verify(signature, message)
    except (InvalidSignature, ValueError):
        return False
    return True


def dsa_verifies(domain: Sequence[int], signature: tuple[int, int], digest: bytes, kind: str) -> bool:
    """Whether a signature is by a DSA key over data with this digest.

    Parameters:
        domain: the key's p, q, g and y.
        kind: the hash: "sha1", "sha256", "sha384" or "sha512".

    Raises ValueError for a key that is of no size of FIPS 186-4.
    """
    p, q, g, y = domain
    if p.bit_length() > 3072:
        raise ValueError("its modulus is too long")
    try:
        key = dsa.DSAPublicNumbers(y, dsa.DSAParameterNumbers(p, q, g)).public_key()
        key.verify(encode_dss_signature(*signature), digest, Prehashed(_HASHES[kind]))
    except InvalidSignature:
        return False
    return True


def _checked(key: RSAPublicKey) -> RsaKey:
    _check_size(key.key_size)
    numbers = key.public_numbers()
    if not numbers.n & 1 or not 3 <= numbers.e < 1 << 33 or not numbers.e & 1:
        raise ValueError(f"its numbers are not accepted (exponent {numbers.e})")
    der = key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return RsaKey(hashlib.sha256(der).hexdigest(), key)


def _check_size(bits: int) -> None:
    if not _SHORTEST <= bits <= _LONGEST:
        raise ValueError(f"an RSA key of {bits} bits is not accepted")
