"""All packages of several suites as one: the newest version of each name, and who provides what."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence

from tmplbuild.archives.deb import version as versions
from tmplbuild.archives.deb.depends import Group, Relation, parse
from tmplbuild.archives.deb.index import PackagesIndex
from tmplbuild.archives.model import Package

_RANK = {"required": 0, "important": 1, "standard": 2, "optional": 3, "extra": 4}


class Pool:
    """The packages that can be installed on one architecture.

    Parameters:
        indexes: in the order of the recipe; of equal versions the first one counts.
        arch: Debian's word for it (amd64).
    """

    def __init__(self, indexes: Sequence[PackagesIndex], arch: str) -> None:
        self.indexes = indexes
        self.arch = arch
        self._candidates: dict[str, Package | None] = {}
        self._providers: dict[str, list[Package]] = {}
        self._satisfying: dict[Relation, list[Package]] = {}

    def candidate(self, name: str) -> Package | None:
        """The package apt would install for the name: the highest version of all suites."""
        if name not in self._candidates:
            found = [
                package for index in self.indexes for package in index.named(name) if self._fits(package)
            ]
            # max keeps the first of equals
            best = max(found, key=lambda package: versions.key(package.version)) if found else None
            self._candidates[name] = best
        return self._candidates[name]

    def marked(self) -> list[Package]:
        """Candidates that are essential or of a listed priority, by name."""
        names = {package.name for index in self.indexes for package in index.marked() if self._fits(package)}
        return [package for name in sorted(names) if (package := self.candidate(name)) is not None]

    def providers(self, name: str) -> list[Package]:
        """Candidates that provide `name`, those first that apt likes best.

        apt orders providers by essential, priority, name (CompareProviders in its depcache).
        """
        if name not in self._providers:
            names = {package.name for index in self.indexes for package in index.providing(name)}
            found = [package for other in names if (package := self.candidate(other)) is not None]
            offering = [package for package in found if any(rel.name == name for rel in provides(package))]
            offering.sort(key=lambda p: (not p.essential, _RANK.get(p.priority, 3), p.name))
            self._providers[name] = offering
        return self._providers[name]

    def satisfying(self, relation: Relation) -> list[Package]:
        """Who meets a relation: the package of that name first, then providers."""
        if relation not in self._satisfying:
            own = self.candidate(relation.name)
            everyone = [own] if own is not None else []
            everyone += [package for package in self.providers(relation.name) if package is not own]
            self._satisfying[relation] = [package for package in everyone if self.meets(package, relation)]
        return self._satisfying[relation]

    def meets(self, package: Package, relation: Relation) -> bool:
        """Whether an installed `package` meets `relation`, by its name or by what it provides."""
        if not self._arch_fits(package, relation.arch):
            return False
        if package.name == relation.name and versions.satisfies(
            package.version, relation.op, relation.version
        ):
            return True
        # Policy 7.5: an unversioned Provides meets no versioned relation
        return any(
            offer.name == relation.name
            and (
                not relation.op
                or (bool(offer.op) and versions.satisfies(offer.version, relation.op, relation.version))
            )
            for offer in provides(package)
        )

    def near(self, name: str) -> list[str]:
        """Names that somebody may have meant by `name`."""
        every = {other for index in self.indexes for other in index.names()}
        same = [other for other in every if other.startswith(f"{name}-") or other.replace("-", "") == name]
        close = difflib.get_close_matches(name, every, n=3, cutoff=0.75)
        return list(dict.fromkeys([*close, *sorted(same, key=len)[:2]]))[:3]

    def _fits(self, package: Package) -> bool:
        return package.arch in (self.arch, "all")

    def _arch_fits(self, package: Package, qualifier: str) -> bool:
        if qualifier == "any":  # only a package that allows it may stand in for another architecture's
            return package.fields.get("Multi-Arch", "") == "allowed"
        return qualifier in ("", "native", self.arch)


def groups(package: Package, *fields: str) -> Iterable[Group]:
    """The relation groups in these fields of a package."""
    for field in fields:
        yield from parse(package.fields.get(field, ""))


def provides(package: Package) -> Iterable[Relation]:
    """What a package provides."""
    for group in parse(package.fields.get("Provides", "")):
        yield group[0]
