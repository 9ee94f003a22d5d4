"""A local signed archive of a release's real packages, whose state a test or a benchmark moves.

    archive = MovingArchive(place, packages=cache_dir)      # what debian-12 installs, as it is today
    with archive.serve() as server:
        recipe = shop.recipe("moving", archive.recipe(server.url))
        ...                                                 # build
        archive.move(10)                                    # ten packages get a new version
        ...                                                 # the next night

A package that moves is the real one, repacked as a rebuild of its source would be: a greater version
for every binary package of that source, later times on all files, and other bytes in each program and
library (some behind the end of an ELF file, which nothing reads), with md5sums that say so. Which
packages move first is drawn by a hash of their source's name, so that nobody chose convenient ones.
"""

from __future__ import annotations

import hashlib
import io
import lzma
import re
import tarfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

from tests.archive_factory import EPOCH, ArchiveFactory, ar
from tests.archive_server import ArchiveServer
from tests.deb_trees import open_source
from tmplbuild.archives.deb.debfile import open_deb
from tmplbuild.archives.model import Package

_PRESET = 1
"""xz's, for repacked members: they unpack as fast as Debian's own, and are made five times faster."""


class MovingArchive:
    """An archive below `place` with the packages that a recipe comes to, and what its boot test installs.

    Parameters:
        place: a directory for it; made if it is not there.
        packages: the package cache to take (and to download) the real packages from and to.
        recipe: the recipe, of Debian's family.
        more: names of further packages.
        offline: use the real archive as the package cache last saw it.
        turn: what it counts its moves from: archives that begin far enough from each other never have a
            moved package in common.
    """

    def __init__(
        self,
        place: Path,
        packages: Path,
        recipe: str = "debian-12",
        more: Sequence[str] = (),
        *,
        offline: bool = False,
        turn: int = 0,
    ) -> None:
        source = open_source(recipe, packages, offline=offline)
        loaded = source.loaded.recipe
        choice = source.choose([*loaded.install.packages, *loaded.check.install, *more])
        self.name = recipe
        self.suite = loaded.image.suite
        self.factory = ArchiveFactory(place / "archive", arches=(source.loaded.arch,))
        self.turn = turn
        """How often it has moved, from where it began to count."""
        self._parcels = {row.name: RealDeb(row, choice.file(row)) for row in choice.full.packages}
        self._sources = _sources(self._parcels, leave=loaded.check.install)
        self._date = time.time() - 86400
        self._write()

    @property
    def root(self) -> Path:
        """The directory to serve."""
        return self.factory.root

    def serve(self) -> ArchiveServer:
        """A server of the archive, not yet started (a context manager)."""
        return self.factory.serve()

    def versions(self) -> dict[str, str]:
        """Version by package as the archive is now."""
        return {name: parcel.version for name, parcel in self._parcels.items()}

    def move(self, count: int, *, within: Sequence[str] | None = None) -> list[str]:
        """Give `count` packages (or a few less, where their sources have more) a new version.

        Parameters:
            within: names to draw from; all if None.

        Returns the names. From equal packages the same ones are drawn each time.
        """
        moved: list[str] = []
        for names in self._sources:
            if within is not None and not set(names) <= set(within):
                continue
            if len(moved) + len(names) <= count:
                moved += names
        self.turn += 1
        old = {name: self._parcels[name].version for name in moved}
        for name in moved:
            self._parcels[name] = self._parcels[name].moved(self.turn, old)
        self._write()
        return sorted(moved)

    def sign_anew(self) -> None:
        """A later date, and the same packages."""
        self._write()

    def recipe(self, url: str, *, name: str | None = None, more: str = "") -> str:
        """The text of a recipe that is the one given, but from this archive; its key must lie in a
        directory `keys` beside it (`export_key`).

        Parameters:
            name: of the template.
            more: further TOML, after all sections here.
        """
        archive = (
            f'mirrors = ["{url}"]\ncomponents = ["main"]\nown_keys = true\n'
            f'keys = ["{self.factory.key.fingerprint}"]\n'
        )
        family, _, release = self.name.partition("-")
        return (
            f'extends = "{family}/{release}"\n'
            f'[image]\nname = "{name or f"moving-{release}"}-{{ve_arch}}"\n'
            '[archives.debian]\npublic = "http://archive.invalid/debian"\n'
            f'suites = ["{self.suite}"]\n{archive}'
            '[archives.debian-security]\npublic = "http://archive.invalid/security"\n'
            f'suites = ["{self.suite}-security"]\n{archive}{more}'
        )

    def export_key(self, recipe: str) -> None:
        """Put the certificate where the recipe at this path looks for it."""
        self.factory.key.export(Path(recipe).parent / "keys")

    def _write(self) -> None:
        self._date += 60
        self.factory.suite(self.suite, list(self._parcels.values()), date=self._date)
        self.factory.suite(f"{self.suite}-security", [], date=self._date)


