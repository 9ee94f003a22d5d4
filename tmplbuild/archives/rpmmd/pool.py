"""All packages of a recipe's repositories, and which of their module streams are left out."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from tmplbuild.archives.libsolv import Repositories, Solvable
from tmplbuild.archives.model import Package, safe_path
from tmplbuild.archives.rpmmd.reader import Lists
from tmplbuild.errors import VerifyError

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+~^-]*\Z")
_VERSION = re.compile(r"[A-Za-z0-9_.+~^:-]+\Z")
_LONGEST = 1000  # of a name, a version or a line that is looked at


class Pool:
    """Parameters:
    lists: of each repository, in the recipe's order.
    arch: the tree's architecture.

    Packages of module streams are left out: what a template has, it has in its distribution's own
    version. Raises VerifyError for a list that cannot be read.
    """

    def __init__(self, lists: Sequence[Lists], arch: str) -> None:
        self.arch = arch
        self.repositories = Repositories(arch)
        self._lists = tuple(lists)
        for number, one in enumerate(lists):
            if not self.repositories.add(one.primary):
                raise VerifyError(
                    "a repository's list of packages cannot be read",
                    where=f"{one.suite}/repodata",
                    why="not primary.xml",
                )
            if one.modules is not None:
                self.repositories.hide(number, _modular(one.modules))

    def package(self, listed: Solvable) -> Package:
        """A package in the words of all archives. Raises VerifyError for one without a SHA-256."""
        home = self._lists[listed.repository]
        if not _plain(listed):
            raise VerifyError(
                "a package has a name that is none",
                where=home.suite,
                why=f"{listed.name[:100]!r}, version {listed.version[:100]!r}",
                hint="use another mirror (MIRROR=)",
            )
        kind, _, value = listed.checksum.partition(":")
        if kind != "sha256" or not safe_path(listed.path):
            raise VerifyError(
                f"the package {listed.name} cannot be verified",
                where=f"{home.suite}/{listed.path}",
                why="its repository lists it without a SHA-256"
                if kind != "sha256"
                else "its path leads elsewhere",
            )
        return Package(
            name=listed.name,
            version=listed.version,
            arch=listed.arch,
            archive=home.role,
            filename=f"{home.suite}/{listed.path}",
            size=listed.size,
            sha256=value,
        )

    def packages(self, listed: Iterable[Solvable]) -> list[Package]:
        """Packages, by name."""
        return sorted(map(self.package, listed), key=lambda one: (one.name, one.arch))

    def at(self, path: str) -> Package | None:
        """The package whose file lies at a path below its archive's address."""
        # bash-5.2.26-3.fc40.x86_64.rpm; OpenMandriva has a word more: bash-5.2.26-3-omv2590.x86_64.rpm
        words = path.rpartition("/")[2].split("-")
        for count in range(len(words) - 1, 0, -1):
            for package in self.packages(self.repositories.named("-".join(words[:count]))):
                if package.filename == path:
                    return package
        return None


def _plain(listed: Solvable) -> bool:
    words = ((listed.name, _NAME), (listed.version, _VERSION), (listed.arch, _NAME))
    return all(len(word) <= _LONGEST and form.match(word) for word, form in words)


def _modular(path: Path) -> frozenset[str]:
    """The packages of all streams in a modules.yaml (modulemd v2): the items of `artifacts: rpms:`, which are
    NAME-EPOCH:VERSION-RELEASE.ARCH and stand on a line each."""
    found = set()
    with path.open("rb") as file:
        while line := file.readline(_LONGEST):
            mark, _, item = line.strip().partition(b" ")
            name = item.strip().strip(b"\"'").decode("ascii", "replace")
            if mark == b"-" and ":" in name and "." in name and " " not in name:
                found.add(name)
    return frozenset(found)
