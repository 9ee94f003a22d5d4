"""Ubuntu: its archive is not at hand here, so Debian's packages are republished in its layout."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.archive_server import ArchiveServer
from tests.conftest import Places
from tests.ubuntu_archive import SMALL, UbuntuArchive
from tests.workshop import Run, Workshop
from tmplbuild.engine.steps import NAMES, RELEASE_NAMES

pytestmark = [pytest.mark.root, pytest.mark.network, pytest.mark.live, pytest.mark.slow]


class Ubuntu:
    """A workshop with the archive's address, and recipes test-jammy and test-noble that pin its key."""

    def __init__(self, shop: Workshop, archive: UbuntuArchive, server: ArchiveServer) -> None:
        self.shop = shop
        self.archive = archive
        self.mirror = ("--mirror", f"ubuntu={server.url}/ubuntu")
        self.options = ("--recipes", str(shop.place / "recipes"), *self.mirror)
        folder = Path(shop.recipe("jammy", archive.recipe("22.04"))).parent
        shop.recipe("noble", archive.recipe("24.04", extra='[upgrade]\nfrom = "test-jammy"'))
        archive.key.export(folder / "keys")


@pytest.fixture(scope="module")
def ubuntu(places: Places, packages: Path) -> Iterator[Ubuntu]:
    place = places("ubuntu")
    archive = UbuntuArchive(place, packages)
    archive.publish("22.04")
    archive.publish("24.04", (*SMALL, "systemd-resolved"))
    with archive.serve() as server:
        yield Ubuntu(Workshop(place / "shop", packages), archive, server)


def test_a_recipe_of_ubuntu_becomes_a_template(ubuntu: Ubuntu) -> None:
    shop = ubuntu.shop
    done = shop.build("test-noble", *ubuntu.options)
    assert done.ran == list(NAMES)
    assert done.summary["template"] == "ubuntu-24.04-x86_64"
    manifest = json.loads((shop.templates / "ubuntu-24.04-x86_64.manifest.json").read_text())
    suites = {row["suite"]: row for row in manifest["pins"]["archives"]}
    assert set(suites) == {"noble", "noble-updates", "noble-security"}
    assert suites["noble"]["date"] < suites["noble-updates"]["date"]
    assert all(row["signed_by"] == [ubuntu.archive.key.fingerprint] for row in suites.values())
    versions = {row["name"]: row["version"] for row in manifest["packages"]}
    assert versions["base-files"].endswith("ubuntu2"), "the later one is in the pocket of updates"
    assert versions["tzdata"].endswith("ubuntu0.24.04.1"), "the later one is in the pocket of security"
    assert "ifupdown" in versions, "it is in universe"
    assert "udev" not in versions
    with shop.tree("ubuntu-24.04-x86_64", "clean-again") as tree:
        assert "DISTRIB_ID=Ubuntu\n" in tree.read_text("/etc/lsb-release")  # Proxmox looks there
        assert "ID=ubuntu\n" in tree.read_text("/usr/lib/os-release")
        sources = tree.read_text("/etc/apt/sources.list.d/ubuntu.sources")
        assert "URIs: http://archive.ubuntu.com/ubuntu\n" in sources
        assert "Suites: noble noble-updates noble-security\nComponents: main universe\n" in sources
        assert "Signed-By: /usr/share/keyrings/ubuntu-archive-keyring.gpg" in sources
        assert tree.read_text("/etc/network/interfaces") == "auto lo\niface lo inet loopback\n"
    assert shop.build("test-noble", *ubuntu.options).unchanged
    assert shop.remains() == {}


def test_the_flavour_with_networkd(ubuntu: Ubuntu) -> None:
    """Its boot test sets an address in networkd's way."""
    shop = ubuntu.shop
    done = shop.build("test-noble-networkd", *ubuntu.options)
    assert done.summary["template"] == "ubuntu-24.04-networkd-x86_64"
    with shop.tree("ubuntu-24.04-networkd-x86_64", "clean-again") as tree:
        assert tree.readlink("/etc/resolv.conf") == "../run/systemd/resolve/stub-resolv.conf"
        assert not tree.exists("/etc/network/interfaces")
        wants = "/etc/systemd/system/network-online.target.wants"
        assert "systemd-networkd-wait-online.service" not in tree.listdir(wants)


def test_another_key_is_refused(ubuntu: Ubuntu) -> None:
    """The shipped recipe pins Ubuntu's own."""
    done = ubuntu.shop.run("build", "ubuntu-24.04", "--json", *ubuntu.mirror)
    assert done.status == 6
    assert not (ubuntu.shop.templates / "ubuntu-24.04.tar.gz").exists()