@dataclass(frozen=True)
class RealDeb:
    """A real package: as Debian made it, or (`turn` > 0) repacked with a later version.

    `pinned` are the versions that other packages of its source had: what depends on exactly such a
    one depends on its successor then.
    """

    package: Package
    file: Path
    turn: int = 0
    pinned: dict[str, str] = field(default_factory=dict)

    @property
    def arch(self) -> str:
        return self.package.arch

    @property
    def version(self) -> str:
        return _later(self.package.version, self.turn)

    @property
    def filename(self) -> str:
        version = self.version.partition(":")[2] or self.version
        return f"pool/{self.package.name}_{version}_{self.arch}.deb"

    def moved(self, turn: int, old: dict[str, str]) -> RealDeb:
        """The same package, rebuilt; `old` has the versions of all that move with it."""
        plain = {name: re.sub(r"\+moved\d+$", "", version) for name, version in old.items()}
        return replace(self, turn=turn, pinned=plain)

    def control(self) -> str:
        """The control file as the index has it: priority and essential are the archive's choice there."""
        ours = ("Priority:", "Version:")
        lines = [line for line in self._control.splitlines() if not line.startswith(ours)]
        text = "\n".join([*lines, f"Version: {self.version}", f"Priority: {self.package.priority}"])
        return f"{self._exactly(text)}\n"

    def build(self) -> bytes:
        """The .deb file."""
        return self._repacked if self.turn else self.file.read_bytes()

    @cached_property
    def source(self) -> str:
        """The name of its source package."""
        found = re.search(r"^Source: (\S+)", self._control, re.MULTILINE)
        return found[1] if found else self.package.name

    @cached_property
    def _control(self) -> str:
        with self.file.open("rb") as file, open_deb(file.fileno(), self.file.name) as deb:
            return deb.control["control"].content.decode().strip()

    @cached_property
    def _repacked(self) -> bytes:
        with self.file.open("rb") as file, open_deb(file.fileno(), self.file.name) as deb:
            data, sums = _rebuilt(deb.data, self.turn)
            control = {name: (member.content, member.mode) for name, member in deb.control.items()}
        control["control"] = (self.control().encode(), 0o644)
        if "md5sums" in control:
            rows = [line.split("  ", 1) for line in control["md5sums"][0].decode().splitlines()]
            text = "".join(f"{sums.get(path, digest)}  {path}\n" for digest, path in rows)
            control["md5sums"] = (text.encode(), 0o644)
        return ar(
            {
                "debian-binary": b"2.0\n",
                "control.tar.xz": lzma.compress(_tar_of(control), preset=_PRESET),
                "data.tar.xz": lzma.compress(data, preset=_PRESET),
            }
        )

    def _exactly(self, text: str) -> str:
        for name, version in self.pinned.items():
            text = re.sub(
                rf"(\b{re.escape(name)}(?::any)? \(= ){re.escape(version)}\)",
                rf"\g<1>{_later(version, self.turn)})",
                text,
            )
        return text


def _later(version: str, turn: int) -> str:
    return f"{version}+moved{turn}" if turn else version


def _sources(parcels: dict[str, RealDeb], leave: Sequence[str]) -> list[list[str]]:
    """The packages of each source, in an order that nobody chose; those to `leave` are not installed."""
    found: dict[str, list[str]] = {}
    for name in parcels.keys() - set(leave):
        found.setdefault(parcels[name].source, []).append(name)
    order = sorted(found, key=lambda source: hashlib.sha256(source.encode()).digest())
    return [sorted(found[source]) for source in order]


def _rebuilt(stream: object, turn: int) -> tuple[bytes, dict[str, str]]:
    """A data.tar with later times and other programs, and the md5 by path of what became other."""
    out, sums = io.BytesIO(), {}
    with (
        tarfile.open(fileobj=stream, mode="r|") as old,  # type: ignore[call-overload]
        tarfile.open(fileobj=out, mode="w", format=tarfile.GNU_FORMAT) as new,
    ):
        for member in old:
            member.mtime += 60 * turn
            if not member.isreg():
                if member.islnk() and (same := sums.get(member.linkname.removeprefix("./"))):
                    sums[member.name.removeprefix("./")] = same
                new.addfile(member)
                continue
            content = old.extractfile(member).read()  # type: ignore[union-attr]
            if content.startswith(b"\x7fELF"):
                content += f"rebuilt {turn}\n".encode()
                sums[member.name.removeprefix("./")] = hashlib.md5(content).hexdigest()
            member.size = len(content)
            new.addfile(member, io.BytesIO(content))
    return out.getvalue(), sums


def _tar_of(members: dict[str, tuple[bytes, int]]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.GNU_FORMAT) as tar:
        for name, (content, mode) in members.items():
            info = tarfile.TarInfo(f"./{name}")
            info.mode, info.size, info.mtime = mode, len(content), EPOCH
            tar.addfile(info, io.BytesIO(content))
    return out.getvalue()
