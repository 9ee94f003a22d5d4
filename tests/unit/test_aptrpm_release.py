"""base/release: fields, hashes, signatures. (What a server may do with it: component tests.)"""

from __future__ import annotations

import hashlib
from pathlib import Path

import pysequoia
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.aptrpm_factory import WHEN, publish_key, release_text, sign, throw_away_key
from tmplbuild.archives.aptrpm import release as releases
from tmplbuild.errors import VerifyError

FILES = {"base/pkglist.classic": b"list", "base/pkglist.classic.xz": b"packed", "base/release.classic": b"r"}
OPTIONS = {"label": "p11", "components": ("classic", "gostcrypto"), "arch": "x86_64"}


@pytest.fixture(scope="module")
def keys() -> tuple[pysequoia.Tsk, pysequoia.Tsk]:
    return throw_away_key("one"), throw_away_key("two")


def text(**options: object) -> bytes:
    return release_text(FILES, **{**OPTIONS, **options})  # type: ignore[arg-type]


def test_fields_and_files_are_read() -> None:
    found = releases.parse(text(), where="release")
    assert (found.origin, found.label, found.suite) == ("ALT Linux Team", "p11", "p11")
    assert found.date == WHEN
    assert found.components == ("classic", "gostcrypto")
    assert found.hash == "blake2b"
    entry = found.files["base/pkglist.classic.xz"]
    assert entry.digest == "blake2b:" + hashlib.blake2b(b"packed").hexdigest()
    assert entry.size == 6


def test_md5_is_read_where_there_is_nothing_better() -> None:
    assert releases.parse(text(hashes=("md5",)), where="release").hash == "md5"
    assert releases.parse(text(hashes=("md5", "sha256")), where="release").hash == "sha256"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ((b"BLAKE2b:", b"CRC32:"), "names no hashes"),
        ((b" base/pkglist.classic.xz", b" ../../etc/passwd"), "outside the archive"),
        ((b" base/pkglist.classic.xz", b" http://x/y"), "outside the archive"),
        ((b" 6 base", b" six base"), "malformed line"),
        ((b" 6 base", b" 6"), "malformed line"),
        ((b" 6 base", b" 9999999999999 base"), "malformed line"),
        ((b"Nov 2023", b"Foo 2023"), "is no date"),
    ],
)
def test_a_malformed_release_is_refused(change: tuple[bytes, bytes], message: str) -> None:
    with pytest.raises(VerifyError, match=message):
        releases.parse(text(hashes=("blake2b",)).replace(*change), where="release")


@settings(max_examples=200)
@given(st.binary(max_size=300) | st.text(alphabet="MD5Sum: BLAKE2b\n0123abc/.", max_size=300).map(str.encode))
def test_any_bytes_are_a_release_or_one_error(data: bytes) -> None:
    try:
        releases.parse(data, where="release")
    except VerifyError:
        return


def test_a_components_release_is_read() -> None:
    found = releases.parse_component(b"Archive: p11\nComponent: classic\nNotAutomatic: true\n")
    assert (found.archive, found.component, found.not_automatic) == ("p11", "classic", True)
    assert releases.parse_component(b"").not_automatic is False


# -- signatures --------------------------------------------------------------------------------------


def verify(data: bytes, folder: Path, *keys: pysequoia.Tsk) -> tuple[bytes, tuple[str, ...]]:
    pinned = [publish_key(key, folder) for key in keys]
    found = releases.verify(data, pinned, folder, now=float(WHEN), where="release")
    return found.content, found.signers


def test_every_byte_before_the_signature_is_signed(keys: tuple[pysequoia.Tsk, ...], tmp_path: Path) -> None:
    content, signers = verify(sign(text(), keys[0]), tmp_path, keys[0])
    assert content == text()
    assert signers == (publish_key(keys[0], tmp_path),)


def test_several_signatures_may_follow_each_other(keys: tuple[pysequoia.Tsk, ...], tmp_path: Path) -> None:
    both = sign(text(), *keys)
    assert len(verify(both, tmp_path, *keys)[1]) == 2
    assert len(verify(both, tmp_path, keys[0])[1]) == 1
    assert len(verify(both, tmp_path, keys[1])[1]) == 1


def test_another_key_is_refused(keys: tuple[pysequoia.Tsk, ...], tmp_path: Path) -> None:
    with pytest.raises(VerifyError, match="none of the recipe's keys"):
        verify(sign(text(), keys[0]), tmp_path, keys[1])


def test_what_is_not_signed_is_refused(keys: tuple[pysequoia.Tsk, ...], tmp_path: Path) -> None:
    signed = sign(text(), keys[0])
    block = signed[len(text()) :]
    for data in (
        text(),
        b"",
        block,
        text() + b"-----BEGIN PGP SIGNATURE-----\n",
        signed + b"Label: p12\n",
        signed.replace(b"-----BEGIN PGP SIGNATURE", b"-----BEGIN PGP SIGNED MESSAGE"),
        text() + b"x" + block,
        text()[1:] + block,
        text()[:-1] + block,
        text() + block[: len(block) // 2],
        text() + block.replace(b"\n\n", b"\n\nAAAA", 1),
        text() + block + block[: len(block) // 2],
    ):
        with pytest.raises(VerifyError):
            verify(data, tmp_path, keys[0])
