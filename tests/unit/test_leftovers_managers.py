"""Leftovers of rpm, pacman, apk and Slackware: a small tree of each, and what becomes of it."""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path

import pytest

from tests.unit.leftover_case import Case, md5
from tmplbuild.leftovers import facts
from tmplbuild.recipes.model import Edit, File

OLD = "a = 1\nb = 1\nc = 1\nd = 1\ne = 1\n"
NEW = "a = 2\nb = 1\nc = 1\nd = 1\ne = 1\n"
EDITED = OLD.replace("c = 1", "c = recipe")
BOTH = NEW.replace("c = 1", "c = recipe")
SCRIPT = OLD.replace("e = 1", "e = script")


def edit(path: str) -> Edit:
    return Edit(path=path, match="^c = .*", replace="c = recipe")


# -- rpm -----------------------------------------------------------------------------------------


def rpm_says(version: str, text: str, *paths: str) -> str:
    """What `RPM_QUERY` prints of configuration files with this text; "c" is %config, "n" noreplace."""
    digest = hashlib.sha256(text.encode()).hexdigest()
    return "".join(f"app\t(none):{version}-alt1\tcn\t{digest}\t{path}\n" for path in paths)


def test_rpm(tmp_path: Path) -> None:
    """Every row of rpm's table that leaves something."""
    paths = [f"/etc/{name}.conf" for name in ("edited", "script", "saved", "whole", "gone", "kept")]
    one = Case(
        tmp_path,
        installed={path[1:]: OLD for path in paths},
        changed={"etc/script.conf": SCRIPT, "etc/gone.conf": SCRIPT},
        files={"/etc/whole.conf": File(text="mine\n")},
        edits=tuple(edit(f"/etc/{name}.conf") for name in ("edited", "saved")),
        upgraded={
            "etc/edited.conf.rpmnew": NEW,
            "etc/script.conf.rpmnew": NEW,
            "etc/saved.conf": NEW,
            "etc/saved.conf.rpmsave": EDITED,
            "etc/whole.conf": NEW,
            "etc/whole.conf.rpmsave": "mine\n",
            "etc/gone.conf": None,
            "etc/gone.conf.rpmsave": SCRIPT,
            "etc/first.conf": NEW,
            "etc/first.conf.rpmorig": "before the package\n",
            "usr/share/doc/app/shipped.rpmnew": "x",
        },
        said=(
            rpm_says("1", OLD, *paths),
            rpm_says("2", NEW, *paths[:4], "/etc/first.conf")
            + rpm_says("2", "x", "/usr/share/doc/app/shipped.rpmnew"),
        ),
        options={"managers": ("rpm",)},
    )
    rows = one.run()
    assert {path: (row["kind"], row["cause"], row["decision"]) for path, row in rows.items()} == {
        "/etc/edited.conf.rpmnew": ("new", "recipe", "taken, the recipe's edits were made again on it"),
        "/etc/script.conf.rpmnew": ("new", "script", "merged into the file in use"),
        "/etc/saved.conf.rpmsave": (
            "old",
            "recipe",
            "dropped, the recipe's edits were made again on the new version",
        ),
        "/etc/whole.conf.rpmsave": ("old", "recipe", "dropped, the recipe's file is written again"),
        "/etc/gone.conf.rpmsave": ("old", "script", "dropped, no package has the file any more"),
        "/etc/first.conf.rpmorig": ("old", "unknown", "dropped, the package's version is in use"),
    }
    assert {name: one.text(f"etc/{name}") for name in one.names()} == {
        "edited.conf": BOTH,
        "script.conf": NEW.replace("e = 1", "e = script"),
        "saved.conf": BOTH,
        "whole.conf": "mine\n",
        "first.conf": NEW,
        "kept.conf": OLD,
    }
    row = rows["/etc/edited.conf.rpmnew"]
    assert (row["package"], row["from_version"], row["to_version"]) == ("app", "1-alt1", "2-alt1")
    assert one.bench.shell.ran == [facts.RPM_QUERY]


def test_rpm_is_not_asked_when_nothing_is_left(tmp_path: Path) -> None:
    one = Case(tmp_path, installed={"etc/a": "a"}, upgraded={}, options={"managers": ("rpm",)})
    assert one.run() == {}
    assert one.bench.shell.ran == []


@pytest.mark.parametrize("name", ["usr/bin/tool;5f3a1c0d", "etc/a.conf;00000000"])
def test_rpms_temporary_names_fail_the_build(tmp_path: Path, name: str) -> None:
    one = Case(tmp_path, installed={}, upgraded={name: "x"}, options={"managers": ("rpm",)})
    with pytest.raises(Exception, match="unfinished"):
        one.run()


def test_what_rpm_says_is_read_leniently() -> None:
    said = b"a\t2:1-1\tc\t\t/etc/a\nbroken line\na\t2:1-1\t\tffff\t/etc/b\n(none)\n\xff\n"
    found = facts.from_rpm(said)
    assert found.configs == {"/etc/a": facts.Config("a", "2:1-1", "")}
    assert found.owned == {"/etc/a", "/etc/b"}


