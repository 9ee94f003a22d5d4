"""What apt-rpm reads: sources with vendor marks, vendors with fingerprints, and the keyring.

Formats: sources.list(5) and vendors.list(5) of apt-rpm. A line without a vendor's mark is trusted
without a look at any signature, so none is left in force.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Mapping

from tmplbuild.core.tree import Tree
from tmplbuild.errors import RecipeError
from tmplbuild.recipes.model import Archive

_SOURCES = "/etc/apt/sources.list.d"
_VENDORS = "/etc/apt/vendors.list.d"
KEYRING = "/usr/lib/alt-gpgkeys/pubring.gpg"


def write_sources(tree: Tree, archives: Mapping[str, Archive]) -> list[str]:
    """Write the recipe's archives as the only sources in force. Returns the paths written or changed.

    The package's own lists stay, every line commented out: they are configuration of a package.
    """
    name = f"{_SOURCES}/{next(iter(archives))}.list"
    changed = [name]
    for path in ["/etc/apt/sources.list", *tree.glob(f"{_SOURCES}/*.list")]:
        if path == name or not tree.is_file(path):
            continue
        text = tree.read_text(path)
        muted = re.sub(r"(?m)^(?=[ \t]*rpm)", "#", text)
        if muted != text:
            tree.write(path, muted)
            changed.append(path)
    tree.write(name, lines(archives), mode=0o644)
    return changed


def lines(archives: Mapping[str, Archive]) -> str:
    """`rpm [VENDOR] URI DIRECTORY COMPONENT...`, one line a suite."""
    rows = []
    for role, archive in archives.items():
        if not archive.vendor:
            raise RecipeError(
                f"the archive {role} has no vendor: apt-rpm would not check its signature",
                where=f"archives.{role}.vendor",
                hint='say what its keys are called in vendors.list, such as vendor = "p11"',
            )
        head = f"rpm [{archive.vendor}] {archive.public}"
        rows += [f"{head} {suite} {' '.join(archive.components)}\n" for suite in archive.suites]
    return "".join(rows)


def write_vendor(tree: Tree, archive: Archive, beside: Callable[[str], bytes]) -> list[str]:
    """Make the archive's vendor known, unless the tree's packages brought it, and give the keyring its
    certificates where the recipe says that these do not. Returns the paths written."""
    made = []
    own = f"{_VENDORS}/{archive.vendor}.list"
    known = "".join(
        tree.read_text(path)
        for path in ["/etc/apt/vendors.list", *tree.glob(f"{_VENDORS}/*.list")]
        if tree.is_file(path) and path != own
    )
    missing = [key for key in archive.keys if not _knows(known, archive.vendor, key)]
    if missing:
        tree.write(own, "".join(map(_block, [archive.vendor] * len(missing), missing)), mode=0o644)
        made.append(own)
    if archive.own_keys:
        ring = tree.read_bytes(KEYRING) if tree.is_file(KEYRING) else b""
        more = [raw for key in archive.keys if (raw := _binary(beside(f"keys/{key}.asc"))) not in ring]
        if more:
            tree.write(KEYRING, ring + b"".join(more), mode=0o644)
            made.append(KEYRING)
    return made


def _knows(vendors: str, name: str, key: str) -> bool:
    blocks = re.findall(r'simple-key\s+"([^"]*)"\s*\{(.*?)\}', vendors, re.DOTALL)
    return any(found == name and key in body.upper().replace(" ", "") for found, body in blocks)


def _block(name: str, key: str) -> str:
    return f'simple-key "{name}" {{\n\tFingerprint "{key}";\n\tName "{name}";\n}};\n'


def _binary(armoured: bytes) -> bytes:
    """The packets of an armoured certificate (RFC 9580, 6.2): without headers and checksum."""
    body = armoured.decode("ascii", "replace").partition("-----BEGIN")[2]
    rows = body.split("\n\n", 1)[-1].partition("-----END")[0].split()
    return base64.b64decode("".join(row for row in rows if not row.startswith("=")))
