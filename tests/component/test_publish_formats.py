"""Every format of a hard tree, unpacked by the clients' own programs, is the tree again."""

from __future__ import annotations

import gzip
import hashlib
import json
import lzma
import os
import subprocess
import tarfile
import tempfile
from pathlib import Path

import pytest

from tests.conftest import Places
from tests.pack_trees import as_packed, differences, facts, nasty_tree
from tests.publishing import Press, add_template, needs
from tmplbuild.publish.model import Build

pytestmark = pytest.mark.root

EXTRACT = ["tar", "--numeric-owner", "--xattrs", "--xattrs-include=*", "--acls", "-xp"]


@pytest.fixture(scope="module")
def source(places: Places) -> Path:
    tree = places("formats") / "tree"
    nasty_tree(tree)
    return tree


@pytest.fixture(scope="module")
def press(source: Path, places: Places) -> Press:
    made = Press(places("press"))
    # of a recipe that wants nothing otherwise for anyone; see test_publish_deltas.py
    add_template(made.cache, source, recipe="plain-12")
    add_template(made.cache, source, "debian-12-wsl-x86_64", recipe="plain-12")
    made.publish()
    return made


@pytest.fixture(scope="module")
def build(press: Press) -> Build:
    return press.state().listed("debian-12-x86_64")[0]


@pytest.fixture
def target(tmp_path: Path) -> Path:
    path = tmp_path / "out"
    path.mkdir(mode=0o755)
    return path


def path_of(press: Press, build: Build, kind: str) -> Path:
    file = build.file(kind)
    assert file is not None, kind
    path = press.mirror / file.path
    assert hashlib.sha256(path.read_bytes()).hexdigest() == file.sha256
    return path


def run(*argv: object, **options: object) -> bytes:
    done = subprocess.run([str(word) for word in argv], capture_output=True, check=False, **options)  # type: ignore[call-overload]
    assert done.returncode == 0, done.stderr.decode(errors="replace")
    output: bytes = done.stdout
    return output


@pytest.mark.parametrize(("kind", "option"), [("tar.gz", "-z"), ("tar.xz", "-J"), ("tar.zst", "--zstd")])
def test_a_tar_by_gnu_tar(
    press: Press, build: Build, source: Path, target: Path, kind: str, option: str
) -> None:
    if kind == "tar.zst":
        needs("zstd", "zstd")
    run(*EXTRACT, option, "-f", path_of(press, build, kind), "-C", target)
    assert differences(as_packed(source), facts(target)) == []


def test_all_tars_hold_the_same_bytes(press: Press, build: Build) -> None:
    plain = gzip.decompress(path_of(press, build, "tar.gz").read_bytes())
    assert lzma.decompress(path_of(press, build, "tar.xz").read_bytes()) == plain
    needs("zstd", "zstd")
    assert run("zstd", "-dc", path_of(press, build, "tar.zst")) == plain
    assert (
        path_of(press, build, "tar.gz").read_bytes()
        == (press.cache / f"{build.template}.tar.gz").read_bytes()
    )


