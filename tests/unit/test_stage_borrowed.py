"""Archives that only the build has: what the tree's package manager reads while it is upgraded, and that
nothing of it stays."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.fake_bench import FakeBench, make_tree
from tmplbuild.recipes.archive import Archive
from tmplbuild.stages.borrowed import LENDERS, borrowed
from tmplbuild.stages.configure import WRITERS

KEY = "A" * 40
TREE: dict[str, str | None] = {
    "etc/apk/repositories": "http://own.example/main\n",
    "etc/apk/keys/own.rsa.pub": "own",
    "etc/pacman.conf": "[options]\n\n[core]\nInclude = /etc/pacman.d/mirrorlist\n",
    "etc/apt/sources.list": "of its own\n",
    "etc/yum.repos.d/own.repo": "[own]\n",
    "etc/slackpkg/mirrors": "http://own.example/\n",
}
SEEN = {
    "deb822": ("etc/apt/sources.list.d/tmplbuild-borrowed.sources", "URIs: http://lent.example/lent\n"),
    "list": ("etc/apt/sources.list.d/tmplbuild-borrowed.sources", "Signed-By: /etc/apt/keyrings/lent-AAA"),
    "apt-rpm": (
        "etc/apt/sources.list.d/tmplbuild-borrowed.list",
        "rpm http://lent.example/lent one/x86_64 main\n",
    ),
    "dnf": (
        "etc/yum.repos.d/tmplbuild-borrowed.repo",
        "[lent-2]\nname=lent-2\nbaseurl=http://lent.example/lent/two/x86_64/\nenabled=1\nrepo_gpgcheck=0\n",
    ),
    "zypper": ("etc/zypp/repos.d/tmplbuild-borrowed.repo", "gpgcheck=0\n"),
    "apk": ("etc/apk/repositories", "http://own.example/main\nhttp://lent.example/lent/one\nhttp://lent"),
    "pacman": (
        "etc/pacman.conf",
        "mirrorlist\n\n[one]\nSigLevel = Never\nServer = http://lent.example/lent/one/x86_64\n",
    ),
    "slackpkg": ("etc/slackpkg/mirrors", "http://own.example/\n"),
}


def archive() -> Archive:
    return Archive(
        mirrors=("http://lent.example/lent",),
        public="http://lent.example/lent",
        suites=("one/x86_64", "two/x86_64"),
        components=("main",),
        keys=(KEY,),
        vendor="lent.rsa.pub",
        build_only=True,
    )


def contents(tree: Path) -> dict[str, bytes | None]:
    return {str(path): path.read_bytes() if path.is_file() else None for path in tree.rglob("*")}


@pytest.mark.parametrize("sources", sorted(SEEN))
def test_it_is_there_for_the_upgrade_and_gone_afterwards(sources: str, tmp_path: Path) -> None:
    make_tree(tmp_path / "recipe", {f"keys/{KEY}.asc": "certificate", f"keys/{KEY}.pub": "key"})
    tree = make_tree(tmp_path / "tree", TREE)
    before = contents(tree)
    bench = FakeBench(tree, recipe_dir=tmp_path / "recipe")
    path, text = SEEN[sources]
    with borrowed(bench, sources, {"lent": archive()}):
        assert text in (tree / path).read_text()
        if sources == "apk":
            assert (tree / "etc/apk/keys/lent.rsa.pub").read_text() == "key"
    assert contents(tree) == before


def test_what_is_not_there_is_not_lent(tmp_path: Path) -> None:
    tree = make_tree(tmp_path, TREE)
    before = contents(tree)
    with borrowed(FakeBench(tree), "apk", {}):
        assert contents(tree) == before


def test_each_way_of_writing_sources_has_its_own_of_lending() -> None:
    assert LENDERS.keys() == WRITERS.keys() == SEEN.keys()
