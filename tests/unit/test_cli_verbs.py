"""The verbs that need neither root nor network, against the real parts."""

from __future__ import annotations

import io
import json
import os
import tarfile
import tomllib
from pathlib import Path

import pytest

from tests.unit.conftest import Run
from tmplbuild.cli.table import table


@pytest.fixture
def recipes(tmp_path: Path) -> Path:
    """A directory of recipes with one good and one bad recipe."""
    folder = tmp_path / "mine" / "debian"
    folder.mkdir(parents=True)
    (folder / "12-web.toml").write_text(
        'extends = "debian/12"\n[image]\nname = "web-{ve_arch}"\n[install]\nadd.packages = ["nginx"]\n'
    )
    (folder / "12-bad.toml").write_text('extends = "debian/12"\n[instal]\nx = 1\n[pack]\nlevel = "six"\n')
    return folder.parent


def make_tar(path: Path, names: dict[str, bytes]) -> Path:
    with tarfile.open(path, "w:gz") as tar:
        for name, data in {"./etc/passwd": b"root:x:0:0::/root:/bin/sh\n", **names}.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return path


# -- recipe ---------------------------------------------------------------------------------------


def test_recipe_list(run: Run) -> None:
    done = run("recipe", "list")
    assert done.status == 0
    shown = [line.split()[0] for line in done.out.splitlines()[1:]]
    assert [name for name in shown if name.startswith("debian-")] == ["debian-11", "debian-12", "debian-13"]
    names = [row["name"] for row in json.loads(run("recipe", "list", "--json").out)]
    assert names == shown


def test_recipe_list_shows_one_that_cannot_be_read(run: Run, recipes: Path) -> None:
    done = run("--recipes", str(recipes), "recipe", "list")
    assert done.status == 0
    (bad,) = [line for line in done.out.splitlines() if line.startswith("debian-12-bad")]
    assert "2 faults" in bad


def test_recipe_show_is_toml_and_says_where_from(run: Run, recipes: Path) -> None:
    plain = run("recipe", "show", "debian-12-web", "--recipes", str(recipes), "--arch", "x86_64")
    found = tomllib.loads(plain.out)
    assert found["image"]["name"] == "web-x86_64"
    assert "nginx" in found["install"]["packages"]
    origin = run("recipe", "show", "debian-12-web", "--recipes", str(recipes), "--origin")
    assert '"nginx",  # debian/12-web.toml:5' in origin.out
    as_json = run("recipe", "show", "debian-12-web", "--recipes", str(recipes), "--json")
    assert json.loads(as_json.out)["image"]["name"] == "web-x86_64"


def test_recipe_show_of_a_wrong_recipe_tells_all_faults(run: Run, recipes: Path) -> None:
    done = run("recipe", "show", "debian-12-bad", "--recipes", str(recipes))
    assert done.status == 3
    assert done.out == ""
    assert "instal" in done.err
    assert "install" in done.err
    assert "pack.level" in done.err


def test_an_unknown_recipe_suggests_one(run: Run) -> None:
    done = run("recipe", "show", "debain-12")
    assert done.status == 2
    assert "debian-12" in done.err


def test_recipe_lint(run: Run, recipes: Path) -> None:
    assert run("recipe", "lint", "debian-12").status == 0
    done = run("recipe", "lint", "debian-12", "debian-12-bad", "--recipes", str(recipes))
    assert done.status == 3
    assert done.out.count("error: ") == 2
    found = json.loads(run("recipe", "lint", "debian-12-bad", "--recipes", str(recipes), "--json").out)
    assert {row["level"] for row in found} == {"error"}


def test_recipe_schema_is_json(run: Run) -> None:
    assert "$defs" in json.loads(run("recipe", "schema").out)


# -- check ----------------------------------------------------------------------------------------


def test_check_tells_findings_by_status_and_text(run: Run, tmp_path: Path) -> None:
    bad = make_tar(tmp_path / "bad.tar.gz", {"./boot/vmlinuz-6.1": b"x", "./etc/evil\x1b[2J": b""})
    done = run("check", str(bad))
    assert done.status == 1
    assert "error: kernel-present" in done.out
    assert "\x1b" not in done.out
    report = json.loads(run("check", str(bad), "--json").out)
    assert report[0]["file"] == str(bad)
    assert "kernel-present" in {row["rule"] for row in report[0]["findings"]}


def test_check_clean_when_all_is_waived(run: Run, tmp_path: Path) -> None:
    file = make_tar(tmp_path / "x.tar.gz", {"./boot/vmlinuz-6.1": b"x"})
    found = json.loads(run("check", str(file), "--json").out)[0]["findings"]
    waive = [word for rule in {row["rule"] for row in found} for word in ("--waive", f"{rule}=a test")]
    done = run("check", str(file), *waive)
    assert done.status == 0
    assert "clean" in done.out
    assert "waived" in done.out
    assert run("check", str(file), "-q", *waive).out == ""


