"""A run over several templates on every kind of screen, and its report as text and metrics."""

from __future__ import annotations

import io
import json
import re
from typing import Any

import pytest

from tmplbuild.engine.metrics import metrics
from tmplbuild.events import (
    Bytes,
    Event,
    NightDone,
    NightStarted,
    Note,
    Output,
    Progress,
    StageDone,
    StageStarted,
    TemplateDone,
    TemplateEvent,
)
from tmplbuild.ui import night_screen
from tmplbuild.ui.board import Board
from tmplbuild.ui.jsonlines import event_object, event_of
from tmplbuild.ui.night import is_quiet, night_lines, subject
from tmplbuild.ui.style import Ink


def row(name: str, outcome: str, **more: Any) -> dict[str, Any]:
    """A row of a report."""
    return {
        "template": f"{name}-x86_64",
        "recipe": name,
        "outcome": outcome,
        "why": f"why {name}",
        "seconds": 0.0,
        "stale": False,
        "age_s": 3600.0 * 24 * 3,
        "built": 1_700_000_000.0,
        "failure": None,
        "error": None,
        "file": f"/cache/{name}-x86_64.tar.gz",
        "size": 104_300_000,
        "packages": 213,
        "changes": [],
        "warnings": [],
    } | more


def report(*rows: dict[str, Any]) -> dict[str, Any]:
    """A report with these rows."""
    counts: dict[str, int] = {}
    for one in rows:
        counts[one["outcome"]] = counts.get(one["outcome"], 0) + 1
    stale = [one["template"] for one in rows if one["stale"]]
    status = 1 if stale or "failed" in counts else 0
    return {
        "began": 1_700_000_000.0,
        "seconds": 125.0,
        "status": status,
        "counts": counts,
        "stale": stale,
        "templates": list(rows),
    }


FAILED = row(
    "debian-13",
    "failed",
    seconds=31.0,
    error={
        "what": "stage upgrade: dist-upgrade: the command failed",
        "why": "exit status 100",
        "log": "/var/lib/tmplbuild/logs/debian-13-x86_64/06-upgrade.log",
        "tail": ["E: a\x1b[2J script", "failed"],
    },
    failure={"times": 3, "since": 1_699_900_000.0},
)
UPDATED = row("debian-12", "updated", seconds=41.0, changes=["openssl 1 -> 2"], warnings=["look at this"])
SKIPPED = [
    row(f"altlinux-p{n}", "skipped", why=f"no key: tmplbuild recipe lint altlinux-p{n}") for n in (10, 11)
]
BAD = report(FAILED, UPDATED, row("ubuntu-24.04", "unchanged"), *SKIPPED)
GOOD = report(row("ubuntu-24.04", "unchanged"), *SKIPPED)

NIGHT: list[Event] = [
    NightStarted(("debian-13-x86_64", "debian-12-x86_64")),
    TemplateDone("ubuntu-24.04-x86_64", "unchanged", "no index moved in the archives", 0.0),
    TemplateDone("altlinux-p11-x86_64", "skipped", "no key", 0.0),
    TemplateEvent("debian-12-x86_64", StageStarted("upgrade", 6, 11, "packages moved")),
    TemplateEvent("debian-13-x86_64", StageStarted("install", 2, 11, "first build", "w2")),
    TemplateEvent("debian-12-x86_64", Progress("Setting up \x1b[31mfoo", 0.5)),
    TemplateEvent("debian-12-x86_64", Bytes("packages", 10_000_000, 58_000_000)),
    TemplateEvent("debian-13-x86_64", Note("a mirror is slow", "warning")),
    TemplateEvent("debian-12-x86_64", Output(b"said \xff")),
    TemplateEvent("debian-12-x86_64", StageDone("upgrade", 6, 11, 8.1, False, "packages moved")),
    TemplateDone("debian-12-x86_64", "updated", "packages moved: openssl 1 -> 2", 41.0),
    TemplateDone("debian-13-x86_64", "failed", "stage upgrade: dist-upgrade: the command failed", 31.0),
    NightDone(BAD),
]


class Terminal(io.StringIO):
    encoding = "utf-8"

    def isatty(self) -> bool:
        return True


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        self.now += 1
        return self.now


def play(events: list[Event], **options: Any) -> tuple[str, str]:
    out, err = io.StringIO(), io.StringIO()
    with night_screen(out, err, **options) as emit:
        for event in events:
            emit(event)
    return out.getvalue(), err.getvalue()


def test_the_report_says_first_what_must_be_known() -> None:
    lines = night_lines(BAD, Ink(), 78)
    text = "\n".join(lines)
    assert "1 failed, 1 updated, 1 unchanged in 2 min 05 s" in lines[0]
    order = [line for line in lines if line in ("failed", "updated", "unchanged", "skipped")]
    assert order == ["failed", "updated", "unchanged", "skipped"]
    for words in ("exit status 100", "06-upgrade.log", "3 times in a row", "/cache/debian-13-x86_64.tar.gz"):
        assert words in text
    assert "openssl 1 -> 2" in text
    assert "look at this" in text
    assert "\x1b" not in text  # a log's last lines do not drive the terminal
    assert "altlinux-p10-x86_64, altlinux-p11-x86_64: no key" in text  # told once


