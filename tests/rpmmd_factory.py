"""Repositories of rpm-md: packages of our own making, lists by createrepo_c, signed by a throw-away key;
or, as Fedora has it, packages that are signed and a list that is not.

repository = RpmMd(path, throw_away_key("test"))
repository.add(Rpm("hello", release="1"))
repository.write("9/BaseOS/x86_64/os")
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.aptrpm_factory import Key, sign
from tests.rpm_factory import WHEN, Rpm, build_rpm
from tests.rpm_signing import RpmSigner


@dataclass(frozen=True)
class Layout:
    """How a distribution lays its repositories out.

    Parameters:
        folder: where packages lie below a repository; "" beside `repodata`.
        tail: what stands behind the release in their files' names, and in nothing else ("-omv2590").
        options: words for createrepo_c.
    """

    folder: str = "Packages"
    tail: str = ""
    options: tuple[str, ...] = ()

    def path(self, rpm: Rpm) -> str:
        """Where a package lies below its repository."""
        end = f".{rpm.arch}.rpm"
        name = rpm.filename.removesuffix(end) + self.tail + end
        return f"{self.folder}/{name}" if self.folder else name


PACKAGES = Layout()


class RpmMd:
    """Repositories below one directory.

    Parameters:
        key: signs each repomd.xml; None: nobody does.
        packages: signs each package; None: nobody does.
    """

    def __init__(
        self,
        root: Path,
        key: Key | RpmSigner | None,
        packages: RpmSigner | None = None,
        layout: Layout = PACKAGES,
    ) -> None:
        self.root = root
        self.key = key
        self.packages = packages
        self.layout = layout
        self._rpms: list[Rpm] = []
        self._made: dict[int, tuple[Rpm, bytes]] = {}

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
        (place / self.layout.folder).mkdir(parents=True)
        for name, data in self._files():
            path = place / name
            path.write_bytes(data)
            os.utime(path, (date, date))
        self._rpms = []
        self.index(place, date=date, options=options)
        self.resign(place, signer)
        return place

    def index(self, place: Path, *, date: int = WHEN, options: Sequence[str] = ()) -> None:
        """Write the lists of what lies in a repository anew."""
        words = ["createrepo_c", "--quiet", "--revision", str(date), "--set-timestamp-to-revision"]
        words += [*self.layout.options, *options]
        subprocess.run([*words, str(place)], check=True, env={**os.environ, "SOURCE_DATE_EPOCH": str(date)})

    def say_modules(self, suite: str, text: str, *, date: int = WHEN) -> None:
        """Give a repository a list of modules, and sign it anew."""
        place = self.root / suite
        with tempfile.NamedTemporaryFile("w", prefix="modules", suffix=".yaml") as file:
            file.write(text)
            file.flush()
            words = ["modifyrepo_c", "--mdtype=modules", "--new-name=modules.yaml", file.name]
            subprocess.run([*words, str(place / "repodata")], check=True, capture_output=True)
        path = place / "repodata/repomd.xml"
        # modifyrepo_c knows no other time than now
        head, mark, tail = path.read_text().partition('<data type="modules">')
        path.write_text(head + mark + re.sub(r"<timestamp>\d+<", f"<timestamp>{date}<", tail, count=1))
        self.resign(place)

    def _files(self) -> list[tuple[str, bytes]]:
        """The packages by name, signed if they are to be: each is made but once, as that takes time."""
        new = [rpm for rpm in self._rpms if id(rpm) not in self._made]
        with tempfile.TemporaryDirectory() as folder:
            paths = [Path(folder, f"{number}.rpm") for number in range(len(new))]
            for rpm, path in zip(new, paths, strict=True):
                path.write_bytes(build_rpm(rpm))
            if paths and self.packages is not None:
                self.packages.sign(*paths)
            # with the package itself, so that no other one gets its id
            self._made |= {id(rpm): (rpm, path.read_bytes()) for rpm, path in zip(new, paths, strict=True)}
        return [(self.layout.path(rpm), self._made[id(rpm)][1]) for rpm in self._rpms]

    def resign(self, place: Path, signer: Key | None = None) -> None:
        """Sign a repository anew, whatever its repomd.xml has become."""
        key = signer or self.key
        if key is None:
            return
        text = (place / "repodata/repomd.xml").read_bytes()
        signed = key.detached(text) if isinstance(key, RpmSigner) else sign(text, key)[len(text) :]
        (place / "repodata/repomd.xml.asc").write_bytes(signed)
