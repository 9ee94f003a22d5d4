"""Asking the rpm of a tree: which packages are there, which files are theirs, what of it is changed.

rpm's database has many forms (Berkeley DB, ndb, SQLite), which change between versions: only the
tree's own rpm is sure to read the tree's own. It runs in a VE, on a copy of the database in the VE's
memory, so that looking changes nothing (a reader of Berkeley DB leaves files behind). rpm(8).
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from tmplbuild.core.tree import Tree
from tmplbuild.errors import StageError
from tmplbuild.managers import Installed, Place, Runs
from tmplbuild.managers.rpmnames import PUBKEY, source_of

PLACES = ("/usr/lib/sysimage/rpm", "/var/lib/rpm")
"""Where a tree's database may be."""
# rpm reads .rpmmacros in HOME, whatever its version: here one that ends with the VE. What is mounted in
# the VE (`filesystem` owns it) is not rpm's to change: the kernel would refuse.
HOME = "/run/tmplbuild-home"
PREPARE = f"mkdir -p {HOME} && echo '%_netsharedpath /proc:/sys:/dev' > {HOME}/.rpmmacros"
"""A shell's words that make HOME."""
ZYPP_AUTO = "/var/lib/zypp/AutoInstalled"
"""Names, one a line, of what libzypp was not asked for (zypp/target/SolvIdentFile.cc)."""
MARK_AUTO = f"""
if command -v apt-mark > /dev/null; then exec apt-mark auto "$@"; fi
if command -v dnf5 > /dev/null; then exec dnf5 --quiet mark dependency "$@"; fi
if command -v dnf > /dev/null; then exec dnf --quiet mark remove "$@"; fi
if command -v zypper > /dev/null; then
    mkdir -p /var/lib/zypp && printf '%s\\n' "$@" >> {ZYPP_AUTO}
fi
"""
"""A shell's words, followed by a word and names of packages. rpm calls all that it installs wanted; what was
only pulled in, apt-rpm keeps in rpm's database (since 2018: older branches have no apt-mark), and dnf and
libzypp in their own."""
_COPY = "/run/tmplbuild-rpm"
_ON_A_COPY = f"""
set -e
rm -rf {_COPY}
cp -r "$(rpm --eval '%{{_dbpath}}')/." {_COPY}
rpm --dbpath {_COPY} "$@"
rm -rf {_COPY}
"""
_PACKAGES = r"%{NAME}\t%|EPOCH?{%{EPOCH}:}|%{VERSION}-%{RELEASE}\t%{ARCH}\t%{SOURCERPM}\n"
_OWNERS = r"[%{=NAME}\t%{FILENAMES}\n]"
_FAILED = re.compile(rb"(?m)^.*(?:[Ee]rror in \S+ scriptlet|[Ss]criptlet failed|scriptlet failed).*$")
_ROW = re.compile(r"(?P<marks>[.S?M5DLUGTP]{8,9}|missing  )\s+(?:(?P<kind>[cdgalrm])\s+)?(?P<path>/.*)")
# A configuration file may be edited; what a log or a state file holds is nobody's to say.
_MAY_CHANGE = frozenset({"c", "g"})


@dataclass(frozen=True, slots=True)
class Changed:
    """A line of `rpm -V`: what differs as rpm marks it ("missing" for a file that is gone), and the
    kind of file: "c" for configuration, "g" for ghosts, "" for others."""

    path: str
    marks: str
    kind: str


def failure(said: bytes) -> str:
    """What in the output of rpm, or of what calls it, tells of a failure although the exit status was 0; ""
    if nothing does."""
    found = [match.group().decode("utf-8", "replace").strip() for match in _FAILED.finditer(said)]
    return "\n".join(dict.fromkeys(found))


def installed(place: Place) -> list[Installed]:
    """The packages in the tree's database, sorted; none where there is no database."""
    rows = (line.split("\t") for line in _ask(place, "-qa", "--qf", _PACKAGES).split("\n"))
    found = [
        Installed(name, version, arch, source_of(source))
        for name, version, arch, source in (row for row in rows if len(row) == 4)
        if name != PUBKEY
    ]
    return sorted(found, key=lambda one: (one.name, one.version, one.arch))


def owners(place: Place) -> dict[str, str]:
    """The package that each file is of, by its real path; of several the first by name."""
    from tmplbuild.managers.dpkg import RealPaths

    rows = [line.split("\t", 1) for line in _ask(place, "-qa", "--qf", _OWNERS).split("\n")]
    found: dict[str, str] = {}
    with place.tree() as tree:
        real = RealPaths(tree)
        for name, path in sorted(row for row in rows if len(row) == 2 and row[1].startswith("/")):
            found.setdefault(real(path), name)
    return found


def listed(tree: Tree) -> dict[str, str]:
    """What `owners` says, read from the database as files: for what is only to save time."""
    from tmplbuild.managers import rpmdb  # with SQLite and the reader of headers: most runs need neither

    return rpmdb.listed(tree)


def verify(ve: Runs, what: str, define: tuple[str, ...] = ()) -> None:
    """Make sure that dependencies are met, and that files are as their packages have them.

    Configuration files may differ, and ghosts may be missing. Raises StageError that lists what is wrong.
    """
    ve.run(("rpm", "-Va", "--nofiles"), what=f"{what}: check the dependencies")
    said = ve.run(("rpm", *define, "-Va", "--nodeps"), what=f"{what}: check the files", ok=range(256))
    wrong = [f"{one.marks or 'missing'} {one.path}" for one in changes(said) if one.kind not in _MAY_CHANGE]
    if wrong:
        raise StageError(
            f"{what}: {len(wrong)} files are not as their packages have them",
            why="\n".join(wrong[:20]),
            hint="rpm(8), VERIFY OPTIONS, tells what the letters mean",
        )


def changes(said: bytes) -> list[Changed]:
    """What `rpm -V` printed; lines of another form are left out."""
    matches = map(_ROW.fullmatch, said.decode("utf-8", "surrogateescape").splitlines())
    return [Changed(m["path"], m["marks"].strip(), m["kind"] or "") for m in matches if m]


def _ask(place: Place, *words: str) -> str:
    with place.tree() as tree:
        if not any(tree.is_dir(place) for place in PLACES):
            return ""
    with place.entered() as ve:
        said = ve.run(("sh", "-c", _ON_A_COPY, "rpm", *words), what="ask rpm for its packages")
    return said.decode("utf-8", "surrogateescape")