def test_check_cuts_long_lists_unless_asked(run: Run, tmp_path: Path) -> None:
    file = make_tar(tmp_path / "x.tar.gz", {f"./var/log/log{number:02}": b"x" for number in range(20)})
    assert "(-v shows all)" in run("check", str(file)).out
    full = run("check", str(file), "-v").out
    assert "(-v shows all)" not in full
    assert all(f"/var/log/log{number:02}" in full for number in range(20))


@pytest.mark.parametrize("content", [b"", b"no tar at all", b"\x1f\x8b\x08broken"])
def test_check_of_what_is_no_tarball_is_an_error_not_a_traceback(
    run: Run, tmp_path: Path, content: bytes
) -> None:
    file = tmp_path / "x.tar.gz"
    file.write_bytes(content)
    done = run("check", str(file))
    assert done.status > 1
    assert "tmplbuild: error: " in done.err
    assert "bug" not in done.err


def test_check_list_rules(run: Run) -> None:
    assert "kernel-present" in run("check", "--list-rules").out
    rules = json.loads(run("check", "--list-rules", "--json").out)
    assert len(rules) >= 25
    assert all(row.keys() == {"id", "severity", "text", "why", "fix"} for row in rules)


def test_check_of_an_unknown_rule(run: Run, tmp_path: Path) -> None:
    file = make_tar(tmp_path / "x.tar.gz", {"./x": b""})
    done = run("check", str(file), "--waive", "kernel-presnt=because")
    assert done.status == 2
    assert "kernel-present" in done.err


# -- log and cache --------------------------------------------------------------------------------


@pytest.fixture
def logs(tmp_path: Path) -> Path:
    folder = tmp_path / "state_dir" / "logs" / "debian-12-x86_64"
    folder.mkdir(parents=True)
    (folder / "01-bootstrap.log").write_bytes(b"one\n")
    (folder / "08-clean-again.log").write_bytes(b"two \xff\n")
    return folder


def test_log_lists_and_prints(run: Run, logs: Path) -> None:
    listed = run("log", "debian-12")
    assert [line.split()[0] for line in listed.out.splitlines()] == ["stage", "bootstrap", "clean-again"]
    assert json.loads(run("log", "debian-12", "--json").out)["bootstrap"] == str(logs / "01-bootstrap.log")
    assert json.loads(run("log", "debian-12", "clean-again", "--json").out)["text"] == "two \\xff\n"


def test_log_of_what_has_none(run: Run, logs: Path) -> None:
    assert run("log", "debian-13").status == 2
    done = run("log", "debian-12", "pack")
    assert done.status == 2
    assert "bootstrap, clean-again" in done.err


def test_cache_show_counts_each_inode_once(run: Run, tmp_path: Path) -> None:
    assert run("cache", "show").out == "nothing is kept yet\n"
    folder = tmp_path / "cache_dir" / "packages"
    folder.mkdir(parents=True)
    (folder / "a").write_bytes(b"x" * 100_000)
    os.link(folder / "a", folder / "b")
    (row,) = json.loads(run("cache", "show", "--json").out)
    assert (row["what"], row["files"]) == ("packages", 2)
    assert 100_000 <= row["size"] < 200_000


def test_cache_prune(run: Run, tmp_path: Path) -> None:
    folder = tmp_path / "cache_dir" / "packages" / "aa"
    folder.mkdir(parents=True)
    old = folder / f"{'a' * 64}.deb"
    old.write_bytes(b"x" * 1000)
    os.utime(old, (0, 0))
    new = folder / f"{'b' * 64}.deb"
    new.write_bytes(b"x" * 1000)
    done = run("cache", "prune", "--json")
    assert json.loads(done.out) == {"layers": [], "files": 1, "bytes": 1000}
    assert not old.exists()
    assert new.exists()
    assert run("cache", "prune", "--size", "0k").status == 0
    assert not new.exists()


# -- the rest -------------------------------------------------------------------------------------


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_knows_the_verbs(run: Run, shell: str) -> None:
    done = run("completion", shell)
    assert done.status == 0
    assert "doctor" in done.out


def test_wrong_settings_are_one_error(run: Run, tmp_path: Path) -> None:
    (tmp_path / "settings.toml").write_text("jobz = 3\n")
    done = run("recipe", "list")
    assert done.status == 2
    assert "jobs" in done.err


def test_a_table_in_a_pipe_has_one_line_a_row() -> None:
    lines = table(("a", "b"), [("x", "y " * 200), ("\x1b[2J", "z")])
    assert len(lines) == 3
    assert "\x1b" not in "".join(lines)
