"""Programs of another processor in a VE: QEMU is registered there and nowhere else."""

from __future__ import annotations

import platform
from pathlib import Path

import pytest

from tests.conftest import Places
from tests.qemu import debs, qemu, unpack
from tmplbuild.archives.cache import PackageCache
from tmplbuild.core import Core, Rootfs, foreign
from tmplbuild.errors import HostError

pytestmark = [pytest.mark.root, pytest.mark.network]


@pytest.fixture(scope="module")
def place(places: Places, packages: Path) -> Path:
    """QEMU in bin/, and in tree/ busybox of arm64."""
    if platform.machine() != "x86_64":
        pytest.skip("QEMU is taken for this processor alone: x86_64")
    place = places("foreign")
    (place / "bin").symlink_to(qemu(place / "qemu", "aarch64", packages))
    unpack(debs(("busybox-static",), "arm64", PackageCache(packages))["busybox-static"], place / "tree")
    for name in ("proc", "sys", "dev", "run", "tmp"):
        (place / "tree" / name).mkdir(exist_ok=True)
    busybox = next(path for path in (place / "tree").rglob("bin/busybox") if path.is_file())
    (place / "tree/bin").mkdir(exist_ok=True)
    for name in ("sh", "uname"):
        (place / "tree/bin" / name).symlink_to("/" + str(busybox.relative_to(place / "tree")))
    return place


@pytest.fixture
def emulator(place: Path, monkeypatch: pytest.MonkeyPatch) -> foreign.Emulator:
    monkeypatch.setenv("PATH", f"{place / 'bin'}:/usr/bin:/bin")
    try:
        return foreign.emulator("aarch64")
    except HostError as error:
        pytest.skip(f"{error.why}; {error.hint}")


def test_a_ve_runs_what_this_machine_does_not(place: Path, emulator: foreign.Emulator) -> None:
    there = Path("/proc/sys/fs/binfmt_misc")
    before = sorted(there.glob("*"))
    core = Core(place / "run")
    with core.start("foreign", Rootfs.plain(place / "tree"), init=False, emulator=emulator) as ve:
        said = ve.exec(["/bin/uname", "-m"])
        assert (said.rc, said.stdout) == (0, b"aarch64\n")
        twice = ve.exec(["/bin/sh", "-c", "echo $0; uname -m"])
        assert twice.stdout == b"/bin/sh\naarch64\n", "and what that starts, with its own name"
        assert sorted(there.glob("*")) == before, "the host knows nothing of it"
    with core.start("plain", Rootfs.plain(place / "tree"), init=False) as ve:
        refused = ve.exec(["/bin/uname", "-m"])
        assert refused.rc != 0, "another VE knows nothing of it"
