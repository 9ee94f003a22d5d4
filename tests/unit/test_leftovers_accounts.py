"""Users whom only the package's version of passwd has: they must be there after it, with all they need."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.unit.leftover_case import Case
from tmplbuild.errors import StageError
from tmplbuild.events import Note

PASSWD = "root:x:0:0:root:/root:/bin/bash\nmail:x:8:12::/:/dev/null\n"
GROUP = "root:x:0:\nshadow:x:42:\nauth:x:27:\n"
BASE = {
    "etc/passwd": PASSWD,
    "etc/group": GROUP,
    "etc/shadow": "root:!*:1::::::\n",
    "etc/gshadow": "root:*::\n",
}
NEW_USER = "_new:x:91:91:New:/:/sbin/nologin\n"


def case(root: Path, upgraded: Mapping[str, str | None], **over: Any) -> Case:
    installed = {**BASE, **over.pop("installed", {})}
    return Case(root, installed=installed, upgraded=upgraded, options={"managers": ("rpm",)}, **over)


def test_a_user_that_only_passwd_rpmnew_has(tmp_path: Path) -> None:
    """A script had added a user of its own meanwhile; the file is never taken whole."""
    scripted = PASSWD + "_script:x:90:90::/:/sbin/nologin\n"
    one = case(
        tmp_path,
        {
            "etc/passwd": scripted,
            "etc/passwd.rpmnew": PASSWD.replace("bash", "zsh") + NEW_USER,
            "etc/group.rpmnew": GROUP + "_new:x:91:\n",
        },
    )
    rows = one.run()
    assert one.text("etc/passwd") == scripted + NEW_USER
    assert one.text("etc/group") == GROUP + "_new:x:91:\n"
    assert one.text("etc/shadow") == BASE["etc/shadow"] + "_new:*:::::::\n"
    assert one.text("etc/gshadow") == BASE["etc/gshadow"] + "_new:*::\n"
    assert rows["/etc/passwd.rpmnew"]["decision"] == "united by key, added _new"
    assert one.names() == ["group", "gshadow", "passwd", "shadow"]
    told = [event.text for event in one.bench.events if isinstance(event, Note)]
    assert told == ["entries made for new users: shadow _new, gshadow _new"]


def test_a_group_is_made_where_none_came(tmp_path: Path) -> None:
    one = case(tmp_path, {"etc/passwd.rpmnew": PASSWD + NEW_USER})
    one.run()
    assert one.text("etc/group") == GROUP + "_new:x:91:\n"
    assert one.text("etc/gshadow").endswith("_new:*::\n")


def test_the_group_must_be_free(tmp_path: Path) -> None:
    one = case(tmp_path, {"etc/passwd.rpmnew": PASSWD + NEW_USER, "etc/group": GROUP + "_new:x:5:\n"})
    with pytest.raises(StageError) as caught:
        one.run()
    assert "a group _new with another number than 91" in caught.value.why


def test_a_clash_of_numbers_fails(tmp_path: Path) -> None:
    one = case(tmp_path, {"etc/passwd": PASSWD + "_s:x:91:91::/:/\n", "etc/passwd.rpmnew": PASSWD + NEW_USER})
    with pytest.raises(StageError, match="accounts"):
        one.run()


def test_a_user_that_the_recipe_took_out_stays_out(tmp_path: Path) -> None:
    root = PASSWD.splitlines(keepends=True)[0]
    one = case(tmp_path, {"etc/passwd.rpmnew": PASSWD + NEW_USER}, changed={"etc/passwd": root})
    one.run()
    assert one.text("etc/passwd") == root + NEW_USER


def test_users_that_were_put_aside_come_back(tmp_path: Path) -> None:
    """passwd as plain %config: the package's file is in use, ours lies beside it."""
    ours = PASSWD + "_script:x:90:90::/:/\n"
    one = case(tmp_path, {"etc/passwd": PASSWD + NEW_USER, "etc/passwd.rpmsave": ours})
    one.run()
    assert one.text("etc/passwd") == ours + NEW_USER
    assert "_new:*:::::::" in one.text("etc/shadow")


def test_accounts_that_their_package_dropped_stay(tmp_path: Path) -> None:
    one = case(tmp_path, {"etc/shadow": None, "etc/shadow.rpmsave": BASE["etc/shadow"]})
    assert one.run()["/etc/shadow.rpmsave"]["decision"] == "put back, its lines are still needed"
    assert one.text("etc/shadow") == BASE["etc/shadow"]


def test_with_tcb_each_user_has_a_shadow_file(tmp_path: Path) -> None:
    one = case(
        tmp_path,
        {"etc/passwd.rpmnew": PASSWD + NEW_USER},
        installed={"etc/tcb/root/shadow": "root:!*:1::::::\n"},
    )
    one.run()
    place = tmp_path / "tree/etc/tcb/_new"
    assert (place / "shadow").read_text() == "_new:*:::::::\n"
    assert place.stat().st_mode & 0o7777 == 0o2710 or os.geteuid() != 0
    assert (place / "shadow").stat().st_mode & 0o777 == 0o640
    assert one.text("etc/shadow") == BASE["etc/shadow"]
