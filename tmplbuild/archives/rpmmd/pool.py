"""All packages of a recipe's repositories, and which of them are seen where these have module streams."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from tmplbuild.archives.arrival import MoreWanted
from tmplbuild.archives.libsolv import Repositories, Solvable
from tmplbuild.archives.model import Package, safe_path
from tmplbuild.archives.rpmmd import modules
from tmplbuild.archives.rpmmd.reader import Lists
from tmplbuild.errors import VerifyError

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+~^-]*\Z")
_VERSION = re.compile(r"[A-Za-z0-9_.+~^:-]+\Z")
_LONGEST = 1000  # of a name, a version or a line that is looked at


class Pool:
    """Parameters:
    lists: of each repository, in the recipe's order.
    arch: the tree's architecture.
    files: read the lists of all files, too; those of packages name but what lies in some directories.

    Raises VerifyError for a list that cannot be read.
    """

    def __init__(self, lists: Sequence[Lists], arch: str, *, files: bool = False) -> None:
        self.arch = arch
        self.repositories = Repositories(arch)
        self.lists = tuple(lists)
        self.modules = modules.Modules()
        self.wanted: tuple[str, ...] = ()
        self._wide: Pool | None = self if files else None
        self._streams: tuple[modules.Stream, ...] = ()
        for one in lists:
            every = one.files.unpacked() if files and one.files else None
            if not self.repositories.add(one.primary, every):
                raise VerifyError(
                    "a repository's list of packages cannot be read",
                    where=f"{one.suite}/repodata",
                    why="not primary.xml",
                )

    def choose_streams(self, wanted: Sequence[str]) -> None:
        """Leave out what belongs to module streams that are not active, and what active ones displace.

        Parameters:
            wanted: the streams that the recipe names (postgresql:16); others are the archives' defaults.

        Raises ResolveError, VerifyError for a list of modules that cannot be read.
        """
        self.wanted = tuple(wanted)
        for one in self.lists:
            if one.modules is not None:
                self.modules.read(one.modules, f"{one.suite}/repodata/modules.yaml")
        self._streams = modules.active(self.modules, wanted, self.arch)
        shown, gone, names = modules.seen(self.modules, self._streams)
        if shown or gone:
            self.repositories.hide(gone, names, shown)

    def with_files(self, why: str) -> Pool | None:
        """The same packages with all their files; None where that is this pool, or there are no such lists.

        Parameters:
            why: the lists are needed, for messages.

        Raises MoreWanted where they have to be fetched first, VerifyError for one that cannot be read.
        """
        later = [(one.role, one.files) for one in self.lists if one.files]
        if self._wide is self or not later:
            return None
        if missing := [files.wanted(role) for role, files in later if not files.is_here]:
            raise MoreWanted("a file is needed that no list of packages names", missing, why=why)
        if self._wide is None:
            self._wide = Pool(self.lists, self.arch, files=True)
            self._wide.choose_streams(self.wanted)
        return self._wide

    def streams_of(self, listed: Iterable[Solvable]) -> list[str]:
        """The module streams that packages are of."""
        found = {self.repositories.nevra(one.number) for one in listed} if self._streams else set()
        return sorted({one.title for one in self._streams if not found.isdisjoint(one.packages)})

    def package(self, listed: Solvable) -> Package:
        """A package in the words of all archives. Raises VerifyError for one without a SHA-256."""
        home = self.lists[listed.repository]
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
