"""Archives whose packages are signed and whose lists are not (Fedora, Red Hat, Mageia): nothing of a package
is used before its signature was verified. What rpmsign made is verified, and rpmkeys is asked as well."""

from __future__ import annotations

import base64
import os
import random
import shutil
import struct
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.archive_server import ArchiveServer
from tests.conftest import Places
from tests.rpm_factory import WHEN, File, Rpm, Tag, build_rpm, pack_header
from tests.rpm_signing import NEEDS, RpmSigner, rpmkeys_accepts
from tests.rpmmd_factory import RpmMd
from tmplbuild.archives import rpmmd
from tmplbuild.archives.aptrpm import header, rpmfile
from tmplbuild.archives.cache import PackageCache
from tmplbuild.archives.fetch import Fetcher
from tmplbuild.archives.model import Package
from tmplbuild.archives.openpgp import Keyring
from tmplbuild.archives.rpmmd import signature
from tmplbuild.archives.wishes import Wishes
from tmplbuild.errors import TmplbuildError, VerifyError
from tmplbuild.recipes.model import Archive

pytestmark = pytest.mark.skipif(
    any(shutil.which(tool) is None for tool in (*NEEDS, "createrepo_c")),
    reason="needs createrepo_c, rpmsign and gpg: apt-get install createrepo-c rpm gpg gpg-agent",
)

SUITE = "releases/44/Everything/x86_64/os"
FILES = (File("/usr/bin/app", b"#!/bin/sh\n" * 50, mode=0o100755), File("/etc/app.conf", b"a = 1\n"))
APP = Rpm("app", version="2", release="1.fc44", requires=("lib",), files=FILES)
LIB = Rpm("lib", version="1", release="1.fc44", epoch=3, arch="noarch")


@pytest.fixture(scope="module")
def signer(places: Places) -> RpmSigner:
    return RpmSigner(places("gpg") / "home")


@pytest.fixture(scope="module")
def stranger(places: Places) -> RpmSigner:
    return RpmSigner(places("gpg") / "other")


class Bed:
    """A served archive whose packages are signed, and a cache of its own."""

    def __init__(self, place: Path, signer: RpmSigner) -> None:
        self.place = place
        self.signer = signer
        self.repository = RpmMd(place / "www", None, signer)
        self.folder = place / "www" / SUITE
        self.keys = place / "keys"
        signer.export(self.keys)
        self.cache = PackageCache(place / "cache")
        self.server = ArchiveServer(place / "www")
        self.signed: Any = "packages"

    def write(self, *rpms: Rpm) -> None:
        self.repository.add(*rpms)
        self.repository.write(SUITE)

    def file(self, name: str) -> Path:
        (found,) = (self.folder / "Packages").glob(f"{name}-*.rpm")
        return found

    def relist(self) -> None:
        """List what lies there now, as whoever holds a mirror can."""
        self.repository.index(self.folder)

    @property
    def archives(self) -> dict[str, Archive]:
        return {
            "fedora": Archive(
                mirrors=(self.server.url,),
                public="http://fedora.example",
                suites=(SUITE,),
                signed=self.signed,
                keys=(self.signer.fingerprint,),
            )
        }

    def packages(self, now: float | None = None) -> tuple[Package, ...]:
        """The closure of the package app."""
        self.fetcher = Fetcher(
            {"fedora": (self.server.url,)},
            retries=0,
            vouchers=rpmmd.vouchers(self.archives, self.keys, time.time()),
        )
        self.states = rpmmd.read_archives(
            self.archives, "x86_64", fetcher=self.fetcher, cache=self.cache, keys_dir=self.keys, now=now
        )
        return rpmmd.closure(rpmmd.open_pool(self.states, "x86_64"), Wishes(include=("app",))).packages

    def fetch(self) -> tuple[Package, ...]:
        found = self.packages()
        rpmmd.download(found, fetcher=self.fetcher, cache=self.cache)
        return found


@pytest.fixture
def bed(tmp_path: Path, signer: RpmSigner) -> Iterator[Bed]:
    made = Bed(tmp_path, signer)
    with made.server:
        yield made


def test_packages_are_verified_and_nobody_signs_the_list(bed: Bed) -> None:
    bed.write(APP, LIB)
    found = bed.fetch()
    assert [one.name for one in found] == ["app", "lib"]
    assert all(bed.cache.has(one.sha256) for one in found)
    assert bed.states[0].suites[0].signed_by == ()
    assert not bed.server.asked("repomd.xml.asc")


