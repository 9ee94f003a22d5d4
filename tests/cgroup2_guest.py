"""The container core on a machine that has cgroup2 alone, as systemd sets it up: a guest of QEMU.

    python -m tests.cgroup2_guest [--kernel PACKAGE] [--accel tcg] [PYTEST ARGUMENTS]

The guest boots Debian's kernel and sees this machine's root, read-only; what it writes goes to a disk of
its own, and its control groups are cgroup2's, with all controllers. In it pytest runs: the component
tests of the core, if nothing else is named. Where QEMU has to emulate the processor this takes some ten
minutes, so it is not part of `make test`. Needs root, qemu-system-x86, and what `make test` installs.

The exit status is pytest's.
"""

from __future__ import annotations

import argparse
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from tests import core_trees

_ROOT = Path(__file__).resolve().parent.parent
_TESTS = [
    "tests/component/test_core_ve.py",
    "tests/component/test_core_exec.py",
    "tests/live/test_core_boot.py::test_systemd_boots_without_failed_units_and_stops",
]
_KINDS = ("systemd", "sysvinit")  # of the trees that these boot
_MODULES = (
    *("virtio_pci", "virtio_blk", "9pnet_virtio", "9p", "crc32c_generic"),
    *("ext4", "overlay", "veth", "loop", "quota_v2"),
)
_ENDED = re.compile(rb"^guest: pytest ended with (\d+)", re.MULTILINE)

# Process 1 of the initial file system: finds this machine's root, and leaves all else to `_STAGE`.
_INIT = """\
#!/bin/busybox sh
/bin/busybox --install -s /bin
mkdir -p /proc /sys /dev /new
mount -t proc none /proc
mount -t sysfs none /sys
mount -t devtmpfs none /dev
for name in {modules}; do modprobe $name || echo "guest: no module $name"; done
mount -t 9p -o ro,trans=virtio,version=9p2000.L,cache=loose,msize=524288 machine /new
mount -t proc none /new/proc
mount -t sysfs none /new/sys
mount -t cgroup2 none /new/sys/fs/cgroup
mount -t devtmpfs none /new/dev
mkdir -p /new/dev/pts /new/dev/shm
mount -t devpts none /new/dev/pts
mount -t tmpfs none /new/dev/shm
mount -t tmpfs -o mode=0755 none /new/run
mount -t ext4 /dev/vda /new/tmp
mount --bind /new/tmp /new/var/tmp
umount /proc /sys
exec switch_root /new /bin/sh /tmp/stage
"""

_STAGE = """\
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/tmp LC_ALL=C.UTF-8
export PYTHONDONTWRITEBYTECODE=1 TMPLBUILD_TEST_TREES=/tmp/trees
ip link set lo up
cd {root}
echo "guest: Linux $(uname -r), cgroup2 with $(cat /sys/fs/cgroup/cgroup.controllers)"
{command}
echo "guest: pytest ended with $?"
echo o > /proc/sysrq-trigger
while :; do :; done
"""


def main() -> int:
    """Boot the guest and show what it prints."""
    parser = argparse.ArgumentParser(prog="python -m tests.cgroup2_guest", description=__doc__)
    parser.add_argument("--kernel", default="", help="a package of Debian's (default: the current one)")
    parser.add_argument("--accel", default="tcg", help="QEMU's accelerator (default tcg: none is needed)")
    parser.add_argument("--keep", type=Path, help="a directory for what is downloaded, kept")
    asked, arguments = parser.parse_known_args()
    with tempfile.TemporaryDirectory(prefix="tmplbuild-guest-", dir="/var/tmp") as scratch:
        place = Path(scratch)
        parts = _unpacked(asked.keep or place, asked.kernel)
        kernel = next(parts.glob("boot/vmlinuz-*"))
        initial = _initial(place, parts, kernel.name.removeprefix("vmlinuz-"))
        disk = _disk(place, arguments or _TESTS)
        return _run(kernel, initial, disk, asked.accel)


