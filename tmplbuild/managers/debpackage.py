"""A Debian package about to be unpacked: its prepared form with its control fields understood."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from tmplbuild.archives.deb import prepared as prepared_form
from tmplbuild.archives.deb.depends import Relation, parse
from tmplbuild.archives.deb.prepared import Entry, Prepared
from tmplbuild.archives.deb.version import satisfies
from tmplbuild.archives.model import Package
from tmplbuild.errors import VerifyError
from tmplbuild.managers.dpkg import stanzas


@dataclass(frozen=True, slots=True)
class DebPackage:
    """A package with its prepared form.

    `instance` is how dpkg's database names it: with the architecture for those that can be there
    for several (Multi-Arch: same), without it for all others.
    """

    name: str
    version: str
    arch: str
    instance: str
    fields: dict[str, str]
    control: str
    prepared: Prepared

    @property
    def entries(self) -> tuple[Entry, ...]:
        """The members of its data.tar."""
        return self.prepared.entries

    def script(self, name: str) -> bytes:
        """A control member's content, or nothing."""
        member = self.prepared.control.get(name)
        return member.content if member is not None else b""

    def conffiles(self) -> dict[str, bool]:
        """Its configuration files, as relative paths; True for one to be removed on upgrade."""
        return prepared_form.conffiles(self.prepared.control)

    def replaces(self, name: str, version: str) -> bool:
        """Whether it may take files of package `name` in `version` (Policy 7.6.1)."""
        return any(
            one.name == name and (not one.op or satisfies(version, one.op, one.version))
            for group in self._relations("replaces")
            for one in group
        )

    def needs(self, *fields: str) -> Iterable[tuple[str, ...]]:
        """Of each group of the relation fields ("depends", "pre-depends") the names that meet it."""
        for field in fields:
            for group in self._relations(field):
                yield tuple(one.name for one in group)

    def provides(self) -> set[str]:
        """Its own name and those that it provides."""
        return {self.name} | {group[0].name for group in self._relations("provides")}

    def _relations(self, field: str) -> Sequence[Sequence[Relation]]:
        try:
            return parse(self.fields.get(field, "").replace("\n", " "))
        except ValueError as error:
            raise VerifyError(
                "a package's control file is malformed", where=f"{self.name}: {field}", why=str(error)
            ) from error


def understand(package: Package, prepared: Prepared) -> DebPackage:
    """Join what the archive's index says with what the package holds.

    Raises VerifyError if the two differ in name, version or architecture.
    """
    text = prepared.control["control"].content.decode("utf-8", "surrogateescape")
    found = [fields for _, fields in stanzas(text, f"{package.name}: control")]
    fields = found[0] if found else {}
    inside = (fields.get("package", ""), fields.get("version", ""), fields.get("architecture", ""))
    if len(found) != 1 or inside != (package.name, package.version, package.arch):
        raise VerifyError(
            "a package is not the one that the archive's index describes",
            where=package.filename,
            why=f"it says that it is {' '.join(inside)}",
        )
    same = fields.get("multi-arch", "") == "same"
    return DebPackage(
        name=package.name,
        version=package.version,
        arch=package.arch,
        instance=f"{package.name}:{package.arch}" if same else package.name,
        fields=fields,
        control="\n".join(line for line in text.split("\n") if line.strip()),
        prepared=prepared,
    )
