"""How a run ends: exit statuses, messages, signals, pipes. Verbs here are stand-ins; `main` is real."""

from __future__ import annotations

import argparse
import errno
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tmplbuild import __version__, cli, errors
from tmplbuild.cli import about
from tmplbuild.cli.grammar import build_parser, exit_codes, first_verb
from tmplbuild.cli.parser import leaves, verbs

Verb = Callable[[argparse.Namespace], int]


@pytest.fixture
def version_does(monkeypatch: pytest.MonkeyPatch) -> Callable[[Verb], None]:
    """Put something else in place of what `tmplbuild version` does."""
    return lambda verb: monkeypatch.setattr(about, "run_version", verb)


def raising(error: BaseException) -> Verb:
    def verb(args: argparse.Namespace) -> int:
        raise error

    return verb


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["--version"]) == 0
    assert capsys.readouterr().out == f"tmplbuild {__version__}\n"


@pytest.mark.parametrize("words", [["--help"], ["build", "--help"], ["recipe", "show", "-h"]])
def test_help_goes_to_stdout(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(words) == 0
    shown = capsys.readouterr()
    assert shown.out.startswith("usage: tmplbuild")
    assert shown.err == ""


def test_help_fits_a_terminal_of_80_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    top = build_parser()
    pages = {"": top, **verbs(top), **dict(leaves(top))}
    assert len(pages) > 20
    for name, page in pages.items():
        assert [line for line in page.format_help().splitlines() if len(line) > 80] == [], name


def test_help_lists_the_exit_statuses(capsys: pytest.CaptureFixture[str]) -> None:
    cli.main(["--help"])
    shown = capsys.readouterr().out
    for kind in errors.TmplbuildError.__subclasses__():
        assert re.search(rf"^ +{kind.exit_code}  ", shown, re.MULTILINE)


def test_no_two_kinds_of_error_share_a_status() -> None:
    codes = [code for code, _ in exit_codes()]
    assert len(codes) == len(set(codes))
    assert all(text.endswith(".") for _, text in exit_codes())


@pytest.mark.parametrize(
    ("words", "what", "hint"),
    [
        ([], "required: VERB", "--help"),
        (["bild", "debian-12"], 'no verb "bild"', "did you mean build?"),
        (["recipe"], "required: VERB", "tmplbuild recipe --help"),
        (["recipe", "lst"], 'no verb "lst"', "did you mean list?"),
        (["build"], "required: NAME", "tmplbuild build --help"),
        (["build", "x", "--rebild"], "does not know --rebild", "did you mean --rebuild?"),
        (["build", "x", "--rebild=3"], "does not know --rebild=3", "did you mean --rebuild?"),
        (["build", "x", "--reb"], "does not know --reb", ""),
        (["plan", "x", "y"], "does not know y", "--help"),
        (["--color", "blue", "version"], '"blue" is not known', "auto, always, never"),
        (["cache", "prune", "--size", "5x"], '"5x" is not a size', ""),
        (["cache", "prune", "--days", "-1"], '"-1" is not a number of days', ""),
        (["completion", "basj"], '"basj" is not known', "did you mean bash?"),
        (["check"], "check needs a FILE", ""),
        (["check", "x", "--waive", "rule"], "a waiver needs a reason", ""),
    ],
)
def test_a_wrong_command_line(
    words: list[str], what: str, hint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(words) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert what in shown.err.splitlines()[0]
    assert hint in shown.err
    assert "Traceback" not in shown.err


@pytest.mark.parametrize(
    "words", [["-v", "version", "--json"], ["--json", "version", "-v"], ["version", "-v", "--json"]]
)
def test_general_options_may_stand_before_and_after_the_verb(
    words: list[str], version_does: Callable[[Verb], None]
) -> None:
    def verb(args: argparse.Namespace) -> int:
        assert (args.json, args.verbose, args.quiet, args.color) == (True, True, False, "auto")
        return 0

    version_does(verb)
    assert cli.main(words) == 0


@pytest.mark.parametrize("kind", errors.TmplbuildError.__subclasses__())
def test_each_error_has_its_status(
    kind: type[errors.TmplbuildError],
    version_does: Callable[[Verb], None],
    capsys: pytest.CaptureFixture[str],
) -> None:
    version_does(raising(kind("it failed", where="here", hint="mend it")))
    assert cli.main(["version"]) == kind.exit_code
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err == "tmplbuild: error: it failed\n  where: here\n  hint:  mend it\n"


def test_an_error_as_json(version_does: Callable[[Verb], None], capsys: pytest.CaptureFixture[str]) -> None:
    version_does(raising(errors.FetchError("it failed")))
    assert cli.main(["version", "--json"]) == 5
    shown = capsys.readouterr()
    found = json.loads(shown.out)
    assert (found["event"], found["exit_code"], found["what"]) == ("error", 5, "it failed")
    assert shown.err == ""


def test_a_wrong_command_line_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["bild", "--json"]) == 2
    assert json.loads(capsys.readouterr().out)["class"] == "UsageError"
    assert cli.main(["completion", "bash", "--json"]) == 2
    assert "no --json" in json.loads(capsys.readouterr().out)["what"]


def test_debug_adds_the_traceback(
    version_does: Callable[[Verb], None], capsys: pytest.CaptureFixture[str]
) -> None:
    version_does(raising(errors.FetchError("it failed")))
    assert cli.main(["version", "--debug"]) == 5
    assert "Traceback" in capsys.readouterr().err


def test_a_bug_is_one_message_and_a_file(
    version_does: Callable[[Verb], None],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    version_does(raising(ZeroDivisionError("by zero")))
    assert cli.main(["version"]) == 1
    shown = capsys.readouterr().err
    assert "this is a bug in tmplbuild" in shown
    assert "Traceback" not in shown
    (report,) = tmp_path.iterdir()
    assert str(report) in shown
    assert "Traceback" in report.read_text()
    assert "ZeroDivisionError: by zero" in report.read_text()


def test_a_full_disk_is_no_bug(
    version_does: Callable[[Verb], None], capsys: pytest.CaptureFixture[str]
) -> None:
    version_does(raising(OSError(errno.ENOSPC, "No space left on device", "/var/lib/x")))
    assert cli.main(["version"]) == errors.StoreError.exit_code
    assert "No space left on device" in capsys.readouterr().err


def test_interrupted(version_does: Callable[[Verb], None], capsys: pytest.CaptureFixture[str]) -> None:
    version_does(raising(KeyboardInterrupt()))
    assert cli.main(["version"]) == 130
    assert capsys.readouterr().err == "tmplbuild: interrupted\n"


# -- the real process ---------------------------------------------------------------------------

LONG_S = 300
"""Seconds after which something hangs, however much else the machine does."""

# A verb that tells when it is inside its `with` block, then waits; its clean-up tells too, and waits
# for a word if asked. All waiting is on pipes: no time passes unless something happens.
WAITING = """
import argparse, os, sys
from tmplbuild import cli
from tmplbuild.cli import about

class Resource:
    def __enter__(self):
        pass
    def __exit__(self, *what):
        print("cleaning", flush=True)
        if sys.argv[1] == "slow":
            sys.stdin.readline()
        print("clean", flush=True)

def verb(args):
    with Resource():
        print("inside", flush=True)
        sys.stdin.readline()
    return 0

about.run_version = verb
sys.exit(cli.main(["version"]))
"""


def waiting(how: str, program: str = WAITING) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", program, how],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "inside\n"
    return process


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_the_run_through_its_clean_up(number: signal.Signals) -> None:
    process = waiting("quick")
    process.send_signal(number)
    out, err = process.communicate(timeout=LONG_S)
    assert (out, err, process.returncode) == ("cleaning\nclean\n", "tmplbuild: interrupted\n", 130)


def test_a_second_signal_does_not_break_the_clean_up() -> None:
    process = waiting("slow")
    assert process.stdout is not None
    assert process.stderr is not None
    process.send_signal(signal.SIGINT)
    assert process.stdout.readline() == "cleaning\n"
    process.send_signal(signal.SIGINT)
    assert process.stderr.readline() == "\n"
    assert "once more" in process.stderr.readline()
    out, err = process.communicate("go on\n", timeout=LONG_S)
    assert (out, err, process.returncode) == ("clean\n", "tmplbuild: interrupted\n", 130)


def test_a_third_signal_leaves_at_once() -> None:
    process = waiting("slow")
    assert process.stdout is not None
    assert process.stderr is not None
    process.send_signal(signal.SIGTERM)
    assert process.stdout.readline() == "cleaning\n"
    process.send_signal(signal.SIGTERM)
    assert process.stderr.readline() == "\n"
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=LONG_S) == 130
    assert "clean\n" not in process.communicate()[0]


TELLING = """
from tmplbuild.cli import failures
tell = failures.interrupted

def told(args):
    print("telling", flush=True)
    sys.stdin.readline()
    return tell(args)

failures.interrupted = told
"""
TELLING = WAITING.replace("\nabout.run_version", f"{TELLING}about.run_version")


@pytest.mark.parametrize("more", [1, 2])
def test_a_signal_while_the_interruption_is_told_is_no_traceback(more: int) -> None:
    """As of a key that is held down."""
    process = waiting("quick", TELLING)
    assert process.stdout is not None
    assert process.stderr is not None
    process.send_signal(signal.SIGINT)
    assert [process.stdout.readline() for _ in range(3)] == ["cleaning\n", "clean\n", "telling\n"]
    process.send_signal(signal.SIGINT)
    assert process.stderr.readline() == "\n"
    assert "once more" in process.stderr.readline()
    if more == 2:
        process.send_signal(signal.SIGINT)
        assert (process.wait(LONG_S), process.communicate()) == (130, ("", ""))
        return
    assert process.communicate("go on\n", timeout=LONG_S) == ("", "tmplbuild: interrupted\n")
    assert process.returncode == 130


def test_a_signal_that_was_ignored_stays_ignored() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as nohup does
    try:
        process = waiting("quick")
    finally:
        signal.signal(signal.SIGHUP, before)
    process.send_signal(signal.SIGHUP)
    out, err = process.communicate("go on\n", timeout=LONG_S)
    assert (out, err, process.returncode) == ("cleaning\nclean\n", "", 0)


def run(*words: str, stdout: int = subprocess.PIPE, **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "tmplbuild", *words],
        stdout=stdout,
        stderr=subprocess.PIPE,
        stdin=subprocess.DEVNULL,
        env=os.environ | environ,
        text=True,
        timeout=LONG_S,
        check=False,
    )


