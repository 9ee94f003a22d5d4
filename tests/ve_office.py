"""Places of their own for named VEs: the tool is run as an administrator runs it, and nothing may stay."""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
from collections.abc import Mapping
from pathlib import Path

from tmplbuild.config import Settings, load_settings
from tmplbuild.vz.manage import Manager

ROOT = Path(__file__).resolve().parent.parent


class Office:
    """OpenVZ's directories, and ours, below one place.

    Parameters:
        place: the directory.
        templates: the template cache, which several may share.
    """

    def __init__(self, place: Path, templates: Path | None = None) -> None:
        self.place = place
        self.templates = templates or place / "templates"
        self.templates.mkdir(parents=True, exist_ok=True)
        self.env = {
            "PATH": f"{place}/bin:{os.environ['PATH']}",
            "HOME": str(place),
            "LC_ALL": "C.UTF-8",
            "PYTHONPATH": str(ROOT),
            "TMPLBUILD_TEMPLATE_CACHE": str(self.templates),
            "TMPLBUILD_CACHE_DIR": str(place / "cache"),
            "TMPLBUILD_STATE_DIR": str(place / "state"),
            "TMPLBUILD_RUN_DIR": str(place / "run"),
            "TMPLBUILD_VE_ROOT": str(place / "root"),
            "TMPLBUILD_VE_PRIVATE": str(place / "private"),
            "TMPLBUILD_VZ_DIR": str(place / "vz"),
            "TMPLBUILD_DISTS": str(place / "dists"),
            "TMPLBUILD_CONFIG": str(place / "tmplbuild.toml"),
        }
        (place / "tmplbuild.toml").write_text("")
        program = place / "bin/tmplbuild"
        program.parent.mkdir(parents=True)
        program.write_text(f'#!/bin/sh\nexec {sys.executable} -m tmplbuild "$@"\n')
        program.chmod(0o755)

    @property
    def settings(self) -> Settings:
        """The same places, for the library."""
        return load_settings(environ=self.env)

    @property
    def manager(self) -> Manager:
        """The manager of these VEs."""
        return Manager(self.settings)

    def argv(self, *words: str) -> list[str]:
        """The command line of a verb of `ve`."""
        return [sys.executable, "-m", "tmplbuild", "ve", *words]

    def run(
        self, *words: str, feed: str | None = None, env: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run a verb of `ve` to its end."""
        return subprocess.run(
            self.argv(*words),
            env={**self.env, **(env or {})},
            cwd=self.place,
            input=feed or "",
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
        )

    def ok(self, *words: str, feed: str | None = None) -> str:
        """The same; it must succeed. Returns what it printed."""
        done = self.run(*words, feed=feed)
        assert done.returncode == 0, f"{words}: {done.returncode}\n{done.stderr}\n{done.stdout}"
        return done.stdout

    def fails(self, *words: str) -> str:
        """The same; it must fail without a traceback. Returns the error."""
        done = self.run(*words)
        assert done.returncode not in (0, 1), f"{words}: {done.returncode}\n{done.stderr}\n{done.stdout}"
        assert "Traceback" not in done.stderr
        return done.stderr

    def conf(self, veid: str) -> str:
        """A VE's configuration."""
        return (self.place / f"vz/conf/{veid}.conf").read_text()

    def remains(self) -> list[str]:
        """What is left of VEs that were not created, or are destroyed: should be nothing."""
        found = [
            line for line in Path("/proc/self/mountinfo").read_text().splitlines() if str(self.place) in line
        ]
        found += [str(path) for path in (self.place / "private").glob("*")]
        found += [str(path) for path in (self.place / "private").glob(".*")]
        found += [str(path) for path in (self.place / "run").glob("*") if path.name != "locks"]
        found += [str(path) for path in (self.place / "state/bases").glob(".*.new")]
        return found


def pack(tarball: Path, tree: Path, mode: str = "w") -> Path:
    """Pack a small tree, its members named as `tar -C tree -c .` names them."""
    with tarfile.open(tarball, mode) as tar:  # type: ignore[call-overload]
        tar.add(tree, ".")
    return tarball
