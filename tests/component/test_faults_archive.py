"""What a user sees when an archive, a recipe or the machine is at fault: one error, its own exit status,
and the template that was there before still there. The tool is run as a whole."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.archive_factory import ArchiveFactory, Deb, Key, strip_signature
from tests.archive_server import ArchiveServer
from tests.component.test_archives_gpg import Gpg
from tests.workshop import Run, Workshop

pytestmark = pytest.mark.root

OLD = b"the last good template"
RECIPE = """
[image]
distro = "toy"
release = "1"
suite = "stable"
arches = ["amd64"]
[archives.toy]
mirrors = ["{mirror}"]
public = "http://archive.invalid/toy"
suites = ["stable"]
components = ["main"]
keys = ["{key}"]
[bootstrap]
method = "deb"
[install]
packages = [{packages}]
[upgrade]
manager = "apt-deb"
"""


class Toy:
    """A workshop with an archive of its own, a recipe for it, and a template from an earlier day."""

    def __init__(self, place: Path) -> None:
        self.shop = Workshop(place / "shop", place / "shop/packages")
        self.archive = ArchiveFactory(place / "archive")
        self.template = self.shop.templates / "toy-1-x86_64.tar.gz"
        self.template.write_bytes(OLD)
        self.path = place / "recipes/toy/1.toml"
        self.path.parent.mkdir(parents=True)
        self.write()

    def suite(self, *debs: Deb, **options: object) -> None:
        base = Deb("base-files", essential=True, files={"/etc/issue": b"toy\n"})
        self.archive.suite("stable", [base, *debs], **options)  # type: ignore[arg-type]

    def write(self, *, mirror: str = "", key: str = "", packages: str = "") -> None:
        text = RECIPE.format(
            mirror=mirror or self.archive.root.as_uri(),
            key=key or self.archive.key.fingerprint,
            packages=packages,
        )
        self.path.write_text(text)
        self.archive.key.export(self.path.parent / "keys")

    def build(self, *words: str, **options: object) -> Run:
        return self.shop.run("build", str(self.path), *words, **options)  # type: ignore[arg-type]

    def fails(self, status: int, *says: str) -> str:
        """Build, and see that it fails as it should."""
        return self.failed(self.build(), status, *says)

    def failed(self, done: Run, status: int, *says: str) -> str:
        assert done.status == status, done.err
        for text in says:
            assert text in done.err
        assert "Traceback" not in done.err
        assert done.err.count("error:") == 1
        assert self.template.read_bytes() == OLD
        assert sorted(os.listdir(self.shop.templates)) == [self.template.name]
        assert self.shop.remains() == {}
        return done.err


@pytest.fixture
def toy(tmp_path: Path) -> Toy:
    return Toy(tmp_path)


@pytest.fixture
def server(toy: Toy) -> Iterator[ArchiveServer]:
    toy.suite()
    with toy.archive.serve() as server:
        toy.write(mirror=server.url)
        yield server


# -- recipes and the command line ---------------------------------------------------------------


def test_unknown_name(toy: Toy) -> None:
    toy.failed(toy.shop.run("build", "debain-12"), 2, 'no recipe "debain-12"', "debian-12")


def test_all_faults_of_a_recipe_at_once(toy: Toy) -> None:
    text = toy.path.read_text().replace('release = "1"', "release = 1")
    toy.path.write_text(text.replace("[install]", "[install]\npakages = []"))
    toy.fails(3, "image.release", "pakages", "packages", str(toy.path))


def test_missing_key_file(toy: Toy) -> None:
    toy.suite()
    toy.write(key="0" * 40)
    toy.fails(3, "0" * 40)


def test_cycle_in_extends(toy: Toy) -> None:
    toy.path.write_text('extends = "toy/_a"\n')
    (toy.path.parent / "_a.toml").write_text('extends = "toy/_b"\n')
    (toy.path.parent / "_b.toml").write_text('extends = "toy/_a"\n')
    toy.fails(3, "toy/_a")


def test_unknown_stage(toy: Toy) -> None:
    toy.suite()
    toy.failed(toy.build("--from", "stripp"), 2, "stripp", "strip")


# -- the network --------------------------------------------------------------------------------


def test_no_network(toy: Toy) -> None:
    toy.write(mirror="http://127.0.0.1:9/toy")
    toy.fails(5, "127.0.0.1:9")


def test_404(toy: Toy, server: ArchiveServer) -> None:
    server.fail("InRelease|Release", "status", status=404)
    toy.fails(5, "404", server.url)


def test_truncated_download(toy: Toy, server: ArchiveServer) -> None:
    server.fail("Packages|by-hash", "truncate", after=10)
    toy.fails(5, "Packages")


def test_changed_byte_in_packages(toy: Toy, server: ArchiveServer) -> None:
    toy.archive.damage(*toy.archive.index("stable", ".xz"), *toy.archive.index("stable", ".gz"))
    toy.archive.damage(*toy.archive.index("stable", ""))
    toy.fails(6, "Packages")


def test_changed_byte_in_a_package(toy: Toy) -> None:
    toy.suite()
    toy.archive.damage(*toy.archive.root.glob("pool/**/*.deb"))
    toy.fails(6, "base-files", ".deb")


# -- signatures and dates -----------------------------------------------------------------------


def test_signature_by_another_key(toy: Toy) -> None:
    toy.suite(signer=Key())
    toy.fails(6, "InRelease")


class ExpiredKey(Key):
    """A key of GnuPG's that was valid for ten days, and signs a hundred days after it was made."""

    def __init__(self, home: Path) -> None:
        self.gpg = Gpg(home)
        born = time.time() - 100 * 86400
        self.fingerprint = self.gpg.key(at=born)
        self.expire = lambda: self.gpg.run("--quick-set-expire", self.fingerprint, "10d", at=born + 1)

    def clear(self, text: bytes) -> bytes:
        return self.gpg.run("--clearsign", data=text)

    def detached(self, text: bytes) -> bytes:
        return self.gpg.run("--armor", "--detach-sign", data=text)

    def export(self, folder: Path) -> Path:
        self.gpg.export(self.fingerprint, folder)
        return folder / f"{self.fingerprint}.asc"


