"""The fingerprint of an OpenPGP certificate or an RSA public key, so that a recipe's key files can be held
against their names.

This only compares a file with its name; signatures are verified in `tmplbuild.archives`.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re

_ARMOR = re.compile(
    rb"-----BEGIN PGP PUBLIC KEY BLOCK-----\r?\n(?:[^\r\n]+\r?\n)*\r?\n"  # headers, then an empty line
    rb"(.*?)\r?\n(?:=[A-Za-z0-9+/]{4}\r?\n)?-----END",
    re.DOTALL,
)
_PUBLIC = re.compile(rb"-----BEGIN PUBLIC KEY-----\s([A-Za-z0-9+/=\s]+)-----END PUBLIC KEY-----")
_PUBLIC_KEY = 6
_PUBLIC_SUBKEY = 14


def key_name(fingerprint: str) -> str:
    """Where the file of a pinned key lies beside a recipe: OpenPGP's have 40 digits, RSA public keys 64."""
    return f"keys/{fingerprint}.{'asc' if len(fingerprint) == 40 else 'pub'}"


def key_hint(fingerprint: str) -> str:
    """What to do where that file is not there."""
    if len(fingerprint) == 40:
        name = key_name(fingerprint)
        return f"export it beside the recipe: gpg --armor --export {fingerprint} > {name}"
    return f"copy the distribution's public key (PEM) beside the recipe as {key_name(fingerprint)}"


def key_fingerprint_of(data: bytes) -> str:
    """The fingerprint of a key file's content, whatever kind it is of. Raises ValueError for what is no
    key."""
    if found := _PUBLIC.search(data):
        try:
            return hashlib.sha256(base64.b64decode(found[1])).hexdigest()
        except binascii.Error as error:
            raise ValueError("its base64 is damaged") from error
    return fingerprint_of(data)


def fingerprint_of(data: bytes) -> str:
    """The primary key's fingerprint, 40 upper-case hex digits (version 4, RFC 9580 §5.5.4.2).

    Parameters:
        data: the certificate, armored or not. It must begin with the primary key, as all do.

    Raises ValueError when it is no such certificate.
    """
    tag, body, _ = _first_packet(_binary(data))
    if tag != _PUBLIC_KEY:
        raise ValueError("it does not begin with a public key")
    if body[:1] != b"\x04":
        raise ValueError("its key is not of version 4")
    return _fingerprint(body)


def fingerprints_of(data: bytes) -> list[str]:
    """The fingerprints of the primary key and of all subkeys, in the certificate's order: whichever of
    them signs. Raises ValueError as `fingerprint_of` does."""
    found = [fingerprint_of(data)]
    rest = _binary(data)
    while rest:
        tag, body, size = _first_packet(rest)
        if tag == _PUBLIC_SUBKEY and body[:1] == b"\x04":
            found.append(_fingerprint(body))
        rest = rest[size:]
    return found


def _binary(data: bytes) -> bytes:
    """The packets of a certificate, armored or not."""
    if found := _ARMOR.search(data):
        try:
            return base64.b64decode(found[1])
        except binascii.Error as error:
            raise ValueError("the armor is damaged") from error
    return data


def _fingerprint(body: bytes) -> str:
    return hashlib.sha1(b"\x99" + len(body).to_bytes(2, "big") + body).hexdigest().upper()


def _first_packet(data: bytes) -> tuple[int, bytes, int]:
    """Type and body of the first packet, and its whole size (RFC 9580 §4.2; both forms of the header)."""
    if len(data) < 6 or not data[0] & 0x80:
        raise ValueError("it is no OpenPGP certificate")
    first = data[1]
    if data[0] & 0x40:
        tag = data[0] & 0x3F
        if first < 192:
            start, size = 2, first
        elif first < 224:
            start, size = 3, ((first - 192) << 8) + data[2] + 192
        else:
            start, size = 6, int.from_bytes(data[2:6], "big")
    else:
        tag, width = (data[0] >> 2) & 0x0F, 1 << (data[0] & 3)
        start, size = 1 + width, int.from_bytes(data[1 : 1 + width], "big")
    if start + size > len(data):
        raise ValueError("it is cut off")
    return tag, data[start : start + size], start + size
