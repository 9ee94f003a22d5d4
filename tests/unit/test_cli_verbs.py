"""The verbs that need neither root nor network, against the real parts."""

from __future__ import annotations

import hashlib
import io
import json
import os
import tarfile
import tomllib
from pathlib import Path

import pytest

from tests.unit.conftest import Run
from tmplbuild.artifact.members import MemberCache
from tmplbuild.cli.table import table
from tmplbuild.engine.store import Store


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


def test_logs_that_a_new_run_takes_away_meanwhile(
    run: Run, logs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    really = Path.glob

    def late(folder: Path, pattern: str) -> list[Path]:
        found = list(really(folder, pattern))
        if folder == logs:
            (logs / "01-bootstrap.log").unlink(missing_ok=True)
        return found

    monkeypatch.setattr(Path, "glob", late)
    assert [line.split()[0] for line in run("log", "debian-12").out.splitlines()] == ["stage", "clean-again"]
    (logs / "01-bootstrap.log").write_bytes(b"one\n")
    done = run("log", "debian-12", "bootstrap")
    assert (done.status, "the log of bootstrap is no more" in done.err) == (2, True)


def test_what_another_run_takes_away_is_not_listed(
    run: Run, kept_things: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    failed = tmp_path / "state_dir/failed/t"
    failed.mkdir(parents=True)
    really = Path.glob

    def late(folder: Path, pattern: str) -> list[Path]:
        found = list(really(folder, pattern))
        if pattern == "failed/*":
            failed.rmdir()
        return found

    monkeypatch.setattr(Path, "glob", late)
    assert "failed" not in run("cache", "list").out
    failed.mkdir()
    old = kept_things["old layer"]
    with monkeypatch.context() as patch:
        patch.setattr(Store, "let_go", lambda store, path, used: Path("nowhere").unlink())
        removed = json.loads(run("cache", "prune", "--days", "1", "--json").out)["removed"]
    assert [row["path"] for row in removed] == [str(kept_things["old.deb"])]
    assert old.exists()


def test_cache_list_tells_what_is_needed(run: Run, kept_things: dict[str, Path]) -> None:
    rows = json.loads(run("cache", "list", "--json").out)
    assert {row["path"]: row["needed"] for row in rows} == {
        str(kept_things["needed.deb"]): True,
        str(kept_things["old.deb"]): False,
        str(kept_things["needed layer"]): True,
        str(kept_things["old layer"]): False,
        str(kept_things["member"]): False,
    }
    told = run("cache", "list").out.splitlines()
    assert [line.split()[0] for line in told[1:]] == ["packages", "members", "layers"]


def test_cache_list_of_nothing(run: Run) -> None:
    assert run("cache", "list").out == "nothing is kept yet\n"


def test_cache_prune_never_takes_what_is_needed(run: Run, kept_things: dict[str, Path]) -> None:
    planned = json.loads(run("cache", "prune", "--days", "1", "--dry-run", "--json").out)
    assert all(path.exists() for path in kept_things.values())
    done = json.loads(run("cache", "prune", "--days", "1", "--json").out)
    assert done["removed"] == planned["removed"]
    assert {row["path"] for row in done["removed"]} == {
        str(kept_things["old.deb"]),
        str(kept_things["old layer"]),
    }
    assert not kept_things["old.deb"].exists()
    assert run("cache", "prune", "--size", "0k").out.startswith("removed 1 members")
    assert kept_things["needed.deb"].exists()
    assert kept_things["needed layer"].is_dir()
    assert run("cache", "prune").out == "removed nothing\n"


def test_cache_prune_takes_what_a_killed_fetch_left(run: Run, tmp_path: Path) -> None:
    for name in ("incoming/one.part", "files/two", ".tmplbuild-fetch-x/template.tar.gz"):
        path = tmp_path / "cache_dir/fetch" / name
        path.parent.mkdir(parents=True)
        path.write_bytes(b"half")
        os.utime(path, (0, 0))
    assert run("cache", "prune", "--days", "1").status == 0
    assert not [path for path in (tmp_path / "cache_dir/fetch").rglob("*") if path.is_file()]


def test_cache_verify_drops_what_is_damaged(run: Run, kept_things: dict[str, Path]) -> None:
    assert run("cache", "verify").status == 0
    kept_things["needed.deb"].write_bytes(b"changed")
    kept_things["member"].write_bytes(b"changed as well" * 9)
    (kept_things["old layer"] / "meta.json").write_text("{")
    looked = run("cache", "verify", "--dry-run", "--json")
    assert looked.status == 8
    assert {row["path"] for row in json.loads(looked.out)["bad"]} == {
        str(kept_things[name]) for name in ("needed.deb", "member", "old layer")
    }
    dropped = run("cache", "verify")
    assert dropped.status == 8
    assert f"dropped: {kept_things['member']}: its checksum" in dropped.out
    assert [name for name, path in kept_things.items() if not path.exists()] == [
        "needed.deb",
        "old layer",
        "member",
    ]
    assert run("cache", "verify").status == 0


@pytest.fixture
def kept_things(tmp_path: Path) -> dict[str, Path]:
    """A package, a layer that a record names, and such that none does; a member used just now."""
    found: dict[str, Path] = {}
    rows = []
    for name in ("needed.deb", "old.deb"):
        sha256 = hashlib.sha256(name.encode()).hexdigest()
        path = tmp_path / "cache_dir/packages" / sha256[:2] / f"{sha256}.deb"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode())
        os.utime(path, (0, 0))
        found[name] = path
        rows.append([name, "1", "all", "debian", "pool/x", 1, sha256, False, "optional"])
    for name, key in (("needed layer", "a" * 64), ("old layer", "b" * 64)):
        path = tmp_path / "state_dir/layers" / key[:32]
        (path / "fs").mkdir(parents=True)
        (path / "fs/file").write_bytes(b"x" * 5000)
        (path / "meta.json").write_text(json.dumps({"key": key, "made": 1.0, "stage": "install"}))
        os.utime(path / "meta.json", (1, 1))
        found[name] = path
    record = {
        "template": "t",
        "steps": [{"name": "install", "key": "a" * 64}],
        "pins": {"full": {"packages": rows[:1]}},
    }
    records = tmp_path / "state_dir/records"
    records.mkdir()
    (records / "t.json").write_text(json.dumps(record))
    members = MemberCache(tmp_path / "cache_dir/members")
    members.put("c" * 64, b"member")
    found["member"] = members.directory / "cc" / ("c" * 62)
    return found


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