def test_a_long_tar_xz_is_one_file_for_xz(
    press: Press, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tmplbuild.publish.formats import tarxz

    monkeypatch.setattr(tarxz, "PIECE", 1 << 20)
    other = Press(tmp_path / "other")
    for path in press.cache.iterdir():
        os.link(path, other.cache / path.name)
    other.publish("debian-12-x86_64")
    path = path_of(other, other.state().listed("debian-12-x86_64")[0], "tar.xz")
    needs("xz", "xz-utils")
    plain = gzip.decompress((press.cache / "debian-12-x86_64.tar.gz").read_bytes())
    assert run("xz", "-dc", path) == plain
    assert int(run("xz", "--robot", "-l", path).split(b"\n")[1].split(b"\t")[4]) == len(plain)


def test_a_squashfs(press: Press, build: Build, source: Path, target: Path) -> None:
    needs("tar2sqfs", "squashfs-tools-ng")
    needs("unsquashfs", "squashfs-tools")
    run("unsquashfs", "-q", "-n", "-f", "-d", target, path_of(press, build, "squashfs"))
    found = facts(target)
    wanted = {
        path: fact._replace(xattrs=tuple(one for one in fact.xattrs if "posix_acl" not in one[0]))
        for path, fact in as_packed(source).items()  # a squashfs has no place for ACLs
    }
    assert differences(wanted, found) == []


def test_a_wsl_file_by_bsdtar_as_windows_unpacks_it(press: Press, source: Path, target: Path) -> None:
    needs("bsdtar", "libarchive-tools")
    build = press.state().listed("debian-12-wsl-x86_64")[0]
    run(
        "bsdtar",
        "-x",
        "-p",
        "--xattrs",
        "--no-acls",
        "--numeric-owner",
        "-f",
        path_of(press, build, "wsl"),
        "-C",
        target,
    )
    assert {path: fact.owner for path, fact in facts(target).items()} == {
        path: fact.owner for path, fact in as_packed(source).items()
    }
    assert not press.state().listed("debian-12-x86_64")[0].file("wsl")
    info = json.loads((press.mirror / "DistributionInfo.json").read_bytes())
    (entry,) = info["ModernDistributions"]["Debian"]
    assert entry["Name"].startswith("Debian")
    assert entry["Default"] is True
    assert entry["Amd64Url"]["Sha256"] == f"0x{build.artifact}"
    assert entry["Amd64Url"]["Url"].startswith("https://mirror.example/t/images/debian/12/amd64/wsl/")


# -- OCI ---------------------------------------------------------------------------------------------


def test_the_oci_archive_has_the_names_that_proxmox_looks_for(press: Press, build: Build) -> None:
    names = run("tar", "-tf", path_of(press, build, "oci")).decode().splitlines()
    assert "oci-layout" in names
    assert "index.json" in names
    assert any(name.startswith("blobs/") for name in names)
    assert not any(name.startswith("./") for name in names)


def test_every_blob_of_the_oci_archive_is_what_its_name_says(press: Press, build: Build) -> None:
    with tarfile.open(path_of(press, build, "oci")) as tar:
        for member in tar:
            if member.isfile() and member.name.startswith("blobs/sha256/"):
                file = tar.extractfile(member)
                assert file is not None
                assert hashlib.sha256(file.read()).hexdigest() == member.name.rpartition("/")[2]


@pytest.mark.parametrize("transport", ["oci-archive", "docker-archive"])
def test_skopeo_reads_the_archive(press: Press, build: Build, transport: str) -> None:
    needs("skopeo", "skopeo")
    archive = path_of(press, build, "oci")
    config = json.loads(run("skopeo", "inspect", "--config", f"{transport}:{archive}"))
    assert (config["architecture"], config["os"]) == ("amd64", "linux")
    assert config["config"]["Cmd"] == ["/sbin/init"]
    assert config["config"]["StopSignal"] == "SIGRTMIN+3"
    assert "Entrypoint" not in config["config"]
    tar = gzip.decompress(path_of(press, build, "tar.gz").read_bytes())
    assert config["rootfs"]["diff_ids"] == [f"sha256:{hashlib.sha256(tar).hexdigest()}"]


def test_umoci_unpacks_the_image_to_the_tree(
    press: Press, build: Build, source: Path, tmp_path: Path
) -> None:
    needs("skopeo", "skopeo")
    needs("umoci", "umoci")
    layout, bundle = tmp_path / "layout", tmp_path / "bundle"
    policy = ["--insecure-policy"]
    run("skopeo", *policy, "copy", f"oci-archive:{path_of(press, build, 'oci')}", f"oci:{layout}:it")
    run("umoci", "unpack", "--image", f"{layout}:it", bundle)
    found = {path: fact._replace(xattrs=()) for path, fact in facts(bundle / "rootfs").items()}
    wanted = {path: fact._replace(xattrs=()) for path, fact in as_packed(source).items()}
    assert differences(wanted, found) == []
    capability = os.getxattr(bundle / "rootfs/usr/bin/ping", "security.capability")
    assert capability == os.getxattr(source / "usr/bin/ping", "security.capability")


def test_podman_loads_the_archive(press: Press, build: Build, tmp_path: Path) -> None:
    needs("podman", "podman")
    policy = tmp_path / "policy.json"
    policy.write_text('{"default": [{"type": "insecureAcceptAnything"}]}')
    with tempfile.TemporaryDirectory(prefix="pod") as short:  # podman wants a run directory of few letters
        at = ["podman", "--root", tmp_path / "store", "--runroot", f"{short}/r", "--storage-driver", "vfs"]
        at += ["--events-backend", "none"]
        run(*at, "load", "--signature-policy", policy, "-i", path_of(press, build, "oci"))
        images = json.loads(run(*at, "images", "--format", "json"))
        assert any("debian:12" in name for image in images for name in image["Names"] or [])
        run(*at, "rmi", "-a", "-f")
