"""What docs/fleet.md shows is read by those who would read it."""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tmplbuild import secrets
from tmplbuild.cli.grammar import build_parser
from tmplbuild.config import load_settings
from tmplbuild.fleet.graph import needs_of
from tmplbuild.fleet.lacks import lacking, nobody_has

TEXT = (Path(__file__).resolve().parents[2] / "docs" / "fleet.md").read_text()
BLOCKS = [re.sub("(?m)^    ", "", found) for found in re.findall(r"(?:(?<=\n\n)|\A)((?:    .*\n|\n)+)", TEXT)]


def block(begin: str) -> str:
    """The one example that begins so."""
    return next(found.strip() + "\n" for found in BLOCKS if found.strip().startswith(begin))


def verb(words: list[str]) -> argparse.Namespace:
    return build_parser(words[0]).parse_args(words)


def test_the_table(tmp_path: Path) -> None:
    config = tmp_path / "tmplbuild.toml"
    config.write_text(block("[fleet]"))
    found = load_settings(config, environ={}).fleet
    assert found.scheduler.startswith("tls://")
    assert found.tls_key is not None


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="needs systemd-analyze")
def test_the_unit(tmp_path: Path) -> None:
    program = tmp_path / "tmplbuild"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    text = block("[Unit]")
    start = re.search(r"(?m)^ExecStart=(\S+) (.*)$", text)
    assert start is not None
    assert verb(start[2].split()).scheduler is None
    unit = tmp_path / "tmplbuild-worker.service"
    unit.write_text(text.replace(start[1], str(program)))
    done = subprocess.run(["systemd-analyze", "verify", unit], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_the_manifest() -> None:
    found: Any = yaml.safe_load(block("apiVersion:"))
    assert (found["apiVersion"], found["kind"]) == ("apps/v1", "Deployment")
    spec = found["spec"]
    assert spec["selector"]["matchLabels"] == spec["template"]["metadata"]["labels"]
    pod = spec["template"]["spec"]
    worker = pod["containers"][0]
    assert {one["name"] for one in worker["volumeMounts"]} == {one["name"] for one in pod["volumes"]}
    args = verb(worker["args"])
    assert args.store.startswith("s3://")
    assert args.tls_key.startswith("/tls/")


@pytest.mark.skipif(shutil.which("openssl") is None, reason="needs openssl")
def test_the_certificates(tmp_path: Path) -> None:
    lines = [line for line in block("openssl req -x509").splitlines() if line.startswith("openssl")]
    assert len(lines) == 3
    for line in lines:
        subprocess.run(line.split(), cwd=tmp_path, check=True, capture_output=True)
    check = ["openssl", "verify", "-CAfile", "ca.crt", "builder-1.crt"]
    assert subprocess.run(check, cwd=tmp_path, check=False, capture_output=True).returncode == 0


def test_the_secrets_that_a_worker_offers(tmp_path: Path) -> None:
    for folder, name in (("a", "token"), ("a", ".hidden"), ("b", "login")):
        (tmp_path / folder).mkdir(exist_ok=True)
        (tmp_path / folder / name).touch()
    env = {"CREDENTIALS_DIRECTORY": str(tmp_path / "a"), "TMPLBUILD_SECRETS": str(tmp_path / "b")}
    assert secrets.names(env) == ["login", "token"]
    env = {
        "TMPLBUILD_SECRETS": str(tmp_path / "none"),
        "TMPLBUILD_SECRET_DB_PASS": "x",
        "TMPLBUILD_SECRET_A": "",
    }
    assert secrets.names(env) == ["db_pass"]
    assert secrets.plain("db.pass") == secrets.plain("db-pass") == "db_pass"


def test_what_no_worker_has() -> None:
    needs = needs_of("x86_64", 1024, ["db-pass"])
    little = needs | {"memory_mib": 512}
    other = {name: amount for name, amount in needs.items() if not name.startswith("secret")}
    assert lacking(needs, [little, needs]) == []
    assert lacking(needs, [other, other | {"secret token": 1}]) == ["secret db_pass"]
    assert lacking(needs, [little, other]) == ["memory_mib"], "each lacks something else: one is told"
    assert lacking(needs, []) == list(needs)
    error = nobody_has(["secret db_pass"], needs, "small-12: tree", ["db-pass"])
    assert error.why == "none has the secret db-pass"
    assert "/etc/tmplbuild/secrets/db-pass" in error.hint
    assert "LoadCredential=db-pass:FILE" in error.hint
    assert "no worker of this version" in nobody_has(list(needs), needs, "x", []).why
    assert nobody_has(["memory_mib", "arch aarch64"], needs, "x", []).why == (
        "none has 1024 MiB for a build and the architecture aarch64"
    )
