"""What recipes want otherwise for a consumer is in that consumer's files, as its own programs read them, and
in no other's; everything else is the template."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import lzma
import os
import shutil
import stat
import subprocess
import tarfile
from pathlib import Path

import pytest

from tests.conftest import Places
from tests.pack_trees import EPOCH, Fact, as_packed, differences, facts, nasty_tree
from tests.publishing import Press, add_template, needs
from tmplbuild.publish.deltas import Delta, Put
from tmplbuild.publish.fork import Fork
from tmplbuild.publish.formats import tarxz
from tmplbuild.publish.model import Build

pytestmark = pytest.mark.root

NAME = "own-12-wsl-x86_64"
_CONSUMERS = ("proxmox", "lxc", "incus", "oci", "wsl")
_RECIPE = """
extends = "debian/12"
[image]
distro = "own"
name = "own-{release}-wsl-{ve_arch}"
"""
_DROP = {
    "lxc": 'drop.files = ["/etc/hostname", "/etc/hosts", "/etc/network/interfaces"]',
    "incus": 'drop.files = ["/etc/network/interfaces"]',
    "proxmox": 'drop.files = ["/etc/appliance.info"]',
}
# A new file below new directories, one in place of another, a link, a directory, one from beside the recipe;
# a directory and a link with a name of many bytes go.
_DELTA = """
[publish.WHO]
DROP
remove = ["/usr/longest-link", "/etc"]
[publish.WHO.files]
"/etc/about" = { text = "for WHO {release}\\n", mode = "0600", uid = 7, gid = 8 }
"/usr/bin/two".text = "another two\\n"
"/opt/a/b".link = "../WHO"
"/usr/bin".directory = true
"/srv/WHO".directory = true
"/srv/beside".source = "beside"
"""


@pytest.fixture(scope="module")
def source(places: Places) -> Path:
    tree = places("deltas") / "tree"
    nasty_tree(tree)
    return tree


@pytest.fixture(scope="module")
def press(source: Path, places: Places) -> Press:
    place = places("press")
    folder = place / "recipes/own"
    folder.mkdir(parents=True)
    deltas = "".join(_DELTA.replace("WHO", who).replace("DROP", _DROP.get(who, "")) for who in _CONSUMERS)
    (folder / "12.toml").write_text(f"{_RECIPE}{deltas}")
    (folder / "beside").write_bytes(os.urandom(3000))
    made = Press(place / "press", recipes=place / "recipes")
    add_template(made.cache, source, NAME, recipe="own-12")
    made.publish()
    return made


@pytest.fixture(scope="module")
def build(press: Press) -> Build:
    return press.state().listed(NAME)[0]


def path_of(press: Press, build: Build, kind: str) -> Path:
    file = build.file(kind)
    assert file is not None, kind
    return press.mirror / file.path


def run(*argv: object) -> bytes:
    done = subprocess.run([str(word) for word in argv], capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode(errors="replace")
    return done.stdout


def wanted(source: Path, press: Press, who: str) -> dict[bytes, Fact]:
    """The tree as the delta changes it."""
    found = {
        path: fact
        for path, fact in as_packed(source).items()
        if path.split(b"/")[0] != b"etc" and path != b"usr/longest-link"
    }
    beside = (press.place.parent / "recipes/own/beside").read_bytes()
    # as facts() describes it: the kind's own content
    model = press.place / f"model-{who}"
    if not model.exists():
        (model / "etc").mkdir(parents=True)
        (model / "etc/about").write_text(f"for {who} 12\n")
        os.chmod(model / "etc/about", 0o600)
        os.chown(model / "etc/about", 7, 8)
        (model / "usr/bin").mkdir(parents=True)
        (model / "usr/bin/two").write_text("another two\n")
        (model / "opt/a").mkdir(parents=True)
        (model / "opt/a/b").symlink_to(f"../{who}")
        (model / "srv" / who).mkdir(parents=True)
        (model / "srv/beside").write_bytes(beside)
        for path in model.rglob("*"):
            os.utime(path, (EPOCH, EPOCH), follow_symlinks=False)
    new = as_packed(model)
    for path in (b"", b"usr", b"usr/bin"):
        new.pop(path, None)
    return {**found, **new}


def unpack(press: Press, build: Build, kind: str, target: Path) -> None:
    """By the program that the consumer of a kind uses."""
    path = path_of(press, build, kind)
    tar = ["tar", "--numeric-owner", "--xattrs", "--xattrs-include=*", "--acls", "-xp", "-C", target]
    if kind == "squashfs":
        needs("unsquashfs", "squashfs-tools")
        run("unsquashfs", "-q", "-n", "-f", "-d", target, path)
    elif kind == "oci":
        needs("skopeo", "skopeo")
        needs("umoci", "umoci")
        run("skopeo", "--insecure-policy", "copy", f"oci-archive:{path}", f"oci:{target}.layout:it")
        run("umoci", "unpack", "--image", f"{target}.layout:it", f"{target}.bundle")
        target.rmdir()
        (Path(f"{target}.bundle") / "rootfs").rename(target)
    elif kind == "wsl":
        needs("bsdtar", "libarchive-tools")
        run("bsdtar", "-x", "-p", "--xattrs", "--acls", "--numeric-owner", "-f", path, "-C", target)
    else:
        run(*tar, {"tar.zst": "--zstd", "tar.xz": "-J", "tar.gz": "-z"}[kind], "-f", path)


@pytest.mark.parametrize("kind", ["tar.zst", "tar.xz", "squashfs", "oci", "wsl", "tar.gz"])
def test_each_consumer_gets_its_own(
    press: Press, build: Build, source: Path, tmp_path: Path, kind: str
) -> None:
    who = {"tar.zst": "proxmox", "tar.xz": "lxc", "squashfs": "incus"}.get(kind, kind)
    target = tmp_path / "out"
    target.mkdir(mode=0o755)
    unpack(press, build, kind, target)
    expected = as_packed(source) if kind == "tar.gz" else wanted(source, press, who)
    found = facts(target)
    if kind in ("squashfs", "oci"):  # which have no place for all of these
        expected = {path: fact._replace(xattrs=()) for path, fact in expected.items()}
        found = {path: fact._replace(xattrs=()) for path, fact in found.items()}
    if kind == "wsl":
        expected = {path: fact._replace(xattrs=(), mtime=0) for path, fact in expected.items()}
        found = {path: fact._replace(xattrs=(), mtime=0) for path, fact in found.items()}
    assert differences(expected, found) == []


def test_the_image_says_of_its_layer_what_is_true(press: Press, build: Build) -> None:
    needs("skopeo", "skopeo")
    config = json.loads(run("skopeo", "inspect", "--config", f"oci-archive:{path_of(press, build, 'oci')}"))
    with tarfile.open(path_of(press, build, "oci")) as tar:
        files = [tar.extractfile(one).read() for one in tar if one.isfile()]  # type: ignore[union-attr]
    (layer,) = [data for data in files if data.startswith(b"\x1f\x8b")]
    digest = hashlib.sha256(gzip.decompress(layer)).hexdigest()
    assert config["rootfs"]["diff_ids"] == [f"sha256:{digest}"]
    assert not list(path_of(press, build, "oci").parent.glob(".*"))  # the layer is no file by itself


def test_the_names_that_stay_are_the_templates_own(press: Press, build: Build) -> None:
    tar = gzip.decompress((press.mirror / f"{NAME}.tar.gz").read_bytes())
    assert lzma.decompress((press.mirror / f"{NAME}.tar.xz").read_bytes()) == tar  # which is not LXC's
    assert (press.mirror / f"{NAME}.tar.gz").read_bytes() == (press.cache / f"{NAME}.tar.gz").read_bytes()


def test_what_both_tar_xz_share_is_compressed_once(
    press: Press, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tree = tmp_path / "tree"
    (tree / "etc").mkdir(parents=True)
    (tree / "etc/hostname").write_text("one")
    (tree / "large").write_bytes(os.urandom(8 << 20))
    monkeypatch.setattr(tarxz, "PIECE", 1 << 20)
    calls: list[int] = []
    compress = lzma.compress

    def counted(data: bytes, *rest: int) -> bytes:
        calls.append(len(data))
        return compress(data, *rest)

    monkeypatch.setattr(tarxz.lzma, "compress", counted)  # type: ignore[attr-defined]
    own = Press(tmp_path / "press", recipes=press.place.parent / "recipes", formats=["tar.xz"])
    add_template(own.cache, tree, NAME, recipe="own-12")
    own.publish()
    tar = gzip.decompress((own.mirror / f"{NAME}.tar.gz").read_bytes())
    pieces = (len(tar) >> 20) + 1
    assert pieces <= len(calls) <= pieces + 3  # of about twice as many


def test_verify_makes_each_anew_and_compares(press: Press, build: Build, tmp_path: Path) -> None:
    done = press.run("verify", str(press.mirror))
    assert done.returncode == 0, done.stdout
    copy = Path(shutil.copytree(press.mirror, tmp_path / "mirror", symlinks=True))
    path = copy / build.folder / "deltas.json"
    data = json.loads(path.read_bytes())
    for row in data["deltas"].values():
        row["files"][0]["uid"] = 0
    path.write_text(json.dumps(data))
    index = json.loads((copy / "index.json").read_bytes())
    (row,) = [one for one in index["templates"][0]["builds"][0]["files"] if one["kind"] == "deltas"]
    row.update(size=path.stat().st_size, sha256=hashlib.sha256(path.read_bytes()).hexdigest())
    (copy / ".current/index.json").write_text(json.dumps(index))
    done = press.run("verify", str(copy))
    assert done.returncode == 1
    for kind in ("tar.zst", "tar.xz", "wsl"):
        assert f"its {kind} holds another tar" in done.stdout
    assert "the blobs of its OCI archive are not what their names say" in done.stdout


def test_a_delta_that_changes_is_a_new_build(press: Press, source: Path, tmp_path: Path) -> None:
    folder = tmp_path / "recipes/own"
    folder.mkdir(parents=True)
    own = Press(tmp_path / "press", recipes=tmp_path / "recipes", formats=["tar.zst", "lxc"])
    (folder / "12.toml").write_text(_RECIPE)
    add_template(own.cache, source, NAME, recipe="own-12")
    assert own.publish().outcomes[0].state == "published"
    assert own.publish().outcomes[0].state == "unchanged"
    (folder / "12.toml").write_text(f'{_RECIPE}[publish.proxmox.files]\n"/etc/x".text = "x"\n')
    assert own.publish().outcomes[0].state == "published"
    assert own.publish().outcomes[0].state == "unchanged"
    (folder / "12.toml").write_text(f'{_RECIPE}[publish.wsl.files]\n"/etc/x".text = "x"\n')  # not made here
    assert own.publish().outcomes[0].state == "published"


@pytest.mark.parametrize(
    ("lines", "told"),
    [
        ('[publish.lxc]\nremove = ["/usr/bin/one"]', "it is one file with /usr/bin/one"),
        ('[publish.lxc.files]\n"/bin/x".text = ""', "it is no directory"),
        ('[publish.lxc.files]\n"/x".source = "nothing"', "nothing is not there"),
    ],
)
def test_what_cannot_be_is_told(source: Path, tmp_path: Path, lines: str, told: str) -> None:
    folder = tmp_path / "recipes/own"
    folder.mkdir(parents=True)
    own = Press(tmp_path / "press", recipes=tmp_path / "recipes", formats=["tar.xz", "lxc"])
    (folder / "12.toml").write_text(f"{_RECIPE}{lines}\n")
    add_template(own.cache, source, NAME, recipe="own-12")
    done = own.run("publish", "--force")
    assert done.returncode in (3, 7)
    assert told in done.stderr
    assert "Traceback" not in done.stderr
    assert not list((own.mirror / "images").rglob("*.tar.xz"))


def listed(press: Press, template: str, kind: str) -> dict[str, str]:
    """The content of the small files in a consumer's tar, by path."""
    path = path_of(press, press.state().listed(template)[0], kind)
    argv = (
        ["zstd", "-dc", str(path)]
        if kind == "tar.zst"
        else ["xz" if kind == "tar.xz" else "gzip", "-dc", str(path)]
    )
    with tarfile.open(fileobj=io.BytesIO(run(*argv))) as tar:
        return {one.name[1:]: tar.extractfile(one).read().decode() for one in tar if one.isfile()}  # type: ignore[union-attr]


