"""Slackware's archives: signed lists, descriptions of packages, what their scripts make."""

from __future__ import annotations

import random
from contextlib import suppress
from pathlib import Path

import pytest

from tests.archive_factory import Key
from tests.unit.fake_bench import UserTree
from tests.unit.recipe_files import write
from tmplbuild.archives import slackware
from tmplbuild.archives.model import Package
from tmplbuild.archives.slackware import Pool, listing, signature
from tmplbuild.archives.wishes import Wishes
from tmplbuild.errors import ResolveError, VerifyError
from tmplbuild.managers import manager, pkgtools
from tmplbuild.managers import slackpkg as slackpkg_manager
from tmplbuild.recipes import lint, load
from tmplbuild.recipes.catalogue import shipped_root
from tmplbuild.stages import slacksources, slacktree

SUMS = f"""\
These are the MD5 message digests for the files in this directory.

{"0" * 32}  ./PACKAGES.TXT
{"1" * 32}  ./slackware64/a/aaa_base-15.0-x86_64-3.txz
{"2" * 32}  ./slackware64/a/aaa_base-15.0-x86_64-3.txz.asc
{"3" * 32}  ./packages/bash-5.1.016-x86_64-2_slack15.0.txz
{"4" * 32}  ./a name with blanks.txt
"""
PACKAGES = """\
PACKAGES.TXT;  Wed Feb  2 22:16:37 UTC 2022

PACKAGE NAME:  aaa_base-15.0-x86_64-3.txz
PACKAGE LOCATION:  ./slackware64/a
PACKAGE SIZE (compressed):  12 K
PACKAGE DESCRIPTION:
aaa_base: aaa_base (Basic Linux filesystem package)

PACKAGE NAME:  bash-5.1.016-x86_64-2_slack15.0.txz
PACKAGE LOCATION:  ./patches/packages
PACKAGE DESCRIPTION:
"""


def test_lists_are_read() -> None:
    sums = listing.checksums(SUMS.encode(), "x")
    one, two = listing.packages(PACKAGES.encode(), sums, "slackware64-15.0", "x")
    assert (one.name, one.version, one.series, one.md5) == ("aaa_base", "15.0-3", "a", "1" * 32)
    assert one.path == "slackware64-15.0/slackware64/a/aaa_base-15.0-x86_64-3.txz"
    assert two.path == "slackware64-15.0/packages/bash-5.1.016-x86_64-2_slack15.0.txz"
    assert listing.date_of(PACKAGES.encode()) == 1643840197
    assert listing.date_of(b"PACKAGES.TXT;  never") == 0


@pytest.mark.parametrize(
    ("sums", "packages"),
    [
        ("", PACKAGES),
        (SUMS + f"{'9' * 32}  ./PACKAGES.TXT\n", PACKAGES),
        (SUMS.replace("aaa_base-15.0", "aaa_base-14.2"), PACKAGES),
        (SUMS, PACKAGES.replace("NAME:  aaa_base-15.0-x86_64-3.txz", "NAME:  ../../aaa")),
    ],
)
def test_what_the_signed_list_does_not_name_is_refused(sums: str, packages: str) -> None:
    with pytest.raises(VerifyError, match="cannot be read"):
        list(listing.packages(packages.encode(), listing.checksums(sums.encode(), "x"), "s", "x"))


def test_damaged_lists_end_in_one_clear_error() -> None:
    draw = random.Random(6)
    for _ in range(500):
        texts = [bytearray(SUMS.encode()), bytearray(PACKAGES.encode())]
        for text in texts:
            for _ in range(draw.randint(0, 4)):
                text[draw.randrange(len(text))] = draw.randrange(256)
        with suppress(VerifyError):
            list(listing.packages(bytes(texts[1]), listing.checksums(bytes(texts[0]), "x"), "s", "x"))
        listing.date_of(bytes(texts[1]))


def test_packages_are_chosen_by_name_and_by_series() -> None:
    found = {
        name: Package(name, "1-1", "x86_64", "slackware", f"s/{name}.txz", 0, f"md5:{'0' * 32}")
        for name in ("bash", "kernel-huge", "wget")
    }
    pool = Pool(found, {"a": ["bash", "kernel-huge"], "n": ["wget"]}, "x86_64")
    options = {"packages": ("series-a", "wget"), "exclude": ("kernel-huge",)}
    chosen = slackware.closure(pool, Wishes(include=("bash",), **options))
    assert [one.name for one in chosen.packages] == ["bash", "wget"]
    with pytest.raises(ResolveError, match="no package 'wgt'") as caught:
        slackware.closure(pool, Wishes(include=("wgt",)))
    assert "wget" in caught.value.hint


