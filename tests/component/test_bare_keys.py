"""Keys of old kinds, made by GnuPG as they were: certificates that vouch for themselves over SHA-1, DSA, and
signatures over SHA-1. The pin vouches for the key; what is signed must be so by today's means, but where a
recipe says otherwise of a key."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.gpg import Gpg
from tmplbuild.archives import openpgp
from tmplbuild.archives.model import Package
from tmplbuild.archives.slackware import signature
from tmplbuild.errors import VerifyError
from tmplbuild.recipes.model import Archive

pytestmark = pytest.mark.skipif(shutil.which("gpg") is None, reason="gpg is missing: apt-get install gpg")

TEXT = b"the list of packages\n"
BORN = 1367405000  # 2013-05-01
DAY = 86400
OLD_CERTIFICATE = ("--cert-digest-algo", "SHA1")


@dataclass
class Old:
    """A key whose certificate vouches for itself over SHA-1."""

    gpg: Gpg
    place: Path
    key: str

    @classmethod
    def made(cls, gpg: Gpg, place: Path, kind: str = "rsa2048", expires: str = "never") -> Old:
        words = ("--quick-generate-key", "old@example.org", kind, "sign", expires)
        gpg.run(*OLD_CERTIFICATE, *words, at=BORN)
        made = cls(gpg, place, gpg._newest())
        gpg.export(made.key, place)
        return made

    def sign(self, *words: str, at: float | None = None) -> bytes:
        return self.gpg.run("--local-user", self.key, *words, "--detach-sign", data=TEXT, at=at)

    def verify(self, signature: bytes, *, weak: bool = False, now: float | None = None) -> openpgp.Signed:
        keys = openpgp.Keyring([self.key], self.place, [self.key] if weak else [])
        moment = time.time() if now is None else now
        return keys.verify_detached(TEXT, signature, now=moment, where="here")


@pytest.fixture
def gpg(tmp_path: Path) -> Iterator[Gpg]:
    made = Gpg(tmp_path / "gpg")
    yield made
    made.close()


@pytest.mark.parametrize("kind", ["rsa2048", "ed25519"])
@pytest.mark.parametrize("words", [(), ("--armor",), ("--digest-algo", "SHA512")])
def test_the_pin_vouches_for_a_key_of_old_times(
    gpg: Gpg, tmp_path: Path, kind: str, words: tuple[str, ...]
) -> None:
    old = Old.made(gpg, tmp_path, kind)
    signed = old.verify(old.sign(*words))
    assert signed.signers == (old.key,)
    assert abs(signed.made - time.time()) < 600


def test_its_signatures_over_sha1_are_refused_all_the_same(gpg: Gpg, tmp_path: Path) -> None:
    old = Old.made(gpg, tmp_path)
    signature = old.sign("--digest-algo", "SHA1")
    with pytest.raises(openpgp.WeakError, match="broken hash"):
        old.verify(signature)
    assert old.verify(signature, weak=True).signers == (old.key,)


def test_other_bytes_and_other_keys(gpg: Gpg, tmp_path: Path) -> None:
    old = Old.made(gpg, tmp_path)
    good = old.sign()
    keys = openpgp.Keyring([old.key], tmp_path)
    with pytest.raises(VerifyError, match="does not fit its content"):
        keys.verify_detached(TEXT + b"x", good, now=time.time(), where="here")
    for at in range(len(good) - 40, len(good), 7):
        with pytest.raises(VerifyError):
            old.verify(good[:at] + bytes([good[at] ^ 1]) + good[at + 1 :])
    other = Old(gpg, tmp_path, gpg.key())
    with pytest.raises(VerifyError, match="by none of the recipe's keys"):
        old.verify(other.sign())


def test_it_ends_when_its_certificate_says(gpg: Gpg, tmp_path: Path) -> None:
    old = Old.made(gpg, tmp_path, expires="100d")
    signature = old.sign(at=BORN + DAY)
    assert old.verify(signature, now=BORN + 2 * DAY).signers
    for now in (BORN + 101 * DAY, time.time()):
        with pytest.raises(VerifyError, match="expired"):
            old.verify(signature, now=now)


def test_a_signature_of_a_time_to_come(gpg: Gpg, tmp_path: Path) -> None:
    old = Old.made(gpg, tmp_path)
    with pytest.raises(VerifyError):
        old.verify(old.sign(), now=BORN + DAY)


def test_it_is_revoked(gpg: Gpg, tmp_path: Path) -> None:
    old = Old.made(gpg, tmp_path)
    signature = old.sign()
    revocation = gpg.home / "openpgp-revocs.d" / f"{old.key}.rev"
    gpg.run("--import", data=revocation.read_text().replace(":-----BEGIN", "-----BEGIN").encode())
    gpg.export(old.key, tmp_path)
    with pytest.raises(VerifyError, match="revoked"):
        old.verify(signature)
    with pytest.raises(VerifyError, match="revoked"):
        old.verify(signature, weak=True)


def test_no_subkey_of_it_counts(gpg: Gpg, tmp_path: Path) -> None:
    """The pin is the primary key's; who made its subkeys only the old signature says."""
    gpg.run(*OLD_CERTIFICATE, "--quick-generate-key", "old@example.org", "rsa2048", "cert", "never", at=BORN)
    key = gpg._newest()
    gpg.run("--quick-add-key", key, "rsa2048", "sign", "never", at=BORN + DAY)
    gpg.export(key, tmp_path)
    old = Old(gpg, tmp_path, key)
    with pytest.raises(VerifyError, match="by none of the recipe's keys"):
        old.verify(old.sign())


