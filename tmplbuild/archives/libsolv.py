"""libsolv: which packages can stand together. The only module that knows the library.

`Solver` is for archives whose rules libsolv does not have: it never sees a version (its own order is
not ALT's, and it knows no set-versions). Each dependency that was matched elsewhere becomes a
capability of its own (":7"), provided by the packages that satisfy it; a package's builds are told
apart by their rank. `Repositories` is for those whose rules it has: it reads their lists itself.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import solv  # type: ignore[import-untyped]


@dataclass(frozen=True, slots=True)
class Clash:
    """Two packages that cannot stand together: by the conflict `capability`, or (None) since they are
    builds of the same package."""

    one: int
    other: int
    capability: int | None


@dataclass(frozen=True, slots=True)
class Outcome:
    """The packages that were taken; or, where nothing works, why: what clashes, and which packages
    nothing can be done for."""

    taken: frozenset[int]
    clashes: tuple[Clash, ...] = ()
    stuck: tuple[int, ...] = ()


class Solver:
    """A problem to be stated, then solved once. Packages and capabilities are numbers of the caller's."""

    def __init__(self) -> None:
        self._pool: Any = solv.Pool()
        self._pool.setdisttype(solv.Pool.DISTTYPE_RPM)
        self._repo: Any = self._pool.add_repo("all")
        self._solvables: dict[int, Any] = {}
        self._numbers: dict[int, int] = {}

    def package(self, number: int, name: str, rank: int) -> None:
        """State a package; of the builds of one name, one at most is taken. A higher rank is newer."""
        found = self._repo.add_solvable()
        found.name = name
        found.evr = str(rank)
        found.arch = "noarch"
        found.add_provides(self._pool.str2id(name))  # by this libsolv finds the other builds
        self._solvables[number] = found
        self._numbers[found.id] = number

    def provides(self, number: int, capability: int) -> None:
        """State that the package satisfies a dependency."""
        self._solvables[number].add_provides(self._id(capability))

    def requires(self, number: int, capability: int) -> None:
        """State that the package needs one that provides the capability."""
        self._solvables[number].add_requires(self._id(capability))

    def conflicts(self, number: int, capability: int) -> None:
        """State that the package stands with no other that provides the capability."""
        self._solvables[number].add_conflicts(self._id(capability))

    def solve(self, wanted: Iterable[int], favoured: Iterable[int]) -> Outcome:
        """Find packages that provide all capabilities `wanted`; where there is a choice, the packages
        `favoured` come first."""
        self._pool.createwhatprovides()
        job, of = self._pool.Job, solv.Job
        jobs = [job(of.SOLVER_SOLVABLE_PROVIDES | of.SOLVER_INSTALL, self._id(one)) for one in wanted]
        jobs += [job(of.SOLVER_SOLVABLE | of.SOLVER_FAVOR, self._solvables[one].id) for one in favoured]
        solver = self._pool.Solver()
        problems = solver.solve(jobs)
        if problems:
            return self._failure(problems)
        return Outcome(frozenset(self._numbers[one.id] for one in solver.transaction().newsolvables()))

    def _failure(self, problems: Iterable[Any]) -> Outcome:
        clashes: dict[Clash, None] = {}
        stuck: dict[int, None] = {}
        for problem in problems:
            for rule in problem.findallproblemrules():
                for info in rule.allinfos():
                    one = self._numbers.get(info.solvable.id) if info.solvable else None
                    other = self._numbers.get(info.othersolvable.id) if info.othersolvable else None
                    if info.type == solv.Solver.SOLVER_RULE_PKG_CONFLICTS and None not in (one, other):
                        clashes[Clash(one, other, int(str(info.dep)[1:]))] = None  # type: ignore[arg-type]
                    elif info.type == solv.Solver.SOLVER_RULE_PKG_SAME_NAME and None not in (one, other):
                        clashes[Clash(one, other, None)] = None  # type: ignore[arg-type]
                    elif one is not None:
                        stuck[one] = None
        return Outcome(frozenset(), tuple(clashes), tuple(stuck))

    def _id(self, capability: int) -> int:
        found: int = self._pool.str2id(f":{capability}")
        return found


@dataclass(frozen=True, slots=True)
class Solvable:
    """A package that a repository lists: `repository` as it was added, `path` below it, `size` in bytes,
    `checksum` as "sha256:HEX" (another kind by its own name). `number` is libsolv's."""

    number: int
    name: str
    version: str
    arch: str
    repository: int
    path: str
    size: int
    checksum: str


@dataclass(frozen=True, slots=True)
class Solution:
    """The packages that were taken; or, where nothing works, the problems in libsolv's words, and whether
    some package needs a file that no list names."""

    taken: tuple[Solvable, ...]
    problems: tuple[str, ...] = ()
    lacks_file: bool = False


