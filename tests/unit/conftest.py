"""What several unit tests share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from tmplbuild import cli


@dataclass(frozen=True)
class Ran:
    status: int
    out: str
    err: str


Run = Callable[..., Ran]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    """Run a command line whose places are all below tmp_path."""
    for name in ("TEMPLATE_CACHE", "CACHE_DIR", "STATE_DIR", "RUN_DIR"):
        monkeypatch.setenv(f"TMPLBUILD_{name}", str(tmp_path / name.lower()))
    monkeypatch.delenv("TMPLBUILD_RECIPES", raising=False)
    monkeypatch.setenv("TMPLBUILD_CONFIG", str(tmp_path / "settings.toml"))
    (tmp_path / "settings.toml").write_text("")

    def go(*words: str) -> Ran:
        status = cli.main(words)
        shown = capsys.readouterr()
        return Ran(status, shown.out, shown.err)

    return go