def test_the_links_of_a_script() -> None:
    text = "( cd usr/bin ; rm -rf awk )\n( cd usr/bin ; ln -sf gawk awk )\n( cd . ; ln -sf a/b c )\nrm x\n"
    assert slacktree.links(text) == [("/usr/bin/awk", "gawk"), ("/c", "a/b")]
    assert slacktree.links("( cd a ; rm -rf / ) ( cd x ; ln -sf ; )") == []


def test_a_package_needs_its_own_signature(tmp_path: Path) -> None:
    key, other = Key(), Key()
    key.export(tmp_path)
    recipe = load("slackware-15.0", roots=[shipped_root()]).recipe
    archive = type(recipe.archives["slackware"])(
        mirrors=("http://x",), public="http://x", suites=("s",), keys=(key.fingerprint,), signed="both"
    )
    vouch = signature.vouchers({"slackware": archive}, tmp_path, 2_000_000_000)["slackware"]
    found = Package("a", "1-1", "x86_64", "slackware", "s/a.txz", 0, f"md5:{'0' * 32}")
    file = tmp_path / "a.txz"
    file.write_bytes(b"content")
    with file.open("rb") as opened:
        vouch(found, opened.fileno(), lambda suffix, known: key.detached(b"content"))
        for bad in (key.detached(b"other"), other.detached(b"content"), b""):
            with pytest.raises(VerifyError):
                vouch(found, opened.fileno(), lambda suffix, known, bad=bad: bad)


def test_the_database_of_a_tree(tmp_path: Path) -> None:
    folder = tmp_path / "var/lib/pkgtools/packages"
    folder.mkdir(parents=True)
    rows = "PACKAGE NAME:     a-b-1.0-noarch-2\nFILE LIST:\n./\netc/x.new\nusr/bin/y\ninstall/doinst.sh\n"
    (folder / "a-b-1.0-noarch-2").write_text(rows)
    with UserTree(tmp_path) as tree:
        (one,) = pkgtools.packages(tree)
        slacksources.write(
            tree, load("slackware-15.0", roots=[shipped_root()]).recipe.archives, lambda _: b""
        )
    assert (one.name, one.version, one.arch) == ("a-b", "1.0-2", "noarch")
    assert (one.files, one.configs) == (("/usr/bin/y",), ("/etc/x",))
    text = (tmp_path / "etc/slackpkg/mirrors").read_text()
    assert text == "http://mirrors.slackware.com/slackware/slackware64-15.0/\n"


def test_progress_and_failures() -> None:
    assert manager("slackpkg").progress(b"Installing package bash-5.1-x86_64-1.txz:") == (
        "install bash-5.1-x86_64-1",
        0.0,
    )
    assert slackpkg_manager.failure(b"ERROR: x cannot be fetched\n") == "ERROR: x cannot be fetched"
    assert slackpkg_manager.failure(b"No packages match the pattern for upgrade\n") == ""


@pytest.mark.parametrize("name", ["slackware-15.0", "slackware-current"])
def test_the_recipes(name: str) -> None:
    found = load(name, roots=[shipped_root()])
    (error,) = [str(row.fault) for row in lint(found) if row.level == "error"]
    assert ".asc is not there" in error
    assert found.recipe.archives["slackware"].signed == "both"


def test_a_distribution_of_a_known_family_is_one_file(tmp_path: Path) -> None:
    """Of each family that came with these."""
    key = "B" * 40
    address = 'mirrors = ["http://x.example"]\npublic = "http://x.example"\n'
    alpine = f'[archives.pmos]\n{address}suites = ["v25/{{arch}}"]\nkeys = ["{"c" * 64}"]\n'
    heirs = {
        "postmarketos": ("alpine/3.22", alpine),
        "artix": ("archlinux/rolling", f'[archives.archlinux]\nkeys = ["{key}"]\ncertified_by = 1\n'),
        "salix": ("slackware/15.0", f'[archives.slackware]\nkeys = ["{key}"]\n'),
    }
    for distro, (parent, text) in heirs.items():
        image = f'[image]\ndistro = "{distro}"\nrelease = "1"\nsuite = "1"\n'
        write(tmp_path, f"{distro}/1", f'extends = "{parent}"\n{image}{text}')
        assert load(f"{distro}-1", roots=[tmp_path, shipped_root()]).recipe.image.name == f"{distro}-1-x86_64"
