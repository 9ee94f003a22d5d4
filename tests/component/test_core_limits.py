"""What a VE may use: every limit is held, told by name when it was hit, and changed while the VE runs."""

from __future__ import annotations

import dataclasses
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from time import monotonic
from types import SimpleNamespace as Clock

import pytest

from tests.core_trees import NOTHING, debian, kill_monitor, layers, traces, wait_until
from tmplbuild.core import VE, Core, Limits, Rootfs, Usage, cgroup, images, quota, resources, watchdog
from tmplbuild.errors import BusyError, HostError, StageError, UsageError

pytestmark = [pytest.mark.root, pytest.mark.trees, pytest.mark.live]

# A limit that is hit shows at once; this says only that nothing hangs, on a machine that does much else.
SOON_S = 120.0


@pytest.fixture
def core(tmp_path: Path) -> Iterator[Core]:
    core = Core(tmp_path / "run")
    yield core
    core.gc()
    assert traces(core) == NOTHING


def row(ve: VE, resource: str) -> Usage:
    return next(row for row in ve.usage() if row.resource == resource)


def test_what_it_uses_is_counted(core: Core, tmp_path: Path) -> None:
    limits = Limits(memory_mib=256, pids=100, cpus=1.5)
    with core.start("101", layers(tmp_path), init=False, limits=limits) as ve:
        ve.exec(["sh", "-c", "head -c 30M /dev/zero | tail -c 30M >/srv/file; seq 300000 >/dev/null"])
        memory, disk = row(ve, "memory"), row(ve, "disk")
        assert (memory.unit, memory.limit, memory.failcnt) == ("bytes", 256 << 20, 0)
        assert memory.maxheld is not None
        assert 30 << 20 < memory.maxheld < 256 << 20
        assert (row(ve, "pids").held, row(ve, "pids").limit) == (1, 100)
        assert row(ve, "cpu").held > 0
        assert 30 << 20 <= disk.held < 32 << 20
        assert row(ve, "inodes").held == 2  # /srv and the file
        assert row(ve, "wall").held > 0


def test_a_memory_hog_is_killed_and_named(core: Core, tmp_path: Path) -> None:
    with core.start("101", layers(tmp_path), init=False, limits=Limits(memory_mib=64)) as ve:
        started = monotonic()
        result = ve.exec(["tail", "/dev/zero"])
        assert (result.rc, result.over_limit) == (137, ("memory",))
        assert monotonic() - started < SOON_S
        assert row(ve, "memory").failcnt >= 1
        assert ve.exec(["true"]).over_limit == ()


def test_a_fork_bomb_ends_and_is_named(core: Core, tmp_path: Path) -> None:
    with core.start("101", layers(tmp_path), init=False, limits=Limits(pids=60)) as ve:
        result = ve.exec(["bash", "-c", "bomb() { bomb | bomb & }; bomb; sleep 1"], timeout_s=5)
        assert "pids" in result.over_limit
        assert row(ve, "pids").failcnt > 0
        most = row(ve, "pids").maxheld
        assert most is None or most <= 60
        began = monotonic()
        subprocess.run(["true"], check=True)  # the host forks as ever
        assert monotonic() - began < SOON_S


def test_much_written_to_a_measured_disk_ends_the_ve(core: Core, tmp_path: Path) -> None:
    log = tmp_path / "console"
    rootfs = layers(tmp_path)
    limits = Limits(disk_mib=40)
    with core.start("101", rootfs, init=False, limits=limits, console_log=log) as ve:
        assert ve.exec(["dd", "if=/dev/zero", "of=/srv/some", "bs=1M", "count=20"]).ok
        with pytest.raises(StageError, match="its limit is 40 MiB"):
            ve.exec(["dd", "if=/dev/zero", "of=/srv/much", "bs=1M", "count=100000"])
        assert ve.status() == "stopped"
    assert "its limit is 40 MiB" in log.read_text()


def test_a_file_without_a_name_counts(core: Core, tmp_path: Path) -> None:
    hide = "exec 3>/srv/x; rm /srv/x; for i in $(seq 100000); do head -c 1M /dev/zero >&3; done"
    with core.start("101", layers(tmp_path), init=False, limits=Limits(disk_mib=30)) as ve:
        with pytest.raises(StageError, match="its limit is 30 MiB"):
            ve.exec(["sh", "-c", hide])


