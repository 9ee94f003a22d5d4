"""An error says what, where, why and what to do, in every rendering."""

from __future__ import annotations

from tmplbuild.errors import FetchError, RecipeError, StageError, TmplbuildError
from tmplbuild.ui.errors import TAIL_LINES, error_lines, error_object
from tmplbuild.ui.style import Ink

PLAIN = Ink(False)


def test_all_parts_are_labelled() -> None:
    error = FetchError("no mirror answers", where="http://x/y", why="timed out\ntwice", hint="try later")
    assert error_lines(error, PLAIN) == [
        "tmplbuild: error: no mirror answers",
        "  where: http://x/y",
        "  why:   timed out",
        "         twice",
        "  hint:  try later",
    ]


def test_what_is_not_known_is_left_out() -> None:
    assert error_lines(TmplbuildError("no"), PLAIN) == ["tmplbuild: error: no"]


def test_every_fault_of_a_recipe_is_shown_once() -> None:
    error = RecipeError("the recipe x has 2 faults", where="x.toml", faults=("x.toml:3: a", "x.toml:9: b"))
    assert error_lines(error, PLAIN) == [
        "tmplbuild: error: the recipe x has 2 faults",
        "  where: x.toml",
        "  - x.toml:3: a",
        "  - x.toml:9: b",
    ]


def test_a_failed_stage_shows_its_log_and_the_last_lines() -> None:
    error = StageError("stage strip: no", log="/log/1", tail=tuple(f"line {n}" for n in range(50)))
    lines = error_lines(error, PLAIN)
    assert "  log:   /log/1" in lines
    assert lines[-1] == "  | line 49"
    assert sum(line.startswith("  | ") for line in lines) == TAIL_LINES


def test_foreign_text_cannot_drive_the_terminal() -> None:
    error = StageError("x\x1b[2J", where="\x1b]0;a\x07", why="b\x1bc", tail=("\x1b[31m",))
    assert not any("\x1b" in line for line in error_lines(error, PLAIN))


def test_colour_changes_no_word() -> None:
    error = FetchError("no mirror", where="here")
    coloured = "\n".join(error_lines(error, Ink(True)))
    assert coloured.startswith("\x1b[1;31mtmplbuild: error:\x1b[0m no mirror")


def test_the_object_for_programs_has_the_same_parts() -> None:
    error = StageError("no", where="a", why="b", hint="c", log="d", tail=("e",))
    assert error_object(error) == {
        "event": "error",
        "class": "StageError",
        "exit_code": 7,
        "what": "no",
        "where": "a",
        "why": "b",
        "hint": "c",
        "log": "d",
        "tail": ["e"],
    }
    assert error_object(RecipeError("no", faults=("f",)))["faults"] == ["f"]
