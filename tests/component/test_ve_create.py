"""Creating VEs: any template, none that could harm, and nothing left of what failed."""

from __future__ import annotations

import io
import lzma
import os
import random
import signal
import subprocess
import tarfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.dist_trees import lay_out
from tests.ve_office import Office, pack
from tmplbuild.archives import zstd

pytestmark = pytest.mark.root


@pytest.fixture
def office(tmp_path: Path) -> Iterator[Office]:
    """Places of the test's own, in which no mount, draft or process may be left."""
    office = Office(tmp_path)
    yield office
    left = [line for line in office.remains() if not line.split("/")[-1].isdigit()]
    assert left == []


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A tree laid out as Debian's, with what a template may hold."""
    tree = lay_out(tmp_path / "tree", "debian")
    (tree / "bin").mkdir()
    (tree / "bin/su").write_text("x")
    (tree / "bin/su").chmod(0o4755)
    (tree / "dev").mkdir()
    os.mknod(tree / "dev/null", 0o20666, os.makedev(1, 3))
    os.chown(tree / "etc/shadow", 0, 42)
    (tree / "etc/machine-id").write_text("a" * 32)
    return tree


def merged(office: Office, veid: str) -> dict[str, tuple[int, int, int]]:
    """Mode and owners of every file of a VE."""
    manager = office.manager
    with manager.core.tree(manager.area(manager.conf(veid)).rootfs(), writable=False) as files:
        return {path: (state.st_mode, state.st_uid, state.st_gid) for path, state in files.walk()}


@pytest.mark.parametrize("layout", ["overlay", "copy"])
@pytest.mark.parametrize("suffix", [".tar", ".tar.gz", ".tar.bz2", ".tar.xz", ".tar.zst"])
def test_every_form_of_template(office: Office, tree: Path, suffix: str, layout: str) -> None:
    file = office.templates / f"debian-12-x86_64{suffix}"
    if suffix == ".tar.zst":
        data = pack(office.place / "plain", tree).read_bytes()
        file.write_bytes(zstd.compress(data))
    else:
        pack(file, tree, f"w:{suffix[5:]}")
    office.ok(
        "create", "101", "--ostemplate", "debian-12-x86_64", "--layout", layout, "--hostname", "web.x.org"
    )
    found = merged(office, "101")
    assert found["/bin/su"] == (0o104755, 0, 0)
    assert found["/etc/shadow"] == (0o100640, 0, 42)
    assert "/dev/null" not in found
    manager = office.manager
    with manager.core.tree(manager.area(manager.conf("101")).rootfs()) as files:
        assert files.read_text("/etc/hostname") == "web\n"
        assert files.read_text("/etc/machine-id") == ""
    assert f'VE_LAYOUT="{"overlay" if layout == "overlay" else "simfs"}"' in office.conf("101")
    assert 'OSTEMPLATE="debian-12-x86_64"' in office.conf("101")
    private = office.place / "private/101"
    assert (private.stat().st_mode & 0o777, (office.place / "private").stat().st_mode & 0o777) == (
        (0o700 if layout == "overlay" else 0o755),
        0o700,
    )
    office.ok("destroy", "101")
    assert office.remains() == []
    assert (office.place / "vz/conf/101.conf.destroyed").exists()


def test_one_unpacked_tree_is_shared_and_goes_when_it_is_not_needed(office: Office, tree: Path) -> None:
    file = pack(office.templates / "debian-12-x86_64.tar.gz", tree, "w:gz")
    office.ok("create", "101", "--ostemplate", "debian-12-x86_64")
    office.ok("create", "102", "--ostemplate", "debian-12-x86_64")
    copied = office.templates / "other-x86_64.tar.gz"
    copied.write_bytes(file.read_bytes())
    office.ok("create", "103", "--ostemplate", "other-x86_64")
    shared = {os.readlink(office.place / f"private/{veid}/base") for veid in ("101", "102", "103")}
    assert len(shared) == 1
    for path in office.templates.iterdir():
        path.unlink()
    assert "nothing" in office.ok("gc")
    for veid in ("101", "102"):
        office.ok("destroy", veid)
    office.ok("gc")
    assert Path(next(iter(shared))).is_dir()  # 103 still needs it
    office.ok("destroy", "103")
    assert "shared tree" in office.ok("gc")
    assert not Path(next(iter(shared))).exists()


