"""verify finds every damage that a mirror can have, and nothing in a sound one."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.archive_server import ArchiveServer
from tests.conftest import Places
from tests.publishing import NAME, Gpg, Press, add_template, needs


@pytest.fixture(scope="module")
def press(places: Places) -> Iterator[Press]:
    needs("gpg", "gpg")
    place = places("verify")
    gpg = Gpg(place / "gnupg")
    tree = place / "tree"
    (tree / "etc").mkdir(parents=True)
    made = Press(place / "press", gpg)
    for text in ("one", "two"):
        (tree / "etc/motd").write_text(text)
        for name in (NAME, "debian-12-wsl-x86_64"):
            add_template(made.cache, tree, name)
        made.publish()
    yield made
    gpg.forget()


@pytest.fixture
def copy(press: Press, tmp_path: Path) -> Path:
    """A mirror that may be damaged."""
    return Path(shutil.copytree(press.mirror, tmp_path / "mirror", symlinks=True))


def key_of(press: Press) -> str:
    assert press.gpg is not None
    return press.gpg.key


def build_dir(mirror: Path) -> Path:
    return (mirror / f"{NAME}.tar.gz").resolve().parent


@pytest.mark.parametrize("way", ["directory", "address"])
def test_a_sound_mirror(press: Press, way: str) -> None:
    with ArchiveServer(press.mirror) as server:
        place = str(press.mirror) if way == "directory" else server.url
        done = press.run("verify", place, "--json")
    assert done.returncode == 0, done.stdout
    report = json.loads(done.stdout.splitlines()[-1])
    assert report["faults"] == []
    assert (report["templates"], report["builds"]) == (2, 4)
    assert report["signatures"] >= 4 * 3 + 6
    assert report["key"] == key_of(press)


@pytest.mark.parametrize("when", [r"^/index\.json\.asc$", r"^/SHA256SUMS$", r"/rootfs\.tar\.xz$"])
def test_a_mirror_that_is_changed_while_it_is_looked_at(press: Press, tmp_path: Path, when: str) -> None:
    own = Press(tmp_path / "press", press.gpg, formats=["tar.xz", "lxc", "incus"], keep=1, grace_hours=0)
    tree = tmp_path / "tree"
    (tree / "etc").mkdir(parents=True)

    def publish(text: str) -> None:
        (tree / "etc/motd").write_text(text)
        add_template(own.cache, tree)
        own.publish()

    publish("one")
    with ArchiveServer(own.mirror) as server:
        server.once(when, lambda: publish("two"))
        done = own.run("verify", server.url, "--json")
    assert done.returncode == 0, done.stdout
    report = json.loads(done.stdout.splitlines()[-1])
    assert (report["faults"], report["builds"]) == ([], 1)


def test_a_mirror_that_is_changed_all_the_time(press: Press, tmp_path: Path) -> None:
    own = Press(tmp_path / "press", press.gpg, formats=["lxc"], keep=1, grace_hours=0, page=False)
    tree = tmp_path / "tree"
    (tree / "etc").mkdir(parents=True)
    texts = iter(range(99))

    def publish() -> None:
        (tree / "etc/motd").write_text(str(next(texts)))
        add_template(own.cache, tree)
        own.publish()
        server.once(r"^/SHA256SUMS$", publish)

    with ArchiveServer(own.mirror) as server:
        publish()
        done = own.run("verify", server.url)
    assert done.returncode == 9, done.stdout
    assert "changed again and again" in done.stderr


def test_a_mirror_verified_by_hashes_alone(press: Press, tmp_path: Path) -> None:
    stranger = Press(tmp_path / "stranger")
    done = stranger.run("verify", str(press.mirror))
    assert done.returncode == 0
    assert "signatures not checked" in done.stdout
    assert "no key is pinned" in done.stderr


def test_another_key_is_refused(press: Press) -> None:
    done = press.run("verify", str(press.mirror), "--key", "AB" * 20)
    assert done.returncode == 6
    assert press.run("verify", str(press.mirror), "--key", "ABCD").returncode == 2
    assert press.run("verify", "/nowhere").returncode == 2


def append(name: str) -> Callable[[Path], None]:
    def damage(mirror: Path) -> None:
        with (mirror / name).open("ab") as file:
            file.write(b"#")

    return damage


def in_build(change: Callable[[Path], None]) -> Callable[[Path], None]:
    return lambda mirror: change(build_dir(mirror))


def replace(name: str, old: str, new: str) -> Callable[[Path], None]:
    def damage(mirror: Path) -> None:
        text = (mirror / name).read_text()
        assert old in text
        (mirror / name).write_text(text.replace(old, new))

    return damage


def remove(name: str) -> Callable[[Path], None]:
    return lambda mirror: (mirror / name).unlink()


DAMAGES: dict[str, tuple[Callable[[Path], None], str]] = {
    "a longer file": (in_build(append("rootfs.tar.xz")), "rootfs.tar.xz"),
    "a file that is gone": (in_build(remove("meta.tar.xz")), "meta.tar.xz"),
    "sums of a build": (in_build(append("SHA256SUMS")), "SHA256SUMS"),
    "signature of a build": (in_build(remove("SHA256SUMS.gpg")), "SHA256SUMS.gpg"),
    "signature of a template": (in_build(remove("members.json")), "members.json"),
    "sums": (append(".current/SHA256SUMS"), "SHA256SUMS"),
    "binary signature of the sums": (remove(".current/SHA256SUMS.gpg"), "SHA256SUMS.gpg"),
    "list of appliances": (append(".current/aplinfo.dat"), "aplinfo.dat"),
    "compressed list of appliances": (append(".current/aplinfo.dat.gz"), "aplinfo.dat"),
    "fingerprint": (
        replace(".current/streams/v1/images.json", 'squashfs_sha256": "', 'squashfs_sha256": "0'),
        "images.json",
    ),
    "image that is not there": (
        replace(".current/streams/v1/images.json", "/incus.tar.xz", "/lxd.tar.xz"),
        "images.json",
    ),
    "index of images": (append(".current/streams/v1/index.json"), "streams/v1/index.json"),
    "LXC's list": (replace(".current/meta/1.0/index-system", "/images/", "/image/"), "index-system"),
    "LXC's list, malformed": (replace(".current/meta/1.0/index-user", ";", ","), "index-system"),
    "list of names": (append(".current/.listing"), ".listing"),
    "WSL's list": (replace(".current/DistributionInfo.json", "true", "false"), "DistributionInfo.json"),
}


@pytest.mark.parametrize("name", DAMAGES)
def test_each_damage_is_found(press: Press, copy: Path, name: str) -> None:
    needs("tar2sqfs", "squashfs-tools-ng")
    damage, where = DAMAGES[name]
    damage(copy)
    done = press.run("verify", str(copy), "--json")
    assert done.returncode == 1, done.stdout + done.stderr
    faults = json.loads(done.stdout.splitlines()[-1])["faults"]
    assert any(where in place for place, _ in faults), faults


@pytest.mark.parametrize("what", ["index.json", "index.json.asc"])
def test_an_index_that_is_not_signed_so_is_not_read(press: Press, copy: Path, what: str) -> None:
    path = copy / ".current" / what
    path.write_bytes(path.read_bytes().replace(b"debian", b"debain"))
    if what.endswith(".asc"):
        path.unlink()
    done = press.run("verify", str(copy))
    assert done.returncode == 6, done.stderr


def test_a_forged_build_with_sums_to_match_is_found_by_its_documents(
    press: Press, copy: Path, tmp_path: Path
) -> None:
    """Without a key the hashes may all fit; what files say of each other does not."""
    stranger = Press(tmp_path / "stranger")
    folder = build_dir(copy)
    index = json.loads((copy / "index.json").read_bytes())
    (template,) = [one for one in index["templates"] if one["name"] == NAME]
    (build,) = [one for one in template["builds"] if one["path"].endswith(folder.name)]
    row = next(row for row in build["files"] if row["kind"] == "tar.xz")
    with tarfile.open(folder / "rootfs.tar.xz", "w:xz") as tar:
        tar.addfile(tarfile.TarInfo("./evil"))
    data = (folder / "rootfs.tar.xz").read_bytes()
    row.update(size=len(data), sha256=hashlib.sha256(data).hexdigest())
    (copy / ".current/index.json").write_text(json.dumps(index))
    done = stranger.run("verify", str(copy))
    assert done.returncode == 1
    assert "its tar.xz holds another tar than members.json says" in done.stdout
    assert "it has not the files of the build, or other digests" in done.stdout
    assert "speaks of another rootfs.tar.xz" in done.stdout


def test_bills_of_materials_are_what_their_readers_expect(press: Press) -> None:
    """Field by field what the specifications demand; the packages by their purl."""
    folder = build_dir(press.mirror)
    spdx = json.loads((folder / "sbom.spdx.json").read_bytes())
    assert spdx["SPDXID"] == "SPDXRef-DOCUMENT"
    assert spdx["dataLicense"] == "CC0-1.0"
    ids = {one["SPDXID"] for one in spdx["packages"]}
    assert len(ids) == len(spdx["packages"]) == 3
    for relation in spdx["relationships"]:
        assert {relation["spdxElementId"], relation["relatedSpdxElement"]} <= ids | {"SPDXRef-DOCUMENT"}
    purls = [one["externalRefs"][0]["referenceLocator"] for one in spdx["packages"][1:]]
    assert purls[1] == "pkg:deb/debian/libc6@2%3A2.36-9~deb12u1?arch=amd64&distro=debian-12"
    cyclonedx = json.loads((folder / "sbom.cdx.json").read_bytes())
    assert cyclonedx["specVersion"] == "1.5"
    assert cyclonedx["serialNumber"].startswith("urn:uuid:")
    refs = [one["bom-ref"] for one in cyclonedx["components"]]
    assert cyclonedx["dependencies"] == [{"ref": "template", "dependsOn": refs}]
    assert [one["purl"] for one in cyclonedx["components"]] == purls
    statement = json.loads((folder / "provenance.json").read_bytes())
    assert statement["_type"] == "https://in-toto.io/Statement/v1"
    assert statement["predicateType"] == "https://slsa.dev/provenance/v1"
    names = {os.path.basename(one["name"]) for one in statement["subject"]}
    assert {"rootfs.tar.xz", f"{NAME}_{folder.name}.tar.gz"} <= names
