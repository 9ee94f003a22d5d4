"""What stage leftovers depends on is in its key."""

from __future__ import annotations

import msgspec
import pytest

from tests.unit.test_engine_plan import RECIPE, choose, no_files
from tmplbuild.engine.steps import steps
from tmplbuild.recipes.afterwards import Leftovers
from tmplbuild.recipes.kinds import Section
from tmplbuild.recipes.model import Clean, Configure, Edit, File, Strip

EDIT = (Edit(path="/etc/a", append="x"),)


@pytest.mark.parametrize(
    "sections",
    [
        {"configure": Configure(edits=EDIT)},
        {"configure": Configure(files={"/etc/a": File(text="x")})},
        {"strip": Strip(edits=EDIT)},
        {"strip": Strip(remove=("/etc/a",))},
        {"clean": Clean(files={"/etc/a": File(text="x")})},
        {"clean": Clean(empty=("/etc/a",))},
        {"leftovers": Leftovers(on_conflict="new")},
        {"leftovers": Leftovers(managers=("dpkg",))},
    ],
)
def test_the_recipes_work_is_handed(sections: dict[str, Section]) -> None:
    pins, _ = choose()
    old, new = (
        {step.name: step.handed for step in steps(recipe, no_files, pins)}
        for recipe in (RECIPE, msgspec.structs.replace(RECIPE, **sections))
    )
    assert old["leftovers"] != new["leftovers"]


def test_the_content_of_files_beside_the_recipe_is_handed() -> None:
    pins, _ = choose()

    def handed(digest: str) -> object:
        made = steps(RECIPE, lambda section: {"a": digest}, pins)
        return next(step.handed for step in made if step.name == "leftovers")

    assert handed("1") != handed("2")
