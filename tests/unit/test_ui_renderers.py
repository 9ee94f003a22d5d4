"""Each renderer shows the same run; results on stdout, the rest on stderr."""

from __future__ import annotations

import dataclasses
import io
import json
import os
import pty
import re
import threading
from typing import TextIO

import pytest

from tests.unit.test_ui_night import NIGHT
from tmplbuild import events, ui
from tmplbuild.events import (
    Away,
    Bytes,
    Command,
    Detail,
    Event,
    Note,
    Output,
    Progress,
    RunDone,
    RunStarted,
    StageDone,
    StageFailed,
    StageStarted,
)
from tmplbuild.ui.jsonlines import JsonLines
from tmplbuild.ui.plain import Plain, Quiet
from tmplbuild.ui.screen import Screen
from tmplbuild.ui.terminal import Terminal

SUMMARY: dict[str, object] = {
    "file": "/cache/debian-12-x86_64.tar.gz",
    "size": 104_300_000,
    "sha256": "a" * 64,
    "packages": 213,
    "seconds": 72.3,
    "manifest": "/cache/debian-12-x86_64.manifest.json",
    "stages": [
        {"name": "bootstrap", "seconds": 0.0, "cached": True, "reason": "same pins"},
        {"name": "install", "seconds": 8.1, "cached": False, "reason": "packages moved: dpkg 1 -> 2"},
    ],
    "stripped": [f"thing-{number}" for number in range(9)],
    "leftovers": ["/etc/a.dpkg-dist: deleted"],
    "changed": "3 upgraded (1 security: CVE-2026-1001), 1 added; /etc: 2 files",
    "breaking": ["another init: systemd -> openrc", "users removed: \x1b[2J"],
}

RUN: list[Event] = [
    RunStarted("debian-12-x86_64", ("bootstrap", "install")),
    StageDone("bootstrap", 1, 2, 0.0, True, "same pins"),
    StageStarted("install", 2, 2, "packages moved"),
    Command(("dpkg", "--configure", "-a")),
    Progress("Setting up \x1b[31mfoo", 0.5),
    Bytes("packages", 10_000_000, 58_000_000),
    Output(b"Setting up foo\nhalf a "),
    Output(b"line\x1b]0;title\x07\n"),
    Bytes("packages", 58_000_000, 58_000_000, ended=True),
    Note("a mirror is slow", "warning"),
    Detail("chosen: awk is provided by mawk"),
    Away("pack", "0" * 64),
    StageDone("install", 2, 2, 8.1, False),
    RunDone("debian-12-x86_64", False, SUMMARY),
]


