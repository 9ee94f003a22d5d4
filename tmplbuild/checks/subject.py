"""What a rule is given: the view, what the caller knows of the build, and facts worked out once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

from tmplbuild.checks import services
from tmplbuild.checks.view import Entry, View
from tmplbuild.errors import StageError
from tmplbuild.managers import dpkg
from tmplbuild.recipes.additions import User

Family = Literal[
    "dpkg", "rpm", "alt", "pacman", "apk", "slackware", "systemd", "sysvinit", "openrc", "tarball"
]
"""What a tree may belong to: what of it is there to be judged."""

SMALL = 256 << 10
"""Bytes up to which a file counts as small enough to be searched."""

_SIGNS: dict[Family, tuple[str, ...]] = {
    "dpkg": ("/var/lib/dpkg/status",),
    "rpm": ("/var/lib/rpm", "/usr/lib/sysimage/rpm", "/usr/share/rpm/rpmdb.sqlite"),
    "pacman": ("/var/lib/pacman",),
    "apk": ("/lib/apk/db", "/usr/lib/apk/db", "/etc/apk"),
    "slackware": ("/var/lib/pkgtools/packages", "/var/log/packages"),
    "systemd": ("/lib/systemd/systemd", "/usr/lib/systemd/systemd"),
    "sysvinit": ("/etc/inittab",),
    "openrc": ("/sbin/openrc", "/sbin/openrc-run"),
}


@dataclass(frozen=True, slots=True)
class Account:
    """A line of passwd(5): its number and fields."""

    line: int
    name: str
    password: str
    uid: int
    gid: int
    home: str
    shell: str


@dataclass(frozen=True)
class Subject:
    """A tree to be judged.

    Parameters:
        view: its files.
        build_urls: addresses used to build it, which must not be named in it.
        host_name: the build machine's name, which must not be named either ("" for none).
        users: the accounts that the recipe asks for, by name.
    """

    view: View
    build_urls: tuple[str, ...] = ()
    host_name: str = ""
    users: Mapping[str, User] = field(default_factory=dict)

    @cached_property
    def families(self) -> frozenset[Family]:
        """What the tree belongs to, by the signs that it carries."""
        found = {family for family, paths in _SIGNS.items() if any(map(self.view.exists, paths))}
        if "rpm" in found and self.view.exists("/etc/altlinux-release"):
            found.add("alt")
        if self.view.packed:
            found.add("tarball")
        return frozenset(found)

    @cached_property
    def packages(self) -> list[dpkg.Installed]:
        """dpkg's packages. Raises StageError for a broken database, as the next two do."""
        return dpkg.packages(self.view)

    @cached_property
    def package_names(self) -> frozenset[str]:
        """The names of the packages whose files are there."""
        return frozenset(package.name for package in dpkg.installed(self.view))

    @cached_property
    def owned(self) -> Mapping[str, dpkg.Owned]:
        """Whose each file is, by dpkg."""
        return dpkg.owned_files(self.view)

    @cached_property
    def services(self) -> Mapping[str, str]:
        """Each service that could be started, and whether a boot does (`services.states`)."""
        return services.states(self.view)

    @cached_property
    def accounts(self) -> list[Account]:
        """The accounts of /etc/passwd; lines that are none are left out."""
        return list(_accounts(self.view.lines("/etc/passwd")))

    @cached_property
    def hashes(self) -> list[tuple[str, str, str]]:
        """(file, account, password field) of each shadow file: shadow(5), and tcb(5) of ALT and Owl."""
        files = ["/etc/shadow", *(entry.path for entry in self.view.glob("/etc/tcb/*/shadow"))]
        rows = [(path, line.split(":")) for path in files for line in self.view.lines(path)]
        return [(path, fields[0], fields[1]) for path, fields in rows if len(fields) > 2]

    @cached_property
    def shipped(self) -> frozenset[str]:
        """The files that packages brought, as far as we can tell (dpkg); empty for a broken database."""
        try:
            return frozenset(self.owned) if "dpkg" in self.families else frozenset()
        except StageError:
            return frozenset()

    def as_shipped(self, entry: Entry) -> bool:
        """Whether a file is, or is a copy of, what some package brought (by dpkg's digests)."""
        return self.view.md5(entry) in self._digests

    @cached_property
    def _digests(self) -> frozenset[str]:
        return frozenset(self.owned[path].md5 or "" for path in self.shipped)

    def text_files(self, *tops: str) -> Iterator[tuple[Entry, bytes]]:
        """The small text files below `tops`, with their contents (no zero byte: no binary file)."""
        for top in tops:
            for entry in self.view.below(top):
                if entry.kind == "file" and 0 < entry.size <= SMALL:
                    content = self.view.read(entry.path, SMALL)
                    if b"\0" not in content:
                        yield entry, content


def _accounts(lines: list[str]) -> Iterator[Account]:
    for number, line in enumerate(lines, 1):
        fields = line.split(":")
        if len(fields) == 7 and fields[2].isdecimal() and fields[3].isdecimal():
            name, password, uid, gid, _, home, shell = fields
            yield Account(number, name, password, int(uid), int(gid), home, shell)