def test_templates_of_others(office: Office, tree: Path) -> None:
    """As the LXC project packs (xz, by path), and with names that do not begin with "./" (older Proxmox)."""
    rootfs = office.place / "lxc/rootfs.tar.xz"
    rootfs.parent.mkdir()
    pack(rootfs, tree, "w:xz")
    office.ok("create", "101", "--ostemplate", str(rootfs), "--dist", "debian", "--ipadd", "192.0.2.101")
    assert 'DISTRIBUTION="debian"' in office.conf("101")
    bare = office.templates / "debian-12-standard_12.12-1_amd64.tar.zst"
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for path in sorted(tree.rglob("*")):
            tar.add(path, str(path.relative_to(tree)), recursive=False)
    bare.write_bytes(zstd.compress(out.getvalue()))
    office.ok("create", "102", "--ostemplate", "debian-12-standard_12.12-1_amd64", "--ipadd", "192.0.2.102")
    for veid in ("101", "102"):
        assert "192.0.2" in (office.place / f"private/{veid}/upper/etc/network/interfaces").read_text()


def evil(*rows: tuple[str, bytes, str], content: bytes = b"") -> bytes:
    """An archive with a root file system and these members: name, type, link."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name, kind, link in (("./etc", tarfile.DIRTYPE, ""), *rows):
            info = tarfile.TarInfo(name)
            info.type, info.linkname, info.mode = kind, link, 0o755
            info.size = len(content) if kind == tarfile.REGTYPE else 0
            tar.addfile(info, io.BytesIO(content))
    return out.getvalue()


REG, SYM, LNK, DIR = tarfile.REGTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.DIRTYPE


@pytest.mark.parametrize("layout", ["overlay", "copy"])
@pytest.mark.parametrize(
    "rows",
    [
        [("/outside/file", REG, "")],
        [("../outside/file", REG, "")],
        [("etc/../../outside/file", REG, "")],
        [("up", SYM, "../../../../../../../outside"), ("up/file", REG, "")],
        [("abs", SYM, "OUTSIDE"), ("abs/file", REG, "")],
        [("hard", LNK, "../outside/kept")],
        [("hard", LNK, "OUTSIDE/kept")],
        [("a", SYM, "OUTSIDE/kept"), ("hard", LNK, "a"), ("hard", REG, "")],
        [("etc", SYM, "OUTSIDE"), ("etc/kept", REG, "")],
        [("d", DIR, ""), ("d", SYM, "OUTSIDE"), ("d/kept", REG, "")],
    ],
    ids=["absolute", "dotdot", "middle", "symlink-up", "symlink", "hardlink-up", "hardlink", "via-hardlink",
         "replaced-folder", "duplicate"],
)  # fmt: skip
def test_hostile_archives_reach_nothing_outside(
    office: Office, rows: list[tuple[str, bytes, str]], layout: str
) -> None:
    outside = office.place / "outside"
    outside.mkdir()
    (outside / "kept").write_text("kept")
    named = [(name, kind, link.replace("OUTSIDE", str(outside))) for name, kind, link in rows]
    (office.templates / "evil.tar").write_bytes(evil(*named, content=b"evil"))
    done = office.run("create", "101", "--ostemplate", "evil", "--layout", layout)
    assert "Traceback" not in done.stderr
    assert done.returncode in (0, 6, 8), done.stderr  # taken apart inside its root, or refused: never outside
    assert [path.name for path in outside.iterdir()] == ["kept"]
    assert ((outside / "kept").read_text(), (outside / "kept").stat().st_nlink) == ("kept", 1)
    if done.returncode:
        assert office.remains() == []
        assert not (office.place / "vz/conf/101.conf").exists()


def test_what_is_larger_than_the_disk_is_refused_before_it_fills(office: Office) -> None:
    """Two terabytes in a few bytes of xz are refused by their header; a file that is all hole is none."""
    out = io.BytesIO()
    with lzma.open(out, "wb", preset=0) as packed:
        head = tarfile.TarInfo("etc/bomb")
        head.size = 1 << 41
        packed.write(head.tobuf(tarfile.GNU_FORMAT) + bytes(1 << 20))
    (office.templates / "bomb.tar.xz").write_bytes(out.getvalue())
    assert "larger than it may be" in office.fails("create", "101", "--ostemplate", "bomb")
    assert office.remains() == []
    sparse = office.place / "sparse"
    (sparse / "etc").mkdir(parents=True)
    with (sparse / "etc/lastlog").open("wb") as file:
        file.truncate(1 << 38)
    subprocess.run(["tar", "-S", "-C", sparse, "-cf", office.templates / "hole.tar", "."], check=True)
    office.ok("create", "102", "--ostemplate", "hole")


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"no archive at all" * 100, "cannot be read"),
        (evil(("etc/file", REG, ""), content=b"x" * 5000)[:2048], "cut short|cannot be read|ends"),
        (evil()[:512].replace(b"etc", b"etd", 1) + bytes(1024), "cannot be read|no root file system"),
    ],
    ids=["garbage", "truncated", "checksum"],
)
def test_a_damaged_archive(office: Office, data: bytes, says: str) -> None:
    import re

    (office.templates / "bad.tar").write_bytes(data)
    assert re.search(says, office.fails("create", "101", "--ostemplate", "bad"))
    assert office.remains() == []


def test_what_is_asked_wrongly_makes_nothing(office: Office, tree: Path) -> None:
    pack(office.templates / "debian-12-x86_64.tar", tree)
    create = ["create", "101", "--ostemplate", "debian-12-x86_64"]
    for more, says in (
        (["--hostname", "a;b"], "--hostname"),
        (["--ipadd", "1.2.3"], "address"),
        (["--config", "absent"], "sample"),
        (["--layout", "ploop"], "OpenVZ's kernel"),
        (["--dist", "debain"], "debian"),
        (["--name", "1"], "no name"),
        (["--memory", "12"], "1M"),
        (["--userpasswd", "nobody-there:x"], "user"),
        (["--net", "none", "--ipadd", "192.0.2.1"], "addresses"),
    ):
        assert says in office.fails(*create, *more), more
        assert office.remains() == [], more
        assert not list((office.place / "vz").glob("conf/*")), more
    office.ok(*create, "--name", "web")
    assert "already" in office.fails(*create)
    assert "taken" in office.fails("create", "102", "--ostemplate", "debian-12-x86_64", "--name", "web")
    assert "there is no template" in office.fails("create", "102", "--ostemplate", "debian-12-x86")
    assert "no VE" in office.fails("start", "webb")


def test_a_sample_and_vz_conf_are_taken_up_and_kept(office: Office, tree: Path) -> None:
    pack(office.templates / "debian-12-x86_64.tar", tree)
    conf = office.place / "vz/conf"
    conf.mkdir(parents=True)
    (conf.parent / "vz.conf").write_text(
        '# global\nDEF_OSTEMPLATE="debian-12-x86_64"\nCONFIGFILE="basic"\n'
        f"VE_PRIVATE={office.place}/areas/$VEID\n"
        'NAMESERVER="192.0.2.9"\n'
    )
    sample = "# basic\nONBOOT=no\n\nKMEMSIZE='1:2'   # as vzctl\nNUMPROC=240:240\nMYOWN=x\n"
    (conf / "ve-basic.conf-sample").write_text(sample)
    done = office.run("create", "web", "--pids", "100", env={"TMPLBUILD_VE_PRIVATE": ""})
    assert done.returncode == 0, done.stderr
    assert "KMEMSIZE" in done.stderr  # a limit that is not kept here is told
    text = office.conf("101")
    assert text.startswith(sample.replace("NUMPROC=240:240", 'NUMPROC="100:100"'))
    assert 'ORIGIN_SAMPLE="basic"' in text
    upper = office.place / "areas/101/upper"
    assert "192.0.2.9" in (upper / "etc/resolv.conf").read_text()
    office.ok("set", "web", "--hostname", "new.x.org", "--onboot", "yes", "--save")
    assert office.conf("101").startswith(
        sample.replace("NUMPROC=240:240", 'NUMPROC="100:100"').replace("ONBOOT=no", 'ONBOOT="yes"')
    )
    assert (upper / "etc/hostname").read_text() == "new\n"
    assert "add --save" in office.fails("set", "web", "--hostname", "other")
    assert (upper / "etc/hostname").read_text() == "new\n"
    office.ok("set", "web", "--userpasswd", "root:geheim")  # is in the tree, not in the configuration
    assert "$6$" in (upper / "etc/shadow").read_text()
    assert ((upper / "etc/shadow").stat().st_mode & 0o777, (upper / "etc/shadow").stat().st_gid) == (
        0o640,
        42,
    )
    office.ok("set", "web", "--name", "www")
    assert "www" in office.ok("list", "-a", "-o", "name", "-H")
    office.ok("destroy", "www")


def test_a_warning_when_a_stale_sibling_comes_first(office: Office, tree: Path) -> None:
    pack(office.templates / "debian-12-x86_64.tar.gz", tree, "w:gz")
    old = pack(office.templates / "debian-12-x86_64.tar", tree)
    os.utime(old, (1_000_000_000, 1_000_000_000))
    done = office.run("create", "101", "--ostemplate", "debian-12-x86_64")
    assert "debian-12-x86_64.tar of 2001-09-09 is taken" in done.stderr
    assert done.returncode == 0


def test_a_kill_at_any_moment_leaves_nothing_that_gc_does_not_find(office: Office, tree: Path) -> None:
    (tree / "usr").mkdir()
    for number in range(300):
        (tree / f"usr/file{number}").write_bytes(os.urandom(2000))
    pack(office.templates / "debian-12-x86_64.tar", tree)
    words = ("create", "101", "--ostemplate", "debian-12-x86_64", "--layout")
    start = time.monotonic()
    office.ok(*words, "copy")
    whole_s = time.monotonic() - start
    office.ok("destroy", "101")
    chance = random.Random(6)
    ends = set()
    for turn in range(12):
        argv = office.argv(*words, chance.choice(["overlay", "copy"]))
        process = subprocess.Popen(argv, env=office.env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(chance.uniform(0.1, 1) * whole_s)  # a random moment is the point
        process.send_signal(signal.SIGKILL if turn % 3 else signal.SIGTERM)
        ends.add(process.wait())
        office.ok("gc")
        left = [path for path in office.remains() if not path.endswith("/101")]
        assert left == [], (turn, left)
        if (office.place / "private/101").exists():
            office.ok("destroy", "101")
    assert ends & {-9, 130}
    office.ok("create", "101", "--ostemplate", "debian-12-x86_64")


def test_some_at_once_on_one_number(office: Office, tree: Path) -> None:
    pack(office.templates / "debian-12-x86_64.tar", tree)

    def start(*words: str) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            office.argv(*words), env=office.env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )

    many = [start("create", "101", "--ostemplate", "debian-12-x86_64") for _ in range(4)]
    assert sorted(process.wait() for process in many) == [0, 9, 9, 9]
    named = [start("create", f"web{number}", "--ostemplate", "debian-12-x86_64") for number in range(3)]
    assert [process.wait() for process in named] == [0, 0, 0]  # each has a number of its own
    assert sorted(found.veid for found in office.manager.confs()) == ["101", "102", "103", "104"]
    many = [start("set", "101", "--hostname", f"h{number}", "--save") for number in range(4)]
    assert {process.wait() for process in many} <= {0, 9}
    name = office.manager.conf("101").get("HOSTNAME")
    assert (office.place / "private/101/upper/etc/hostname").read_text() == f"{name}\n"


def test_mount_shows_the_files_to_the_host_and_umount_hides_them(office: Office, tree: Path) -> None:
    pack(office.templates / "debian-12-x86_64.tar", tree)
    office.ok("create", "101", "--ostemplate", "debian-12-x86_64")
    root = office.place / "root/101"
    office.ok("mount", "101")
    try:
        assert (root / "etc/hostname").read_text() == "localhost\n"
        assert os.statvfs(root).f_flag & os.ST_NOSUID
        assert os.statvfs(root).f_flag & os.ST_NODEV
        (root / "etc/new").write_text("by the host")
        assert "mounted already" in office.fails("mount", "101")
        assert "is mounted" in office.fails("destroy", "101")
        assert office.ok("status", "101") == "CTID 101 exist mounted down\n"
        with (root / "etc/new").open():
            assert "in use" in office.fails("umount", "101")
        office.ok("set", "101", "--hostname", "x", "--save")  # unmounts it first
    finally:
        office.run("umount", "101")
    assert not list(root.iterdir())
    assert (office.place / "private/101/upper/etc/new").read_text() == "by the host"
    assert "not mounted" in office.fails("umount", "101")
    office.ok("destroy", "101")
    assert office.ok("status", "101") == "CTID 101 deleted unmounted down\n"


def test_an_image_is_full_when_it_is_full(office: Office, tree: Path) -> None:
    pack(office.templates / "debian-12-x86_64.tar", tree)
    create = ["create", "101", "--ostemplate", "debian-12-x86_64", "--layout", "image"]
    assert "--diskspace" in office.fails(*create)
    office.ok(*create, "--diskspace", "16M", "--hostname", "web")
    manager = office.manager
    area = manager.area(manager.conf("101"))
    assert area.layout == "image"
    with manager.core.tree(area.rootfs()) as files:
        assert files.read_text("/etc/hostname") == "web\n"
        with pytest.raises(OSError, match="No space left"):
            files.write("/etc/large", bytes(32 << 20))
    office.ok("destroy", "101")
    assert office.remains() == []


def test_a_shell_completes_verbs_numbers_names_and_templates(office: Office, tree: Path) -> None:
    pack(office.templates / "debian-12-x86_64.tar", tree)
    office.ok("create", "101", "--ostemplate", "debian-12-x86_64", "--name", "web")
    script = """
        source <(tmplbuild completion bash)
        for line in "tmplbuild ve sta" "tmplbuild ve start " "tmplbuild ve create 102 --ostemplate deb"; do
            read -ra COMP_WORDS <<< "$line"; [[ $line == *" " ]] && COMP_WORDS+=("")
            COMP_CWORD=$((${#COMP_WORDS[@]} - 1)); COMPREPLY=(); _shtab_tmplbuild
            echo "${COMPREPLY[@]}"
        done
    """
    done = subprocess.run(
        ["bash", "-c", script], env=office.env, cwd=office.place, capture_output=True, text=True, check=True
    )
    verbs, ves, templates = done.stdout.splitlines()
    assert set(verbs.split()) == {"start", "status"}
    assert {"101", "web"} <= set(ves.split())
    assert templates.split() == ["debian-12-x86_64"]
