"""The page about the rules says what the rules say."""

from __future__ import annotations

from pathlib import Path

from tmplbuild.checks.reference import markdown

PAGE = Path(__file__).parents[2] / "docs" / "checks.md"


def test_the_page_is_in_step_with_the_rules() -> None:
    assert PAGE.read_text() == markdown(), "run: python -m tmplbuild.checks.reference > docs/checks.md"
