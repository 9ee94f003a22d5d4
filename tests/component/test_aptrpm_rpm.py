"""Our packages in rpm's hands, and rpm's packages in ours. Debian's rpm stands for all others here:
it only reads, checks and unpacks; ALT's own semantics are not asked of it."""

from __future__ import annotations

import hashlib
import io
import os
import shutil
import stat
import subprocess
from pathlib import Path

import pytest

from tests.real_rpm import install_words
from tests.rpm_factory import File, Rpm, build_rpm
from tmplbuild.archives.aptrpm.cpio import CpioReader
from tmplbuild.archives.aptrpm.rpmfile import CONFIG, GHOST, NOREPLACE, open_rpm

pytestmark = pytest.mark.skipif(
    not all(map(shutil.which, ("rpm", "rpm2cpio", "rpmbuild"))), reason="no rpm here: apt-get install rpm"
)

FILES = (
    File("/etc/hello.conf", b"x=1\n", flags=CONFIG | NOREPLACE, mode=0o100640),
    File("/usr/bin/hello", b"#!/bin/sh\n" * 1000, mode=0o104755, links=("/usr/bin/hallo",)),
    File("/usr/bin/link", b"hello", mode=0o120777),
    File("/usr/bin/ping", b"ping", mode=0o100755, caps="cap_net_raw=ep"),
    File("/usr/share/hello", mode=0o042755),
    File("/usr/share/hello/empty"),
    File("/var/log/hello", flags=GHOST),
)
KINDS = ["xz", "lzma", "gzip", "bzip2", "zstd", "none"]


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Debian's rpm makes a database in the user's home directory, even to look at a file."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("LC_ALL", "C.UTF-8")


def run(*argv: str | Path) -> str:
    done = subprocess.run([*argv], capture_output=True, text=True)
    assert done.returncode == 0, (argv, done.stdout, done.stderr)
    return done.stdout


def package(folder: Path, rpm: Rpm) -> Path:
    path = folder / rpm.filename
    path.write_bytes(build_rpm(rpm))
    return path


@pytest.mark.parametrize("kind", KINDS)
def test_rpm_finds_all_digests_of_our_packages_right(kind: str, tmp_path: Path) -> None:
    path = package(tmp_path, Rpm("hello", files=FILES, payload=kind, scripts={"post": "exit 0\n"}))
    assert run("rpm", "-Kv", "--nosignature", path).count(": OK") >= 4


def test_rpm_reads_our_header_as_we_do(tmp_path: Path) -> None:
    rpm = Rpm(
        "hello",
        epoch=2,
        disttag="p11+1.1",
        requires=("libx.so.1()(64bit) >= set:hdf7q2P5VZwtLGr9TKxhrEM1", "/bin/sh"),
        provides=("virtual = 1.0-alt1",),
        conflicts=("other < 2",),
        obsoletes=("older",),
        files=FILES,
        scripts={"pre": "exit 0\n"},
    )
    path = package(tmp_path, rpm)
    form = "%{NAME} %{EPOCH}:%{VERSION}-%{RELEASE} %{DISTTAG} %{ARCH} %{GROUP}\\n"
    assert run("rpm", "-qp", "--nosignature", "--qf", form, path) == (
        "hello 2:1.0-alt1 p11+1.1 x86_64 System/Base\n"
    )
    lines = run(
        "rpm", "-qp", "--nosignature", "--requires", "--provides", "--conflicts", "--obsoletes", path
    ).splitlines()
    for line in (*rpm.requires, *rpm.provides, *rpm.conflicts, *rpm.obsoletes, f"hello = {rpm.evr}"):
        assert line in lines
    assert run("rpm", "-qpc", "--nosignature", path) == "/etc/hello.conf\n"


@pytest.mark.parametrize("kind", KINDS)
def test_rpm2cpio_unpacks_what_we_unpack(kind: str, tmp_path: Path) -> None:
    path = package(tmp_path, Rpm("hello", files=FILES, payload=kind))
    stream = subprocess.run(["rpm2cpio", path], capture_output=True, check=True).stdout
    reader = CpioReader(io.BytesIO(stream), "rpm2cpio")
    theirs = [(member.name.removeprefix("./"), b"".join(reader.chunks())) for member in reader]
    with path.open("rb") as file, open_rpm(file.fileno(), path.name) as opened:
        ours = [(one.file.path, b"".join(one.chunks) or one.file.link.encode()) for one in opened.contents()]
    assert sorted(ours) == sorted(theirs)