@pytest.mark.parametrize("kind", ["ed25519", "rsa2048"])
def test_rpm_accepts_what_is_accepted_here(tmp_path: Path, kind: str) -> None:
    signer = RpmSigner(tmp_path / "home", kind)
    path = tmp_path / APP.filename
    path.write_bytes(build_rpm(APP))
    signer.sign(path)
    certificate = signer.export(tmp_path / "keys")
    assert verified(path, signer, tmp_path / "keys") == (signer.fingerprint,)
    assert rpmkeys_accepts(path, certificate, tmp_path / "db")


def verified(path: Path, signer: RpmSigner, keys: Path) -> tuple[str, ...]:
    listed = Package("app", "2-1.fc44", "x86_64", "fedora", path.name, 0, "0" * 64)
    fd = os.open(path, os.O_RDONLY)
    try:
        return signature.verify(fd, listed, Keyring([signer.fingerprint], keys), now=time.time())
    finally:
        os.close(fd)


def refused(bed: Bed, says: str) -> None:
    """The package app is refused, and not kept."""
    found = bed.packages()
    with pytest.raises(VerifyError) as caught:
        rpmmd.download(found, fetcher=bed.fetcher, cache=bed.cache)
    assert says in f"{caught.value.what} {caught.value.why}"
    assert not any(bed.cache.has(one.sha256) for one in found if one.name == "app")
    assert not [path for path in bed.cache.incoming.glob("*.part") if path.stat().st_size]


def test_a_package_without_a_signature(bed: Bed) -> None:
    bed.write(APP, LIB)
    bed.file("app").write_bytes(build_rpm(APP))
    bed.relist()
    refused(bed, "the package app is not signed")


def test_a_package_of_another_key(bed: Bed, stranger: RpmSigner) -> None:
    bed.write(APP, LIB)
    stranger.sign(bed.file("app"))
    bed.relist()
    refused(bed, f"it is signed by {stranger.fingerprint}")


def test_a_signature_over_a_broken_hash(bed: Bed) -> None:
    bed.write(APP, LIB)
    bed.file("app").write_bytes(build_rpm(APP))
    bed.signer.sign(bed.file("app"), digest="sha1")
    bed.relist()
    refused(bed, "broken hash")


