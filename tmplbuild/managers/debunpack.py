"""Unpacking packages into a tree as dpkg does, all of them at once.

Directories and links come first, one package after the other, since it matters who makes them;
then the files, several packages at a time, each in a process (core/crew.py). What dpkg keeps, this
keeps: a directory that is there with its mode, a link to a directory where a package has a directory,
and the files of other packages that are not replaced. Diversions (dpkg-divert(1)) and overrides of owner
and mode (dpkg-statoverride(1)) that the tree's database holds are obeyed.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from tmplbuild.archives.deb.prepared import Entry, open_contents
from tmplbuild.core.crew import share
from tmplbuild.core.placing import Placer
from tmplbuild.core.tarread import Source
from tmplbuild.errors import StageError, StoreError, VerifyError
from tmplbuild.managers.debpackage import DebPackage
from tmplbuild.managers.debplan import Plan, conflict

_CHUNK = 1 << 20


@dataclass(frozen=True, slots=True)
class Installed:
    """What the tree holds already: whose each path is (relative, as the package spells it), and the
    version of each owner."""

    owner: Mapping[str, str] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Rules:
    """The administrator's and the maintainer scripts' wishes in the tree's database.

    `diversions`: path -> (where it goes instead, the package that keeps it; "" for none);
    `overrides`: path -> (uid, gid, mode). Paths are relative.
    """

    diversions: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    overrides: Mapping[str, tuple[int, int, int]] = field(default_factory=dict)


@dataclass(slots=True)
class Outcome:
    """What differs from plain unpacking: files taken from installed packages (owner -> paths), and
    configuration files that lie as .dpkg-new because the tree has another one (package -> paths)."""

    taken: dict[str, set[str]] = field(default_factory=dict)
    new_conffiles: dict[str, set[str]] = field(default_factory=dict)

    def add(self, other: Outcome) -> None:
        """Take in what another part of the packages brought."""
        for mine, theirs in ((self.taken, other.taken), (self.new_conffiles, other.new_conffiles)):
            for name, paths in theirs.items():
                mine.setdefault(name, set()).update(paths)


def unpack(
    root_fd: int,
    packages: Sequence[DebPackage],
    plan: Plan,
    *,
    rules: Rules | None = None,
    installed: Callable[[], Installed] = Installed,
    workers: int = 2,
) -> Outcome:
    """Unpack `packages` into the tree whose root is open as `root_fd`.

    Parameters:
        packages: in order; where two make the same directory, the first one's mode counts.
        plan: what `debplan.settle` said of them.
        installed: reads what the tree holds; called only if a file is there already.
        workers: processes.

    Raises StageError for a file that belongs to another package, VerifyError for a damaged
    prepared package, StoreError if the disk refuses.
    """
    job = _Job(root_fd, plan, rules or Rules(), installed)
    with Placer(root_fd) as placer:
        for index, package in enumerate(packages):
            job.folders_and_links(placer, index, package)
    # the largest first, so that no worker is left with one at the end
    order = sorted(range(len(packages)), key=lambda index: -packages[index].prepared.contents.size)
    whole = job.outcome
    for found in share(lambda index: job.files(index, packages[index]), order, workers):
        whole.add(found)
    return whole


class _Job:
    """One `unpack`. Of its second pass, each process has a copy."""

    def __init__(self, root_fd: int, plan: Plan, rules: Rules, installed: Callable[[], Installed]) -> None:
        self._root = root_fd
        self._plan = plan
        self._rules = rules
        self._read_installed = installed
        self._installed: Installed | None = None
        self.outcome = Outcome()

    # -- first pass ------------------------------------------------------------------------------

    def folders_and_links(self, placer: Placer, index: int, package: DebPackage) -> None:
        skipped = self._plan.skipped[index]
        for entry in package.entries:
            if entry.kind == "dir" and entry.path:
                with _told(package, entry):
                    self._folder(placer, package, entry)
            elif entry.kind == "symlink" and entry.path not in skipped:
                with _told(package, entry):
                    self._symlink(placer, package, entry)

    def _folder(self, placer: Placer, package: DebPackage, entry: Entry) -> None:
        try:
            placer.directory(entry.path)
        except FileExistsError:
            try:  # a directory, or a link that leads to one inside the tree
                placer.parent(entry.path)
            except NotADirectoryError:
                raise StageError(
                    f"package {package.name} has a directory where the tree has a file",
                    where=f"/{entry.path}",
                ) from None
            return
        uid, gid, mode = self._attributes(entry)
        placer.finish_directory(entry.path, mode=mode, uid=uid, gid=gid, mtime_ns=entry.mtime_ns)

    def _symlink(self, placer: Placer, package: DebPackage, entry: Entry) -> None:
        path = self._place(package, entry)
        uid, gid, _ = self._attributes(entry)
        try:
            placer.symlink(path, entry.link, uid=uid, gid=gid, mtime_ns=entry.mtime_ns)
        except FileExistsError:
            state = placer.lstat(path)
            if state is not None and stat.S_ISDIR(state.st_mode):
                return  # dpkg never replaces a directory by a link
            self._give_way(placer, path, package, entry)
            placer.symlink(path, entry.link, uid=uid, gid=gid, mtime_ns=entry.mtime_ns)

    # -- second pass -----------------------------------------------------------------------------

    def files(self, index: int, package: DebPackage) -> Outcome:
        self.outcome = Outcome()
        skipped = self._plan.skipped[index]
        conffiles = set(package.conffiles())
        with Placer(self._root) as placer:
            try:
                with open_contents(package.prepared) as stream:
                    for entry in package.entries:
                        if entry.kind in ("dir", "symlink"):
                            continue
                        content = _Content(stream, entry.size)
                        if entry.path not in skipped:
                            with _told(package, entry):
                                self._file(placer, package, entry, content, entry.path in conffiles)
                        content.skip()
                    if stream.read(1):  # the last read also checks the frame's checksum
                        raise EOFError("more contents than files")
            except EOFError as error:
                raise VerifyError(
                    "a prepared package is damaged",
                    where=str(package.prepared.path),
                    why=str(error),
                    hint="Remove the file; it will be made again.",
                ) from error
        return self.outcome

    def _file(
        self, placer: Placer, package: DebPackage, entry: Entry, content: _Content, conffile: bool
    ) -> None:
        path = self._place(package, entry)
        try:
            self._make(placer, path, package, entry, content)
        except FileExistsError:
            if conffile and self._owner(package, entry) is None:
                # not ours to overwrite: dpkg compares the two when it configures the package
                self.outcome.new_conffiles.setdefault(package.instance, set()).add(entry.path)
                path += ".dpkg-new"
                if placer.lstat(path) is not None:
                    placer.remove(path)
            else:
                self._give_way(placer, path, package, entry)
            self._make(placer, path, package, entry, content)

    def _make(self, placer: Placer, path: str, package: DebPackage, entry: Entry, content: _Content) -> None:
        uid, gid, mode = self._attributes(entry)
        if entry.kind == "file":
            placer.file(path, content, mode=mode, uid=uid, gid=gid, mtime_ns=entry.mtime_ns)
        elif entry.kind == "hardlink":
            source = self._rules.diversions.get(entry.link, ("", package.name))
            placer.hardlink(path, entry.link if source[1] == package.name else source[0])
        elif entry.kind == "fifo":
            placer.node(
                path, kind=stat.S_IFIFO, device=(0, 0), mode=mode, uid=uid, gid=gid, mtime_ns=entry.mtime_ns
            )
        # device nodes: the container's /dev is made when it starts, and none lies in a template

    # -- rules -----------------------------------------------------------------------------------

    def _place(self, package: DebPackage, entry: Entry) -> str:
        to, keeper = self._rules.diversions.get(entry.path, (entry.path, package.name))
        return entry.path if keeper == package.name else to

    def _attributes(self, entry: Entry) -> tuple[int, int, int]:
        return self._rules.overrides.get(entry.path, (entry.uid, entry.gid, entry.mode))

    def _owner(self, package: DebPackage, entry: Entry) -> str | None:
        """The installed package that has the entry's path in its list."""
        if self._installed is None:
            self._installed = self._read_installed()
        owner = self._installed.owner.get(entry.path)
        return None if owner == package.instance else owner

    def _give_way(self, placer: Placer, path: str, package: DebPackage, entry: Entry) -> None:
        """Take away what stands where `entry` goes, if the package may."""
        owner = self._owner(package, entry)
        if owner is not None:
            assert self._installed is not None
            name = owner.partition(":")[0]
            if not package.replaces(name, self._installed.versions[owner]):
                raise conflict(entry.path, package, name)
            self.outcome.taken.setdefault(owner, set()).add(entry.path)
        try:
            placer.remove(path)
        except OSError as error:
            raise StageError(
                f"package {package.name} has a file where the tree has a directory", where=f"/{path}"
            ) from error


class _Content:
    """The content of one file out of the package's stream; iterating over it reads it once."""

    def __init__(self, stream: Source, size: int) -> None:
        self._stream = stream
        self._left = size

    def __iter__(self) -> _Content:
        return self

    def __next__(self) -> bytes:
        if not self._left:
            raise StopIteration
        data = self._stream.read(min(self._left, _CHUNK))
        if not data:
            raise EOFError("it ends within a file")
        self._left -= len(data)
        return data

    def skip(self) -> None:
        """Read what is left, so that the stream stands at the next file."""
        for _ in self:
            pass


class _told:
    """Turns the system's refusal within the block into an error that names package and path."""

    def __init__(self, package: DebPackage, entry: Entry) -> None:
        self._package = package
        self._entry = entry

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, OSError) and error.errno is not None:
            raise StoreError(
                f"package {self._package.name} cannot be unpacked",
                where=f"/{self._entry.path}",
                why=os.strerror(error.errno),
            ) from error
