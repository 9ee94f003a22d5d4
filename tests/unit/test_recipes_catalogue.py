"""Which recipes there are, under which names."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.recipe_files import tiny, write
from tmplbuild.errors import UsageError
from tmplbuild.recipes import entries, load, recipe_roots
from tmplbuild.recipes.catalogue import VE_ARCHES, find, shipped_root


def test_the_shipped_recipes_are_found() -> None:
    names = [entry.name for entry in entries(recipe_roots())]
    assert [name for name in names if name.startswith("debian-")] == ["debian-11", "debian-12", "debian-13"]


def test_names_are_sorted_as_people_count(tmp_path: Path) -> None:
    for name in ("x/10", "x/9", "x/9-minimal", "a-b/1", "x/_base", "x/.hidden"):
        write(tmp_path, name, "")
    assert [entry.name for entry in entries([tmp_path])] == ["a-b-1", "x-9", "x-9-minimal", "x-10"]


def test_the_earlier_root_wins(tmp_path: Path) -> None:
    write(tmp_path / "a", "x/1", "")
    write(tmp_path / "b", "x/1", "")
    assert find("x-1", [tmp_path / "b", tmp_path / "a"]).path == tmp_path / "b/x/1.toml"


def test_an_unknown_name_gets_a_suggestion_and_the_list() -> None:
    with pytest.raises(UsageError, match='there is no recipe "debain-12"') as caught:
        find("debain-12", [shipped_root()])
    assert caught.value.exit_code == 2
    assert caught.value.hint.startswith('did you mean "debian-12"? the recipes are: ')
    assert "debian-13" in caught.value.hint


def test_no_recipes_at_all_is_told(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        find("debian-12", [tmp_path])
    assert caught.value.hint == "no root holds a recipe"


@pytest.mark.parametrize("name", ["_base", "debian-_base", "../debian-12", "", "debian/12"])
def test_what_is_no_recipe_has_no_name(name: str) -> None:
    with pytest.raises(UsageError):
        find(name, [shipped_root()])


def test_a_recipe_may_be_given_by_its_path(tmp_path: Path) -> None:
    tiny(tmp_path)
    found = load(str(tmp_path / "tiny/1.toml"), roots=[])
    assert (found.name, found.recipe.image.distro) == ("tiny-1", "tiny")
    with pytest.raises(UsageError, match="no such recipe file"):
        load(str(tmp_path / "tiny/2.toml"), roots=[])


def test_a_directory_of_recipes_that_is_given_must_be_there(tmp_path: Path) -> None:
    assert recipe_roots([tmp_path])[0] == tmp_path
    with pytest.raises(UsageError, match="no such directory of recipes"):
        recipe_roots([tmp_path / "absent"])


def test_every_word_for_an_architecture_is_known_to_openvz() -> None:
    assert {VE_ARCHES[word] for word in ("amd64", "i386", "arm64")} == {"x86_64", "x86", "aarch64"}
    assert all(VE_ARCHES.get(word, word) == word for word in VE_ARCHES.values())
