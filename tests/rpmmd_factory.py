"""Repositories of rpm-md: packages of our own making, lists by createrepo_c, signed by a throw-away key.

repository = RpmMd(path, throw_away_key("test"))
repository.add(Rpm("hello", release="1"))
repository.write("9/BaseOS/x86_64/os")
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from tests.aptrpm_factory import Key, sign
from tests.rpm_factory import WHEN, Rpm, build_rpm


class RpmMd:
    """Repositories below one directory."""

    def __init__(self, root: Path, key: Key) -> None:
        self.root = root
        self.key = key
        self._rpms: list[Rpm] = []

    def add(self, *rpms: Rpm) -> None:
        """Packages for the next repository that is written."""
        self._rpms += rpms

    def write(
        self, suite: str, *, date: int = WHEN, signer: Key | None = None, options: Sequence[str] = ()
    ) -> Path:
        """Write a repository of the packages that were added; its directory.

        Parameters:
            date: of all its files, seconds since the epoch.
            signer: signs instead of the archive's key.
            options: further words for createrepo_c.
        """
        place = self.root / suite
        shutil.rmtree(place, ignore_errors=True)
        (place / "Packages").mkdir(parents=True)
        for rpm in self._rpms:
            path = place / "Packages" / rpm.filename
            path.write_bytes(build_rpm(rpm))
            os.utime(path, (date, date))
        self._rpms = []
        words = ["createrepo_c", "--quiet", "--revision", str(date), "--set-timestamp-to-revision", *options]
        subprocess.run([*words, str(place)], check=True, env={**os.environ, "SOURCE_DATE_EPOCH": str(date)})
        self.resign(place, signer)
        return place

    def resign(self, place: Path, signer: Key | None = None) -> None:
        """Sign a repository anew, whatever its repomd.xml has become."""
        text = (place / "repodata/repomd.xml").read_bytes()
        signed = sign(text, signer or self.key)
        (place / "repodata/repomd.xml.asc").write_bytes(signed[len(text) :])
