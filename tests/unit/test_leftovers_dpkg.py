"""Leftovers of dpkg and ucf, from the finding to the report."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.unit.leftover_case import Case, dpkg_status, md5
from tmplbuild.errors import StageError
from tmplbuild.recipes.model import Edit, File

OLD = "# old\nport = 1\nlog = yes\nroot = no\nend\n"
NEW = "# new\nport = 2\nlog = yes\nroot = no\nend\nmore\n"
EDIT = Edit(path="/etc/app.conf", match="^root = .*", replace="root = yes")
STATUS = "var/lib/dpkg/status"


def case(root: Path, **over: Any) -> Case:
    """A package whose configuration changed, and was changed in the template, by default by the recipe."""
    old = over.pop("old", OLD)
    known = over.pop("known", old)
    upgraded = {
        STATUS: dpkg_status("app", "2", {"/etc/app.conf": NEW}),
        **over.pop("upgraded", {"etc/app.conf.dpkg-dist": NEW}),
    }
    installed = {STATUS: dpkg_status("app", "1", {"/etc/app.conf": known}), "etc/app.conf": old}
    installed |= over.pop("installed", {})
    return Case(
        root,
        installed=installed,
        upgraded=upgraded,
        options={"managers": ("dpkg", "ucf"), **over.pop("options", {})},
        **over,
    )


def test_the_recipes_edit_is_made_again_on_the_new_version(tmp_path: Path) -> None:
    one = case(tmp_path, edits=(EDIT,))
    row = one.run()["/etc/app.conf.dpkg-dist"]
    assert one.text("etc/app.conf") == NEW.replace("root = no", "root = yes")
    assert one.names() == ["app.conf"]
    assert row["decision"] == "taken, the recipe's edits were made again on it"
    assert (row["kind"], row["cause"]) == ("new", "recipe")
    assert (row["package"], row["from_version"], row["to_version"]) == ("app", "1", "2")
    assert len({row["sha256"][name] for name in ("old", "disk", "new", "result")}) == 4
    assert "-root = yes\n" in row["diff"]
    assert "+port = 2\n" in row["diff"]
    assert one.warnings == []


def test_the_edits_of_strip_count_as_well(tmp_path: Path) -> None:
    one = case(tmp_path, strip_edits=(EDIT,))
    assert one.run()["/etc/app.conf.dpkg-dist"]["cause"] == "recipe"


def test_a_scripts_change_is_merged(tmp_path: Path) -> None:
    one = case(tmp_path, changed={"etc/app.conf": OLD.replace("root = no", "root = script")})
    row = one.run()["/etc/app.conf.dpkg-dist"]
    assert (row["decision"], row["cause"]) == ("merged into the file in use", "script")
    assert one.text("etc/app.conf") == NEW.replace("root = no", "root = script")


def test_changes_that_touch_each_other_are_not_merged(tmp_path: Path) -> None:
    one = case(tmp_path, changed={"etc/app.conf": OLD.replace("log = yes", "log = no")})
    assert one.run()["/etc/app.conf.dpkg-dist"]["decision"] == "dropped, by on_conflict"


def test_a_scripts_change_and_the_recipes_both_stay(tmp_path: Path) -> None:
    changed = {"etc/app.conf": OLD.replace("end\n", "end # script\n")}
    new = NEW.replace("more\n", "")
    one = case(tmp_path, changed=changed, edits=(EDIT,), upgraded={"etc/app.conf.dpkg-dist": new})
    row = one.run()["/etc/app.conf.dpkg-dist"]
    assert row["cause"] == "recipe and script"
    assert row["decision"] == "merged into the file in use"
    assert one.text("etc/app.conf") == "# new\nport = 2\nlog = yes\nroot = yes\nend # script\n"


CLASH = {"etc/app.conf": OLD.replace("port = 1", "port = 9")}


def test_a_conflict_keeps_the_file_in_use_and_warns(tmp_path: Path) -> None:
    one = case(tmp_path, changed=CLASH)
    row = one.run()["/etc/app.conf.dpkg-dist"]
    assert row["decision"] == "dropped, by on_conflict"
    assert one.text("etc/app.conf") == CLASH["etc/app.conf"]
    assert one.names() == ["app.conf"]
    (warning,) = one.warnings
    assert warning.startswith("/etc/app.conf: the file in use stays")
    assert "both changed 1 place" in warning


def test_a_conflict_may_take_the_new_one(tmp_path: Path) -> None:
    edit = Edit(path="/etc/app.conf", append="recipe")
    one = case(tmp_path, changed=CLASH, edits=(edit,), options={"on_conflict": "new"})
    assert one.run()["/etc/app.conf.dpkg-dist"]["decision"] == "taken, by on_conflict"
    assert one.text("etc/app.conf") == NEW + "recipe\n"
    assert len(one.warnings) == 1


def test_a_conflict_may_fail_the_build(tmp_path: Path) -> None:
    one = case(tmp_path, changed=CLASH, options={"on_conflict": "fail"})
    with pytest.raises(StageError) as caught:
        one.run()
    assert "/etc/app.conf.dpkg-dist" in caught.value.where
    assert "+port = 2" in caught.value.why
    assert one.names() == ["app.conf", "app.conf.dpkg-dist"]


def test_a_file_that_the_recipe_writes_stays(tmp_path: Path) -> None:
    one = case(tmp_path, files={"/etc/app.conf": File(text="mine\n")})
    row = one.run()["/etc/app.conf.dpkg-dist"]
    assert (row["decision"], row["cause"]) == ("dropped, the recipe writes the file", "recipe")
    assert one.text("etc/app.conf") == "mine\n"
    assert one.warnings == [
        "/etc/app.conf: the recipe writes it whole, and the package has a new version of it"
    ]


def test_a_file_that_was_there_before_its_package_is_told(tmp_path: Path) -> None:
    one = case(
        tmp_path, files={"/etc/app.conf": File(text="mine\n")}, installed={STATUS: dpkg_status("o", "1", {})}
    )
    one.run()
    assert one.warnings == [
        "/etc/app.conf: the recipe wrote it before the package that brings it was installed"
    ]


def test_a_file_that_nobody_changed_gives_way(tmp_path: Path) -> None:
    one = case(tmp_path)
    row = one.run()["/etc/app.conf.dpkg-dist"]
    assert (row["decision"], row["cause"]) == ("taken, nobody had changed the file", "nobody")
    assert one.text("etc/app.conf") == NEW


def test_what_the_package_really_delivered_is_what_its_digest_says(tmp_path: Path) -> None:
    """A script changed the file when the package was installed: what lies in that tree is no base."""
    one = case(tmp_path, known="as delivered\n")
    row = one.run()["/etc/app.conf.dpkg-dist"]
    assert row["cause"] == "script"
    assert "old" not in row["sha256"]
    assert one.text("etc/app.conf") == OLD
    assert "old version is not known" in one.warnings[0]


def test_without_a_base_the_recipes_edits_decide(tmp_path: Path) -> None:
    one = case(tmp_path, known="as delivered\n", edits=(EDIT,))
    one.run()
    assert one.text("etc/app.conf") == NEW.replace("root = no", "root = yes")
    assert "only the recipe's edits were kept" in one.warnings[0]


@pytest.mark.parametrize("gone_before", [True, False])
def test_a_file_that_is_gone(tmp_path: Path, gone_before: bool) -> None:
    changed = {"etc/app.conf": None} if gone_before else {}
    one = case(
        tmp_path,
        changed=changed,
        upgraded={"etc/app.conf.dpkg-dist": NEW, "etc/app.conf": None},
        edits=(EDIT,),
    )
    one.run()
    assert one.names() == ([] if gone_before else ["app.conf"])
    if not gone_before:
        assert one.text("etc/app.conf") == NEW.replace("root = no", "root = yes")


def test_a_file_that_the_recipe_takes_out_stays_out(tmp_path: Path) -> None:
    upgraded = {"etc/app.conf.dpkg-dist": NEW, "etc/app.conf": None}
    one = case(tmp_path, upgraded=upgraded, removed=("/etc/app*",))
    assert one.run()["/etc/app.conf.dpkg-dist"]["decision"] == "dropped, the recipe takes the file out"
    assert one.names() == []


def test_an_old_side_goes_and_the_recipes_work_is_done_again(tmp_path: Path) -> None:
    mine = OLD.replace("root = no", "root = yes")
    one = case(tmp_path, edits=(EDIT,), upgraded={"etc/app.conf": NEW, "etc/app.conf.dpkg-old": mine})
    row = one.run()["/etc/app.conf.dpkg-old"]
    assert (row["kind"], row["cause"]) == ("old", "recipe")
    assert row["decision"] == "dropped, the recipe's edits were made again on the new version"
    assert one.text("etc/app.conf") == NEW.replace("root = no", "root = yes")
    assert one.warnings == []


def test_the_new_version_took_what_a_script_had_done(tmp_path: Path) -> None:
    one = case(tmp_path, upgraded={"etc/app.conf": NEW, "etc/app.conf.ucf-old": OLD + "by a script\n"})
    row = one.run()["/etc/app.conf.ucf-old"]
    assert row["cause"] == "script"
    assert "-by a script" in row["diff"]
    assert len(one.warnings) == 1


def test_what_maintscript_helper_leaves(tmp_path: Path) -> None:
    one = case(
        tmp_path,
        upgraded={
            "etc/app.conf": None,
            "etc/app.conf.dpkg-bak": OLD + "x\n",
            STATUS: dpkg_status("app", "2", {}),
        },
    )
    row = one.run()["/etc/app.conf.dpkg-bak"]
    assert row["decision"] == "dropped, no package has the file any more"
    assert one.names() == []


def test_ucf_knows_what_it_installed_last(tmp_path: Path) -> None:
    one = case(
        tmp_path,
        installed={
            "etc/tool.conf": OLD,
            "var/lib/ucf/hashfile": f"{md5(OLD)}  /etc/tool.conf\n",
            "var/lib/ucf/registry": "app\t/etc/tool.conf\n",
        },
        edits=(Edit(path="/etc/tool.conf", append="recipe"),),
        upgraded={"etc/tool.conf.ucf-dist": NEW, "etc/tool.conf.merge-error": "<<<<<<<\n"},
    )
    rows = one.run()
    assert one.text("etc/tool.conf") == NEW + "recipe\n"
    assert one.names() == ["app.conf", "tool.conf"]
    assert rows["/etc/tool.conf.ucf-dist"]["package"] == "app"
    assert rows["/etc/tool.conf.merge-error"]["kind"] == "waste"


def test_obsolete_conffiles_stay_and_are_told(tmp_path: Path) -> None:
    status = dpkg_status("app", "2", {"/etc/app.conf": OLD}, obsolete=("/etc/app.conf",))
    one = case(tmp_path, upgraded={STATUS: status})
    rows = one.run()
    assert rows["/etc/app.conf"]["decision"] == "stays, its package has it no more"
    assert one.text("etc/app.conf") == OLD


@pytest.mark.parametrize("name", ["usr/bin/x.dpkg-new", "etc/x.dpkg-tmp", "etc/x.ucf-new"])
def test_an_unfinished_transaction_fails_and_removes_nothing(tmp_path: Path, name: str) -> None:
    one = case(tmp_path, upgraded={name: "half", "etc/app.conf.dpkg-dist": NEW})
    with pytest.raises(StageError, match="unfinished transaction") as caught:
        one.run()
    assert f"/{name}" in caught.value.where
    assert (tmp_path / "tree/etc/app.conf.dpkg-dist").exists()


def test_what_a_package_ships_is_none_of_it(tmp_path: Path) -> None:
    info = "var/lib/dpkg/info/app.list"
    one = case(
        tmp_path,
        installed={
            info: "/.\n/etc\n/etc/x.dpkg-old\n/usr\n/usr/y.dpkg-new\n",
            "etc/x.dpkg-old": "s",
            "usr/y.dpkg-new": "s",
        },
        upgraded={},
    )
    assert one.run() == {}
    assert "x.dpkg-old" in one.names()


def test_strays_are_told_and_left_alone(tmp_path: Path) -> None:
    one = case(tmp_path, upgraded={"usr/share/app/a.dpkg-old": "x", "etc/app.conf.dpkg-dist": NEW})
    row = one.run()["/usr/share/app/a.dpkg-old"]
    assert (row["kind"], row["decision"]) == ("stray", "left alone, not known as configuration")
    assert (tmp_path / "tree/usr/share/app/a.dpkg-old").exists()


def test_configuration_outside_of_etc_is_known_by_the_database(tmp_path: Path) -> None:
    path = "/usr/lib/app/app.conf"
    one = case(
        tmp_path,
        installed={STATUS: dpkg_status("app", "1", {path: OLD}), path[1:]: OLD},
        upgraded={STATUS: dpkg_status("app", "2", {path: NEW}), f"{path[1:]}.dpkg-dist": NEW},
    )
    one.run()
    assert one.text(path[1:]) == NEW
    assert not (tmp_path / f"tree{path}.dpkg-dist").exists()


def test_a_secret_is_not_shown(tmp_path: Path) -> None:
    one = case(
        tmp_path,
        installed={"etc/shadow": "root:$y$secret:1::::::\n"},
        upgraded={"etc/shadow.dpkg-dist": "root:*:1::::::\nnew:$y$other:1::::::\n"},
    )
    row = one.run()["/etc/shadow.dpkg-dist"]
    assert row["secret"]
    assert "diff" not in row
    assert "$y$" not in str(row) + str(one.bench.events)


def test_what_not_all_may_read_is_not_shown(tmp_path: Path) -> None:
    one = case(tmp_path)
    (tmp_path / "tree/etc/app.conf").chmod(0o640)
    row = one.run()["/etc/app.conf.dpkg-dist"]
    assert row["secret"]
    assert "diff" not in row


def test_a_long_diff_is_cut(tmp_path: Path) -> None:
    new = "".join(f"{number}\n" for number in range(1000))
    one = case(tmp_path, upgraded={"etc/app.conf.dpkg-dist": new})
    diff = one.run()["/etc/app.conf.dpkg-dist"]["diff"].splitlines()
    assert len(diff) == 201
    assert diff[-1].startswith("... and ")


def test_what_the_upgrade_replaced_without_a_word_is_written_again(tmp_path: Path) -> None:
    one = case(
        tmp_path,
        installed={"etc/inittab": "getty\n", "etc/motd": "theirs\n"},
        files={"/etc/motd": File(text="ours\n", mode="600"), "/etc/mtab": File(link="/proc/mounts")},
        strip_edits=(Edit(path="/etc/inittab", match="getty", comment=True),),
        upgraded={"etc/inittab": "new\ngetty\n", "etc/motd": "theirs 2\n", "etc/mtab": "x"},
    )
    rows = one.run()
    assert one.text("etc/inittab") == "new\n#getty\n"
    assert one.text("etc/motd") == "ours\n"
    assert (tmp_path / "tree/etc/mtab").is_symlink()
    assert {row["kind"] for row in rows.values()} == {"replaced"}
    assert set(rows) == {"/etc/inittab", "/etc/motd", "/etc/mtab"}


def test_links_are_not_followed(tmp_path: Path) -> None:
    one = case(tmp_path, upgraded={"etc/app.conf": "-> /etc/shadow", "etc/app.conf.dpkg-dist": NEW})
    row = one.run()["/etc/app.conf.dpkg-dist"]
    assert row["decision"] == "dropped, by on_conflict"
    assert (tmp_path / "tree/etc/app.conf").is_symlink()
    two = case(tmp_path / "2", upgraded={"etc/app.conf.dpkg-dist": "-> /etc/app.conf"})
    assert two.run()["/etc/app.conf.dpkg-dist"]["decision"] == "dropped, by on_conflict"
    assert two.names() == ["app.conf"]


def test_modes_follow_the_package_unless_somebody_set_them(tmp_path: Path) -> None:
    one = case(tmp_path)
    (tmp_path / "tree/etc/app.conf.dpkg-dist").chmod(0o600)
    one.run()
    assert (tmp_path / "tree/etc/app.conf").stat().st_mode & 0o7777 == 0o600
    two = case(tmp_path / "2")
    (tmp_path / "2/tree/etc/app.conf").chmod(0o640)
    two.run()
    assert (tmp_path / "2/tree/etc/app.conf").stat().st_mode & 0o7777 == 0o640


def test_nothing_found_is_nothing_said(tmp_path: Path) -> None:
    one = case(tmp_path, upgraded={}, edits=(EDIT,))
    assert one.run() == {}
    assert one.bench.events == []