@pytest.mark.root
@pytest.mark.parametrize(
    ("kind", "stripped"), [("xz", False), ("lzma", False), ("zstd", False), ("zstd", True)]
)
def test_rpm_installs_our_packages(kind: str, stripped: bool, tmp_path: Path) -> None:
    path = package(tmp_path, Rpm("hello", files=FILES, payload=kind, stripped=stripped))
    root = tmp_path / "root"
    root.mkdir()
    database = ("--root", root, "--dbpath", "/var/lib/rpm", "--nosignature")
    run("rpm", *database, "-i", *install_words(), "--nodeps", "--noscripts", path)
    assert stat.S_IMODE((root / "usr/bin/hello").stat().st_mode) == 0o4755
    assert (root / "usr/bin/hello").samefile(root / "usr/bin/hallo")
    assert os.readlink(root / "usr/bin/link") == "hello"
    assert os.getxattr(root / "usr/bin/ping", "security.capability")
    assert not (root / "var/log/hello").exists()
    assert run("rpm", *database, "-V", "--nodeps", "hello") == ""


SPEC = """
Name: real
Version: 1.5
Release: alt2
Epoch: 3
Summary: A package that rpmbuild made
License: Public Domain
Group: System/Base
BuildArch: noarch
Requires: something >= 2.0
Provides: virtual = 7
Conflicts: enemy < 1
%define _binary_payload {payload}

%description
Text.

%install
mkdir -p %{{buildroot}}/usr/bin %{{buildroot}}/etc/real.d %{{buildroot}}/usr/share/real
echo 'exit 0' > %{{buildroot}}/usr/bin/real
ln %{{buildroot}}/usr/bin/real %{{buildroot}}/usr/bin/same
ln -s real %{{buildroot}}/usr/bin/soft
head -c 300000 /dev/zero > %{{buildroot}}/usr/share/real/zeros
: > %{{buildroot}}/usr/share/real/nothing
: > %{{buildroot}}/usr/share/real/ghost
echo 'a=b' > %{{buildroot}}/etc/real.d/conf

%post
exit 0

%files
%attr(4711,root,mail) /usr/bin/real
%attr(4711,root,mail) /usr/bin/same
/usr/bin/soft
%dir %attr(2750,root,adm) /etc/real.d
%config(noreplace) /etc/real.d/conf
/usr/share/real/zeros
/usr/share/real/nothing
%ghost /usr/share/real/ghost
%caps(cap_net_bind_service=ep) /usr/share/real/nothing
"""


@pytest.mark.parametrize("payload", ["w3.xzdio", "w3.lzdio", "w3.gzdio", "w3.bzdio", "w3.zstdio"])
def test_a_package_of_rpmbuild_is_read_as_rpm_reads_it(payload: str, tmp_path: Path) -> None:
    spec = tmp_path / "real.spec"
    spec.write_text(SPEC.format(payload=payload).replace("/usr/share/real/nothing\n%ghost", "%ghost"))
    run("rpmbuild", "-bb", "--define", f"_topdir {tmp_path}/build", spec)
    (path,) = tmp_path.glob("build/RPMS/*/*.rpm")
    rows = {}
    for line in run("rpm", "-qp", "--nosignature", "--dump", path).splitlines():
        name, size, mtime, digest, mode, user, group, config, _, _, target = line.split(" ")
        rows[name[1:]] = (int(size), int(mtime), digest, int(mode, 8), user, group, config, target)
    with path.open("rb") as file, open_rpm(file.fileno(), path.name) as opened:
        assert str(opened.entry.itself) == "real = 3:1.5-alt2"
        assert "something >= 2.0" in map(str, opened.entry.requires)
        assert "virtual = 7" in map(str, opened.entry.provides)
        assert opened.scripts["post"] == ("/bin/sh", "exit 0")
        assert {one.path for one in opened.files} == set(rows)
        kinds = {"file": stat.S_IFREG, "dir": stat.S_IFDIR, "symlink": stat.S_IFLNK}
        for one in opened.files:
            size, mtime, _, mode, user, group, config, target = rows[one.path]
            assert (one.mtime, one.mode | kinds[one.kind], one.user, one.group) == (mtime, mode, user, group)
            assert bool(one.flags & CONFIG) == (config == "1")
            assert one.link == ("" if target == "X" else target)
            assert one.kind == "dir" or one.size == size
        caps = {one.path: one.caps for one in opened.files if one.caps}
        assert list(caps) == ["usr/share/real/nothing"]
        digests = {}
        links = {}
        for one in opened.contents():
            data = b"".join(one.chunks)
            if one.kind == "file":
                digests[one.file.path] = hashlib.sha256(data).hexdigest()
            elif one.kind == "hardlink":
                links[one.file.path] = one.target
    for name, digest in digests.items():
        assert rows[name][2] == digest
    assert len(links) == 1
    assert {*links, *links.values()} == {"usr/bin/real", "usr/bin/same"}
    assert "usr/share/real/ghost" not in digests