def test_what_the_shipped_recipes_want(tmp_path: Path) -> None:
    """Debian's for Proxmox and LXC, Ubuntu's networkd for LXC, and the variant for WSL."""
    needs("zstd", "zstd")
    tree = tmp_path / "tree"
    (tree / "etc/network").mkdir(parents=True)
    for name in ("hostname", "resolv.conf", "network/interfaces", "hosts"):
        (tree / "etc" / name).write_text("the template's\n")
    press = Press(
        tmp_path / "press", formats=["tar.xz", "tar.zst", "lxc", "wsl"], url="https://mirror.example/t"
    )
    names = {
        "debian-12-x86_64": "debian-12",
        "debian-12-wsl-x86_64": "debian-12-wsl",
        "ubuntu-24.04-wsl-x86_64": "ubuntu-24.04-wsl",
        "ubuntu-24.04-networkd-x86_64": "ubuntu-24.04-networkd",
    }
    for name, recipe in names.items():
        add_template(press.cache, tree, name, recipe=recipe)
    press.publish()
    appliance = listed(press, "debian-12-x86_64", "tar.zst")["/etc/appliance.info"]
    fields = dict(line.split(": ", 1) for line in appliance.splitlines())
    assert (fields["Name"], fields["OS"], fields["Type"]) == ("debian-12", "debian-12", "lxc")
    lxc = listed(press, "debian-12-x86_64", "tar.xz")
    assert lxc["/etc/hostname"] == "LXC_NAME\n"
    assert "iface eth0 inet dhcp" in lxc["/etc/network/interfaces"]
    networkd = listed(press, "ubuntu-24.04-networkd-x86_64", "tar.xz")
    assert networkd["/etc/hostname"] == "LXC_NAME\n"
    assert networkd["/etc/network/interfaces"] == "the template's\n"
    for name in ("debian-12-wsl-x86_64", "ubuntu-24.04-wsl-x86_64"):
        assert "/etc/resolv.conf" not in listed(press, name, "wsl")
        assert listed(press, name, "tar.gz")["/etc/resolv.conf"] == "the template's\n"
    info = json.loads((press.mirror / "DistributionInfo.json").read_bytes())["ModernDistributions"]
    (debian,), (ubuntu,) = info["Debian"], info["Ubuntu"]
    assert (debian["Name"], debian["FriendlyName"]) == ("Debian-12", "Debian 12 (bookworm), for WSL")
    for entry, name in ((debian, "debian-12-wsl-x86_64"), (ubuntu, "ubuntu-24.04-wsl-x86_64")):
        file = press.state().listed(name)[0].file("wsl")
        assert file is not None
        assert entry["Amd64Url"] == {
            "Url": f"https://mirror.example/t/{file.path}",
            "Sha256": f"0x{file.sha256}",
        }
    assert press.run("verify", str(press.mirror)).returncode == 0


class _Kept:
    """A sink that keeps all."""

    def __init__(self) -> None:
        self.data = bytearray()

    def __enter__(self) -> _Kept:
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing is held."""

    def write(self, data: bytes, /) -> None:
        self.data += data


@pytest.mark.parametrize("size", [1, 7, 511, 512, 513, 4096, 100_000])
def test_the_pieces_in_which_a_stream_comes_do_not_matter(press: Press, build: Build, size: int) -> None:
    tar = gzip.decompress(path_of(press, build, "tar.gz").read_bytes())
    tar = tar if size > 500 else tar[: 200 * 512] + bytes(1024)  # it is long
    delta = Delta(("/usr/longest-link",), (Put("/etc/appliance.info", "file", b"x", stat.S_IRUSR, 0, 0),))
    results = set()
    for step in (size, len(tar)):
        kept = _Kept()
        with Fork([(kept, delta)], EPOCH) as fork:
            for at in range(0, len(tar), step):
                fork.write(tar[at : at + step])
        results.add(bytes(kept.data))
    assert len(results) == 1
    same = _Kept()
    with Fork([(same, Delta())], EPOCH) as fork:
        fork.write(tar)
    assert bytes(same.data) == tar
