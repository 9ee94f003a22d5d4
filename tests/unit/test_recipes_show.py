"""A recipe shown as text, its schema, and its page in docs/."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Any

import pytest

from tests.unit.recipe_files import CHILD, tiny, write
from tmplbuild.recipes import docs, entries, load, schema, show
from tmplbuild.recipes.catalogue import shipped_root
from tmplbuild.recipes.model import Recipe
from tmplbuild.recipes.reference import reference
from tmplbuild.recipes.schema import _sections


@pytest.mark.parametrize("origin", [False, True])
@pytest.mark.parametrize("name", ["debian-11", "debian-12", "debian-13"])
@pytest.mark.parametrize("arch", ["amd64", "i386"])
def test_what_is_shown_loads_to_the_same_recipe(
    tmp_path: Path, name: str, arch: str, *, origin: bool
) -> None:
    first = load(name, arch=arch, roots=[shipped_root()])
    copy = write(tmp_path, "debian/copy", show(first, origin=origin))
    again = load(str(copy), arch=arch, roots=[])
    assert again.recipe == first.recipe


@pytest.mark.parametrize("origin", [False, True])
def test_odd_texts_survive(tmp_path: Path, *, origin: bool) -> None:
    odd = (
        "[configure.files]\n"
        '"/etc/odd \\" name".text = """\n'
        'tab\\there, quote \\" and \\"\\"\\", backslash \\\\, {braces}, é€, \\u0001\n"""\n'
        '"/etc/crlf".text = "a\\r\\nb\\r\\n"\n'
        '"/etc/empty" = { text = "", mode = "0444", uid = 3 }\n'
        "[[configure.edits]]\n"
        "path = '/x'\n"
        "match = '^\\s*\"a\"\\d{2}'\n"
        'replace = "it\'s \\\\1"\n'
    )
    first = tiny(tmp_path, odd)
    copy = write(tmp_path, "tiny/copy", show(first, origin=origin))
    assert load(str(copy), roots=[]).recipe == first.recipe


def test_origins_name_file_and_line(tmp_path: Path) -> None:
    text = show(tiny(tmp_path, '[install]\nadd.packages = ["four"]\n'), origin=True)
    rows = text.splitlines()
    assert 'distro = "tiny"  # tiny/_base.toml:2' in rows
    assert '  "one",  # tiny/_base.toml:16' in rows
    assert '  "four",  # tiny/1.toml:7' in rows
    assert "recommends = false  # default" in rows
    assert 'name = "tiny-1-x86_64"  # default' in rows


def test_a_long_list_of_files_is_readable(tmp_path: Path) -> None:
    text = show(tiny(tmp_path, '[configure.files]\n"/etc/a".text = "one\\ntwo\\n"\n'))
    assert '[configure.files."/etc/a"]\ntext = """\none\ntwo\n"""\n' in text


# -- schema ---------------------------------------------------------------------------------------


def fits(value: Any, rule: dict[str, Any], whole: dict[str, Any]) -> bool:
    """As much of JSON Schema as our schema uses."""
    if "$ref" in rule:
        return fits(value, whole["$defs"][rule["$ref"].rpartition("/")[2]], whole)
    if "anyOf" in rule:
        return any(fits(value, choice, whole) for choice in rule["anyOf"])
    if "enum" in rule:
        return value in rule["enum"]
    kinds = {
        "string": str,
        "integer": int,
        "number": (int, float),
        "boolean": bool,
        "array": list,
        "object": dict,
    }
    kind = rule["type"]
    if kind == "null" or not isinstance(value, kinds[kind]):
        return kind == "null" and value is None
    if kind == "array":
        return all(fits(item, rule["items"], whole) for item in value)
    if kind == "object":
        known, more = rule.get("properties", {}), rule.get("additionalProperties", True)
        return set(rule.get("required", [])) <= value.keys() and all(
            fits(item, known[key], whole) if key in known else (more and fits(item, more, whole))
            for key, item in value.items()
        )
    return True


def test_the_shipped_recipes_fit_the_schema() -> None:
    whole = schema()
    for path in [entry.path for entry in entries([shipped_root()])] + [shipped_root() / "debian/_base.toml"]:
        table = json.loads(json.dumps(tomllib.loads(path.read_text()), default=str))
        assert fits(table, whole["$defs"]["Recipe"], whole), path


@pytest.mark.parametrize(
    "text",
    ["oops = 1", "[install]\npackges = []", "[install]\nadd.recommends = [1]", "[pack]\nadd.level = [1]"],
)
def test_what_is_no_recipe_does_not_fit(text: str) -> None:
    whole = schema()
    assert not fits(tomllib.loads(text), whole["$defs"]["Recipe"], whole)


def test_a_file_with_edits_fits() -> None:
    whole = schema()
    text = CHILD + '[install]\nadd.packages = ["x"]\n[configure]\ndrop.files = ["/etc/a"]\n'
    assert fits(tomllib.loads(text), whole["$defs"]["Recipe"], whole)


def test_the_schema_is_stable_json() -> None:
    assert json.dumps(schema()) == json.dumps(schema())


# -- the page -------------------------------------------------------------------------------------


def test_every_key_is_described_in_the_model_and_no_other() -> None:
    for kind in _sections(Recipe):
        assert list(docs.keys(kind)) == list(kind.__struct_encode_fields__), kind.__name__
        assert docs.summary(kind)


def test_the_page_is_what_the_model_says() -> None:
    page = Path(__file__).parents[2] / "docs/recipes.md"
    assert page.read_text() == reference(), "run: python -m tmplbuild.recipes.reference > docs/recipes.md"