def test_the_machines_state_is_never_a_packages(tmp_path: Path) -> None:
    one = Case(
        tmp_path,
        installed={"etc/hosts": "127.0.0.1 here\n", "etc/fstab": "ours\n"},
        upgraded={
            "etc/hosts.rpmnew": "127.0.0.1 theirs\n",
            "etc/fstab": "theirs\n",
            "etc/fstab.rpmsave": "ours\n",
        },
        options={"managers": ("rpm",)},
    )
    one.run()
    assert one.text("etc/hosts") == "127.0.0.1 here\n"
    assert one.text("etc/fstab") == "ours\n"
    assert one.names() == ["fstab", "hosts"]


def test_sources_that_configure_wrote_come_back(tmp_path: Path) -> None:
    one = Case(
        tmp_path,
        installed={"etc/apt/sources.list": "rpm [p11] http://ours\n"},
        upgraded={
            "etc/apt/sources.list": "# theirs\n",
            "etc/apt/sources.list.rpmsave": "rpm [p11] http://ours\n",
        },
        options={"managers": ("rpm",)},
    )
    row = one.run()["/etc/apt/sources.list.rpmsave"]
    assert row["decision"] == "put back, the recipe writes the file"
    assert one.text("etc/apt/sources.list") == "rpm [p11] http://ours\n"
    assert one.names("etc/apt") == ["sources.list"]


# -- pacman --------------------------------------------------------------------------------------


def pacman(version: str, text: str) -> dict[str, str]:
    place = f"var/lib/pacman/local/app-{version}-1"
    listed = "%FILES%\netc/\netc/app.conf\nusr/share/app/sample.pacnew\n"
    return {f"{place}/files": f"{listed}\n%BACKUP%\netc/app.conf\t{md5(text)}\n"}


def test_pacman(tmp_path: Path) -> None:
    one = Case(
        tmp_path,
        installed={
            **pacman("1.0", OLD),
            "etc/app.conf": OLD,
            "etc/gone.conf": OLD,
            "usr/share/app/sample.pacnew": "x",
        },
        edits=(edit("/etc/app.conf"),),
        upgraded={
            "var/lib/pacman/local/app-1.0-1/files": None,
            **pacman("2.0", NEW),
            "etc/app.conf.pacnew": NEW,
            "etc/gone.conf": None,
            "etc/gone.conf.pacsave.1": OLD,
        },
        options={"managers": ("pacman",)},
    )
    rows = one.run()
    assert one.text("etc/app.conf") == BOTH
    assert one.names() == ["app.conf"]
    assert set(rows) == {"/etc/app.conf.pacnew", "/etc/gone.conf.pacsave.1"}
    assert rows["/etc/app.conf.pacnew"]["from_version"] == "1.0-1"
    assert rows["/etc/app.conf.pacnew"]["to_version"] == "2.0-1"


# -- apk -----------------------------------------------------------------------------------------


def apk(version: str, text: str) -> dict[str, str]:
    digest = base64.b64encode(hashlib.sha1(text.encode()).digest()).decode()
    rows = [
        "C:Q1x",
        "P:app",
        f"V:{version}",
        "F:etc",
        "R:app.conf",
        f"Z:Q1{digest}",
        "F:usr/bin",
        "R:app",
        "",
    ]
    return {"lib/apk/db/installed": "\n".join(rows)}


def test_apk(tmp_path: Path) -> None:
    one = Case(
        tmp_path,
        installed={**apk("1-r0", OLD), "etc/app.conf": OLD},
        changed={"etc/app.conf": SCRIPT},
        edits=(edit("/etc/app.conf"),),
        upgraded={**apk("2-r0", NEW), "etc/app.conf.apk-new": NEW},
        options={"managers": ("apk",)},
    )
    row = one.run()["/etc/app.conf.apk-new"]
    assert (row["cause"], row["to_version"]) == ("recipe and script", "2-r0")
    assert one.text("etc/app.conf") == BOTH.replace("e = 1", "e = script")
    assert one.names() == ["app.conf"]


def test_apk_did_not_come_to_an_end(tmp_path: Path) -> None:
    name = "usr/bin/.apk.0123456789abcdef0123456789"
    one = Case(tmp_path, installed=apk("1", OLD), upgraded={name: "x"}, options={"managers": ("apk",)})
    with pytest.raises(Exception, match="unfinished"):
        one.run()


# -- Slackware -----------------------------------------------------------------------------------


def slackware(version: str) -> dict[str, str]:
    listed = "PACKAGE NAME: app\nFILE LIST:\n./\netc/\netc/app.conf.new\nusr/bin/app\n"
    return {f"var/lib/pkgtools/packages/app-{version}-x86_64-1": listed}


def test_slackware(tmp_path: Path) -> None:
    """No digests are kept: what lay there after the installation is taken for the package's."""
    one = Case(
        tmp_path,
        installed={**slackware("1"), "etc/app.conf": OLD, "etc/kept.conf": OLD},
        edits=(edit("/etc/app.conf"),),
        upgraded={
            "var/lib/pkgtools/packages/app-1-x86_64-1": None,
            **slackware("2"),
            "etc/app.conf.new": NEW,
            "etc/kept.conf": NEW,
            "etc/kept.conf.orig": OLD,
            "usr/share/app/words.new": "a stray that is none",
        },
        options={"managers": ("slackware",)},
    )
    rows = one.run()
    assert one.text("etc/app.conf") == BOTH
    assert one.text("etc/kept.conf") == NEW
    assert one.names() == ["app.conf", "kept.conf"]
    assert rows["/etc/app.conf.new"]["to_version"] == "2-1"
    assert rows["/usr/share/app/words.new"]["kind"] == "stray"
