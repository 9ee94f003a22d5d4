"""`make install` from a copy of the checkout: all is where the README says, and runs from anywhere."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PUT = (
    "bin/tmplbuild",
    "etc/init.d/tmplbuild-ve",
    "lib/systemd/system/tmplbuild-nightly.service",
    "lib/systemd/system/tmplbuild-nightly.timer",
    "lib/systemd/system/tmplbuild-ve.service",
    "share/bash-completion/completions/tmplbuild",
    "share/doc/tmplbuild/examples/tmplbuild.cron",
    "share/doc/tmplbuild/examples/tmplbuild.toml",
    "share/fish/vendor_completions.d/tmplbuild.fish",
    "share/man/man1/tmplbuild.1",
    "share/zsh/site-functions/_tmplbuild",
)
PASSING = (".venv", ".git", ".*_cache", ".hypothesis", "__pycache__")
"""What comes and goes in a checkout while other tests run."""


@pytest.mark.slow
def test_what_is_installed_runs_without_the_checkout(tmp_path: Path) -> None:
    checkout, prefix = tmp_path / "checkout", tmp_path / "prefix"
    shutil.copytree(ROOT, checkout, ignore=shutil.ignore_patterns(*PASSING))
    argv = ["make", "-s", "-C", checkout, "install", f"PREFIX={prefix}", f"PYTHON={sys.executable}"]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    shutil.rmtree(checkout)
    shutil.rmtree(prefix / "include", ignore_errors=True)
    found = {str(path.relative_to(prefix)) for path in prefix.rglob("*") if path.is_file()}
    assert {name for name in found if not name.startswith("lib/tmplbuild/")} == set(PUT)
    assert {path.name for path in (ROOT / "contrib").iterdir()} <= {Path(name).name for name in PUT} | {
        "tmplbuild-ve.init"
    }
    for name in PUT:
        text = (prefix / name).read_text()
        assert text, name
        assert "@BIN@" not in text, name
    assert os.access(prefix / "etc/init.d/tmplbuild-ve", os.X_OK)
    assert f"ExecStart={prefix}/bin/tmplbuild " in (prefix / PUT[2]).read_text()
    env = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "LC_ALL": "C.UTF-8"}

    def says(*words: str) -> str:
        argv = [str(prefix / "bin/tmplbuild"), *words]
        return subprocess.run(argv, env=env, cwd="/", capture_output=True, text=True, check=True).stdout

    shipped = {row.split()[0] for row in says("recipe", "list").splitlines()[1:]}
    assert {"debian-12", "ubuntu-24.04", "altlinux-p11", "almalinux-9"} <= shipped
    assert "debian" in says("recipe", "show", "debian-12")
    for shell, name in (("bash", PUT[5]), ("zsh", PUT[10]), ("fish", PUT[8])):
        assert says("completion", shell) == (prefix / name).read_text()
