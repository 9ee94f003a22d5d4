"""verify --rebuild: packages that lay beside the recipe are found by their digests, or it is told that they
are not."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest

from tests.unit.recipe_files import tiny
from tmplbuild.archives import local
from tmplbuild.archives.cache import PackageCache
from tmplbuild.archives.model import Package
from tmplbuild.engine.pins import Pinned
from tmplbuild.errors import VerifyError
from tmplbuild.publish.rebuild import with_its_packages
from tmplbuild.recipes import LoadedRecipe, with_local_digests

OLD, NEW = b"as it was", b"as it is now"


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


@pytest.fixture
def pins() -> dict[str, Any]:
    one = Package("my", "1", "amd64", local.ROLE, "local/my.deb", len(OLD), sha256(OLD))
    other = Package("tiny", "1", "amd64", "tiny", "pool/tiny.deb", 1, "0" * 64)
    return {"target": Pinned((one, other), frozenset(), 0).to_json()}


@pytest.fixture
def loaded(tmp_path: Path) -> LoadedRecipe:
    (tmp_path / "tiny/debs").mkdir(parents=True)
    (tmp_path / "tiny/debs/my.deb").write_bytes(NEW)
    return tiny(tmp_path, '[install]\nfiles = ["debs/my.deb"]\n')


def test_the_one_that_was_used_is_taken_by_its_digest(
    tmp_path: Path, pins: dict[str, Any], loaded: LoadedRecipe
) -> None:
    cache = PackageCache(tmp_path / "cache")
    folder = tmp_path / "kept"
    folder.mkdir()
    (folder / "another").write_bytes(b"x" * len(OLD))
    with pytest.raises(VerifyError, match="is not here") as caught:
        with_its_packages(loaded, pins, [cache, folder], tmp_path / "place", "b1")
    assert sha256(OLD) in caught.value.why
    assert "--packages DIR" in str(caught.value.hint)
    (folder / "old").write_bytes(OLD)
    found = with_local_digests(with_its_packages(loaded, pins, [cache, folder], tmp_path / "place", "b1"))
    assert found.local_packages() == {tmp_path / "place/my.deb": sha256(OLD)}
    assert found.recipe.install.digests == {"debs/my.deb": sha256(OLD)}
    local.bring(folder / "old", sha256(OLD), cache)
    (folder / "old").unlink()
    found = with_its_packages(loaded, pins, [cache], tmp_path / "place", "b1")
    assert found.packages["debs/my.deb"].read_bytes() == OLD


def test_one_that_is_unchanged_is_taken_from_where_it_lies(
    tmp_path: Path, pins: dict[str, Any], loaded: LoadedRecipe
) -> None:
    path = tmp_path / "tiny/debs/my.deb"
    path.write_bytes(OLD)
    found = with_its_packages(loaded, pins, [], tmp_path / "place", "b1")
    assert found.local_packages() == {path: sha256(OLD)}
