"""A root file system at an address: a list of digests that a pinned key signed, or a pinned digest."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pysequoia
import pytest

from tests.aptrpm_factory import publish_key, throw_away_key
from tests.archive_server import ArchiveServer
from tmplbuild.archives import packed
from tmplbuild.archives.cache import PackageCache
from tmplbuild.archives.fetch import Fetcher
from tmplbuild.archives.packed import Packed
from tmplbuild.errors import FetchError, UsageError, VerifyError
from tmplbuild.recipes.model import Bootstrap

NAME = "alt-p11-rootfs-systemd-x86_64.tar.xz"
DATA = b"a root file system" * 1000
DIGEST = hashlib.sha256(DATA).hexdigest()


class Images:
    """A directory of images as ALT's is, served; and a recipe's view of it."""

    def __init__(self, place: Path, server: ArchiveServer) -> None:
        self.folder = place / "images"
        self.folder.mkdir(parents=True)
        self.server = server
        self.key = throw_away_key("images")
        self.keys_dir = place / "keys"
        self.fingerprint = publish_key(self.key, self.keys_dir)
        self.cache = PackageCache(place / "cache")
        (self.folder / NAME).write_bytes(DATA)
        self.write(f"{'0' * 64}  other.tar.xz\n{DIGEST} *{NAME}\n")

    def write(self, sums: str, key: pysequoia.Tsk | None = None) -> None:
        """Write SHA256SUMS and its signature."""
        text = sums.encode()
        mode = pysequoia.SignatureMode.DETACHED
        (self.folder / "SHA256SUMS").write_bytes(text)
        signature = pysequoia.sign((key or self.key).signer(), text, mode=mode)
        (self.folder / "SHA256SUMS.gpg").write_bytes(signature)

    def recipe(self, **options: str) -> Bootstrap:
        keys = () if "sha256" in options else (self.fingerprint,)
        url = f"{self.server.url}/images/{NAME}"
        return Bootstrap(method="tarball", urls=(url,), keys=keys, **options)

    def fetcher(self, options: Bootstrap, *, offline: bool = False) -> Fetcher:
        table = packed.addresses(options)
        return Fetcher(table, retries=0, offline=offline, sleep=lambda seconds: None)

    def ask(self, options: Bootstrap | None = None, *, offline: bool = False) -> Packed:
        wanted = options or self.recipe()
        fetcher = self.fetcher(wanted, offline=offline)
        return packed.ask(wanted, fetcher=fetcher, cache=self.cache, keys_dir=self.keys_dir, offline=offline)

    def bring(self, options: Bootstrap | None = None) -> Path:
        wanted = options or self.recipe()
        return packed.bring(self.ask(wanted), fetcher=self.fetcher(wanted), cache=self.cache)


@pytest.fixture
def images(tmp_path: Path) -> Iterator[Images]:
    with ArchiveServer(tmp_path) as server:
        yield Images(tmp_path, server)


def test_a_signed_digest_vouches_for_the_tarball(images: Images) -> None:
    assert images.ask() == Packed(NAME, DIGEST, (images.fingerprint,))
    assert images.bring().read_bytes() == DATA
    images.bring()
    assert len(images.server.asked(NAME)) == 2, "its size was asked for, then it was got; once"


def test_a_pinned_digest_needs_no_list(images: Images) -> None:
    assert images.bring(images.recipe(sha256=DIGEST)).read_bytes() == DATA
    assert images.server.asked("SUMS") == []


def test_a_tarball_of_this_machine(images: Images, tmp_path: Path) -> None:
    options = Bootstrap(method="tarball", urls=(f"file://{images.folder}/{NAME}",), sha256=DIGEST)
    assert images.bring(options).read_bytes() == DATA


def test_a_list_signed_by_another_key(images: Images) -> None:
    images.write(f"{DIGEST}  {NAME}\n", throw_away_key("somebody else"))
    with pytest.raises(VerifyError, match="by none of the recipe's keys"):
        images.ask()


def test_a_list_that_was_changed(images: Images) -> None:
    sums = images.folder / "SHA256SUMS"
    sums.write_bytes(sums.read_bytes().replace(b"0" * 64, b"1" * 64))
    with pytest.raises(VerifyError, match="does not fit its content"):
        images.ask()


def test_a_list_that_is_not_signed(images: Images) -> None:
    (images.folder / "SHA256SUMS.gpg").unlink()
    with pytest.raises(FetchError, match="no mirror has a file"):
        images.ask()


@pytest.mark.parametrize(
    ("sums", "words"),
    [
        ("", "does not name"),
        (f"{DIGEST}  {NAME}.old\n", "does not name"),
        (f"{DIGEST}  {NAME}\n{'0' * 64}  {NAME}\n", "names two digests for"),
    ],
)
def test_a_list_that_does_not_tell(images: Images, sums: str, words: str) -> None:
    images.write(sums)
    with pytest.raises(VerifyError, match=words):
        images.ask()


def test_a_changed_byte(images: Images) -> None:
    (images.folder / NAME).write_bytes(DATA[:-1] + b"!")
    with pytest.raises(VerifyError, match="not those that the archive vouches for"):
        images.bring()
    assert not images.cache.tarball(DIGEST).exists()


def test_a_download_that_broke_off_goes_on(images: Images) -> None:
    images.server.fail(NAME, "truncate", times=2, after=5000)
    with pytest.raises(FetchError):
        images.bring()
    assert images.bring().read_bytes() == DATA
    assert images.server.asked(NAME)[-1].fields["range"] == "bytes=5000-"


def test_without_network_what_was_verified_last_counts(images: Images) -> None:
    with pytest.raises(FetchError, match="nothing is known of the tarball"):
        images.ask(offline=True)
    images.bring()
    known = images.ask(offline=True)
    fetcher = images.fetcher(images.recipe(), offline=True)
    assert packed.bring(known, fetcher=fetcher, cache=images.cache).read_bytes() == DATA


def test_other_keys_other_memory(images: Images) -> None:
    images.ask()
    other = publish_key(throw_away_key("another"), images.keys_dir)
    options = Bootstrap(method="tarball", urls=images.recipe().urls, keys=(other,))
    with pytest.raises(FetchError, match="nothing is known"):
        images.ask(options, offline=True)


def test_the_user_names_another_directory(images: Images) -> None:
    options = images.recipe()
    assert packed.addresses(options, "http://mirror/alt") == packed.addresses(options)
    assert packed.addresses(options, "rootfs=http://near/x/") == {"rootfs": ("http://near/x",)}
    with pytest.raises(UsageError):
        packed.addresses(options, "rootfs=near")
