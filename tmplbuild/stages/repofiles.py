"""What dnf and zypper read: repositories as sections of INI files, and the keys that their files name; of
dnf the module streams, too.

Formats: dnf.conf(5), "Repo Options"; zypper's are the same in a directory of its own. `repo_gpgcheck` has the
signature of repomd.xml checked, `gpgcheck` those of the packages. What `dnf module enable` keeps is a file
for each module in /etc/dnf/modules.d (libdnf, ModulePersistor).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from tmplbuild.core.tree import Tree
from tmplbuild.recipes.model import Archive

_DNF, _ZYPPER = "/etc/yum.repos.d", "/etc/zypp/repos.d"
_KEYS = "/etc/pki/rpm-gpg"
_MODULES = "/etc/dnf/modules.d"
_BORROWED = "tmplbuild-borrowed.repo"


def write_dnf(tree: Tree, archives: Mapping[str, Archive], beside: Callable[[str], bytes]) -> list[str]:
    """Write what dnf reads: see `write`, and `enable`."""
    return write(tree, archives, beside, _DNF) + enable(tree, archives)


def enable(tree: Tree, archives: Mapping[str, Archive]) -> list[str]:
    """Have dnf see the module streams that the recipe enables, and of others the default ones. Returns the
    paths written or removed."""
    changed = []
    streams = dict(title.split(":", 1) for archive in archives.values() for title in archive.modules)
    wanted = {f"{_MODULES}/{module}.module": (module, stream) for module, stream in streams.items()}
    for path in tree.glob(f"{_MODULES}/*.module"):
        if path not in wanted:
            tree.remove(path)
            changed.append(path)
    for path, (module, stream) in wanted.items():
        text = f"[{module}]\nname={module}\nstream={stream}\nprofiles=\nstate=enabled\n"
        tree.write(path, text, mode=0o644)
        changed.append(path)
    return changed


def write_zypper(tree: Tree, archives: Mapping[str, Archive], beside: Callable[[str], bytes]) -> list[str]:
    """Write what zypper reads: see `write`."""
    return write(tree, archives, beside, _ZYPPER)


def lent_dnf(tree: Tree, archives: Mapping[str, Archive], beside: Callable[[str], bytes]) -> dict[str, str]:
    """See `tmplbuild.stages.borrowed.Lender`."""
    return {f"{_DNF}/{_BORROWED}": sections(archives, signed=False)}


def lent_zypper(
    tree: Tree, archives: Mapping[str, Archive], beside: Callable[[str], bytes]
) -> dict[str, str]:
    """See `tmplbuild.stages.borrowed.Lender`."""
    return {f"{_ZYPPER}/{_BORROWED}": sections(archives, signed=False)}


def write(
    tree: Tree, archives: Mapping[str, Archive], beside: Callable[[str], bytes], folder: str
) -> list[str]:
    """Write the recipe's archives as the only repositories in force, with the pinned certificates.

    The packages' own files stay, every repository in them switched off: they are configuration of a
    package. Returns the paths written or changed.
    """
    name = f"{folder}/{next(iter(archives))}.repo"
    changed = [name]
    for path in tree.glob(f"{folder}/*.repo"):
        if path != name and tree.is_file(path):
            text = tree.read_text(path)
            muted = _switched_off(text)
            if muted != text:
                tree.write(path, muted)
                changed.append(path)
    for key in dict.fromkeys(key for archive in archives.values() for key in archive.keys):
        tree.write(_key_file(key), beside(f"keys/{key}.asc"), mode=0o644)
        changed.append(_key_file(key))
    tree.write(name, sections(archives), mode=0o644)
    return changed


def sections(archives: Mapping[str, Archive], *, signed: bool = True) -> str:
    """One section a suite, called by its archive's role, and by number where that has several.

    Parameters:
        signed: whether signatures are looked at.
    """
    rows = []
    for role, archive in archives.items():
        for number, suite in enumerate(archive.suites, 1):
            name = role if len(archive.suites) == 1 else f"{role}-{number}"
            text = f"[{name}]\nname={name}\nbaseurl={archive.public.rstrip('/')}/{suite}/\nenabled=1\n"
            rows.append(text + (_signed_by(archive) if signed else "repo_gpgcheck=0\ngpgcheck=0\n"))
    return "\n".join(rows)


def _signed_by(archive: Archive) -> str:
    keys = " ".join(f"file://{_key_file(key)}" for key in archive.keys)
    return f"repo_gpgcheck={int(archive.signed != 'packages')}\ngpgcheck=1\ngpgkey={keys}\n"


def _key_file(key: str) -> str:
    return f"{_KEYS}/{key}.asc"


def _switched_off(text: str) -> str:
    """Every section with enabled=0."""
    bare = re.sub(r"(?m)^enabled[ \t]*=.*\n?", "", text)
    return re.sub(r"(?m)^(\[[^\]\n]+\])[ \t]*$", r"\1\nenabled=0", bare)
