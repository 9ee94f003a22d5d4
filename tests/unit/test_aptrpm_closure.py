"""Closures over invented lists: choices, sets, files, conflicts, and errors in words."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.aptrpm_branch import branch_list
from tests.aptrpm_factory import list_entry
from tests.rpm_factory import File, Rpm
from tmplbuild.archives import aptrpm
from tmplbuild.archives.aptrpm import setversion
from tmplbuild.archives.aptrpm.entry import Source
from tmplbuild.archives.aptrpm.pool import PackageList, Pool
from tmplbuild.archives.model import Closure
from tmplbuild.archives.wishes import Wishes
from tmplbuild.errors import ResolveError

LIBRARY = setversion.of_symbols((f"f{number}" for number in range(500)), 20)
WANTED = setversion.of_symbols(("f1", "f400"), 20)
FOREIGN = setversion.of_symbols(("f1", "g1", "g2"), 20)


def pool(*rpms: Rpm, branch: str = "p11", arch: str = "x86_64") -> Pool:
    data = b"".join(list_entry(rpm) for rpm in rpms)
    return Pool([PackageList(data, Source("altlinux", "p11/branch/x86_64"), "list")], arch, branch)


def close(found: Pool, *packages: str, **options: tuple[str, ...]) -> Closure:
    return aptrpm.closure(found, Wishes(packages=packages, **options))


def names(found: Closure) -> list[str]:
    return [package.name for package in found.packages]


def test_what_is_needed_is_taken_and_nothing_else() -> None:
    found = close(pool(Rpm("a", requires=("b",)), Rpm("b", requires=("c >= 1",)), Rpm("c"), Rpm("d")), "a")
    assert names(found) == ["a", "b", "c"]
    assert found.auto == {"b", "c"}
    assert found.choices == ()
    assert [package.fields.get("NEEDS", "") for package in found.packages] == ["b", "c", ""]


def test_a_circle_is_taken_whole() -> None:
    assert names(close(pool(Rpm("a", requires=("b",)), Rpm("b", requires=("a",))), "a")) == ["a", "b"]


def test_a_package_may_meet_its_own_needs() -> None:
    assert names(close(pool(Rpm("a", requires=("v",), provides=("v",)), Rpm("b", provides=("v",))), "a")) == [
        "a"
    ]


def test_files_are_met_by_packages_that_hold_them_or_provide_the_path() -> None:
    world = pool(
        Rpm("a", requires=("/bin/sh", "/etc/apt/pkgpriorities")),
        Rpm("sh", files=(File("/bin/sh"),)),
        Rpm("conf", provides=("/etc/apt/pkgpriorities",)),
    )
    assert names(close(world, "a")) == ["a", "conf", "sh"]
    assert names(close(world, "/bin/sh")) == ["sh"]


def test_a_set_version_is_met_by_a_library_with_all_the_symbols() -> None:
    world = pool(
        Rpm("a", requires=(f"libx.so.1()(64bit) >= {WANTED}",)),
        Rpm("libx", provides=(f"libx.so.1()(64bit) = {LIBRARY}",)),
        Rpm("libx-small", provides=(f"libx.so.1()(64bit) = {setversion.of_symbols(('f1',), 20)}",)),
    )
    assert names(close(world, "a")) == ["a", "libx"]


def test_a_strict_dependency_is_met_by_the_very_build() -> None:
    builds = (Rpm("lib", disttag="p11+1.1"), Rpm("lib", disttag="p11+2.1", built=1))
    world = pool(Rpm("a", requires=("lib = 1.0-alt1:p11+2.1",)), *builds)
    found = close(world, "a")
    assert [package.fields["DISTTAG"] for package in found.packages if package.name == "lib"] == ["p11+2.1"]


def test_of_several_builds_the_newest_is_taken() -> None:
    world = pool(
        Rpm("lib", version="1.0a"),
        Rpm("lib", version="1.0.0"),
        Rpm("a", requires=("lib",)),
    )
    found = close(world, "a")
    assert [package.version for package in found.packages] == ["1.0-alt1", "1.0a-alt1"]
    assert found.choices == ()


def test_the_branchs_own_build_is_the_newest() -> None:
    builds = (Rpm("a", disttag="sisyphus+9.1", built=9), Rpm("a", disttag="p11+1.1", built=1))
    assert close(pool(*builds), "a").packages[0].fields["DISTTAG"] == "p11+1.1"


def test_features_of_rpm_are_not_packages() -> None:
    world = pool(Rpm("a", requires=("rpmlib(SetVersions)", "rpmlib(PayloadIsXz) <= 5.2-1")))
    assert names(close(world, "a")) == ["a"]


# -- choices -----------------------------------------------------------------------------------------

INITS = (
    Rpm("base", requires=("init",)),
    Rpm("systemd", provides=("init",)),
    Rpm("sysvinit", provides=("init",)),
)


def test_a_choice_is_made_by_name_and_told() -> None:
    found = close(pool(*INITS), "base")
    assert names(found) == ["base", "systemd"]
    assert found.choices == ("base needs init: systemd (of systemd, sysvinit)",)


def test_what_the_recipe_prefers_is_taken_and_told() -> None:
    found = close(pool(*INITS), "base", prefer=("nothing", "sysvinit", "systemd"))
    assert names(found) == ["base", "sysvinit"]
    assert found.choices == ("base needs init: sysvinit (preferred of 2)",)


def test_no_choice_is_made_where_something_else_decides() -> None:
    world = pool(*INITS, Rpm("last", requires=("sysvinit",)))
    found = close(world, "base", "last")
    assert names(found) == ["base", "last", "sysvinit"]
    assert found.choices == ()


def test_the_name_itself_comes_before_others_that_provide_it() -> None:
    world = pool(Rpm("a", requires=("z",)), Rpm("b", provides=("z",)), Rpm("z"))
    assert names(close(world, "a")) == ["a", "z"]


def test_an_obsoleted_package_is_not_chosen() -> None:
    world = pool(
        Rpm("base", requires=("v",)),
        Rpm("new", provides=("v",), obsoletes=("aold < 2",)),
        Rpm("aold", provides=("v",)),
    )
    assert names(close(world, "base")) == ["base", "new"]


def test_a_choice_steps_back_for_a_conflict() -> None:
    world = pool(*INITS, Rpm("strict", conflicts=("systemd",)))
    found = close(world, "base", "strict")
    assert names(found) == ["base", "strict", "sysvinit"]


def test_libsolv_finds_the_way_out_that_the_first_choice_bars() -> None:
    # "one" is chosen first, for its name; what is needed of "late" then bars it
    world = pool(
        Rpm("base", requires=("v", "w")),
        Rpm("one", provides=("v",)),
        Rpm("two", provides=("v",)),
        Rpm("wone", provides=("w",), requires=("deep",)),
        Rpm("deep", conflicts=("one",)),
    )
    found = close(world, "base")
    assert names(found) == ["base", "deep", "two", "wone"]


def test_a_choice_that_libsolv_undid_is_told() -> None:
    world = pool(
        Rpm("base", requires=("v", "w")),
        Rpm("one", provides=("v",)),
        Rpm("two", provides=("v",)),
        Rpm("wone", provides=("w",), requires=("x",)),
        Rpm("wtwo", provides=("w",), requires=("x",)),
        Rpm("xone", provides=("x",), conflicts=("one",)),
        Rpm("xtwo", provides=("x",), conflicts=("one",)),
    )
    found = close(world, "base")
    assert "two" in names(found)
    assert any("one cannot stand beside the others" in told for told in found.choices)


def test_the_base_is_the_same_whatever_is_installed_on_it() -> None:
    world = pool(*INITS, Rpm("tool", requires=("sysvinit",)))
    base = aptrpm.closure(world, Wishes(include=("base",)))
    full = aptrpm.closure(world, Wishes(include=("base",), packages=("tool",), prefer=("sysvinit",)))
    assert names(base) == ["base", "systemd"]
    assert names(full) == ["base", "systemd", "sysvinit", "tool"]
    assert full.auto == {"systemd", "sysvinit"}


def test_what_is_included_settles_the_bases_choices() -> None:
    found = aptrpm.closure(pool(*INITS), Wishes(include=("base", "sysvinit")))
    assert names(found) == ["base", "sysvinit"]


def test_a_word_may_be_something_provided() -> None:
    world = pool(Rpm("postfix", provides=("MTA",)))
    found = close(world, "MTA")
    assert names(found) == ["postfix"]
    assert found.choices == ("MTA is provided by postfix",)


# -- errors ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rpms", "asked", "words"),
    [
        ((Rpm("hello"),), "helo", ["no package 'helo'", "did you mean hello"]),
        (INITS, "init", ["no package 'init'", "systemd, sysvinit"]),
        (
            (Rpm("a", requires=("b",)), Rpm("b", requires=("gone >= 2",))),
            "a",
            ["b needs: gone >= 2", "no package provides it", "a is asked for; a needs b"],
        ),
        (
            (Rpm("a", requires=("b >= 2",)), Rpm("b")),
            "a",
            ["a needs: b >= 2", "b-1.0-alt1 provides b = 1.0-alt1"],
        ),
        (
            (Rpm("a", requires=(f"lib >= {FOREIGN}",)), Rpm("lib0", provides=(f"lib = {LIBRARY}",))),
            "a",
            ["a needs: lib >= set:", "lib0-1.0-alt1 provides lib, but lacks 2 of the symbols"],
        ),
        (
            (Rpm("a", requires=("lib >= set:zzzzzz",)), Rpm("lib0", provides=(f"lib = {LIBRARY}",))),
            "a",
            ["provides lib, but a set-version"],
        ),
        ((Rpm("a", requires=("rpmlib(Wonder)",)),), "a", ["rpmlib(Wonder)", "no such feature"]),
        (
            (Rpm("a", requires=("b", "c")), Rpm("b", conflicts=("c",)), Rpm("c")),
            "a",
            ["b and c cannot be installed together", "b-1.0-alt1 conflicts with c", "a needs c"],
        ),
        (
            (Rpm("a", requires=("b", "c")), Rpm("b", obsoletes=("c < 2",)), Rpm("c")),
            "a",
            ["b and c cannot be installed together", "b-1.0-alt1 obsoletes c < 2"],
        ),
        (
            (
                Rpm("a", requires=("b = 1.0", "c")),
                Rpm("c", requires=("b = 2",)),
                Rpm("b"),
                Rpm("b", version="2"),
            ),
            "a",
            ["builds of one package"],
        ),
        ((Rpm("a", requires=("v",)), Rpm("b", provides=("v",), requires=("no",))), "a", ["b needs: no"]),
    ],
)
def test_an_error_tells_the_cause_and_the_chain(rpms: tuple[Rpm, ...], asked: str, words: list[str]) -> None:
    with pytest.raises(ResolveError) as caught:
        close(pool(*rpms), asked)
    for word in words:
        assert word in str(caught.value)


def test_excluded_packages_are_not_taken() -> None:
    world = pool(*INITS)
    assert names(close(world, "base", exclude=("systemd",))) == ["base", "sysvinit"]
    with pytest.raises(ResolveError, match="base needs: init") as caught:
        close(world, "base", exclude=("systemd", "sysvinit"))
    assert "systemd, sysvinit is excluded" in str(caught.value)
    with pytest.raises(ResolveError, match="asked for and excluded"):
        close(world, "base", exclude=("base",))
    with pytest.raises(ResolveError, match="the base needs it"):
        close(world, include=("base",), exclude=("systemd",))


def test_packages_of_other_architectures_are_passed_over() -> None:
    world = pool(Rpm("a", arch="noarch"), Rpm("b", arch="i586"), Rpm("c", arch="aarch64"))
    assert names(close(world, "a", "b")) == ["a", "b"]
    with pytest.raises(ResolveError):
        close(world, "c")


def test_an_obsoletes_does_not_look_at_what_is_provided() -> None:
    world = pool(Rpm("a", requires=("b",), obsoletes=("old",)), Rpm("b", provides=("old",)))
    assert names(close(world, "a")) == ["a", "b"]


# -- properties --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def branch() -> bytes:
    return branch_list(900, log_entries=0)


def in_one_list(data: bytes) -> Pool:
    return Pool([PackageList(data, Source("altlinux", "p11/branch/x86_64"), "list")], "x86_64", "p11")


def test_a_large_closure_is_whole_and_always_the_same(branch: bytes) -> None:
    found = close(in_one_list(branch), "system")
    assert len(found.packages) == 401
    assert close(in_one_list(branch), "system") == found
    have = in_one_list(branch)
    taken = {have.named(name)[0].number for name in names(found)}
    for number in taken:
        for dep in have.entry(number).requires:
            assert (dep.of_rpm and dep.met_by_rpm()) or taken & set(have.satisfying(dep)), dep


LETTERS = "abcde"


@st.composite
def worlds(draw: st.DrawFn) -> tuple[Rpm, ...]:
    """Some packages that need, provide and refuse each other at random."""
    words = st.lists(st.sampled_from([*LETTERS, "v", "w", "a = 1.0", "b >= 2"]), max_size=2, unique=True)
    builds = st.tuples(st.sampled_from(LETTERS), st.sampled_from(["1.0", "2.0"]))
    return tuple(
        Rpm(
            name,
            version=version,
            requires=tuple(draw(words)),
            provides=tuple(word for word in draw(words) if word in "vw"),
            conflicts=tuple(draw(st.lists(st.sampled_from([*LETTERS, "v"]), max_size=1))),
        )
        for name, version in draw(st.lists(builds, min_size=1, max_size=8, unique=True))
    )


def stands(have: Pool, taken: set[int]) -> bool:
    """Whether packages meet all their needs, none refuses another, and each is there once."""
    if len({have.entry(number).name for number in taken}) < len(taken):
        return False
    for number in taken:
        entry = have.entry(number)
        if any(not taken & set(have.satisfying(dep)) for dep in entry.requires if not dep.of_rpm):
            return False
        if any((taken & set(have.satisfying(dep))) - {number} for dep in entry.conflicts):
            return False
    return True


@settings(max_examples=150, deadline=None)
@given(rpms=worlds(), seed=st.integers(0, 9))
def test_a_closure_is_found_exactly_where_there_is_one(rpms: tuple[Rpm, ...], seed: int) -> None:
    have = pool(*rpms)
    asked = random.Random(seed).choice(rpms).name
    builds = {entry.number for entry in have.named(asked)}
    every = [
        {number for number in range(len(rpms)) if bits >> number & 1} for bits in range(1, 1 << len(rpms))
    ]
    possible = [taken for taken in every if builds & taken and stands(have, taken)]
    by_file = {
        f"{entry.name}-{entry.build.version}": entry.number for entry in map(have.entry, range(len(have)))
    }
    try:
        found = close(have, asked).packages
    except ResolveError as error:
        told = error
    else:
        told = None
        taken = {by_file[f"{one.name}-{one.version.partition('-')[0]}"] for one in found}
        assert taken in possible
    assert (told is None) == bool(possible), told


def test_pairs_of_lists_are_one_pool() -> None:
    lists = [
        PackageList(list_entry(rpm), Source("altlinux", suite), suite)
        for suite, rpm in (
            ("p11/branch/x86_64", Rpm("a", requires=("b",))),
            ("p11/branch/noarch", Rpm("b", arch="noarch")),
        )
    ]
    found = close(Pool(lists, "x86_64"), "a")
    paths = [package.filename for package in found.packages]
    assert paths == [
        "p11/branch/x86_64/RPMS.classic/a-1.0-alt1.x86_64.rpm",
        "p11/branch/noarch/RPMS.classic/b-1.0-alt1.noarch.rpm",
    ]