class Repositories:
    """Repositories of rpm-md, read and resolved by libsolv's own rules.

    Parameters:
        arch: the tree's architecture in rpm's word (x86_64).
    """

    def __init__(self, arch: str) -> None:
        self._pool: Any = solv.Pool()
        self._pool.setdisttype(solv.Pool.DISTTYPE_RPM)
        self._pool.setarch(arch)
        self._repos: list[Any] = []
        self._hidden: set[int] = set()
        self._ready = False

    def add(self, primary: Path, files: Path | None = None) -> bool:
        """Read a repository's uncompressed list of packages, and that of all their files; False where libsolv
        cannot read one. The newest version is taken, in whichever it is; of those that are alike that of
        the one added first."""
        repo = self._pool.add_repo(str(len(self._repos)))
        self._repos.append(repo)
        if not _read(primary, lambda stream: repo.add_rpmmd(stream, None)):
            return False
        # "FL" is libsolv's word for a list of files, of packages that it knows
        flags = solv.Repo.REPO_EXTEND_SOLVABLES
        return files is None or _read(files, lambda stream: repo.add_rpmmd(stream, "FL", flags))

    def hide(self, gone: Collection[str], names: Collection[str] = (), shown: Collection[str] = ()) -> None:
        """Leave packages out: those of `gone` and all that provide one of `names`, but none of `shown`.

        Parameters:
            gone, shown: packages as NAME-EPOCH:VERSION-RELEASE.ARCH.
        """
        self._prepare()
        pool = self._pool
        taken = {one.id for name in names for one in pool.whatprovides(pool.str2id(name))}
        for repo in self._repos:
            for one in repo.solvables:
                listed = _nevra(one)
                if (listed in gone or one.id in taken) and listed not in shown:
                    self._hidden.add(one.id)

    def named(self, name: str) -> list[Solvable]:
        """All packages of that name that the tree's architecture can have."""
        self._prepare()
        return [self._listed(one) for one in self._of_name(name)]

    def names(self) -> set[str]:
        """The names of all packages."""
        return {one.name for repo in self._repos for one in repo.solvables}

    def providers(self, capability: str) -> list[str]:
        """The names of the packages that provide a capability without a version, or have a file, sorted."""
        self._prepare()
        if capability.startswith("/"):
            found = self._pool.select(capability, solv.Selection.SELECTION_FILELIST).solvables()
        else:
            found = self._pool.whatprovides(self._pool.str2id(capability))
        return sorted({one.name for one in found if one.id not in self._hidden})

    def solve(
        self,
        names: Sequence[str],
        fixed: Iterable[int] = (),
        *,
        exclude: Iterable[str] = (),
        prefer: Iterable[str] = (),
        recommends: bool = False,
    ) -> Solution:
        """The packages that provide all `names` (a package of that name first) on top of `fixed`."""
        self._prepare()
        job, of = self._pool.Job, solv.Job
        jobs = [job(of.SOLVER_SOLVABLE | of.SOLVER_INSTALL, number) for number in fixed]
        for name in names:
            if name.startswith("/"):
                files = self._pool.select(name, solv.Selection.SELECTION_FILELIST)
                jobs += files.jobs(of.SOLVER_INSTALL)
                continue
            how = of.SOLVER_SOLVABLE_NAME if self._of_name(name) else of.SOLVER_SOLVABLE_PROVIDES
            jobs.append(job(how | of.SOLVER_INSTALL, self._pool.str2id(name)))
        jobs += [job(of.SOLVER_SOLVABLE | of.SOLVER_LOCK, number) for number in sorted(self._hidden)]
        for name in exclude:
            jobs.append(job(of.SOLVER_SOLVABLE_NAME | of.SOLVER_LOCK, self._pool.str2id(name)))
        for name in prefer:
            jobs.append(job(of.SOLVER_SOLVABLE_NAME | of.SOLVER_FAVOR, self._pool.str2id(name)))
        solver = self._pool.Solver()
        solver.set_flag(solver.SOLVER_FLAG_IGNORE_RECOMMENDED, not recommends)
        problems = solver.solve(jobs)
        if problems:
            return Solution((), tuple(str(problem) for problem in problems), _lack_a_file(problems))
        return Solution(tuple(self._listed(one) for one in solver.transaction().newsolvables()))

    def nevra(self, number: int) -> str:
        """A package as NAME-EPOCH:VERSION-RELEASE.ARCH."""
        return _nevra(self._pool.id2solvable(number))

    def _prepare(self) -> None:
        if not self._ready:
            self._pool.addfileprovides()
            self._pool.createwhatprovides()
            self._ready = True

    def _of_name(self, name: str) -> list[Any]:
        found = self._pool.select(name, solv.Selection.SELECTION_NAME).solvables()
        return [one for one in found if one.id not in self._hidden]

    def _listed(self, one: Any) -> Solvable:
        path = (one.lookup_location() or ("", 0))[0]
        checksum = one.lookup_checksum(solv.SOLVABLE_CHECKSUM)
        kind = checksum.typestr() if checksum is not None else ""
        return Solvable(
            number=one.id,
            name=one.name,
            version=one.evr,
            arch=one.arch,
            repository=int(one.repo.name),
            path=path or "",
            size=one.lookup_num(solv.SOLVABLE_DOWNLOADSIZE),
            checksum=f"{kind}:{checksum.hex()}" if checksum is not None else "",
        )


def _read(path: Path, reads: Callable[[Any], Any]) -> bool:
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        stream = solv.xfopen_fd("list.xml", fd)
        good = bool(reads(stream))
        stream.close()
    finally:
        os.close(fd)
    return good


def _lack_a_file(problems: Iterable[Any]) -> bool:
    """Whether one of the rules that cannot be met is of a path, alone or in a condition."""
    return any(
        info.type == solv.Solver.SOLVER_RULE_PKG_NOTHING_PROVIDES_DEP and "/" in str(info.dep)
        for problem in problems
        for rule in problem.findallproblemrules()
        for info in rule.allinfos()
    )


def _nevra(one: Any) -> str:
    evr = one.evr if ":" in one.evr else f"0:{one.evr}"
    return f"{one.name}-{evr}.{one.arch}"
