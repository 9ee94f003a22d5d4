"""Dependencies between packages as headers state them, and what rpm itself provides."""

from __future__ import annotations

from dataclasses import dataclass

from tmplbuild.archives.aptrpm import evr, setversion
from tmplbuild.archives.aptrpm.header import Header

_MISSINGOK = 1 << 19
_SIGNS = {evr.LESS: "<", evr.GREATER: ">", evr.EQUAL: "="}
_SHOWN_SET = 24

# What ALT's rpm 4.13 of p10, p11 and Sisyphus can do (`rpm --showrc`): a package that needs anything
# else cannot be installed by the rpm in the tree.
_RPMLIB = {
    "BuiltinLuaScripts": "4.2.2-1",
    "CaretInVersions": "4.15.0-1",
    "CompressedFileNames": "3.0.4-1",
    "ConcurrentAccess": "4.1-1",
    "ExplicitPackageProvide": "4.0-1",
    "FileCaps": "4.6.1-1",
    "FileDigests": "4.6.0-1",
    "HeaderLoadSortsTags": "4.0.1-1",
    "LargeFiles": "4.12.0-1",
    "PartialHardlinkSets": "4.0.4-1",
    "PayloadFilesHavePrefix": "4.0-1",
    "PayloadIsBzip2": "3.0.5-1",
    "PayloadIsLzma": "4.4.2-1",
    "PayloadIsXz": "5.2-1",
    "PayloadIsZstd": "5.4.18-1",
    "PosttransFiletriggers": "4.0.4",
    "RichDependencies": "4.12.0-1",
    "ScriptletExpansion": "4.9.0-1",
    "ScriptletInterpreterArgs": "4.0.3-1",
    "SetVersions": "4.0.4-alt98",
    "TildeInVersions": "4.10.0-1",
    "VersionedDependencies": "3.0.3-1",
}


@dataclass(frozen=True, slots=True)
class Dep:
    """One dependency, or one thing provided: a name (a capability, a package's, a path) and how its
    version is meant. `flags` are RPMSENSE_* bits, as the header has them."""

    name: str
    flags: int = 0
    version: str = ""

    def __str__(self) -> str:
        signs = "".join(sign for bit, sign in _SIGNS.items() if self.flags & bit)
        if not signs or not self.version:
            return self.name
        version = self.version
        if setversion.is_set(version) and len(version) > _SHOWN_SET:
            version = f"{version[:_SHOWN_SET]}..."
        return f"{self.name} {signs} {version}"

    @property
    def of_rpm(self) -> bool:
        """Whether it asks rpm itself for a feature."""
        return self.name.startswith("rpmlib(")

    @property
    def optional(self) -> bool:
        """Whether rpm installs the package without it (RPMSENSE_MISSINGOK)."""
        return bool(self.flags & _MISSINGOK)

    def met_by(self, provide: Dep) -> bool:
        """Whether `provide` satisfies it."""
        return self.name == provide.name and evr.overlaps(
            provide.version, provide.flags, self.version, self.flags
        )

    def met_by_rpm(self) -> bool:
        """Whether ALT's rpm has the feature that it asks for."""
        feature = self.name.removeprefix("rpmlib(").removesuffix(")")
        version = _RPMLIB.get(feature)
        return version is not None and evr.overlaps(version, evr.EQUAL, self.version, self.flags)


def read(header: Header, names: int, flags: int, versions: int) -> tuple[Dep, ...]:
    """The dependencies in three parallel tags. Raises VerifyError if they do not fit each other."""
    found = header.texts(names)
    if not found:
        return ()
    # rpm before 3.0.2 wrote no flags and versions where none was versioned
    bits = header.numbers(flags) or (0,) * len(found)
    texts = header.texts(versions) or [""] * len(found)
    if not len(found) == len(bits) == len(texts):
        raise header.bad(f"tags {names}, {flags} and {versions} do not fit each other")
    return tuple(map(Dep, found, bits, texts))