def _unpacked(where: Path, package: str) -> Path:
    """The kernel and a static busybox, out of their packages; this machine's own are left alone."""
    parts = where / "parts"
    if not parts.exists():
        where.mkdir(parents=True, exist_ok=True)
        found = subprocess.run(
            ["apt-cache", "depends", package or "linux-image-amd64"],
            check=True,
            capture_output=True,
            text=True,
        )
        newest = re.search(r"Depends: (linux-image-\S+)", found.stdout)
        names = [package or newest[1] if newest else package, "busybox-static"]
        subprocess.run(
            ["apt-get", "-qq", "download", *names], cwd=where, check=True, stderr=subprocess.DEVNULL
        )
        draft = where / "draft"
        for deb in where.glob("*.deb"):
            subprocess.run(["dpkg-deb", "-x", deb, draft], check=True)
        draft.rename(parts)
    return parts


def _newest() -> str:
    argv = ["apt-cache", "depends", "linux-image-amd64"]
    told = subprocess.run(argv, check=True, capture_output=True, text=True).stdout
    found = re.search(r"Depends: (linux-image-\S+)", told)
    if found is None:
        raise SystemExit("apt knows no kernel: apt-get update, or --kernel PACKAGE")
    return found[1]


def _initial(place: Path, parts: Path, release: str) -> Path:
    """An initial file system that holds busybox, the modules and `_INIT`."""
    tree = place / "initial"
    (tree / "bin").mkdir(parents=True)
    busybox = tree / "bin/busybox"
    shutil.copy(parts / "bin/busybox", busybox)
    for name in ("modules.order", "modules.builtin", "modules.builtin.modinfo", "kernel"):
        source = parts / "lib/modules" / release / name
        target = tree / "lib/modules" / release / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            for part in ("drivers/virtio", "drivers/block", "drivers/net", "net/9p", "fs", "lib", "crypto"):
                if (source / part).exists():
                    shutil.copytree(source / part, target / part)
        elif source.exists():
            shutil.copy(source, target)
    subprocess.run([busybox, "depmod", "-b", tree, release], check=True)
    init = tree / "init"
    init.write_text(_INIT.format(modules=" ".join(_MODULES)))
    init.chmod(0o755)
    archive = place / "initial.cpio"
    listed = subprocess.run(["find", "."], cwd=tree, check=True, capture_output=True)
    with archive.open("wb") as out:
        subprocess.run(
            [busybox, "cpio", "-o", "-H", "newc"], cwd=tree, input=listed.stdout, stdout=out, check=True
        )
    return archive


def _disk(place: Path, arguments: list[str]) -> Path:
    """The guest's disk: the trees that the tests boot, the script, and room."""
    tree = place / "disk"
    os.environ["TMPLBUILD_TEST_TREES"] = str(tree / "trees")
    for kind in _KINDS:
        core_trees.debian(kind)
    tree.chmod(0o1777)
    python = _ROOT / ".venv/bin/python"
    command = [str(python), "-m", "pytest", "-p", "no:cacheprovider", "--color=no", *arguments]
    (tree / "stage").write_text(_STAGE.format(root=shlex.quote(str(_ROOT)), command=shlex.join(command)))
    disk = place / "disk.img"
    subprocess.run(["mke2fs", "-q", "-t", "ext4", "-d", tree, disk, "6G"], check=True)
    return disk


def _run(kernel: Path, initial: Path, disk: Path, accel: str) -> int:
    argv = [
        "qemu-system-x86_64",
        *("-machine", f"q35,accel={accel}", "-cpu", "max", "-smp", "2", "-m", "3G"),
        *("-nodefaults", "-no-user-config", "-nographic", "-no-reboot", "-serial", "stdio"),
        *("-kernel", str(kernel), "-initrd", str(initial)),
        *("-append", "console=ttyS0 quiet panic=-1"),
        *("-virtfs", "local,path=/,mount_tag=machine,security_model=none,readonly=on,multidevs=remap"),
        *("-drive", f"file={disk},format=raw,if=virtio,cache=unsafe"),
    ]
    seen = b""
    with subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE) as guest:
        assert guest.stdout is not None
        for line in guest.stdout:
            seen += line
            sys.stdout.buffer.write(line)
            sys.stdout.flush()
    ended = _ENDED.search(seen)
    return int(ended[1]) if ended else 1


if __name__ == "__main__":
    sys.exit(main())
