"""Reading dpkg's database of a tree: which packages are there, which files are theirs.

Nothing of dpkg is run, and nothing is written. The layout is that of dpkg(1) and deb-md5sums(5):
`status` (one deb822 stanza a package), `info/PACKAGE[:ARCH].list` and `.md5sums`, `diversions`.
A tree without a database has no packages; a database that cannot be parsed is a StageError that
names the file and the line.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol

from tmplbuild.errors import StageError

ADMIN = "/var/lib/dpkg"
STATUS = f"{ADMIN}/status"
INFO = f"{ADMIN}/info"
DIVERSIONS = f"{ADMIN}/diversions"

_FIELD = re.compile(r"([!-,./0-9;-~][!-9;-~]*):[ \t]*(.*)")  # field names as in deb822(5)
_MD5 = re.compile(r"[0-9a-f]{32}")
_GONE = ("not-installed", "config-files")
_MAX_LINKS = 40  # as the kernel's own limit (path_resolution(7))


class Links(Protocol):
    """What following links needs of a tree."""

    def is_link(self, path: str) -> bool: ...
    def readlink(self, path: str) -> str: ...


class Files(Links, Protocol):
    """What is needed of a tree: `tmplbuild.core.tree.Tree` has it, and so has a check's view."""

    def listdir(self, path: str) -> list[str]: ...
    def read_bytes(self, path: str) -> bytes: ...
    def read_text(self, path: str) -> str: ...
    def is_file(self, path: str) -> bool: ...


@dataclass(frozen=True, slots=True)
class Conffile:
    """A configuration file as the package delivered it. `md5` is empty while it is not set up yet;
    `obsolete`: the installed version of the package has it no more."""

    path: str
    md5: str
    obsolete: bool = False


@dataclass(frozen=True, slots=True)
class Installed:
    """A package in dpkg's status file.

    `status` is the whole field ("install ok installed"); `source` the source package's name,
    `source_version` its version; `installed_size_kib` what the package says it takes (0: not said).
    """

    name: str
    version: str
    arch: str
    status: str
    source: str
    source_version: str
    essential: bool = False
    priority: str = ""
    multi_arch: str = ""
    installed_size_kib: int = 0
    conffiles: tuple[Conffile, ...] = ()

    @property
    def wanted(self) -> str:
        """What the administrator wants: install, hold, deinstall, purge or unknown."""
        return self.status.split()[0]

    @property
    def error(self) -> str:
        """ "ok", or "reinstreq" for a package that must be installed again."""
        return self.status.split()[1]

    @property
    def state(self) -> str:
        """installed, config-files, unpacked, half-configured, half-installed, triggers-..."""
        return self.status.split()[2]


@dataclass(frozen=True, slots=True)
class Owned:
    """Whose a file is. `md5` (hex) is what the package delivered, None where dpkg does not know;
    a conffile may differ from it rightly."""

    package: str
    md5: str | None
    conffile: bool = False


@dataclass(frozen=True, slots=True)
class Diversion:
    """Files of all packages but `package` that are called `path` lie at `to` (dpkg-divert(1)).
    `package` is empty for a diversion that an administrator made."""

    path: str
    to: str
    package: str


def packages(files: Files) -> list[Installed]:
    """Every package that the status file names, sorted by name and architecture.

    Raises StageError for a database that cannot be parsed.
    """
    if not files.is_file(STATUS):
        return []
    found = [_package(stanza, line) for line, stanza in stanzas(_text(files, STATUS), STATUS)]
    return sorted(found, key=lambda one: (one.name, one.arch))


def installed(files: Files) -> list[Installed]:
    """The packages whose files are in the tree (whatever became of their set-up), sorted.

    Raises StageError for a database that cannot be parsed.
    """
    return [one for one in packages(files) if one.state not in _GONE]


def diversions(files: Files) -> list[Diversion]:
    """The diversions in force. Raises StageError for a file that cannot be parsed."""
    if not files.is_file(DIVERSIONS):
        return []
    lines = _lines(files, DIVERSIONS)
    if len(lines) % 3:
        raise _broken(DIVERSIONS, len(lines), "three lines make a diversion; the last one is not whole")
    threes = zip(lines[0::3], lines[1::3], lines[2::3], strict=True)
    return [Diversion(path, to, "" if owner == ":" else owner) for path, to, owner in threes]