def test_a_reader_that_goes_away_is_no_error() -> None:
    read, write = os.pipe()
    os.close(read)
    try:
        done = run("version", stdout=write)
    finally:
        os.close(write)
    assert (done.returncode, done.stderr) == (141, "")


@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize("words", [["version"], ["version", "--json"]])
def test_a_full_stdout_is_told(words: list[str], unbuffered: str) -> None:
    with open("/dev/full", "w") as full:
        done = run(*words, stdout=full.fileno(), PYTHONUNBUFFERED=unbuffered)
    assert done.returncode == errors.StoreError.exit_code
    assert "No space left on device" in done.stderr


@pytest.mark.parametrize(
    "environ", [{"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}, {"TERM": "dumb"}]
)
def test_any_locale_will_do(environ: dict[str, str]) -> None:
    done = run("recipe", "show", "gr\u00fc\u00dfe-\u6f22", "--recipes", "/", **environ)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys; from tmplbuild.cli import main; main(['--help']);"
        "print(sorted(m for m in sys.modules if m.split('.')[0] in "
        "{'rich', 'tqdm', 'msgspec', 'requests', 'pysequoia', 'zstandard', 'deflate', 'shtab'} "
        "or m.split('.')[1:2] in (['core'], ['recipes'], ['archives'], ['engine'])), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr == "[]\n"


def test_a_verb_alone_has_the_grammar_that_it_has_among_all() -> None:
    whole = verbs(build_parser())
    for name, found in whole.items():
        alone = verbs(build_parser(name))
        assert name in alone
        assert alone[name].format_help() == found.format_help()
    assert first_verb(["--config", "build", "-q", "status", "--json"]) == "status"
    assert first_verb(["--recipes=/x", "nightly"]) == "nightly"
    assert [first_verb(words) for words in ([], ["-h"], ["buidl"], ["-q", "x", "build"])] == [None] * 4
