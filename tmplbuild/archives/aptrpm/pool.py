"""All packages of several lists as one: who has a name, who satisfies a dependency."""

from __future__ import annotations

import difflib
import functools
from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from tmplbuild.archives.aptrpm import entry as entries
from tmplbuild.archives.aptrpm import evr, header
from tmplbuild.archives.aptrpm.depends import Dep
from tmplbuild.archives.aptrpm.entry import Entry, Source
from tmplbuild.archives.aptrpm.header import Header
from tmplbuild.archives.aptrpm.pkglist import headers
from tmplbuild.archives.model import Package
from tmplbuild.errors import VerifyError

_MAX_NAMES = 8_000_000
_ALSO_RUNS = {"x86_64": ("i586", "i686"), "i586": ("i386", "i486", "i686"), "armh": ("armv7hl",)}
_BITS = 20  # of a reference, for the place of a provide within its package: a header's limit of values


@dataclass(frozen=True, slots=True)
class PackageList:
    """A verified, uncompressed list; `where` is its address, for messages."""

    data: bytes | memoryview
    source: Source
    where: str


class Pool:
    """The packages of several lists.

    Parameters:
        lists: in the order of the recipe; of equal builds the first one counts.
        arch: the tree's architecture; packages that do not run on it are passed over.
        branch: the branch whose disttags win over all others ("p11"), "" for none.

    Raises VerifyError for a list that is malformed; what a package's header holds is read, and
    checked, when the package is asked for.
    """

    def __init__(self, lists: Sequence[PackageList], arch: str, branch: str = "") -> None:
        self.lists = list(lists)
        self.arch = arch
        self.branch = branch
        self._views = [memoryview(item.data) for item in self.lists]
        self._list_of = array("H")
        self._at = array("Q")
        self._named: dict[bytes, list[int]] = {}
        self._providing: dict[bytes, list[int]] = {}
        self._entries: dict[int, Entry] = {}
        self._satisfying: dict[tuple[str, int, str], tuple[int, ...]] = {}
        self._runs = {name.encode() for name in runs(arch)}
        count = 0
        for index, item in enumerate(self.lists):
            count += self._scan(index, item)
            if count > _MAX_NAMES:
                raise VerifyError("a package list holds more than it may", where=item.where)

    def __len__(self) -> int:
        return len(self._at)

    def entry(self, number: int) -> Entry:
        """The package with this number. Raises VerifyError."""
        found = self._entries.get(number)
        if found is None:
            found = self._entries[number] = entries.read(self._header(number), number)
        return found

    def package(self, number: int, needs: Iterable[str] = ()) -> Package:
        """The package as the other parts know it. Raises VerifyError."""
        source = self.lists[self._list_of[number]].source
        return entries.package(self._header(number), self.entry(number), source, needs)

    def named(self, name: str) -> list[Entry]:
        """The packages of this name, the newest first."""
        found = [self.entry(number) for number in self._named.get(_encoded(name), ())]
        if len(found) > 1:
            found.sort(key=functools.cmp_to_key(lambda a, b: evr.newer(b.build, a.build, branch=self.branch)))
        return found

    def age(self, number: int) -> int:
        """0 for the newest package of its name, 1 for the next..."""
        builds = self._named[_encoded(self.entry(number).name)]
        if len(builds) == 1:
            return 0
        return [found.number for found in self.named(self.entry(number).name)].index(number)

    def satisfying(self, dep: Dep) -> tuple[int, ...]:
        """The numbers of the packages that satisfy a dependency by what they provide or, for a path,
        by a file that they hold (whatever the version: rpm asks for none of files)."""
        key = (dep.name, dep.flags & evr.SENSE, dep.version)
        found = self._satisfying.get(key)
        if found is None:
            found = self._satisfying[key] = tuple(sorted(set(self._search(dep))))
        return found

    def providing(self, name: str) -> list[tuple[Entry, Dep]]:
        """Who provides a name, in whatever version."""
        refs = self._providing.get(_encoded(name), ())
        return [self._provide(ref) for ref in refs]

    def obsoleted(self, dep: Dep) -> list[int]:
        """The numbers of the packages that an Obsoletes names: rpm looks at their own name and version,
        not at what they provide."""
        return [found.number for found in self.named(dep.name) if dep.met_by(found.itself)]

    def near(self, name: str) -> list[str]:
        """Names that look like `name`."""
        found = difflib.get_close_matches(name, [raw.decode("latin-1") for raw in self._named], 3, 0.75)
        return sorted(found)

    # -- reading ---------------------------------------------------------------------------------

    def _scan(self, index: int, item: PackageList) -> int:
        """Take in a list: where each header begins, its name, what it provides. How many of these."""
        count = 0
        for head in headers(self._views[index], item.where):
            name, arch = head.raw(header.NAME), head.raw(header.ARCH)
            if not name or not arch:
                raise head.bad("it has no name or no architecture")
            if arch not in self._runs:
                continue
            number = len(self._at)
            self._list_of.append(index)
            self._at.append(head.at)
            self._named.setdefault(name, []).append(number)
            base = number << _BITS
            provides = head.strings(header.PROVIDENAME)
            for place, provided in enumerate(provides):
                self._providing.setdefault(provided, []).append(base | place)
            count += len(provides) + 1
        return count

    @functools.cached_property
    def _files(self) -> dict[bytes, list[int]]:
        files: dict[bytes, list[int]] = {}
        count = 0
        for number in range(len(self)):
            paths = self._header(number).paths()
            for path in paths:
                files.setdefault(path, []).append(number)
            count += len(paths)
            if count > _MAX_NAMES:
                raise VerifyError(
                    "a package list holds more than it may", where=self.lists[self._list_of[number]].where
                )
        return files

    def _header(self, number: int) -> Header:
        index = self._list_of[number]
        return Header(self._views[index], self._at[number], self.lists[index].where)

    def _provide(self, ref: int) -> tuple[Entry, Dep]:
        found = self.entry(ref >> _BITS)
        return found, found.provides[ref & ((1 << _BITS) - 1)]

    def _search(self, dep: Dep) -> Iterable[int]:
        for found, provide in self.providing(dep.name):
            if dep.met_by(provide):
                yield found.number
        if dep.name.startswith("/"):
            yield from self._files.get(_encoded(dep.name), ())


def runs(arch: str) -> tuple[str, ...]:
    """The architectures whose packages a tree of this one can have, its own first."""
    return (arch, "noarch", *_ALSO_RUNS.get(arch, ()))


def _encoded(name: str) -> bytes:
    return name.encode("utf-8", "surrogateescape")
