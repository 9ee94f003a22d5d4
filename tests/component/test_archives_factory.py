"""What the factory makes is real: dpkg and gpgv accept it."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.archive_factory import ArchiveFactory, Deb


@pytest.mark.skipif(shutil.which("dpkg-deb") is None, reason="the oracle is missing: apt-get install dpkg")
@pytest.mark.parametrize("compression", ["xz", "gz", "zst", ""])
def test_dpkg_reads_the_packages(tmp_path: Path, compression: str) -> None:
    deb = Deb(
        "tool",
        "1:2.0-1",
        depends="base (>= 1)",
        files={"/usr/bin/tool": b"#!/bin/sh\n", "/etc/tool.conf": b"x=1\n"},
        modes={"/usr/bin/tool": 0o755},
        links={"/usr/bin/alias": "tool"},
        scripts={"postinst": "#!/bin/sh\nexit 0\n", "conffiles": "/etc/tool.conf\n"},
        compression=compression,
    )
    path = tmp_path / "tool.deb"
    path.write_bytes(deb.build())
    assert deb.build() == path.read_bytes()
    fields = subprocess.run(["dpkg-deb", "-f", path], capture_output=True, text=True, check=True).stdout
    assert fields == deb.control()
    subprocess.run(["dpkg-deb", "-R", path, tmp_path / "out"], check=True)
    assert (tmp_path / "out/usr/bin/tool").stat().st_mode & 0o777 == 0o755
    assert (tmp_path / "out/usr/bin/alias").readlink() == Path("tool")
    assert (tmp_path / "out/DEBIAN/conffiles").read_text() == "/etc/tool.conf\n"
    assert "etc/tool.conf" in (tmp_path / "out/DEBIAN/md5sums").read_text()


@pytest.mark.skipif(shutil.which("gpgv") is None, reason="the oracle is missing: apt-get install gpgv")
def test_gpgv_accepts_the_signatures(tmp_path: Path) -> None:
    factory = ArchiveFactory(tmp_path / "archive")
    factory.suite("one", [Deb("a")])
    factory.suite("two", [Deb("a")], inrelease=False)
    ring = tmp_path / "ring.gpg"
    ring.write_bytes(bytes(factory.key.certificate))
    folder = factory.root / "dists"
    for files in ([folder / "one/InRelease"], [folder / "two/Release.gpg", folder / "two/Release"]):
        subprocess.run(["gpgv", "--keyring", ring, *files], check=True, capture_output=True)
