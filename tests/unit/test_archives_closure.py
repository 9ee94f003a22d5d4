"""Which packages a request comes to, on indexes of a few lines."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.archive_factory import Deb
from tmplbuild.archives.deb.index import PackagesIndex, build_table
from tmplbuild.archives.deb.pool import Pool
from tmplbuild.archives.deb.resolver import closure
from tmplbuild.archives.model import Closure
from tmplbuild.archives.wishes import Wishes
from tmplbuild.errors import ResolveError


class Archive:
    """Makes pools of packages that have no files, only an index."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self.count = 0

    def pool(self, *suites: list[Deb]) -> Pool:
        return Pool([self._index(debs) for debs in suites], "amd64")

    def _index(self, debs: list[Deb]) -> PackagesIndex:
        self.count += 1
        plain, table = self.place / f"{self.count}.plain", self.place / f"{self.count}.table"
        extra = "Size: 1\nSHA256: " + "0" * 64
        plain.write_text("\n".join(f"{deb.control()}Filename: {deb.filename}\n{extra}\n" for deb in debs))
        build_table(plain, table)
        return PackagesIndex(plain, table, role="debian", where="test")


@pytest.fixture
def archive(tmp_path: Path) -> Archive:
    return Archive(tmp_path)


def names(closure: Closure) -> list[str]:
    return [package.name for package in closure.packages]


BASE = Deb("base", essential=True, priority="required")


def test_essential_priority_include_and_packages(archive: Archive) -> None:
    pool = archive.pool(
        [
            BASE,
            Deb("libbase"),
            Deb("req", priority="required", depends="libreq"),
            Deb("libreq"),
            Deb("imp", priority="important"),
            Deb("apt", depends="libapt"),
            Deb("libapt"),
            Deb("ssh", depends="libssl"),
            Deb("libssl"),
            Deb("other"),
        ]
    )
    base = closure(pool, Wishes(include=("apt",)))
    assert names(base) == ["apt", "base", "libapt", "libreq", "req"]
    assert base.auto == {"libreq", "libapt"}
    full = closure(pool, Wishes(("required", "important"), ("apt",), ("ssh", "apt")))
    assert names(full) == ["apt", "base", "imp", "libapt", "libreq", "libssl", "req", "ssh"]
    assert full.auto == {"libreq", "libapt", "libssl"}


def test_what_essential_packages_need_is_not_automatic(archive: Archive) -> None:
    pool = archive.pool(
        [Deb("base", essential=True, depends="libc6"), Deb("libc6"), Deb("x", depends="libc6")]
    )
    assert closure(pool, Wishes(packages=("x",))).auto == frozenset()


def test_newest_version_of_all_suites(archive: Archive) -> None:
    pool = archive.pool(
        [Deb("x", "1.9-1"), Deb("y", "1.0-1")],
        [Deb("x", "1.10-1"), Deb("y", "1.0-1~bpo1")],
        [Deb("x", "1.2")],
    )
    found = closure(pool, Wishes(packages=("x", "y")))
    assert [package.version for package in found.packages] == ["1.10-1", "1.0-1"]


def test_other_architectures_are_not_seen(archive: Archive) -> None:
    pool = archive.pool([Deb("x", "2", arch="i386"), Deb("x", "1", arch="amd64")])
    assert closure(pool, Wishes(packages=("x",))).packages[0].version == "1"


def test_alternatives_first_chosen_preferred(archive: Archive) -> None:
    debs = [Deb("a", depends="one | two"), Deb("one"), Deb("two"), Deb("needs-two", depends="two")]
    pool = archive.pool(debs)
    first = closure(pool, Wishes(packages=("a",)))
    assert names(first) == ["a", "one"]
    assert first.choices == ("a needs one | two: one (the first that can be installed of 2)",)
    assert names(closure(pool, Wishes(packages=("needs-two", "a")))) == ["a", "needs-two", "two"]
    assert names(closure(pool, Wishes(packages=("a", "two")))) == ["a", "two"]
    assert names(closure(pool, Wishes(packages=("a",), prefer=("two",)))) == ["a", "two"]
    assert names(closure(pool, Wishes(packages=("a",), exclude=("one",)))) == ["a", "two"]
    assert names(closure(pool, Wishes(include=("two",), packages=("a",)))) == ["a", "two"]


def test_an_alternative_that_cannot_be_installed_is_passed_over(archive: Archive) -> None:
    pool = archive.pool([Deb("a", depends="one | two"), Deb("one", depends="gone"), Deb("two")])
    assert names(closure(pool, Wishes(packages=("a",)))) == ["a", "two"]


def test_an_alternative_that_is_refused_is_passed_over(archive: Archive) -> None:
    pool = archive.pool(
        [Deb("a", depends="one | two"), Deb("one"), Deb("two"), Deb("b", fields={"Conflicts": "one"})]
    )
    assert names(closure(pool, Wishes(packages=("a", "b")))) == ["a", "b", "two"]