def test_many_files_on_a_measured_disk_end_the_ve(core: Core, tmp_path: Path) -> None:
    with core.start("101", layers(tmp_path), init=False, limits=Limits(inodes=500)) as ve:
        with pytest.raises(StageError, match="its limit is 500"):
            ve.exec(["sh", "-c", "i=0; while :; do i=$((i+1)); : >/srv/$i; done"])


@pytest.fixture
def image(tmp_path: Path) -> Rootfs:
    images.make(tmp_path / "disk", 48, inodes=2000)
    return Rootfs.imaged((debian("systemd"),), tmp_path / "disk")


def test_an_image_holds_no_more_than_fits(core: Core, image: Rootfs) -> None:
    with core.start("101", image, init=False) as ve:
        result = ve.exec(["dd", "if=/dev/zero", "of=/srv/much", "bs=1M", "count=100000"])
        assert b"No space left on device" in result.stderr
        assert (result.rc, result.over_limit) == (1, ("disk",))
        assert row(ve, "disk").held > 30 << 20
        assert ve.exec(["rm", "/srv/much"]).over_limit == ()
        result = ve.exec(["sh", "-c", "cd /srv; seq 3000 | xargs touch"])
        assert (result.ok, result.over_limit) == (False, ("inodes",))


def test_an_image_keeps_what_a_ve_wrote_with_its_own_owners(core: Core, image: Rootfs) -> None:
    loops = sorted(os.listdir("/sys/block"))
    with core.start("101", image, init=False) as ve:
        assert ve.exec(["sh", "-c", "echo 1 >/srv/x; chown 33:8 /srv/x; mkdir /srv/d; rm /etc/motd"]).ok
    with core.tree(image, writable=False) as tree:
        assert (tree.read_text("/srv/x"), tree.stat("/srv/x").st_uid) == ("1\n", 33)
        assert not tree.exists("/etc/motd")
    with core.tree(image) as tree:
        tree.write("/srv/y", "2")
    with core.start("101", image, init=False) as ve:
        assert ve.exec(["cat", "/srv/y"]).stdout == b"2"
    assert image.image is not None
    told = ["losetup", "-j", str(image.image)]
    assert wait_until(lambda: subprocess.run(told, capture_output=True, check=True).stdout == b"")
    assert {name for name in os.listdir("/sys/block") if not name.startswith("loop")} <= set(loops)


def test_an_image_grows_with_the_limit_and_does_not_shrink(core: Core, image: Rootfs) -> None:
    with core.start("101", image, init=False, limits=Limits(disk_mib=100)) as ve:
        assert ve.exec(["dd", "if=/dev/zero", "of=/srv/much", "bs=1M", "count=60"]).ok
        with pytest.raises(HostError, match="in use"):
            ve.set_limits(Limits(disk_mib=200))
    with pytest.raises(HostError, match="smaller"):
        core.start("101", image, init=False, limits=Limits(disk_mib=50))
    assert image.image is not None
    assert images.size_mib(image.image) == 100


def test_an_image_in_use_is_busy_and_a_killed_ve_leaves_no_device(core: Core, image: Rootfs) -> None:
    ve = core.start("101", image, init=False, tether=False)
    with pytest.raises(BusyError), core.tree(image):
        pass
    kill_monitor(core, "101")
    assert wait_until(lambda: [info.state for info in core.list()] == ["leftover"])
    assert core.gc() == ["101"]
    ve.detach()
    told = ["losetup", "-j", str(image.image)]
    assert wait_until(lambda: subprocess.run(told, capture_output=True, check=True).stdout == b"")


def test_limits_change_while_it_runs(core: Core, tmp_path: Path) -> None:
    with core.start("101", layers(tmp_path), init=False) as ve:
        assert ve.limits == Limits()
        assert ve.exec(["sh", "-c", "head -c 60M /dev/zero | tail -c 60M | wc -c"]).stdout == b"62914560\n"
        ve.set_limits(Limits(memory_mib=32, swap_mib=8, pids=30, cpus=0.5, cpu_weight=50))
        assert ve.exec(["sh", "-c", "head -c 60M /dev/zero | tail -c 60M >/dev/null"]).over_limit == (
            "memory",
        )
        assert core.attach("101").limits == ve.limits
        assert row(ve, "swap").limit == 8 << 20
        ve.set_limits(dataclasses.replace(ve.limits, memory_mib=None, swap_mib=None))
        assert ve.exec(["sh", "-c", "head -c 60M /dev/zero | tail -c 60M | wc -c"]).stdout == b"62914560\n"
        assert row(ve, "memory").limit is None
        groups = cgroup.groups(core.owner, "101")
        quotas = [resources.read(f"{groups['cpu']}/{name}") for name in ("cpu.max", "cpu.cfs_quota_us")]
        assert "".join(quotas).split()[0] == "50000"


