"""What the documents say is what the program does."""

from __future__ import annotations

import dataclasses
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tmplbuild import events
from tmplbuild.cli.grammar import build_parser
from tmplbuild.cli.parser import leaves
from tmplbuild.ui.jsonlines import event_object

ROOT = Path(__file__).resolve().parents[2]
MAN = ROOT / "docs" / "tmplbuild.1"
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")), ROOT / "docs" / "manpage.txt"]


def test_the_manual_page_is_what_its_sources_make() -> None:
    made = subprocess.run(
        [sys.executable, str(ROOT / "docs" / "manpage.py")], capture_output=True, text=True, check=True
    )
    assert MAN.read_text() == made.stdout, "run `make docs`"


def test_every_verb_and_option_is_in_the_manual_page() -> None:
    page = MAN.read_text().replace("\\-", "-")
    for name, verb in leaves(build_parser()):
        assert f"tmplbuild {name}" in page
        for action in verb._actions:
            assert all(option in page for option in action.option_strings), name


def test_every_argument_has_a_help_text() -> None:
    for name, verb in leaves(build_parser()):
        assert verb.description, name
        for action in verb._actions:
            assert action.help, f"{name}: {action.dest}"


def test_every_verb_is_in_the_readme() -> None:
    text = (ROOT / "README.md").read_text()
    for name, _ in leaves(build_parser()):
        assert f"tmplbuild {name.split()[0]}" in text, name


def commands() -> list[tuple[str, str]]:
    """The lines of all pages that call tmplbuild, with their page."""
    found = []
    for page in PAGES:
        text = page.read_text().replace("\\\n", " ")
        for line in text.splitlines():
            match = re.match(r"^ {2,}(?:\$ |# )?(tmplbuild [a-z].*)$", line)
            if match:
                found.append((page.name, match[1]))
        found += [(page.name, code) for code in re.findall(r"`(tmplbuild [a-z][^`]*)`", text)]
    return found


@pytest.mark.parametrize(("page", "command"), commands())
def test_commands_in_the_pages_parse(page: str, command: str) -> None:
    words = shlex.split(re.sub(r"\s{2,}.*| >.*", "", command), comments=True)[1:]
    names = [name for name, _ in leaves(build_parser())]
    if " ".join(words) in {*names, *(name.split()[0] for name in names)}:
        return  # only the verb is named
    build_parser().parse_args(words)


def test_the_make_targets_in_the_readme_are_there() -> None:
    makefile = (ROOT / "Makefile").read_text()
    for target in re.findall(r"(?:^ {4}|`)make ([a-z]+)", (ROOT / "README.md").read_text(), re.MULTILINE):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target


def test_every_event_and_field_of_json_is_documented() -> None:
    page = (ROOT / "docs" / "json.md").read_text()
    rows = dict(re.findall(r"^\| `(\w+)` \| (.*?) \| ", page, re.MULTILINE))
    for kind in events.Event.__subclasses__():
        values = {field.name: None for field in dataclasses.fields(kind)}
        name = str(event_object(kind(**values))["event"])  # type: ignore[arg-type]
        documented = set(re.findall(r"`(\w+)`", re.sub(r"\(.*?\)", "", rows[name])))
        assert documented == set(values), name


def test_links_between_pages_lead_somewhere() -> None:
    for page in PAGES:
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name}: {target}"