def owned_files(files: Files) -> dict[str, Owned]:
    """Every file and link that a package owns, by its path in the tree, sorted; directories are left out.

    Paths are the real ones: where /bin is a link to usr/bin, /bin/ls of a package is /usr/bin/ls
    here, and a diverted file stands under its new name. A file that a package delivered but that
    is gone from the tree is listed if its md5 is known. Of packages that share a file
    (Multi-Arch: same) the first by name is the owner.

    Raises StageError for a database that cannot be parsed.
    """
    real = RealPaths(files)
    moved = {one.path: one for one in diversions(files)}
    conffiles = {
        (package.name, file.path): file.md5 or None
        for package in installed(files)
        for file in package.conffiles
    }
    found: dict[str, Owned] = {}
    folders: set[str] = set()
    for stem, name in _info(files):
        sums = dict(_md5sums(files, f"{INFO}/{stem}.md5sums"))
        for path in _listed(files, f"{INFO}/{stem}.list"):
            folders.add(path.rpartition("/")[0])
            is_conffile = (name, path) in conffiles
            md5 = conffiles[name, path] if is_conffile else sums.get(path)
            place = real(_diverted(path, name, moved))
            if place in found and (found[place].md5 or not md5):
                continue
            if md5 or _is_there(files, place):
                found[place] = Owned(name, md5, is_conffile)
    # A link that packages know as a directory (/bin of a merged tree) is none of theirs.
    known_as_folders = {real(folder) for folder in folders}
    return {path: found[path] for path in sorted(found) if found[path].md5 or path not in known_as_folders}


def listed_paths(files: Files) -> dict[str, str]:
    """The package (the first by name) that lists each path, by the real one, as in `owned_files`.

    Cheaper than that, since nothing is looked up but the directories: what is gone from the tree is
    listed as well, and so are directories with nothing of a package in them. What the database itself
    keeps of a package does not count: its files bear the time of the build, not the package's.

    Raises StageError for a database that cannot be parsed.
    """
    real = RealPaths(files)
    moved = {one.path: one for one in diversions(files)}
    found: dict[str, str] = {}
    folders: set[str] = set()
    for stem, name in _info(files):
        for path in _listed(files, f"{INFO}/{stem}.list"):
            folders.add(path.rpartition("/")[0])
            found.setdefault(real(_diverted(path, name, moved)), name)
    for folder in folders:
        found.pop(real(folder), None)
    return found


class RealPaths:
    """Where a path lies once links among its directories are followed: `real("/bin/ls")`.

    The last name itself is not followed. Directories are looked at once and remembered, so a tree
    must not change while one of these is in use. A chain of links without end stays unresolved.
    """

    def __init__(self, links: Links) -> None:
        self._links = links
        self._known: dict[str, str] = {"": ""}

    def __call__(self, path: str) -> str:
        folder, _, name = path.rstrip("/").rpartition("/")
        if name in (".", ".."):
            return self.folder(f"{folder}/{name}") or "/"
        return f"{self.folder(folder)}/{name}"

    def folder(self, path: str, links_left: int = _MAX_LINKS) -> str:
        """The real place of a directory, its own name followed as well; "" is the root."""
        if path in self._known:
            return self._known[path]
        here, seen = "", ""
        for part in path.split("/"):
            if part in ("", "."):
                continue
            seen = f"{seen}/{part}"
            known = self._known.get(seen)
            if known is None:
                known = here.rpartition("/")[0] if part == ".." else self._step(f"{here}/{part}", links_left)
                self._known[seen] = known
            here = known
        return here

    def _step(self, here: str, links_left: int) -> str:
        try:
            if not links_left or not self._links.is_link(here):
                return here
        except OSError:  # a name that no file system takes: then it is no link
            return here
        target = self._links.readlink(here)
        base = "" if target.startswith("/") else here.rpartition("/")[0]
        return self.folder(f"{base}/{target}", links_left - 1)