def test_jammy_becomes_noble(ubuntu: Ubuntu) -> None:
    shop = ubuntu.shop
    shop.build("test-noble", *ubuntu.options)
    missing = shop.run("upgrade", "test-jammy", "--to", "test-noble", "--json", *ubuntu.options)
    assert missing.status == 8
    assert "tmplbuild build test-jammy" in missing.out

    shop.build("test-jammy", *ubuntu.options, "--no-boot-test")
    done = _upgraded(shop, "test-jammy", "test-noble", *ubuntu.options)
    assert done.ran == list(RELEASE_NAMES)
    name = "ubuntu-24.04-from-22.04-x86_64"
    assert done.summary["template"] == name
    assert done.summary["made_of"]["template"] == "ubuntu-22.04-x86_64"
    manifest = json.loads((shop.templates / f"{name}.manifest.json").read_text())
    clean = json.loads((shop.templates / "ubuntu-24.04-x86_64.manifest.json").read_text())
    here, there = ({row["name"]: row["version"] for row in one["packages"]} for one in (manifest, clean))
    assert {package: here.get(package) for package in there} == there
    # packages that dpkg protects are never removed by themselves
    assert here.keys() - there.keys() <= {"e2fsprogs", "libext2fs2", "libss2", "logsave"}
    assert [row for row in manifest["differences"] if row.startswith(("fewer", "other versions"))] == []
    with shop.tree(name, "clean-again") as tree:
        assert not tree.exists("/etc/apt/sources.list"), "what names the old release is gone"
        assert 'VERSION_ID="24.04"\n' in tree.read_text("/etc/os-release")

    again = _upgraded(shop, "test-jammy", "test-noble", *ubuntu.options)
    assert again.unchanged
    assert shop.remains() == {}


def test_a_changed_template_is_not_upgraded(ubuntu: Ubuntu) -> None:
    shop = ubuntu.shop
    shop.build("test-jammy", *ubuntu.options, "--no-boot-test")
    file = shop.templates / "ubuntu-22.04-x86_64.tar.gz"
    good = file.read_bytes()
    file.unlink()
    file.write_bytes(good[:1000] + bytes([good[1000] ^ 1]) + good[1001:])
    done = shop.run("upgrade", "test-jammy", "--to", "test-noble", "--json", *ubuntu.options)
    assert done.status == 6
    file.with_name("ubuntu-22.04-x86_64.manifest.json").unlink()
    done = shop.run("upgrade", "test-jammy", "--to", "test-noble", "--json", *ubuntu.options)
    assert done.status == 6
    assert "nothing vouches" in done.out


def test_releases_are_not_skipped(ubuntu: Ubuntu) -> None:
    done = ubuntu.shop.run("upgrade", "debian-11", "--to", "debian-13")
    assert done.status == 2
    assert "it can from debian-12" in done.err


def test_debian_12_becomes_13(packages: Path, tmp_path: Path) -> None:
    """On the real archive, and what it came to beside a clean build."""
    shop = Workshop(tmp_path / "shop", packages)
    listed = f"[install]\npackages = {list(SMALL)}\n"
    shop.recipe("twelve", f'extends = "debian/12"\n{listed}')
    shop.recipe("thirteen", f'extends = "debian/13"\n{listed}[upgrade]\nfrom = "test-twelve"\n')
    options = ("--recipes", str(shop.place / "recipes"))
    shop.build("test-twelve", *options, "--no-boot-test")
    shop.build("test-thirteen", *options, "--no-boot-test")
    done = _upgraded(shop, "test-twelve", "test-thirteen", *options)
    assert done.ran == list(RELEASE_NAMES)
    rows = done.summary["differences"]
    assert [row for row in rows if row.startswith(("fewer", "other versions"))] == []
    with shop.tree("debian-13-from-12-x86_64", "clean-again") as tree:
        assert 'VERSION_ID="13"\n' in tree.read_text("/etc/os-release")
        lists = [path for path in tree.glob("/etc/apt/**/*") if tree.is_file(path)]
        assert not [path for path in lists if "bookworm" in tree.read_text(path)]
    log = (shop.place / "state/logs/debian-13-from-12-x86_64/05-upgrade.log").read_text(errors="replace")
    assert log.index("--without-new-pkgs upgrade") < log.index("dist-upgrade")
    assert shop.remains() == {}


def _upgraded(shop: Workshop, old: str, new: str, *options: str) -> Run:
    done = shop.run("upgrade", old, "--to", new, "--json", *options)
    assert done.status == 0, f"{done.err}\n{done.out[-2000:]}"
    return done
