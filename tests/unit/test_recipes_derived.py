"""Debian's derivatives: few lines each, with archives and keys of their own."""

from __future__ import annotations

import pytest

from tmplbuild.recipes import LoadedRecipe, lint, load
from tmplbuild.recipes.catalogue import shipped_root


@pytest.fixture(params=("devuan-5", "devuan-6", "kali-rolling"))
def derived(request: pytest.FixtureRequest) -> LoadedRecipe:
    return load(request.param, roots=[shipped_root()])


def test_nothing_is_built_before_its_key_is_there(derived: LoadedRecipe) -> None:
    errors = [str(found.fault) for found in lint(derived) if found.level == "error"]
    assert errors
    assert all(".asc is not there" in error for error in errors)


def test_nothing_of_debians_archive_is_left(derived: LoadedRecipe) -> None:
    distro = derived.recipe.image.distro
    assert list(derived.recipe.archives) == [distro]
    assert f"{distro}.org" in derived.recipe.archives[distro].public
    assert "debian-archive-keyring" not in derived.recipe.bootstrap.include


def test_devuan_has_sysvinit_and_no_file_of_systemd() -> None:
    recipe = load("devuan-6", roots=[shipped_root()]).recipe
    assert "sysvinit-core" in recipe.install.packages
    assert not [name for name in recipe.install.packages if "systemd" in name]
    assert not [path for path in recipe.configure.files if "systemd" in path]
    assert recipe.archives["devuan"].suites == ("excalibur", "excalibur-updates", "excalibur-security")
