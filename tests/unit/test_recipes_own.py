"""Recipes of one's own: beginning one, and comparing two."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from tests.unit.conftest import Run
from tests.unit.recipe_files import tiny, write
from tmplbuild.checks import rules
from tmplbuild.recipes import difference, lint, load, schema, skeleton
from tmplbuild.recipes.catalogue import shipped_root


def test_a_new_recipe_is_its_model_under_another_name(run: Run, tmp_path: Path) -> None:
    done = run("recipe", "new", "debian-12-web", "--like", "debian-12", "--to", str(tmp_path / "mine"))
    assert done.status == 0, done.err
    path = tmp_path / "mine/debian/12-web.toml"
    assert done.out.startswith(str(path))
    found = load(str(path), roots=[shipped_root()])
    rows = difference(load("debian-12", roots=[shipped_root()]), found)
    assert [(row.key, row.sign, row.new) for row in rows] == [("image.name", "~", "debian-12-web-x86_64")]
    assert sorted(file.name for file in path.parent.iterdir()) == ["12-web.toml"]


def test_the_examples_in_the_skeleton_are_right(tmp_path: Path) -> None:
    made = skeleton("mydistro", load("debian-13", roots=[shipped_root()]))
    assert (made.name, str(made.place)) == ("mydistro-13", "mydistro/13.toml")
    path = write(tmp_path, "mydistro/13", re.sub(r"^#(?![ :])", "", made.text, flags=re.MULTILINE))
    (path.parent / "files").mkdir()
    (path.parent / "files/app.conf").write_text("")
    (path.parent / "overlay/etc").mkdir(parents=True)
    (path.parent / "debs").mkdir()
    (path.parent / "debs/site.deb").write_bytes(b"")
    (path.parent / "hooks").mkdir()
    (path.parent / "hooks/tune").write_text("#!/bin/sh\n")
    (path.parent / "hooks/tune").chmod(0o755)
    found = load(str(path), roots=[shipped_root()])
    assert "nginx" in found.recipe.install.packages
    assert found.recipe.configure.files["/etc/motd"].text == "Welcome.\n"
    assert "deploy" in found.recipe.configure.users
    (only,) = [str(row) for row in lint(found, rules=[rule.id for rule in rules()])]
    assert "keys/0123456789ABCDEF0123456789ABCDEF01234567.asc is not there" in only


def test_a_new_recipe_tells_editors_where_its_schema_is(run: Run, tmp_path: Path) -> None:
    done = run("recipe", "new", "debian-12-web", "--like", "debian-12-minimal", "--to", str(tmp_path))
    assert done.status == 0, done.err
    text = (tmp_path / "debian/12-web.toml").read_text()
    first, *_ = text.splitlines()
    assert first == "#:schema ../recipe.schema.json"
    assert json.loads((tmp_path / "recipe.schema.json").read_text()) == schema()
    assert 'features = ["minimal"]' in text
    assert load(str(tmp_path / "debian/12-web.toml"), roots=[shipped_root()]).features == ("minimal",)


@pytest.mark.parametrize("name", ["", "Debian-12", "-12", "debian-", "a/b-1", "1-2", "debian-../x"])
def test_a_name_that_no_recipe_can_have(run: Run, tmp_path: Path, name: str) -> None:
    done = run("recipe", "new", "--like=debian-12", f"--to={tmp_path / 'mine'}", "--", name)
    expected = 0 if name == "debian-" else 2
    assert done.status == expected
    if expected:
        assert "cannot be called" in done.err
        assert not (tmp_path / "mine").exists()


def test_a_recipe_that_is_there_is_not_overwritten(run: Run, tmp_path: Path) -> None:
    write(tmp_path / "mine", "debian/12-web", 'extends = "debian/12"\n')
    before = (tmp_path / "mine/debian/12-web.toml").read_text()
    done = run("recipe", "new", "debian-12-web", "--like", "debian-12", "--recipes", str(tmp_path / "mine"))
    assert done.status == 2
    assert "there is a recipe of that name" in done.err
    assert (tmp_path / "mine/debian/12-web.toml").read_text() == before


def test_new_without_a_model(run: Run) -> None:
    done = run("recipe", "new", "mine-1", "--like", "debian-99")
    assert done.status == 2
    assert 'no recipe "debian-99"' in done.err


def test_lists_differ_by_their_items(tmp_path: Path) -> None:
    old = tiny(tmp_path / "a", '[install]\nexclude = ["x", "y"]\n')
    new = tiny(
        tmp_path / "b",
        '[install]\ndrop.packages = ["two"]\nadd.packages = ["four"]\nexclude = ["y", "x"]\n'
        "[pack]\nlevel = 9\n",
    )
    rows = {(row.key, row.sign, str(row.old), str(row.new)) for row in difference(old, new)}
    assert rows == {
        ("install.packages", "-", "two", "None"),
        ("install.packages", "+", "None", "four"),
        ("install.exclude", "~", "['x', 'y']", "['y', 'x']"),
        ("pack.level", "~", "10", "9"),
    }
    assert difference(old, old) == []


def test_tables_differ_by_their_keys(tmp_path: Path) -> None:
    old = tiny(tmp_path / "a", '[configure.files]\n"/etc/a".text = "1"\n"/etc/b".text = "2"\n')
    new = tiny(tmp_path / "b", '[configure.files]\n"/etc/a".text = "3"\n"/etc/c".text = "4"\n')
    rows = [(row.key, row.sign) for row in difference(old, new)]
    assert rows == [
        ('configure.files."/etc/a".text', "~"),
        ('configure.files."/etc/b"', "-"),
        ('configure.files."/etc/c"', "+"),
    ]


def test_diff_on_the_command_line(run: Run) -> None:
    same = run("recipe", "diff", "debian-12", "debian-12")
    assert (same.status, same.out) == (0, "")
    done = run("recipe", "diff", "debian-12", "debian-13")
    assert done.status == 1
    assert '~ image.suite: "bookworm" -> "trixie"' in done.out.splitlines()
    rows = json.loads(run("recipe", "diff", "debian-12", "debian-13", "--json").out)
    assert {"key": "image.suite", "sign": "~", "old": "bookworm", "new": "trixie"} in rows