@pytest.mark.parametrize(
    ("part", "says"),
    [
        ("header", "does not fit its content"),
        ("payload", "payload is not the one that was signed"),
        ("end", "payload is not the one that was signed"),
    ],
)
def test_a_mirror_that_changes_a_package_and_its_list(bed: Bed, part: str, says: str) -> None:
    bed.write(APP, LIB)
    path = bed.file("app")
    data = bytearray(path.read_bytes())
    parts = _parts(path)
    if part == "header":
        data[data.index(b"A package for tests", parts.start)] ^= 1
    elif part == "payload":
        data[(parts.end + len(data)) // 2] ^= 1
    else:
        data += b"more"
    path.write_bytes(data)
    bed.relist()
    refused(bed, says)


def test_a_mirror_that_gives_another_signed_package(bed: Bed) -> None:
    bed.write(APP, LIB, Rpm("app", version="1", release="1.fc44", files=FILES))
    old, new = sorted((bed.folder / "Packages").glob("app-*.rpm"))
    new.write_bytes(old.read_bytes())  # version 1 in the place of version 2 ...
    old.unlink()
    bed.relist()
    app = next(one for one in bed.packages() if one.name == "app")
    assert app.version == "1-1.fc44"  # ... which createrepo_c tells; a mirror would not
    lie = Package("app", "2-1.fc44", "x86_64", "fedora", app.filename, app.size, app.sha256)
    with pytest.raises(VerifyError, match="another one than its repository says"):
        rpmmd.download([lie], fetcher=bed.fetcher, cache=bed.cache)


def test_what_another_archive_brought_is_verified_again(bed: Bed, stranger: RpmSigner) -> None:
    bed.write(APP, LIB)
    stranger.sign(bed.file("app"))
    bed.relist()
    found = bed.packages()
    known = Fetcher({"fedora": (bed.server.url,)})  # one that takes the list's word
    rpmmd.download(found, fetcher=known, cache=bed.cache)
    with pytest.raises(VerifyError, match="none of the recipe's keys"):
        rpmmd.download(found, fetcher=bed.fetcher, cache=bed.cache)


def test_a_ve_gets_no_package_that_was_not_verified(bed: Bed) -> None:
    bed.write(APP, LIB)
    bed.file("app").write_bytes(build_rpm(APP))
    bed.relist()
    bed.packages()
    (route,) = rpmmd.gateway_routes(bed.archives, bed.states, fetcher=bed.fetcher, cache=bed.cache)
    assert route.fetch(f"{SUITE}/Packages/{LIB.filename}") is not None
    with pytest.raises(VerifyError, match="not signed"):
        route.fetch(f"{SUITE}/Packages/{APP.filename}")


def test_both(bed: Bed) -> None:
    """The list is signed, and so are the packages: neither is enough."""
    bed.signed = "both"
    bed.write(APP, LIB)
    with pytest.raises(TmplbuildError, match=r"repomd\.xml\.asc|no mirror has"):
        bed.packages()


def test_a_list_from_before(bed: Bed) -> None:
    bed.write(APP, LIB)
    bed.fetch()
    before = bed.states
    bed.repository.index(bed.folder, date=WHEN - 1000)
    bed.packages()
    assert bed.states == before
    with pytest.raises(VerifyError, match="older than the one accepted before"):
        bed.packages(now=time.time() + 3 * 86400)


# -- the signature header in other forms ---------------------------------------------------------------


def _parts(path: Path) -> rpmfile.Parts:
    fd = os.open(path, os.O_RDONLY)
    try:
        return rpmfile.parts(fd, path.name)
    finally:
        os.close(fd)


def with_tags(path: Path, *tags: Tag) -> None:
    """Give a package another signature header."""
    data, parts = path.read_bytes(), _parts(path)
    made = pack_header(tags, region=62)
    path.write_bytes(data[:96] + made + bytes(-len(made) % 8) + data[parts.start :])


@pytest.fixture
def package(tmp_path: Path, signer: RpmSigner) -> Path:
    path = tmp_path / APP.filename
    path.write_bytes(build_rpm(APP))
    signer.sign(path)
    signer.export(tmp_path / "keys")
    return path


def test_a_signature_as_rpm_6_writes_it(package: Path, signer: RpmSigner, tmp_path: Path) -> None:
    raw = _parts(package).signature.binary(267)
    with_tags(package, Tag(278, header.STRINGS, [base64.b64encode(raw)]))
    assert verified(package, signer, tmp_path / "keys") == (signer.fingerprint,)


def test_one_good_signature_is_enough(
    package: Path, signer: RpmSigner, stranger: RpmSigner, tmp_path: Path
) -> None:
    mine = _parts(package).signature.binary(267)
    stranger.sign(package)
    theirs = _parts(package).signature.binary(267)
    with_tags(package, Tag(278, header.STRINGS, [base64.b64encode(raw) for raw in (theirs, mine)]))
    assert verified(package, signer, tmp_path / "keys") == (signer.fingerprint,)


@pytest.mark.parametrize(
    "tags",
    [
        [Tag(278, header.STRINGS, ["no base64!"])],
        [Tag(278, header.STRINGS, [base64.b64encode(b"no packet")])],
        [Tag(278, header.STRINGS, [""])],
        [Tag(267, header.BINARY, b"\x88")],
        [Tag(267, header.BINARY, b"\xff" * 5000)],
        [Tag(268, header.STRING, "text")],
        [Tag(1005, header.BINARY, b"an old one")],
        [],
    ],
)
def test_signatures_that_are_none(package: Path, signer: RpmSigner, tmp_path: Path, tags: list[Tag]) -> None:
    with_tags(package, *tags)
    with pytest.raises(VerifyError):
        verified(package, signer, tmp_path / "keys")


def test_damage_anywhere_is_refused_and_whatever_is_accepted_is_what_was_signed(
    package: Path, signer: RpmSigner, tmp_path: Path
) -> None:
    good, chance = package.read_bytes(), random.Random(20261129)
    start = _parts(package).start
    accepted = 0
    for number in range(400):
        data = bytearray(good)
        kind = number % 4
        if kind == 0:  # a byte, more often of the first header than of the rest
            data[chance.randrange(96, start) if number % 8 else chance.randrange(len(data))] ^= (
                1 << chance.randrange(8)
            )
        elif kind == 1:  # the end is missing
            del data[chance.randrange(len(data)) :]
        elif kind == 2:  # a number that is far too large
            struct.pack_into(">I", data, chance.randrange(96, len(data) - 4), chance.getrandbits(32))
        else:  # a piece twice
            at = chance.randrange(96, len(data) - 40)
            data[at:at] = data[at : at + 32]
        package.write_bytes(data)
        try:
            verified(package, signer, tmp_path / "keys")
        except VerifyError:
            continue
        assert data[start:] == good[start:]
        accepted += 1
    assert accepted < 100  # bytes of the signature header that say nothing of the signature