def stanzas(text: str, where: str) -> Iterator[tuple[int, dict[str, str]]]:
    """The stanzas of a deb822(5) text, each with the number of its first line.

    Field names come in lower case; the lines of a long value are joined by newlines, their
    leading space kept. Raises StageError with `where` and the line.
    """
    stanza: dict[str, str] = {}
    start, name = 1, ""
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            if stanza:
                yield start, stanza
            stanza, name = {}, ""
        elif line[0] in " \t":
            if not name:
                raise _broken(where, number, "a continuation line that continues nothing")
            stanza[name] += "\n" + line
        else:
            match = _FIELD.fullmatch(line)
            if match is None:
                raise _broken(where, number, f"not a field: {line[:80]!r}")
            if not stanza:
                start = number
            name = match[1].lower()
            stanza[name] = match[2].rstrip()
    if stanza:
        yield start, stanza


def _package(stanza: dict[str, str], line: int) -> Installed:
    name, status = stanza.get("package", ""), stanza.get("status", "")
    if not name or len(status.split()) != 3:
        raise _broken(STATUS, line, f"a stanza without Package or with the Status {status!r}")
    version = stanza.get("version", "")
    source, _, rest = stanza.get("source", name).partition(" ")
    size = stanza.get("installed-size", "")
    return Installed(
        name=name,
        version=version,
        arch=stanza.get("architecture", ""),
        status=status,
        source=source,
        source_version=rest.strip("() ") or version,
        essential=stanza.get("essential", "") == "yes",
        priority=stanza.get("priority", ""),
        multi_arch=stanza.get("multi-arch", ""),
        installed_size_kib=int(size) if size.isdecimal() else 0,
        conffiles=tuple(_conffiles(stanza.get("conffiles", ""), line)),
    )


def _conffiles(value: str, line: int) -> Iterator[Conffile]:
    for entry in value.split("\n"):
        # The flags stand at the end: "obsolete", "remove-on-upgrade" (dpkg's parse.c).
        match = re.fullmatch(r" (/.*?) (\S+)((?: (?:obsolete|remove-on-upgrade))*)", entry)
        if match:
            md5 = match[2] if _MD5.fullmatch(match[2]) else ""
            yield Conffile(match[1], md5, "obsolete" in match[3])
        elif entry.strip():
            raise _broken(STATUS, line, f"in Conffiles: {entry[:80]!r}")


def _info(files: Files) -> Iterator[tuple[str, str]]:
    """(stem of the info files, package) of each file list: libc6:amd64 is of libc6."""
    for name in sorted(files.listdir(INFO)):
        if name.endswith(".list"):
            stem = name.removesuffix(".list")
            yield stem, stem.partition(":")[0]


def _diverted(path: str, package: str, moved: Mapping[str, Diversion]) -> str:
    diversion = moved.get(path)
    return diversion.to if diversion and diversion.package != package else path


def _is_there(files: Files, path: str) -> bool:
    try:
        return files.is_link(path) or files.is_file(path)
    except OSError:  # a name that no file system takes: then it is not there
        return False


def _listed(files: Files, path: str) -> Iterable[str]:
    for number, line in enumerate(_lines(files, path), 1):
        if not line.startswith("/"):
            raise _broken(path, number, f"not an absolute path: {line[:80]!r}")
        if line != "/.":
            yield line


def _md5sums(files: Files, path: str) -> Iterator[tuple[str, str]]:
    if not files.is_file(path):
        return
    for number, line in enumerate(_lines(files, path), 1):
        escaped = line.startswith("\\")  # md5sum(1) marks a line whose name it had to escape
        md5, space, name = line.removeprefix("\\").partition("  ")
        if not space or not _MD5.fullmatch(md5):
            raise _broken(path, number, f"not a checksum and a name: {line[:80]!r}")
        yield "/" + (name.replace("\\\\", "\\") if escaped else name).removeprefix("./"), md5


def _lines(files: Files, path: str) -> list[str]:
    return [line for line in _text(files, path).split("\n") if line]


def _text(files: Files, path: str) -> str:
    try:
        return files.read_text(path)
    except OSError as error:
        raise StageError("dpkg's database cannot be read", where=path, why=str(error)) from error


def _broken(path: str, line: int, why: str) -> StageError:
    return StageError(
        "dpkg's database is damaged",
        where=f"{path}:{line}",
        why=why,
        hint="repair it in the tree (dpkg keeps older copies as status-old) or build the template anew",
    )
