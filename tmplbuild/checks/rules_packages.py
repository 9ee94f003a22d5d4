"""Rules: dpkg's database agrees with the tree."""

from __future__ import annotations

import re

from tmplbuild.checks.rule import Faults, rule
from tmplbuild.checks.subject import Subject
from tmplbuild.errors import StageError
from tmplbuild.managers import dpkg

PROGRAM_ROOTS = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32")
# Made by maintainer scripts and triggers, and owned by nobody.
GENERATED = re.compile(
    r"/usr/local/.*|.*/__pycache__(/.*)?|.*\.py[co]"
    r"|/usr/lib/locale/(locale-archive|[^/]+/.*)|/usr/lib(32|64)?/([^/]+/)?gconv/gconv-modules\.cache"
    r"|/usr/lib/([^/]+/)?(gio/modules/giomodule|gdk-pixbuf-[^/]+/[^/]+/loaders|gtk-[^/]+/[^/]+/immodules)\.cache"
    r"|/usr/lib/(ssl|jvm)/.*|(/usr)?/lib/udev/hwdb\.bin|/usr/bin/touch|/usr/lib/systemd/catalog/database"
    r"|/usr/share/(mime/.*|info/dir(\.old)?|applications/mime(info\.cache|apps\.list)|glib-2\.0/schemas/gschemas\.compiled)"
    r"|/usr/share/icons/[^/]+/(icon-theme\.cache|\.icon-theme\.cache)|/usr/share/fonts/.*(\.uuid|fonts\.(dir|scale|alias))"
    r"|/usr/share/vim/(vim\d+|addons)/doc/tags(-\w\w)?|/usr/share/(emacs|sgml|xml|perl|texmf|texlive)/.*"
    r"|/usr/share/dict/(words|README)(\.pre-dictionaries-common)?|/usr/(games|src|include)/.*"
    r"|/usr/share/(ca-certificates|keyrings)/local/.*|/usr/share/base-passwd/.*|/usr/share/python3/runtime\.d/.*"
    r"|/usr/share/man(/.*)?"
    r"|(/usr)?/lib(32|64|x32)?(/[^/]+)?/ld-linux[^/]*\.so\.[0-9]|/lib/modules/.*|/usr/lib/modules/.*"
    r"|/usr/share/debconf/.*|/usr/lib/dbus-1\.0/.*\.service|.*\.dpkg-divert.*|/usr/lib/ispell/.*|/usr/lib/aspell/.*|/usr/lib/hunspell/.*"
    r"|/usr/sbin/policy-rc\.d"  # it has a rule of its own
)
# Left out by those who want a small system (dpkg's path-exclude), or taken by the recipe's strip.
OFTEN_LEFT_OUT = re.compile(
    r"/usr/share/(doc|man|info|locale|groff|lintian|linda|gnome/help|omf|help|doc-base|bug)/.*"
    r"|/usr/lib/modules/.*|/lib/modules/.*|/boot/.*"
)


@rule(
    "dpkg-database-broken",
    "dpkg's database can be read",
    why="Without it no package can be installed, removed or checked.",
    fix="Restore the file from dpkg's older copies, or build the template anew.",
    families=("dpkg",),
)
def dpkg_database_broken(subject: Subject) -> Faults:
    try:
        empty = not subject.packages
        _ = subject.owned
    except StageError as error:
        path, _, line = error.where.rpartition(":")
        yield path or error.where, f"line {line}: {error.why}" if line.isdecimal() else error.why
        return
    if empty:
        yield dpkg.STATUS, "it names no packages"


@rule(
    "package-not-configured",
    "Every package is set up",
    why="A package that is unpacked but not set up does not work, and stops the next run of apt.",
    fix="dpkg --configure -a in the tree, and mend what made it fail.",
    families=("dpkg",),
)
def package_not_configured(subject: Subject) -> Faults:
    for package in subject.packages:
        if package.state not in ("installed", "config-files", "not-installed") or package.error != "ok":
            yield dpkg.STATUS, f"{package.name} {package.version} is {package.state} ({package.status})"


@rule(
    "package-remains",
    "No packages of which only configuration is left",
    why="Their files in /etc belong to nothing.",
    fix="dpkg --purge NAME.",
    severity="warning",
    families=("dpkg",),
)
def package_remains(subject: Subject) -> Faults:
    for package in subject.packages:
        if package.state == "config-files":
            yield dpkg.STATUS, f"{package.name} is removed but not purged"


@rule(
    "package-held",
    "No package is on hold",
    why="A hold that the builder set keeps security fixes from every container.",
    fix="apt-mark unhold NAME, or waive the rule with the reason.",
    severity="warning",
    families=("dpkg",),
)
def package_held(subject: Subject) -> Faults:
    for package in subject.packages:
        if package.wanted == "hold":
            yield dpkg.STATUS, f"{package.name} is on hold"


@rule(
    "modified-package-file",
    "Files of packages are as the packages brought them",
    why="A changed program or library is lost at the next upgrade, and may be an attack.",
    fix="Reinstall the package; put changes into configuration, or divert the file.",
    families=("dpkg",),
)
def modified_package_file(subject: Subject) -> Faults:
    for path, owned in subject.owned.items():
        entry = subject.view.lstat(path)
        if owned.md5 and not owned.conffile and entry is not None:
            if entry.kind != "file":
                yield path, f"a {entry.kind}, where {owned.package} brought a file"
            elif subject.view.md5(entry) != owned.md5:
                yield path, f"it is not what {owned.package} brought"


@rule(
    "missing-package-file",
    "No files of packages are missing",
    why="What a package needs was deleted, and dpkg does not know.",
    fix="Reinstall the package, or leave it out as a whole.",
    severity="warning",
    families=("dpkg",),
)
def missing_package_file(subject: Subject) -> Faults:
    for path, owned in subject.owned.items():
        gone = owned.md5 and not owned.conffile and subject.view.lstat(path) is None
        if gone and not OFTEN_LEFT_OUT.fullmatch(path):
            yield path, f"{owned.package} brought it, and it is gone"


@rule(
    "unowned-file",
    "Every program and library belongs to a package",
    why="What no package owns gets no security fixes; it is the builder's tool, or half of a removed "
    "package.",
    fix="Remove it, package it, or put it under /usr/local.",
    severity="warning",
    families=("dpkg",),
)
def unowned_file(subject: Subject) -> Faults:
    owned = subject.owned
    tops = {entry.path for root in PROGRAM_ROOTS if (entry := subject.view.stat(root))}
    for path, entry in subject.view.entries.items():
        if entry.kind == "dir" or path in owned or not any(path.startswith(top + "/") for top in tops):
            continue
        # What update-alternatives makes, and units that a maintainer script masked.
        is_choice = entry.kind == "link" and entry.target.startswith(("/etc/alternatives/", "/dev/null"))
        if not is_choice and not GENERATED.fullmatch(path):
            yield path, "no package owns it"
