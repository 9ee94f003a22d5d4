"""Signatures: what is accepted, and each way to be refused."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from tests.archive_factory import Key
from tmplbuild.archives import openpgp
from tmplbuild.errors import VerifyError

TEXT = b"Origin: Test\n-----BEGIN not really\n- dash\nEnd: 1\n"
DAY = 86400


@pytest.fixture(scope="module")
def key() -> Key:
    return Key()


@pytest.fixture(scope="module")
def short() -> Key:
    return Key(validity_s=DAY)


def clear(data: bytes, key: Key, place: Path, *, now: float | None = None) -> openpgp.Signed:
    key.export(place)
    moment = time.time() if now is None else now
    return openpgp.verify_clear(data, [key.fingerprint], place, now=moment, where="here")


def refused(data: bytes, key: Key, place: Path, *, now: float | None = None) -> VerifyError:
    with pytest.raises(VerifyError) as caught:
        clear(data, key, place, now=now)
    return caught.value


def test_the_signed_text_and_who_signed(key: Key, tmp_path: Path) -> None:
    signed = clear(key.clear(TEXT), key, tmp_path)
    assert signed.content == TEXT
    assert signed.signers == (key.fingerprint,)


@pytest.mark.parametrize(
    "change",
    [
        lambda data: TEXT,
        lambda data: b"",
        lambda data: b"X: evil\n" + data,
        lambda data: data + b"X: evil\n",
        lambda data: data + data,
        lambda data: data[: data.index(b"-----BEGIN PGP SIGNATURE")],
        lambda data: data.replace(b"\n\nOrigin", b"\nEvil: yes\n\nOrigin", 1),
    ],
)
def test_stripped_or_wrapped(key: Key, tmp_path: Path, change: object) -> None:
    error = refused(change(key.clear(TEXT)), key, tmp_path)  # type: ignore[operator]
    assert "no OpenPGP signature" in error.what or "cannot be read" in error.what


def test_changed_text(key: Key, tmp_path: Path) -> None:
    error = refused(key.clear(TEXT).replace(b"End: 1", b"End: 2"), key, tmp_path)
    assert "does not fit" in error.what


def test_another_key(key: Key, tmp_path: Path) -> None:
    other = Key()
    error = refused(other.clear(TEXT), key, tmp_path)
    assert "none of the recipe's keys" in error.what
    assert key.fingerprint in error.why


def test_one_good_signature_of_several_is_enough(key: Key, tmp_path: Path) -> None:
    other = Key()
    ours, theirs = key.detached(TEXT), other.detached(TEXT)
    key.export(tmp_path)
    signed = openpgp.verify_detached(
        TEXT, _joined(theirs, ours), [key.fingerprint], tmp_path, now=time.time(), where="here"
    )
    assert (signed.content, signed.signers) == (TEXT, (key.fingerprint,))


def test_detached_over_another_text(key: Key, tmp_path: Path) -> None:
    key.export(tmp_path)
    with pytest.raises(VerifyError, match="does not fit"):
        openpgp.verify_detached(
            TEXT + b"x", key.detached(TEXT), [key.fingerprint], tmp_path, now=time.time(), where="here"
        )


@pytest.mark.parametrize("signature", [b"", b"rubbish", b"-----BEGIN PGP SIGNATURE-----\n"])
def test_no_detached_signature(key: Key, tmp_path: Path, signature: bytes) -> None:
    key.export(tmp_path)
    with pytest.raises(VerifyError):
        openpgp.verify_detached(TEXT, signature, [key.fingerprint], tmp_path, now=time.time(), where="here")


def test_expired_now(short: Key, tmp_path: Path) -> None:
    data = short.clear(TEXT)
    assert clear(data, short, tmp_path).content == TEXT
    error = refused(data, short, tmp_path, now=time.time() + 2 * DAY)
    assert "expired" in error.what
    assert "valid until" in error.why


def test_no_key_file(key: Key, tmp_path: Path) -> None:
    with pytest.raises(VerifyError, match="certificate cannot be read"):
        openpgp.verify_clear(key.clear(TEXT), ["A" * 40], tmp_path, now=time.time(), where="here")


def test_key_file_of_another_key(key: Key, tmp_path: Path) -> None:
    other = Key()
    (tmp_path / f"{key.fingerprint}.asc").write_text(str(other.certificate))
    with pytest.raises(VerifyError, match="another key than its name says"):
        openpgp.verify_clear(key.clear(TEXT), [key.fingerprint], tmp_path, now=time.time(), where="here")


def test_key_file_that_is_none(key: Key, tmp_path: Path) -> None:
    (tmp_path / f"{key.fingerprint}.asc").write_text("nothing")
    with pytest.raises(VerifyError, match="no OpenPGP certificate"):
        openpgp.verify_clear(key.clear(TEXT), [key.fingerprint], tmp_path, now=time.time(), where="here")


def _joined(*armored: bytes) -> bytes:
    import pysequoia

    raw = b"".join(bytes(pysequoia.Sig.from_bytes(piece)) for piece in armored)
    return pysequoia.armor(raw, pysequoia.ArmorKind.Signature).encode()
