"""docs/writing-recipes.md: every file that it shows is a recipe that loads and lints."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from tmplbuild.checks import rules
from tmplbuild.engine.steps import names_of
from tmplbuild.recipes import entries, lint, load
from tmplbuild.recipes.catalogue import shipped_root

PAGE = Path(__file__).parents[2] / "docs/writing-recipes.md"
KEY = "B8B80B5B623EAB6AD8775C45B7C5D7D6350947F8"


def blocks() -> list[tuple[str, str]]:
    """Each indented block with the file's name that stands before it, or an empty one."""
    found = []
    for match in re.finditer(r"([^\n]*)\n\n((?:    [^\n]*\n|\n(?=    ))+)", PAGE.read_text()):
        name = re.search(r"`((?:debian|acme)/[\w./-]+)`:?$", match[1].strip())
        found.append((name[1] if name else "", re.sub(r"^    ", "", match[2], flags=re.MULTILINE)))
    return found


@pytest.fixture
def guide(tmp_path: Path) -> Path:
    """A directory of recipes with the files of the page, and what they name."""
    for name, text in blocks():
        if name:
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
            path.chmod(0o755 if "/hooks/" in name else 0o644)
    for name in ("overlay/etc/issue", "files/site.pub", "debs/site_1.0_all.deb"):
        path = tmp_path / "debian" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("x\n")
    (tmp_path / "acme/keys").mkdir()
    (tmp_path / f"acme/keys/{KEY}.asc").write_bytes((shipped_root() / f"debian/keys/{KEY}.asc").read_bytes())
    return tmp_path


def test_every_block_of_toml_is_toml() -> None:
    tables = [text for _, text in blocks() if re.match(r"\[|extends|#!", text)]
    assert len(tables) >= 9
    for text in tables:
        if not text.startswith("#!"):
            tomllib.loads(text)


def test_the_recipes_of_the_page_lint(guide: Path) -> None:
    roots = [guide, shipped_root()]
    known = [rule.id for rule in rules()]
    names = [entry.name for entry in entries([guide])]
    assert names == ["acme-2", "debian-12-site", "debian-12-web"]
    for name in [*names, "debian-12+web", "debian-13-minimal+web"]:
        found = load(name, roots=roots)
        assert [str(row) for row in lint(found, rules=known)] == [], name
    site = load("debian-12-site", roots=roots)
    assert "hook-tune" in names_of(site.recipe)
    assert "/etc/issue" in site.recipe.configure.files
    assert load("debian-12+web", roots=roots).features == ("ssh", "web")


def test_the_fragments_of_the_page_fit_a_recipe(guide: Path) -> None:
    fragments = "\n".join(text for name, text in blocks() if not name and text.startswith(("[v", "[i", "[a")))
    (guide / "debian/12-all.toml").write_text(f'extends = "debian/12"\n{fragments}')
    roots = [guide, shipped_root()]
    assert [str(row) for row in lint(load("debian-12-all", roots=roots))] == []
    assert load("debian-12-all-web", roots=roots).features == ("minimal", "ssh", "web")


def test_a_release_is_a_file_of_under_15_lines_and_a_distribution_needs_no_python(guide: Path) -> None:
    found = load("acme-2", roots=[guide, shipped_root()])
    assert len((guide / "acme/2.toml").read_text().splitlines()) < 15
    assert found.recipe.image.name == "acme-2-x86_64"
    assert list(found.recipe.archives) == ["acme"]
    assert load("acme-2-minimal", roots=[guide, shipped_root()]).recipe.image.name == "acme-2-minimal-x86_64"
