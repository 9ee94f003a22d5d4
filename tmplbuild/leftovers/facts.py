"""What a tree's package databases say: which files are configuration, which files have an owner.

Read are dpkg's and ucf's, apk's, pacman's and Slackware's databases; nothing is run. rpm's is read
by rpm alone: `from_rpm` takes the output of `RPM_QUERY`, run in the tree.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from tmplbuild.core.tree import Tree
from tmplbuild.managers import apkdb, dpkg, pacmandb, pkgtools

UCF_HASHES = "/var/lib/ucf/hashfile"
UCF_OWNERS = "/var/lib/ucf/registry"

_RPM_FORMAT = (
    r"[%{=NAME}\t%{=EPOCH}:%{=VERSION}-%{=RELEASE}\t%{FILEFLAGS:fflags}\t%{FILEMD5S}\t%{FILENAMES}\n]"
)
RPM_QUERY = ("rpm", "-qa", "--qf", _RPM_FORMAT)
"""Prints a line a file: package, version, flags ("c" is %config), digest, path.
The tag is FILEMD5S for rpm 4.0 as well, whatever the digest is today. rpm(8), QUERY OPTIONS."""

_ALGORITHMS = {32: "md5", 40: "sha1", 64: "sha256", 96: "sha384", 128: "sha512"}  # by hex digits


@dataclass(frozen=True, slots=True)
class Config:
    """A configuration file as its package delivered it. `digest` is "ALGORITHM:HEX", "" if not known;
    `obsolete`: the installed version of the package has it no more."""

    package: str
    version: str = ""
    digest: str = ""
    obsolete: bool = False

    def is_pristine(self, content: bytes) -> bool | None:
        """Whether the content is the package's own; None when its digest is not known."""
        algorithm, _, digest = self.digest.partition(":")
        if not digest:
            return None
        return hashlib.new(algorithm, content, usedforsecurity=False).hexdigest() == digest


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of a tree's files: `configs` by path, `owned` paths of packages' files, `versions`
    of the packages by name."""

    configs: Mapping[str, Config] = field(default_factory=dict)
    owned: frozenset[str] = frozenset()
    versions: Mapping[str, str] = field(default_factory=dict)


def read(tree: Tree, *, owners: bool = True) -> Facts:
    """The facts of every database that the tree has, rpm's left out.

    Parameters:
        owners: whether `owned` is wanted, which takes most of the time for dpkg's.

    Raises StageError for a database that cannot be parsed.
    """
    return joined(_dpkg(tree, owners), _apk(tree), _pacman(tree), _slackware(tree))


def joined(*facts: Facts) -> Facts:
    """Several databases' facts as one; the first that knows a file counts."""
    configs: dict[str, Config] = {}
    versions: dict[str, str] = {}
    for one in reversed(facts):
        configs |= one.configs
        versions |= one.versions
    return Facts(configs, frozenset().union(*(one.owned for one in facts)), versions)


def from_rpm(output: bytes) -> Facts:
    """The facts that `RPM_QUERY` printed. Lines of another form (names with newlines) are left out."""
    configs, owned, versions = {}, set(), {}
    for line in output.decode("utf-8", "surrogateescape").split("\n"):
        fields = line.split("\t", 4)
        if len(fields) == 5 and fields[4].startswith("/"):
            name, version, flags, digest, path = fields
            version = version.removeprefix("(none):")
            owned.add(path)
            versions[name] = version
            if "c" in flags:
                configs[path] = Config(name, version, _digest(digest))
    return Facts(configs, frozenset(owned), versions)


def _digest(hexadecimal: str) -> str:
    algorithm = _ALGORITHMS.get(len(hexadecimal))
    return f"{algorithm}:{hexadecimal}" if algorithm and re.fullmatch("[0-9a-f]+", hexadecimal) else ""


# -- dpkg and ucf ---------------------------------------------------------------------------------


def _dpkg(tree: Tree, owners: bool) -> Facts:
    packages = dpkg.packages(tree)
    if not packages:
        return Facts()
    versions = {one.name: one.version for one in packages}
    configs = dict(_ucf(tree, versions))
    for package in packages:
        for one in package.conffiles:
            digest = f"md5:{one.md5}" if one.md5 else ""
            configs[one.path] = Config(package.name, package.version, digest, one.obsolete)
    owned = frozenset(dpkg.owned_files(tree)) if owners else frozenset()
    return Facts(configs, owned, versions)


def _ucf(tree: Tree, versions: Mapping[str, str]) -> Iterator[tuple[str, Config]]:
    """ucf(1): `hashfile` has "MD5  PATH" of the version installed last, `registry` "PACKAGE PATH"."""
    owners = {path: package for package, path in _pairs(tree, UCF_OWNERS)}
    for md5, path in _pairs(tree, UCF_HASHES):
        package = owners.get(path, "")
        yield path, Config(package, versions.get(package, ""), _digest(md5))


def _pairs(tree: Tree, path: str) -> Iterator[tuple[str, str]]:
    for line in _lines(tree, path):
        words = line.split(maxsplit=1)
        if len(words) == 2 and words[1].startswith("/"):
            yield words[0].rstrip(":"), words[1].rstrip()


# -- apk, pacman, Slackware -----------------------------------------------------------------------


def _apk(tree: Tree) -> Facts:
    """Everything below /etc is protected, apk-protected_paths(5)."""
    configs: dict[str, Config] = {}
    owned: set[str] = set()
    versions: dict[str, str] = {}
    for package in apkdb.packages(tree):
        versions[package.name] = package.version
        owned |= package.files.keys()
        for path, sha1 in package.files.items():
            if path.startswith("/etc/"):
                configs[path] = Config(package.name, package.version, _digest(sha1))
    return Facts(configs, frozenset(owned), versions)


def _pacman(tree: Tree) -> Facts:
    configs: dict[str, Config] = {}
    owned: set[str] = set()
    versions: dict[str, str] = {}
    for package in pacmandb.packages(tree):
        versions[package.name] = package.version
        owned.update(package.files)
        for path, md5 in package.backup.items():
            configs[path] = Config(package.name, package.version, _digest(md5))
    return Facts(configs, frozenset(owned), versions)


def _slackware(tree: Tree) -> Facts:
    configs: dict[str, Config] = {}
    owned: set[str] = set()
    versions: dict[str, str] = {}
    for package in pkgtools.packages(tree):
        versions[package.name] = package.version
        owned.update(package.files)
        for path in package.configs:
            configs[path] = Config(package.name, package.version)
    return Facts(configs, frozenset(owned), versions)


def _lines(tree: Tree, path: str) -> list[str]:
    return [line for line in tree.read_text(path).split("\n") if line] if tree.is_file(path) else []
