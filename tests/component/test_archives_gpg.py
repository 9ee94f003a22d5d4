"""Signatures made by GnuPG, as archives' own are: weak hashes, expired keys, expired subkeys."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.gpg import Gpg, OldKey, _serves
from tmplbuild.archives import openpgp
from tmplbuild.errors import VerifyError

pytestmark = pytest.mark.skipif(shutil.which("gpg") is None, reason="gpg is missing: apt-get install gpg")

TEXT = b"Origin: Test\nSuite: stable\n"
DAY = 86400


@pytest.fixture
def gpg(tmp_path: Path) -> Iterator[Gpg]:
    made = Gpg(tmp_path / "gnupg")
    yield made
    made.close()


def verify(data: bytes, fingerprint: str, place: Path, now: float | None = None) -> openpgp.Signed:
    moment = time.time() if now is None else now
    return openpgp.verify_clear(data, [fingerprint], place, now=moment, where="here")


def test_a_clear_signature_of_gnupg(gpg: Gpg, tmp_path: Path) -> None:
    fingerprint = gpg.key()
    gpg.export(fingerprint, tmp_path)
    signed = verify(gpg.run("--clearsign", data=TEXT), fingerprint, tmp_path)
    assert signed.signers == (fingerprint,)
    assert signed.content.rstrip(b"\n") == TEXT.rstrip(b"\n")


def test_an_agent_that_was_ended_resets_nobody(gpg: Gpg) -> None:
    gpg.key()
    for _ in range(5):
        gpg.run("--clearsign", data=TEXT)
        gpg.close()
        assert not any(_serves(pid, gpg.home) for pid in os.listdir("/proc"))


def test_a_signature_over_sha1(gpg: Gpg, tmp_path: Path) -> None:
    fingerprint = gpg.key()
    gpg.export(fingerprint, tmp_path)
    data = gpg.run("--digest-algo=SHA1", "--clearsign", data=TEXT)
    with pytest.raises(VerifyError, match="broken hash") as caught:
        verify(data, fingerprint, tmp_path)
    assert "SHA1" in caught.value.why


def test_a_key_that_had_expired_when_it_signed(gpg: Gpg, tmp_path: Path) -> None:
    born = time.time() - 100 * DAY
    fingerprint = gpg.key(at=born)
    data = gpg.run("--clearsign", data=TEXT)
    gpg.run("--quick-set-expire", fingerprint, "10d", at=born + 1)
    gpg.export(fingerprint, tmp_path)
    for now in (time.time(), born + 5 * DAY):
        with pytest.raises(VerifyError, match="has expired"):
            verify(data, fingerprint, tmp_path, now)


def test_a_signing_subkey_that_has_expired(gpg: Gpg, tmp_path: Path) -> None:
    fingerprint = gpg.key(usage="cert")
    gpg.run("--quick-add-key", fingerprint, "ed25519", "sign", "10d")
    gpg.export(fingerprint, tmp_path)
    data = gpg.run("--clearsign", data=TEXT)
    assert verify(data, fingerprint, tmp_path).signers == (fingerprint,)
    with pytest.raises(VerifyError, match="has expired"):
        verify(data, fingerprint, tmp_path, time.time() + 11 * DAY)


def test_a_revoked_key(gpg: Gpg, tmp_path: Path) -> None:
    fingerprint = gpg.key()
    data = gpg.run("--clearsign", data=TEXT)
    revocation = gpg.home / "openpgp-revocs.d" / f"{fingerprint}.rev"
    text = revocation.read_text().replace(":-----BEGIN", "-----BEGIN")
    gpg.run("--import", data=text.encode())
    gpg.export(fingerprint, tmp_path)
    with pytest.raises(VerifyError, match="revoked"):
        verify(data, fingerprint, tmp_path)


def test_a_key_of_2008_is_not_accepted_any_more(tmp_path: Path) -> None:
    old = OldKey.made(tmp_path / "old")
    (tmp_path / f"{old.fingerprint}.asc").write_text(old.certificate)
    with pytest.raises(openpgp.WeakError, match="not accepted any more") as caught:
        openpgp.verify_detached(
            TEXT, old.sign(TEXT), [old.fingerprint], tmp_path, now=time.time(), where="here"
        )
    assert "SHA1 is not considered secure" in caught.value.why
    assert "Stack" not in str(caught.value)
