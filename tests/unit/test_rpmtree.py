"""The first unpacking of RPM packages: before the tree's own rpm can say whose a file is."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from tests.rpm_factory import File, Rpm, build_rpm
from tmplbuild.archives.aptrpm.rpmfile import GHOST, open_rpm
from tmplbuild.core.placing import Placer
from tmplbuild.stages import rpmtree

FILESYSTEM = Rpm(
    "filesystem",
    files=(
        File("/usr/bin", mode=0o040755),
        File("/bin", b"usr/bin", mode=0o120777),
        File("/tmp", mode=0o041777),
    ),
)


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    # an ordinary user cannot give files away
    monkeypatch.setattr(os, "fchown", lambda *_: None)
    monkeypatch.setattr(os, "chown", lambda *_, **__: None)
    place = tmp_path / "root"
    place.mkdir()
    return place


def unpack(root: Path, *packages: Rpm) -> None:
    fd = os.open(root, os.O_RDONLY)
    try:
        with Placer(fd) as placer:
            for rpm in packages:
                path = root.parent / rpm.filename
                path.write_bytes(build_rpm(rpm))
                with path.open("rb") as file, open_rpm(file.fileno(), rpm.name) as opened:
                    rpmtree.unpack(placer, opened)
    finally:
        os.close(fd)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


def test_files_lie_where_links_lead_inside_the_tree(root: Path) -> None:
    unpack(root, FILESYSTEM, Rpm("bash", files=(File("/bin/bash", b"bash", mode=0o100755),)))
    assert (root / "usr/bin/bash").read_bytes() == b"bash"
    assert os.readlink(root / "bin") == "usr/bin"


def test_set_id_bits_wait_for_the_owner(root: Path) -> None:
    """The payload has root for an owner, whoever it shall be: setgid mail would be setgid root."""
    files = (
        File("/usr/bin/mail", b"x", mode=0o102755, group="mail"),
        File("/var/log/x", mode=0o042770, group="adm"),
    )
    unpack(root, FILESYSTEM, Rpm("mail", files=files))
    assert mode(root / "usr/bin/mail") == 0o755
    assert mode(root / "var/log/x") == 0o770
    assert mode(root / "tmp") == 0o777


def test_links_of_all_kinds(root: Path) -> None:
    files = (
        File("/usr/bin/a", b"same", mode=0o100755, links=("/usr/bin/z",)),
        File("/usr/bin/m", b"other"),
        File("/usr/bin/soft", b"/etc/passwd", mode=0o120777),
        File("/var/log/ghost", flags=GHOST),
    )
    unpack(root, FILESYSTEM, Rpm("links", files=files))
    assert (root / "usr/bin/a").samefile(root / "usr/bin/z")
    assert (root / "usr/bin/m").read_bytes() == b"other"
    assert os.readlink(root / "usr/bin/soft") == "/etc/passwd"
    assert not (root / "var/log/ghost").exists()


def test_a_directory_stays_what_it_is(root: Path) -> None:
    later = Rpm("later", files=(File("/bin", mode=0o040700), File("/bin/x", b"x"), File("/usr/bin", b"no")))
    unpack(root, FILESYSTEM, later)
    assert (root / "bin").is_symlink()
    assert (root / "usr/bin/x").read_bytes() == b"x"


def test_nothing_leaves_the_tree(root: Path) -> None:
    (root.parent / "outside").mkdir()
    hostile = Rpm(
        "hostile",
        files=(
            File("/etc", b"../outside", mode=0o120777),
            File("/var", f"{root.parent}/outside".encode(), mode=0o120777),
        ),
    )
    unpack(root, hostile)
    (root / "outside").mkdir()  # where "/etc" leads inside the tree
    unpack(root, Rpm("follow", files=(File("/etc/shadow", b"x"),)))
    assert list((root.parent / "outside").iterdir()) == []
    assert (root / "outside/shadow").read_bytes() == b"x"


def test_a_later_file_takes_the_name(root: Path) -> None:
    unpack(
        root,
        FILESYSTEM,
        Rpm("one", files=(File("/usr/bin/x", b"1"),)),
        Rpm("two", files=(File("/usr/bin/x", b"2"),)),
    )
    assert (root / "usr/bin/x").read_bytes() == b"2"