def test_a_stale_template_is_told_although_nobody_failed() -> None:
    found = report(row("debian-12", "unchanged", stale=True, age_s=86400.0 * 40))
    assert subject(found) == "1 stale, 1 unchanged"
    assert not is_quiet(found)
    assert "last good build 40 days ago" in "\n".join(night_lines(found, Ink(), 78))


def test_cron_hears_nothing_of_a_night_without_news() -> None:
    quiet = [NightStarted(()), TemplateDone("x", "unchanged", "no index moved", 0.0), NightDone(GOOD)]
    assert play(quiet, quiet_unchanged=True) == ("", "")
    out, err = play(NIGHT, quiet_unchanged=True)
    assert out.startswith(("2023-11-14", "2023-11-15"))
    assert err == ""  # the report tells it all
    assert play(quiet, quiet=True) == ("", "")
    assert "debian-13-x86_64" in play(NIGHT, quiet=True)[0]


def test_plain_lines_name_their_template() -> None:
    out, err = play(NIGHT)
    assert "2 templates to be worked on: debian-13-x86_64, debian-12-x86_64" in err
    assert "debian-12-x86_64: [6/11] upgrade: start: packages moved" in err
    assert "debian-13-x86_64: [2/11] install: start on w2: first build" in err
    assert "debian-13-x86_64: warning: a mirror is slow" in err
    assert "debian-12-x86_64: updated in 41 s: packages moved" in err
    assert "failed" in out


def test_json_lines_can_be_read_back() -> None:
    out, _ = play(NIGHT, json=True, verbose=True)
    rows = [json.loads(line) for line in out.splitlines()]
    assert [one["event"] for one in rows].count("template_event") == 7
    assert rows[-1]["report"]["counts"]["failed"] == 1
    for event in NIGHT:
        again = event_of(json.loads(json.dumps(event_object(event))))
        if not (isinstance(event, TemplateEvent) and isinstance(event.of, Output)):  # bytes that are no text
            assert again == event


@pytest.mark.parametrize("width", [20, 80, 200])
def test_the_board_has_one_line_a_template(width: int) -> None:
    out, err = io.StringIO(), Terminal()
    with Board(out, err, width=width, clock=Clock()) as emit:
        for event in NIGHT:
            emit(event)
            with emit._lock:
                emit._live.refresh()
    shown = err.getvalue()
    assert "\x1b[31mfoo" not in shown
    if width == 200:
        assert "upgrade" in shown
        assert re.search(r"install(\x1b\[[0-9;]*m)+ on w2", shown)
        assert "packages: 10.0 MB of 58.0 MB" in shown
        assert "1 template to come" not in shown.rpartition("debian-13")[2]
    assert shown.rstrip("\r").endswith("\x1b[?25h")  # the cursor is back
    assert "failed" in out.getvalue()


def test_the_board_says_what_was_interrupted() -> None:
    out, err = io.StringIO(), Terminal()
    board = Board(out, err, width=100, clock=Clock())
    for event in NIGHT[:5]:
        board(event)
    board.__exit__(KeyboardInterrupt, KeyboardInterrupt(), None)
    assert "interrupted in upgrade" in err.getvalue()
    assert "interrupted in install" in err.getvalue()


SAMPLE = re.compile(r'([a-z_]+)(\{[a-z]+="[^"\\\n]*"\})? (-?[0-9.]+)')


def test_metrics_are_what_prometheus_reads() -> None:
    text = metrics(BAD)
    assert text.endswith("\n")
    seen: dict[str, float] = {}
    typed: set[str] = set()
    for line in text.splitlines():
        if line.startswith("# TYPE "):
            _, _, name, kind = line.split(" ")
            assert kind == "gauge"
            assert name not in typed  # all samples of a metric stand together
            typed.add(name)
        elif not line.startswith("# HELP "):
            found = SAMPLE.fullmatch(line)
            assert found, line
            assert found[1] in typed
            seen[found[1] + (found[2] or "")] = float(found[3])
    assert seen['tmplbuild_template_failed{template="debian-13-x86_64"}'] == 1
    assert seen['tmplbuild_template_failed{template="debian-12-x86_64"}'] == 0
    assert (
        seen['tmplbuild_template_failed_since_timestamp_seconds{template="debian-13-x86_64"}']
        == 1_699_900_000
    )
    assert seen['tmplbuild_nightly_templates{outcome="unchanged"}'] == 1
    assert seen["tmplbuild_nightly_end_timestamp_seconds"] == 1_700_000_125
    assert "altlinux" not in text