def test_expired_key(toy: Toy, tmp_path: Path) -> None:
    key = ExpiredKey(tmp_path / "gnupg")
    (tmp_path / "expired").mkdir()
    toy.archive = ArchiveFactory(tmp_path / "expired/archive", key=key)
    toy.suite()
    key.expire()
    toy.write()
    key.gpg.close()
    toy.fails(6, "expired")


def test_expired_release(toy: Toy) -> None:
    toy.suite(date=time.time() - 10 * 86400, valid_for_s=86400)
    toy.fails(6, "the Release of stable has expired")


def test_release_from_the_future(toy: Toy) -> None:
    toy.suite(date=time.time() + 10 * 86400)
    toy.fails(6, "future")


def test_stripped_signature(toy: Toy) -> None:
    toy.suite()
    strip_signature(toy.archive.inrelease("stable"))
    toy.fails(6, "InRelease")


def test_an_archive_that_went_back_in_time(toy: Toy) -> None:
    toy.suite()
    toy.shop.run("plan", str(toy.path))
    toy.suite(date=time.time() - 86400)
    done = toy.shop.run("plan", str(toy.path))
    assert done.status == 0, "the mirror may lag behind"
    assert "older than the one accepted before: the one accepted" in done.err
    toy.shop.read_last(time.time() - 3 * 86400)
    toy.fails(6, "older", "--allow-older")


# -- packages -----------------------------------------------------------------------------------


def test_package_that_does_not_exist(toy: Toy) -> None:
    toy.suite(Deb("openssh-server"))
    toy.write(packages='"openssh-sever"')
    toy.fails(10, "openssh-sever", "openssh-server")


def test_dependency_that_cannot_be_met(toy: Toy) -> None:
    toy.suite(Deb("tool", depends="engine (>= 2)"), Deb("engine", version="1.0"))
    toy.write(packages='"tool"')
    toy.fails(10, "tool", "engine (>= 2)")


# -- the machine --------------------------------------------------------------------------------


def test_as_an_ordinary_user(toy: Toy) -> None:
    toy.suite()
    files = "+dac_override,+dac_read_search"  # wherever the checkout lies, it can be read
    wrap = ("setpriv", "--reuid=65534", f"--inh-caps={files}", f"--ambient-caps={files}")
    toy.failed(toy.build(wrap=wrap), 4, "root")


def test_without_the_privilege_to_make_namespaces(toy: Toy) -> None:
    toy.suite()
    wrap = ("setpriv", "--bounding-set=-sys_admin", "--inh-caps=-sys_admin")
    toy.failed(toy.build(wrap=wrap), 4)


def test_without_user_namespaces(toy: Toy) -> None:
    toy.suite()
    script = 'echo 0 > /proc/sys/user/max_user_namespaces && exec "$@"'
    wrap = ("unshare", "--user", "--map-root-user", "sh", "-c", script, "sh")
    toy.failed(toy.build(wrap=wrap), 4)


def test_template_cache_missing(toy: Toy) -> None:
    toy.suite()
    missing = toy.shop.place / "nowhere"
    toy.failed(toy.build("--cache", str(missing)), 8, str(missing), "mkdir")


def test_template_cache_read_only(toy: Toy) -> None:
    toy.suite()
    script = 'mount --bind "$0" "$0" && mount -o remount,ro,bind "$0" && exec "$@"'
    wrap = ("unshare", "--mount", "sh", "-c", script, str(toy.shop.templates))
    toy.failed(toy.build(wrap=wrap), 8, str(toy.shop.templates), "read-only")


def test_disk_full_during_download(toy: Toy) -> None:
    toy.suite(Deb("big", files={"/usr/share/big": os.urandom(3 << 20)}))
    toy.write(packages='"big"')
    toy.shop.packages.mkdir(parents=True, exist_ok=True)
    script = 'mount -t tmpfs -o size=1m none "$0" && exec "$@"'
    wrap = ("unshare", "--mount", "sh", "-c", script, str(toy.shop.packages))
    toy.failed(toy.build(wrap=wrap), 8, "packages")


def test_two_builds_at_once(toy: Toy) -> None:
    from tmplbuild.engine.locks import template_lock

    toy.suite()
    with template_lock(toy.shop.place / "state", "toy-1-x86_64"):
        toy.fails(9, "toy-1-x86_64", str(os.getpid()))
