"""Sources, vendors and the keyring of a tree with apt-rpm."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.aptrpm_factory import publish_key, throw_away_key
from tmplbuild.core.tree import Tree
from tmplbuild.errors import RecipeError
from tmplbuild.recipes.certificate import fingerprints_of
from tmplbuild.recipes.model import Archive
from tmplbuild.stages import aptrpm

KEY = "A" * 40


def archive(vendor: str = "p11", own_keys: bool = False, keys: tuple[str, ...] = (KEY,)) -> Archive:
    return Archive(
        mirrors=("http://mirror.invalid/alt",),
        public="http://alt.invalid",
        suites=("p11/branch/x86_64", "p11/branch/noarch"),
        components=("classic",),
        keys=keys,
        vendor=vendor,
        own_keys=own_keys,
    )


@pytest.fixture
def tree(tmp_path: Path) -> Iterator[Tree]:
    with Tree(tmp_path) as opened:
        opened.mkdir("/etc/apt/sources.list.d")
        yield opened


def test_only_the_recipe_s_sources_are_in_force(tree: Tree) -> None:
    tree.write("/etc/apt/sources.list", "rpm [alt] ftp://a b classic\n#rpm-src x\n")
    tree.write("/etc/apt/sources.list.d/alt.list", "# text\n  rpm file:/srv a b\n\nrpm-src [p11] u d c\n")
    tree.write("/etc/apt/sources.list.d/inert.rpmnew", "rpm x y z\n")
    written = aptrpm.write_sources(tree, {"altlinux": archive()})
    assert tree.read_text("/etc/apt/sources.list.d/altlinux.list") == (
        "rpm [p11] http://alt.invalid p11/branch/x86_64 classic\n"
        "rpm [p11] http://alt.invalid p11/branch/noarch classic\n"
    )
    assert tree.read_text("/etc/apt/sources.list") == "#rpm [alt] ftp://a b classic\n#rpm-src x\n"
    assert tree.read_text("/etc/apt/sources.list.d/alt.list") == (
        "# text\n#  rpm file:/srv a b\n\n#rpm-src [p11] u d c\n"
    )
    assert tree.read_text("/etc/apt/sources.list.d/inert.rpmnew") == "rpm x y z\n"
    assert len(written) == 3
    assert aptrpm.write_sources(tree, {"altlinux": archive()}) == ["/etc/apt/sources.list.d/altlinux.list"]


def test_without_a_vendor_nothing_would_be_verified() -> None:
    with pytest.raises(RecipeError, match="has no vendor"):
        aptrpm.lines({"altlinux": archive(vendor="")})


OWN = "/etc/apt/vendors.list.d/zz-p11.list"


def test_a_vendor_that_packages_brought_is_left_to_them(tree: Tree, tmp_path: Path) -> None:
    """apt-rpm wants the key that signs: here it is a subkey."""
    keys = [publish_key(throw_away_key(name), tmp_path / "keys") for name in ("one", "two")]
    wanted = archive(keys=tuple(keys))

    def beside(name: str) -> bytes:
        return (tmp_path / name).read_bytes()

    signing = [key for one in keys for key in fingerprints_of(beside(f"keys/{one}.asc"))]
    assert keys[0] == signing[0]
    assert len(signing) > 2, "primary keys and their subkeys"
    block = 'simple-key "{}"\n{{\n  {}Fingerprint "{}";\n  Name "ALT";\n}};\n'
    group = 'Group "p11"; '
    brought = block.format("p11", "", signing[0])
    brought += "".join(block.format(f"p11-{key}", group, key) for key in signing[1:])
    tree.write("/etc/apt/vendors.list.d/alt.list", brought)
    assert aptrpm.write_vendor(tree, wanted, beside) == []

    tree.write("/etc/apt/vendors.list.d/alt.list", block.format("p11", "", "B" * 40))
    assert aptrpm.write_vendor(tree, wanted, beside) == [OWN]
    text = tree.read_text(OWN)
    assert 'simple-key "p11" {' not in text, "it would take the place of the packages' own"
    assert text.count('Group "p11";') == len(signing)
    assert all(f'Fingerprint "{key}";' in text for key in signing)
    assert aptrpm.write_vendor(tree, wanted, beside) == [OWN], "once more"

    tree.remove("/etc/apt/vendors.list.d/alt.list")
    aptrpm.write_vendor(tree, wanted, beside)
    assert tree.read_text(OWN).startswith(f'simple-key "p11" {{\n\tFingerprint "{signing[0]}";')
    assert tree.read_text(OWN).count('Group "p11";') == len(signing) - 1


def test_certificates_are_added_to_the_keyring_once(tree: Tree, tmp_path: Path) -> None:
    fingerprint = publish_key(throw_away_key("test"), tmp_path / "keys")
    armoured = (tmp_path / f"keys/{fingerprint}.asc").read_bytes()
    tree.write(aptrpm.KEYRING, b"others")
    wanted = archive(own_keys=True, keys=(fingerprint,))
    assert aptrpm.KEYRING in aptrpm.write_vendor(tree, wanted, lambda name: armoured)
    ring = tree.read_bytes(aptrpm.KEYRING)
    assert ring.startswith(b"others")
    assert aptrpm.KEYRING not in aptrpm.write_vendor(tree, wanted, lambda name: armoured)
    # the packets are those of the armour: its lines without headers and checksum
    body = armoured.decode().split("\n\n", 1)[1].partition("-----END")[0].split()
    packets = base64.b64decode("".join(line for line in body if not line.startswith("=")))
    assert ring == b"others" + packets
    assert packets[0] & 0x80