class Clock:
    """A clock that goes on by one second each time it is read."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        self.now += 1
        return self.now


def test_every_event_has_been_thought_of() -> None:
    known = {type(event).__name__ for event in [*RUN, *NIGHT]} | {StageFailed.__name__}
    assert known == {kind.__name__ for kind in events.Event.__subclasses__()}


def test_details_are_for_those_who_ask() -> None:
    for shown in (plain, terminal):
        assert "chosen: awk" not in "".join(shown(RUN))
        assert "chosen: awk is provided by mawk" in "".join(shown(RUN, verbose=True))


# -- plain ----------------------------------------------------------------------------------------


def plain(run: list[Event], *, verbose: bool = False) -> tuple[str, str]:
    out, err = io.StringIO(), io.StringIO()
    with Plain(out, err, verbose=verbose, clock=Clock(), stamp=lambda: "12:00") as emit:
        for event in run:
            emit(event)
    return out.getvalue(), err.getvalue()


def test_plain_lines() -> None:
    out, err = plain(RUN)
    assert err.splitlines() == [
        "12:00 debian-12-x86_64: 2 stages",
        "12:00 [1/2] bootstrap: cached: same pins",
        "12:00 [2/2] install: start: packages moved",
        "12:00   packages: 58.0 MB in 1.0 s (48.0 MB/s)",
        "12:00 warning: a mirror is slow",
        "12:00 [2/2] install: done in 8.1 s",
    ]
    assert "debian-12-x86_64: built in 1 min 12 s" in out
    assert "a" * 64 in out


def test_plain_lines_with_output() -> None:
    _, err = plain(RUN, verbose=True)
    assert "12:00   $ dpkg --configure -a\n12:00   | Setting up foo\n" in err
    assert "12:00   | half a line\\x1b]0;title\\x07\n" in err
    assert "\x1b" not in err


def test_plain_failure_names_the_log() -> None:
    _, err = plain([StageStarted("strip", 1, 2, ""), StageFailed("strip", 2.0, "/log/strip.log")])
    assert "strip: FAILED after 2.0 s, log: /log/strip.log" in err


def test_a_stage_on_another_machine_names_it() -> None:
    run = [StageStarted("strip", 1, 2, "first build", "w2"), StageFailed("strip", 2.0, "/log/x", "w2")]
    assert "strip: FAILED on w2 after 2.0 s, log: /log/x" in plain(run)[1]
    shown = screen_text(terminal(run)[1])
    assert "on w2: first build" in shown
    assert "failed on w2" in shown


def test_output_without_line_end_is_not_lost_at_the_end() -> None:
    _, err = plain([Output(b"last words")], verbose=True)
    assert "last words" in err


def test_the_summary_tells_what_changed_and_what_breaks() -> None:
    out, _ = plain(RUN)
    at = out.splitlines().index("  changed    3 upgraded (1 security: CVE-2026-1001), 1 added; /etc: 2 files")
    assert out.splitlines()[at + 1 : at + 3] == [
        "             ! another init: systemd -> openrc",
        "             ! users removed: \\x1b[2J",
    ]


def test_unchanged_is_one_line_with_the_reason() -> None:
    summary = {"seconds": 0.4, "why": "no package moved in the archives", "file": "/cache/x.tar.gz"}
    out, _ = plain([RunDone("x", True, summary)])
    assert out.splitlines()[0] == "x: unchanged in 0.4 s: no package moved in the archives"


def test_quiet_says_only_what_is_wrong() -> None:
    err = io.StringIO()
    with Quiet(err) as emit:
        for event in RUN:
            emit(event)
    assert err.getvalue() == "tmplbuild: warning: a mirror is slow\n"


@pytest.mark.parametrize("value", [None, "", 7, [], [3], {}, "x", [{"name": None}], [{"cached": 1}]])
@pytest.mark.parametrize("word", sorted(SUMMARY))
def test_a_summary_with_anything_in_it_is_shown(word: str, value: object) -> None:
    out, _ = plain([RunDone("x", False, {**SUMMARY, word: value})])
    assert out.startswith("x: built")


# -- JSON -----------------------------------------------------------------------------------------


def objects(run: list[Event], *, verbose: bool = False) -> list[dict[str, object]]:
    out = io.StringIO()
    with JsonLines(out, verbose=verbose, clock=lambda: 1000.0) as emit:
        for event in run:
            emit(event)
    return [json.loads(line) for line in out.getvalue().splitlines()]


def test_json_has_every_field_by_name() -> None:
    found = objects(RUN, verbose=True)
    assert len(found) == len(RUN)
    for row, event in zip(found, RUN, strict=True):
        assert row.keys() == {"event", "time"} | {field.name for field in dataclasses.fields(event)}
    assert found[0] == {
        "event": "run_started",
        "time": 1000.0,
        "template": "debian-12-x86_64",
        "steps": ["bootstrap", "install"],
    }
    assert found[-1]["summary"] == SUMMARY


def test_json_leaves_output_out_unless_asked() -> None:
    assert {"output", "command"}.isdisjoint(str(row["event"]) for row in objects(RUN))


def test_json_survives_bytes_that_are_no_text() -> None:
    assert objects([Output(b"\xff\x00")], verbose=True)[0]["data"] == "\\xff\x00"


def test_json_sends_bytes_now_and_then_but_always_the_end() -> None:
    run: list[Event] = [Bytes("p", at, 100) for at in range(50)]
    found = objects([*run, Bytes("p", 100, 100, ended=True)])
    assert [row["done"] for row in found] == [0, 100]  # the clock stands still


# -- the terminal ---------------------------------------------------------------------------------


class FakeTerminal(io.StringIO):
    """A terminal whose encoding may be told."""

    def __init__(self, encoding: str = "utf-8") -> None:
        super().__init__()
        self._encoding = encoding

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return self._encoding

    def isatty(self) -> bool:
        return True

    def write(self, text: str) -> int:
        text.encode(self._encoding)
        return super().write(text)


def screen_text(text: str) -> str:
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text)


@pytest.fixture(autouse=True)
def any_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """rich asks the environment what the terminal can do; that of whoever runs the tests says nothing."""
    monkeypatch.setenv("TERM", "xterm")
    for name in ("COLUMNS", "LINES", "NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE"):
        monkeypatch.delenv(name, raising=False)


def terminal(
    run: list[Event], *, width: int = 80, encoding: str = "utf-8", verbose: bool = False
) -> tuple[str, str]:
    out, err = io.StringIO(), FakeTerminal(encoding)
    with Terminal(out, err, width=width, verbose=verbose, clock=Clock()) as emit:
        for event in run:
            emit(event)
            with emit._lock:  # a frame after each event, whether or not the thread comes to it
                emit._live.refresh()
    return out.getvalue(), err.getvalue()


def test_terminal_keeps_one_line_a_stage() -> None:
    out, err = terminal(RUN)
    text = screen_text(err)
    assert "· bootstrap       cached  same pins" in text
    assert "✔ install          8.1 s  packages moved" in text
    assert "warning: a mirror is slow" in text
    assert "debian-12-x86_64: built in 1 min 12 s" in out


def test_terminal_shows_the_cursor_again_whatever_happens() -> None:
    out, err = io.StringIO(), FakeTerminal()

    def interrupted() -> None:
        with Terminal(out, err) as emit:
            emit(StageStarted("strip", 1, 2, ""))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert err.getvalue().rfind("\x1b[?25h") > err.getvalue().rfind("\x1b[?25l")
    assert re.search(r"✘ strip .* interrupted", screen_text(err.getvalue()))


@pytest.mark.parametrize("width", [1, 5, 20, 40, 80, 300])
@pytest.mark.parametrize("encoding", ["utf-8", "ascii", "latin-1"])
def test_terminal_fits_any_width_and_encoding(width: int, encoding: str) -> None:
    _, err = terminal(RUN[:-1], width=width, encoding=encoding)
    assert max(len(line) for line in screen_text(err).replace("\r", "\n").splitlines()) <= width


@pytest.mark.parametrize("verbose", [False, True])
def test_no_escape_of_the_ve_reaches_the_terminal(verbose: bool) -> None:
    _, err = terminal(RUN, verbose=verbose)
    assert "\x1b[31mfoo" not in err
    assert "\x1b]0;" not in err


def test_the_live_line_shows_progress_and_the_bar() -> None:
    out, err = io.StringIO(), FakeTerminal()
    with Terminal(out, err, width=80, clock=Clock()) as emit:
        for event in RUN[:6]:
            emit(event)
        stage, bar = ("".join(text for text, _ in line) for line in emit._picture())
    assert re.match(r". install +\d+(\.\d)? s  2/2  50% Setting up \\x1b\[31mfoo$", stage)
    assert re.match(r"  packages:  17%\|.*\| 10\.0M/58\.0M \[", bar)


def test_events_from_many_threads_are_all_shown() -> None:
    out, err = io.StringIO(), io.StringIO()
    with Plain(out, err, stamp=lambda: "now") as emit:
        threads = [
            threading.Thread(target=lambda n=n: [emit(Note(f"{n}-{i}")) for i in range(50)]) for n in range(8)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert sorted(err.getvalue().splitlines()) == sorted(f"now {n}-{i}" for n in range(8) for i in range(50))


# -- which one ------------------------------------------------------------------------------------


@pytest.fixture
def tty() -> object:
    main, other = pty.openpty()
    file = os.fdopen(other, "w")
    yield file
    file.close()
    os.close(main)


def chosen(err: TextIO, **options: bool) -> type[Screen]:
    return type(ui.screen(io.StringIO(), err, **options))


def test_a_terminal_gets_the_live_screen(tty: TextIO, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    assert chosen(tty) is Terminal
    assert chosen(tty, json=True) is JsonLines
    assert chosen(tty, quiet=True) is Quiet
    monkeypatch.setenv("TERM", "dumb")
    assert chosen(tty) is Plain


def test_a_pipe_gets_plain_lines() -> None:
    assert chosen(io.StringIO()) is Plain


def test_no_color(tty: TextIO, monkeypatch: pytest.MonkeyPatch) -> None:
    from tmplbuild.ui.style import wants_colour

    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert wants_colour(tty, "auto")
    assert not wants_colour(io.StringIO(), "auto")
    assert wants_colour(io.StringIO(), "always")
    monkeypatch.setenv("NO_COLOR", "1")
    assert not wants_colour(tty, "auto")
    assert wants_colour(tty, "always")
    monkeypatch.setenv("NO_COLOR", "")
    assert wants_colour(tty, "auto")


def test_a_reader_that_goes_away_does_not_end_the_build() -> None:
    read, write = os.pipe()
    os.close(read)
    with os.fdopen(write, "w") as err, Plain(io.StringIO(), err) as emit:
        for event in RUN:
            emit(event)
        # what is still buffered must not raise at close either
        os.dup2(os.open(os.devnull, os.O_WRONLY), write)


def test_other_faults_of_the_screen_are_not_hidden() -> None:
    class Broken(Screen):
        def show(self, event: Event) -> None:
            raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space"):
        Broken()(Note("x"))