def test_what_cannot_be_set_leaves_the_old_limits_in_force(
    core: Core, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with core.start("101", layers(tmp_path), init=False, limits=Limits(pids=50)) as ve:
        if not resources._shares_disks():
            with pytest.raises(HostError, match="scheduler"):
                ve.set_limits(Limits(pids=20, io_weight=50))
            assert ve.limits == core.attach("101").limits == Limits(pids=50)
            assert row(ve, "pids").limit == 50


def test_time_that_a_ve_may_run(core: Core, tmp_path: Path) -> None:
    """It has run for a moment when it is told that it may run no longer than that."""
    with core.start("101", layers(tmp_path), init=False, limits=Limits(wall_s=3600)) as ve:

        def shorter(data: bytes, name: str) -> None:
            ve.set_limits(Limits(wall_s=1))

        with pytest.raises(StageError, match="longer than its limit of 1 seconds"):
            ve.exec(["sh", "-c", "echo here; while :; do :; done"], output=shorter)


def test_an_idle_ve_ends(core: Core, tmp_path: Path) -> None:
    with core.start("101", layers(tmp_path), init=False) as ve:

        def no_idling(data: bytes, name: str) -> None:
            ve.set_limits(Limits(idle_s=1))

        with pytest.raises(StageError, match="idle for 1 seconds"):
            ve.exec(["sh", "-c", "echo here; exec sleep 4107"], output=no_idling)


def test_a_busy_ve_does_not_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """By another clock: a second of the machine's may have little time for a VE."""
    now, used = [1000.0], [0.0]
    monkeypatch.setattr(watchdog, "time", Clock(monotonic=lambda: now[0]))
    monkeypatch.setattr(resources, "seconds_used", lambda group: used[0])
    dog = watchdog.Watchdog("", {"idle_s": 5}, None)
    for _ in range(60):
        now[0] += 1
        used[0] += 0.02
        assert dog.verdict() == ""
        assert dog.next_s() == 1
    for _ in range(4):
        now[0] += 1
        used[0] += 0.005
        assert dog.verdict() == ""
    now[0] += 1
    assert "idle for 5 seconds" in dog.verdict()


def test_a_boot_that_takes_longer_than_a_ve_may_run_says_so(core: Core, tmp_path: Path) -> None:
    with pytest.raises(StageError) as caught:
        core.start("101", layers(tmp_path), init=True, limits=Limits(wall_s=0.05))
    assert "longer than its limit" in caught.value.why


@pytest.mark.parametrize(
    "wrong", [{"pids": 0}, {"memory_mib": -1}, {"cpu_weight": 10001}, {"swap_mib": 5}, {"disk_mib": 0}]
)
def test_limits_that_make_no_sense(wrong: dict[str, int]) -> None:
    with pytest.raises(UsageError):
        Limits(**wrong)  # type: ignore[arg-type]


# -- the files of both versions of control groups, on stand-ins ----------------------------------------


def group(where: Path, files: dict[str, str]) -> dict[str, str]:
    for name, text in files.items():
        (where / name).write_text(text)
    return dict.fromkeys(("memory", "pids", "cpu", "io"), str(where))


UNIFIED = {
    "memory.max": "max\n",
    "memory.swap.max": "max\n",
    "memory.current": "4096\n",
    "memory.peak": "8192\n",
    "memory.swap.current": "0\n",
    "memory.swap.peak": "0\n",
    "memory.events": "low 0\nhigh 0\nmax 9\noom 2\noom_kill 2\noom_group_kill 0\n",
    "pids.max": "max\n",
    "pids.current": "3\n",
    "pids.peak": "7\n",
    "pids.events": "max 4\n",
    "cpu.max": "max 100000\n",
    "cpu.weight": "100\n",
    "cpu.stat": "usage_usec 1500000\nnr_throttled 6\n",
    "io.bfq.weight": "default 100\n",
}


def test_version_2(tmp_path: Path) -> None:
    groups = group(tmp_path, UNIFIED)
    limits = {"memory_mib": 64, "swap_mib": 16, "pids": 9, "cpus": 1.5, "cpu_weight": 200, "io_weight": 10000}
    resources.apply(groups, limits)
    written = {name: (tmp_path / name).read_text() for name in UNIFIED}
    assert written["memory.max"] == "67108864"
    assert written["memory.swap.max"] == "16777216"
    assert written["pids.max"] == "9"
    assert written["cpu.max"] == "150000 100000"
    assert written["cpu.weight"] == "200"
    assert written["io.bfq.weight"] == "1000"
    rows = {str(row[0]): row[1:] for row in resources.usage(groups, str(tmp_path), limits)}
    assert rows["memory"] == ["bytes", 4096, 8192, 64 << 20, 2]
    assert rows["pids"] == ["", 3, 7, 9, 4]
    assert rows["cpu"] == ["s", 1.5, 1.5, 1.5, 6]
    resources.apply(groups, {})
    assert (tmp_path / "memory.max").read_text() == "max"
    assert (tmp_path / "memory.swap.max").read_text() == "max"
    assert (tmp_path / "cpu.max").read_text() == "max 100000"


def test_failed_forks_of_groups_within_count(tmp_path: Path) -> None:
    groups = group(tmp_path, {"pids.max": "9\n", "pids.events": "max 0\n"})
    (tmp_path / "ve").mkdir()
    (tmp_path / "ve/pids.events").write_text("max 5\n")
    assert resources.failures(groups)["pids"] == 5


def test_what_no_file_holds_is_an_error(tmp_path: Path) -> None:
    for limits in ({"memory_mib": 64}, {"pids": 5}, {"cpus": 1.0}, {"cpu_weight": 5}, {"io_weight": 5}):
        with pytest.raises(resources.Unenforceable):
            resources.apply(dict.fromkeys(("memory", "pids", "cpu", "io"), str(tmp_path)), limits)
    groups = group(tmp_path, {"memory.limit_in_bytes": ""})
    with pytest.raises(resources.Unenforceable, match="swap"):
        resources.apply(groups, {"memory_mib": 64, "swap_mib": 5})
    resources.apply({}, {})


@pytest.mark.parametrize(("weight", "scaled"), [(1, 2), (100, 1024), (10000, 262144), (50, 507)])
def test_weights_on_the_old_scale(weight: int, scaled: int) -> None:
    assert resources.scaled(weight, 2, 1024, 262144) == pytest.approx(scaled, abs=1)


# -- project quotas ----------------------------------------------------------------------------------------


def test_a_project_quota_holds_the_limit(core: Core, tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    with open(tmp_path / "image", "wb") as file:
        file.truncate(256 << 20)
    subprocess.run(
        ["mkfs.ext4", "-q", "-O", "quota,project", "-E", "quotatype=prjquota", file.name], check=True
    )
    done = subprocess.run(["mount", "-o", "prjquota", file.name, disk], capture_output=True, check=False)
    if done.returncode:
        pytest.skip("this kernel has no quotas (CONFIG_QFMT_V2): run it where `mount -o prjquota` works")
    try:
        disk.chmod(0o755)
        assert quota.usable(str(disk))
        rootfs = layers(disk)
        with core.start("101", rootfs, init=False, limits=Limits(disk_mib=20, inodes=100)) as ve:
            result = ve.exec(["dd", "if=/dev/zero", "of=/srv/much", "bs=1M", "count=100"])
            assert (result.rc, result.over_limit) == (1, ("disk",))
            ve.exec(["rm", "/srv/much"])
            assert not ve.exec(["sh", "-c", "cd /srv; seq 300 | xargs touch"]).ok
            ve.set_limits(Limits(disk_mib=60))
            assert ve.exec(["dd", "if=/dev/zero", "of=/srv/more", "bs=1M", "count=50"]).ok
            assert row(ve, "disk").limit == 60 << 20
    finally:
        subprocess.run(["umount", disk], check=True)


def test_without_project_quotas_none_is_used(tmp_path: Path) -> None:
    if quota.usable(str(tmp_path)):
        pytest.skip("the file system here has project quotas: the other tests use them")
