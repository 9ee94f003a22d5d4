"""What apt-rpm reads: sources with vendor marks, vendors with fingerprints, and the keyring.

Formats: sources.list(5) and vendors.list(5) of apt-rpm. A line without a vendor's mark is trusted
without a look at any signature, so none is left in force.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Mapping, Sequence

from tmplbuild.core.tree import Tree
from tmplbuild.errors import RecipeError
from tmplbuild.recipes.certificate import fingerprints_of
from tmplbuild.recipes.model import Archive

_SOURCES = "/etc/apt/sources.list.d"
_VENDORS = "/etc/apt/vendors.list.d"
KEYRING = "/usr/lib/alt-gpgkeys/pubring.gpg"


def write(tree: Tree, archives: Mapping[str, Archive], beside: Callable[[str], bytes]) -> list[str]:
    """See `tmplbuild.stages.configure.Writer`."""
    changed = write_sources(tree, archives)
    for archive in archives.values():
        changed += write_vendor(tree, archive, beside)
    return changed


def lent(tree: Tree, archives: Mapping[str, Archive], beside: Callable[[str], bytes]) -> dict[str, str]:
    """See `tmplbuild.stages.borrowed.Lender`. Without a vendor's mark no signature is looked at."""
    rows = [line for archive in archives.values() for line in _rows("rpm", archive)]
    return {f"{_SOURCES}/tmplbuild-borrowed.list": "".join(rows)}


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
        rows += _rows(f"rpm [{archive.vendor}]", archive)
    return "".join(rows)


def _rows(kind: str, archive: Archive) -> list[str]:
    components = " ".join(archive.components)
    return [f"{kind} {archive.public} {suite} {components}\n" for suite in archive.suites]


def write_vendor(tree: Tree, archive: Archive, beside: Callable[[str], bytes]) -> list[str]:
    """Make the archive's vendor known, unless the tree's packages brought it, and give the keyring its
    certificates where the recipe says that these do not. Returns the paths written.

    apt-rpm compares the key that made a signature, be it a subkey. Of blocks of one name it takes the last;
    further keys are blocks of other names whose Group names the vendor, and which must come later: so the
    file is read last.
    """
    made = []
    own = f"{_VENDORS}/zz-{archive.vendor}.list"
    known = "".join(
        tree.read_text(path)
        for path in ["/etc/apt/vendors.list", *tree.glob(f"{_VENDORS}/*.list")]
        if tree.is_file(path) and path != own
    )
    certificates = [beside(f"keys/{key}.asc") for key in archive.keys]
    signing = [key for certificate in certificates for key in fingerprints_of(certificate)]
    missing = [key for key in signing if not _knows(known, archive.vendor, key)]
    if missing:
        there = _names(known, archive.vendor)
        tree.write(own, _blocks(archive.vendor, missing, there=there), mode=0o644)
        made.append(own)
    if archive.own_keys:
        ring = tree.read_bytes(KEYRING) if tree.is_file(KEYRING) else b""
        more = [raw for certificate in certificates if (raw := _binary(certificate)) not in ring]
        if more:
            tree.write(KEYRING, ring + b"".join(more), mode=0o644)
            made.append(KEYRING)
    return made


def _knows(vendors: str, name: str, key: str) -> bool:
    members = (body for found, body in _blocks_of(vendors) if found == name or f'Group "{name}"' in body)
    return any(key in body.upper().replace(" ", "") for body in members)


def _names(vendors: str, name: str) -> bool:
    return any(found == name for found, _ in _blocks_of(vendors))


def _blocks_of(vendors: str) -> list[tuple[str, str]]:
    return re.findall(r'simple-key\s+"([^"]*)"\s*\{(.*?)\}', vendors, re.DOTALL)


def _blocks(vendor: str, keys: Sequence[str], *, there: bool) -> str:
    rows = []
    for at, key in enumerate(keys):
        first = at == 0 and not there
        name, group = (vendor, "") if first else (f"{vendor}-{key[-16:]}", f'\tGroup "{vendor}";\n')
        rows.append(f'simple-key "{name}" {{\n{group}\tFingerprint "{key}";\n\tName "{vendor}";\n}};\n')
    return "".join(rows)


def _binary(armoured: bytes) -> bytes:
    """The packets of an armoured certificate (RFC 9580, 6.2): without headers and checksum."""
    body = armoured.decode("ascii", "replace").partition("-----BEGIN")[2]
    rows = body.split("\n\n", 1)[-1].partition("-----END")[0].split()
    return base64.b64decode("".join(row for row in rows if not row.startswith("=")))