def test_a_text_with_its_signature_inside_is_not_for_them(gpg: Gpg, tmp_path: Path) -> None:
    old = Old.made(gpg, tmp_path)
    clear = gpg.run("--local-user", old.key, "--clearsign", data=TEXT)
    with pytest.raises(openpgp.WeakError, match="not accepted any more"):
        openpgp.verify_clear(clear, [old.key], tmp_path, now=time.time(), where="here")


def test_a_key_of_slackwares_kind(gpg: Gpg, tmp_path: Path) -> None:
    """DSA of 1024 bits, over SHA-1: it counts where the recipe names it as weak, and only there."""
    old = Old(gpg, tmp_path, gpg.old_key())
    gpg.export(old.key, tmp_path)
    signature = old.sign("--digest-algo", "SHA1")
    with pytest.raises(openpgp.WeakError, match="not accepted any more"):
        old.verify(signature)
    assert old.verify(signature, weak=True).signers == (old.key,)
    with pytest.raises(VerifyError, match="does not fit"):
        openpgp.Keyring([old.key], tmp_path, [old.key]).verify_detached(
            TEXT + b"x", signature, now=time.time(), where="here"
        )


def test_a_package_of_slackware_and_a_recipe_that_says_so(gpg: Gpg, tmp_path: Path) -> None:
    old = Old(gpg, tmp_path, gpg.old_key())
    gpg.export(old.key, tmp_path)
    (tmp_path / "a.txz").write_bytes(TEXT)
    beside = old.sign("--digest-algo", "SHA1", "--armor")
    package = Package("a", "1-1", "x86_64", "slackware", "s/a.txz", 0, f"md5:{'0' * 32}")
    fields = {"mirrors": ("http://x",), "public": "http://x", "suites": ("s",), "signed": "both"}
    for weak in ((), (old.key,)):
        archive = Archive(keys=(old.key,), weak_keys=weak, **fields)
        vouch = signature.vouchers({"slackware": archive}, tmp_path, time.time())["slackware"]
        with (tmp_path / "a.txz").open("rb") as opened:
            if weak:
                vouch(package, opened.fileno(), lambda suffix, known: beside)
            else:
                with pytest.raises(openpgp.WeakError):
                    vouch(package, opened.fileno(), lambda suffix, known: beside)


def test_a_weak_key_does_not_make_others_so(gpg: Gpg, tmp_path: Path) -> None:
    old, other = Old.made(gpg, tmp_path), Old(gpg, tmp_path, gpg.key())
    gpg.export(other.key, tmp_path)
    keys = openpgp.Keyring([old.key, other.key], tmp_path, [old.key])
    with pytest.raises(openpgp.WeakError, match="broken hash"):
        keys.verify_detached(TEXT, other.sign("--digest-algo", "SHA1"), now=time.time(), where="here")
    assert keys.verify_detached(TEXT, other.sign(), now=time.time(), where="here").signers == (other.key,)
    both = old.sign() + other.sign()
    assert keys.verify_detached(TEXT, both, now=time.time(), where="here").signers == tuple(
        sorted((old.key, other.key))
    )
