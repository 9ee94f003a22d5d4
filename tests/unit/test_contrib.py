"""The service that starts containers with the host: what `make install` installs."""

from __future__ import annotations

import configparser
import subprocess
from pathlib import Path

import pytest

from tmplbuild.cli.grammar import build_parser

CONTRIB = Path(__file__).resolve().parents[2] / "contrib"


@pytest.mark.parametrize(
    ("word", "calls"),
    [
        ("start", "ve autostart\n"),
        ("stop", "ve autostart --stop\n"),
        ("restart", "ve autostart --stop\nve autostart\n"),
        ("status", "ve list\n"),
    ],
)
def test_the_init_script(tmp_path: Path, word: str, calls: str) -> None:
    program = tmp_path / "tmplbuild"
    program.write_text('#!/bin/sh\necho "$*"\n')
    program.chmod(0o755)
    script = tmp_path / "init"
    script.write_text((CONTRIB / "tmplbuild-ve.init").read_text().replace("@BIN@", str(tmp_path)))
    script.chmod(0o755)
    done = subprocess.run([script, word], capture_output=True, text=True, check=True)
    assert done.stdout == calls
    assert subprocess.run([script, "x"], capture_output=True, check=False).returncode == 2


def test_the_unit_calls_verbs_that_there_are() -> None:
    unit = configparser.ConfigParser(interpolation=None)
    unit.optionxform = str  # type: ignore[assignment,method-assign]
    unit.read(CONTRIB / "tmplbuild-ve.service")
    for key in ("ExecStart", "ExecStop"):
        program, *words = unit["Service"][key].split()
        assert program == "@BIN@/tmplbuild"
        build_parser().parse_args(words)
    assert unit["Service"]["RemainAfterExit"] == "yes"  # else the containers would be killed with it