def test_a_choice_that_turns_out_wrong_is_taken_back(archive: Archive) -> None:
    # fuse and fuse3 of bullseye: the first is chosen before something needs the second
    pool = archive.pool(
        [
            Deb("top", depends="early, late"),
            Deb("early", depends="fuse"),
            Deb("fuse"),
            Deb("fuse3", fields={"Provides": "fuse", "Conflicts": "fuse"}),
            Deb("late", depends="fuse3"),
        ]
    )
    assert names(closure(pool, Wishes(packages=("top",)))) == ["early", "fuse3", "late", "top"]


def test_virtual_packages(archive: Archive) -> None:
    pool = archive.pool(
        [
            Deb("a", depends="mta"),
            Deb("zmail", priority="standard", fields={"Provides": "mta"}),
            Deb("bmail", fields={"Provides": "mta (= 2)"}),
            Deb("v", depends="mta (>= 2)"),
            Deb("w", depends="mta (>= 3)"),
        ]
    )
    assert names(closure(pool, Wishes(packages=("a",)))) == ["a", "zmail"]
    assert names(closure(pool, Wishes(packages=("v",)))) == ["bmail", "v"]
    with pytest.raises(ResolveError, match="nothing can be installed that w needs"):
        closure(pool, Wishes(packages=("w",)))
    with pytest.raises(ResolveError) as caught:
        closure(pool, Wishes(packages=("mta",)))
    assert "zmail, bmail" in caught.value.hint


def test_architecture_qualifiers(archive: Archive) -> None:
    pool = archive.pool(
        [
            Deb("a", depends="py:any"),
            Deb("py", arch="amd64", fields={"Multi-Arch": "allowed"}),
            Deb("b", depends="plain:any"),
            Deb("plain", arch="amd64"),
            Deb("c", depends="plain:native, plain:amd64"),
            Deb("d", depends="plain:i386"),
        ]
    )
    assert names(closure(pool, Wishes(packages=("a", "c")))) == ["a", "c", "plain", "py"]
    for name in ("b", "d"):
        with pytest.raises(ResolveError):
            closure(pool, Wishes(packages=(name,)))


def test_recommends_only_if_asked_and_possible(archive: Archive) -> None:
    pool = archive.pool(
        [
            Deb("a", fields={"Recommends": "good, gone, half, out"}),
            Deb("good"),
            Deb("half", depends="gone"),
            Deb("out"),
        ]
    )
    assert names(closure(pool, Wishes(packages=("a",)))) == ["a"]
    assert names(closure(pool, Wishes(packages=("a",), recommends=True, exclude=("out",)))) == ["a", "good"]


def test_unknown_package_with_suggestion(archive: Archive) -> None:
    pool = archive.pool([Deb("openssh-server"), Deb("nginx")])
    with pytest.raises(ResolveError, match="no package 'openssh-sever'") as caught:
        closure(pool, Wishes(packages=("openssh-sever",)))
    assert caught.value.hint == "did you mean openssh-server?"


def test_unmet_dependency_shows_the_chain(archive: Archive) -> None:
    pool = archive.pool(
        [Deb("top", depends="middle"), Deb("middle", depends="low (>= 2)"), Deb("low", "1.5")]
    )
    with pytest.raises(
        ResolveError, match=r"nothing can be installed that middle needs: low \(>= 2\)"
    ) as caught:
        closure(pool, Wishes(packages=("top",)))
    assert caught.value.why == "low is 1.5 in the archives\ntop is asked for; top needs middle"


def test_conflict_names_both_and_why(archive: Archive) -> None:
    pool = archive.pool(
        [Deb("a", depends="x"), Deb("x", fields={"Breaks": "y (<< 3)"}), Deb("y", "2"), Deb("b", depends="y")]
    )
    with pytest.raises(ResolveError, match="x and y cannot be installed together") as caught:
        closure(pool, Wishes(packages=("a", "b")))
    assert "x refuses y (<< 3); chosen is y 2" in caught.value.why
    assert "b is asked for; b needs y" in caught.value.why


def test_a_package_may_refuse_what_it_provides_itself(archive: Archive) -> None:
    pool = archive.pool([Deb("a", fields={"Provides": "mta", "Conflicts": "mta"})])
    assert names(closure(pool, Wishes(packages=("a",)))) == ["a"]


def test_excluded_and_needed(archive: Archive) -> None:
    pool = archive.pool([BASE, Deb("a", depends="b"), Deb("b")])
    for request, word in (
        (Wishes(packages=("a",), exclude=("a",)), "asked for and excluded"),
        (Wishes(packages=("a",), exclude=("b",)), "nothing can be installed"),
        (Wishes(exclude=("base",)), "the base needs it"),
        (Wishes(priorities=("optional",)), "no such set"),
    ):
        with pytest.raises(ResolveError, match=word):
            closure(pool, request)


def test_circles_and_long_chains(archive: Archive) -> None:
    chain = [Deb(f"p{number}", depends=f"p{number + 1}") for number in range(3000)]
    pool = archive.pool([*chain, Deb("p3000", depends="p0")])
    assert len(closure(pool, Wishes(packages=("p0",))).packages) == 3001
