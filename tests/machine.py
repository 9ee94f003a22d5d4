"""A machine with a systemd of its own: this one's files below an overlay, in systemd-nspawn, with the rights
that root has on a real one."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import pytest

from tests.fleet_yard import until
from tests.workshop import ROOT

_CGROUPS = Path("/sys/fs/cgroup")
PROGRAM = """\
#!/bin/sh
PYTHONPATH=/opt/source exec /opt/python/bin/python -P -m tmplbuild "$@"
"""
"""What runs this very tool there."""

_LEGACY = "SYSTEMD_CGROUP_ENABLE_LEGACY_FORCE=1"
"""Debian 13's systemd boots with cgroup v1 only when it is told so; in a container its own words count as the
kernel's."""

_BOOT = r"""
set -eu
for kind in /sys/fs/cgroup/*/; do
    own=$kind$NAME
    mkdir "$own"
    if [ -e "$own/cpuset.cpus" ]; then
        cat "${kind}cpuset.cpus" > "$own/cpuset.cpus"
        cat "${kind}cpuset.mems" > "$own/cpuset.mems"
        echo 1 > "$own/cgroup.clone_children"
    fi
    echo $$ > "$own/cgroup.procs"
done
mkdir -p "$PLACE/cgroups"
mount -t tmpfs cgroups "$PLACE/cgroups"
for kind in /sys/fs/cgroup/*/; do
    mkdir "$PLACE/cgroups/$(basename "$kind")"
    mount --bind "$kind$NAME" "$PLACE/cgroups/$(basename "$kind")"
done
mount --rbind "$PLACE/cgroups" /sys/fs/cgroup
mount -t overlay -o "lowerdir=/,upperdir=$PLACE/upper,workdir=$PLACE/work" machine "$PLACE/root"
exec unshare -C systemd-nspawn --quiet --directory="$PLACE/root" --machine="$NAME" --register=no \
    --keep-unit --capability=all --link-journal=no --console=pipe --bind=/sys/fs/cgroup "$@"
"""


class Machine:
    """Boots it, with nothing but the target that is given.

    Parameters:
        place: a directory for what it writes.
        name: its host name.
        files: what is written into its tree, by absolute path.
        binds: directories of ours, by where it sees them.
    """

    def __init__(self, place: Path, name: str, files: Mapping[str, str], binds: Mapping[str, Path]) -> None:
        if not Path("/usr/bin/systemd-nspawn").exists() or (_CGROUPS / "cgroup.controllers").exists():
            pytest.skip(
                "needs systemd-nspawn, and controllers that no systemd of this machine holds (cgroup v1)"
            )
        self.name = f"tbm{os.getpid()}"
        for folder in ("upper", "work", "root"):
            (place / folder).mkdir(parents=True)
        for path, text in {"/etc/hostname": f"{name}\n", **files}.items():
            file = place / "upper" / path.lstrip("/")
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)
            file.chmod(0o755 if text.startswith("#!") else 0o644)
        self.log = place / "log"
        binds = {"/opt/source": ROOT, "/opt/python": Path(sys.prefix), **binds}
        words = [f"--bind={ours}:{there}" for there, ours in binds.items()]
        argv = ["unshare", "-m", "--propagation", "private", "sh", "-c", _BOOT, "boot", *words, "--boot"]
        env = {
            "PATH": os.environ["PATH"],
            "PLACE": str(place),
            "NAME": self.name,
            "SYSTEMD_NSPAWN_UNIFIED_HIERARCHY": "0",
        }
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [*argv, "--", "--unit=test.target", "--log-target=console", _LEGACY],
                env=env,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    @property
    def init(self) -> int:
        """Its first process, as this machine numbers it; 0 if there is none yet."""
        path = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        with suppress(OSError):
            for pid in path.read_text().split():
                if Path(f"/proc/{pid}/comm").read_text().strip() == "systemd":
                    return int(pid)
        return 0

    def systemctl(self, *words: str) -> str:
        """What its systemctl prints."""
        until(lambda: self.init != 0, 180)
        argv = ["nsenter", "-t", str(self.init), "-a", "systemctl", *words]
        return subprocess.run(argv, capture_output=True, text=True, check=False).stdout.strip()

    def state(self, unit: str) -> dict[str, str]:
        """What it says of a unit."""
        names = "ActiveState,SubState,Result,ExecMainStatus,ControlGroup,NRestarts"
        lines = self.systemctl("show", "-p", names, unit).splitlines()
        return dict(line.split("=", 1) for line in lines if "=" in line)

    def close(self) -> None:
        """Shut it down, and take its control groups away."""
        if self.init:
            os.kill(self.init, signal.SIGRTMIN + 3)
        try:
            self.process.wait(180)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        with suppress(OSError):
            Path(f"/run/systemd/nspawn/propagate/{self.name}").rmdir()
        for kind in _CGROUPS.iterdir():
            top = kind / self.name
            for folder in sorted((path for path in top.rglob("*") if path.is_dir()), reverse=True):
                folder.rmdir()
            if top.is_dir():
                top.rmdir()
