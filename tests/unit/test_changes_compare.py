"""Two templates side by side: what differs, what of it breaks somebody, and how it is told."""

from __future__ import annotations

import dataclasses
import random
import string
from collections.abc import Iterable
from typing import Any

import pytest

from tests.unit.changes_facts import TRAITS, facts, file, package
from tmplbuild.changes.changelog import Entry
from tmplbuild.changes.compare import DIFF_LINES, Changelogs, no_changelogs
from tmplbuild.changes.compare import compare as compare_facts
from tmplbuild.changes.comparison import Change, Comparison, Side, SizeChange, from_json, to_json
from tmplbuild.changes.facts import Facts, File, Group, Package, Privileged, Service, User
from tmplbuild.changes.text import difference_rows, headline, lines

SIDES = (Side("before"), Side("after"))


def compare(before: Facts, after: Facts, changelogs: Changelogs = no_changelogs) -> Comparison:
    return compare_facts(before, after, sides=SIDES, changelogs=changelogs)


def test_a_template_differs_in_nothing_from_itself() -> None:
    found = compare(facts(), facts())
    assert found.same
    assert (headline(found), lines(found)) == ("nothing", ["nothing differs"])


def test_packages_come_go_and_move() -> None:
    before = facts(packages=(package("gone", auto=True), package("up", "1.9"), package("down", "2:1")))
    after = facts(packages=(package("new"), package("up", "1.10"), package("down", "1:9")))
    found = compare(before, after)
    assert [(one.name, one.change) for one in found.packages] == [
        ("down", "downgraded"),
        ("gone", "removed"),
        ("new", "added"),
        ("up", "upgraded"),
    ]
    assert headline(found) == "1 upgraded, 1 downgraded, 1 added, 1 removed"
    assert found.breaking == ("downgraded: down 2:1 -> 1:9",)


def test_a_package_for_two_architectures_is_two_packages() -> None:
    before = facts(packages=(package("libc6", "1"), package("libc6", "1", "i386")))
    after = facts(packages=(package("libc6", "2"), package("libc6", "2", "i386"), package("new", arch="all")))
    found = compare(before, after)
    assert [(one.name, one.arch, one.change) for one in found.packages] == [
        ("libc6", "amd64", "upgraded"),
        ("libc6", "i386", "upgraded"),
        ("new", "all", "added"),
    ]


def test_a_package_that_is_no_more_of_one_architecture_is_still_that_package() -> None:
    found = compare(
        facts(packages=(package("tool", "1", "all"),)), facts(packages=(package("tool", "2", "amd64"),))
    )
    assert [(one.change, one.arch) for one in found.packages] == [("upgraded", "amd64")]


def test_several_versions_of_one_name_are_paired_by_version() -> None:
    before = facts(family="rpm", packages=(package("kernel", "1-1"), package("kernel", "2-1")))
    after = facts(family="rpm", packages=(package("kernel", "2-1"), package("kernel", "3-1")))
    (one,) = compare(before, after).packages
    assert (one.before, one.after, one.change) == ("1-1", "3-1", "upgraded")


def test_versions_of_two_families_have_no_order() -> None:
    found = compare(
        facts(), facts(family="rpm", packages=(package("bash", "9-alt1"), package("openssl", "1")))
    )
    assert {one.change for one in found.packages} == {"changed"}


@pytest.mark.parametrize(
    ("before", "after", "change"),
    [
        ("1.0-alt1", "1.0-alt2", "upgraded"),
        ("1:1.0-alt1", "2.0-alt1", "downgraded"),
        ("1-a:p10+1", "1-a:p11+2", "changed"),
    ],
)
def test_rpms_are_ordered_as_rpm_does(before: str, after: str, change: str) -> None:
    one = facts(family="rpm", packages=(package("a", before),))
    assert compare(one, facts(family="rpm", packages=(package("a", after),))).packages[0].change == change


@pytest.mark.parametrize(
    ("name", "before", "after", "major"),
    [
        ("bash", "5.2.15-2", "5.3-1", False),
        ("bash", "5.2.15-2", "6.0-1", True),
        ("openssl", "1:3.0-1", "2:3.1-1", False),
        ("tiny", "0.7-1", "0.8-1", True),
        ("python3.11-minimal", "3.11.2-6", "3.11.4-1", False),
        ("python3", "3.11.2-1", "3.13.5-1", True),
        ("libc6", "2.36-9", "2.41-12", True),
        ("tzdata", "2024b-0", "2025a-0", False),
        ("ca-certificates", "20230311", "20250419", False),
        ("odd", "beta", "gamma", False),
    ],
)
def test_major_versions(name: str, before: str, after: str, major: bool) -> None:
    found = compare(facts(packages=(package(name, before),)), facts(packages=(package(name, after),)))
    assert found.packages[0].major == major
    assert any("major" in line for line in found.breaking) == major


# -- security -----------------------------------------------------------------------------------------


def fixed(entry: Entry) -> Changelogs:
    def look(old: Package, new: Package) -> Iterable[Entry]:
        return (entry,) if new.name == "openssl" else ()

    return look


def test_what_was_mended_is_named() -> None:
    after = facts(packages=(package("bash", "1.0-2"), package("openssl", "3.0.11-1~deb12u2")))
    entry = Entry("3.0.11-1~deb12u2", ("bookworm-security",), "high", text="CVE-2023-5363, CVE-2022-1")
    found = compare(facts(), after, fixed(entry))
    bash, openssl = found.packages
    assert not bash.security
    assert (openssl.security, openssl.cves, openssl.urgency) == (True, ("CVE-2023-5363",), "high")
    assert headline(found) == "2 upgraded (1 security: CVE-2023-5363)"
    assert "  openssl: CVE-2023-5363; urgency high" in lines(found)


def test_an_upload_to_a_suite_of_fixes_is_one_without_a_cve() -> None:
    after = facts(packages=(package("openssl", "3.0.11-1~deb12u2"),))
    found = compare(facts(), after, fixed(Entry("3.0.11-1~deb12u2", ("bookworm-security",), "medium")))
    assert "1 upgraded (1 security)" in headline(found)
    assert "  openssl: no CVE named; urgency medium" in lines(found)


def test_so_is_what_came_from_an_archive_of_fixes() -> None:
    after = facts(packages=(package("bash"), package("openssl", "9", origin="debian-security")))
    assert headline(compare(facts(), after)) == "1 upgraded (1 security)"


def test_many_are_counted() -> None:
    after = facts(packages=(package("bash"), package("openssl", "9")))
    text = " ".join(f"CVE-2024-{number}" for number in range(10005, 10000, -1))
    found = compare(facts(), after, fixed(Entry("9", text=text)))
    assert (
        headline(found)
        == "1 upgraded (1 security: CVE-2024-10001, CVE-2024-10002, CVE-2024-10003 and 2 more)"
    )
    assert len(found.cves) == 5


# -- files --------------------------------------------------------------------------------------------


def test_files_of_etc() -> None:
    link = File("/etc/link", "link", 0o777, 0, 0, target="a")
    before = facts(
        files=(
            link,
            file("/etc/fewer"),
            file("/etc/kind"),
            file("/etc/mode"),
            file("/etc/owner"),
            file("/etc/text", "1\n2\n3\n"),
        )
    )
    after = facts(
        files=(
            dataclasses.replace(link, target="b"),
            file("/etc/more"),
            File("/etc/kind", "dir", 0o755, 0, 0),
            file("/etc/mode", mode=0o600),
            dataclasses.replace(file("/etc/owner"), uid=7),
            file("/etc/text", "1\ntwo\n3\n", mode=0o600),
        )
    )
    found = compare(before, after)
    assert difference_rows(found) == (
        "more files: /etc/more",
        "fewer files: /etc/fewer",
        "other files: /etc/kind (kind)",
        "other files: /etc/link (target)",
        "other files: /etc/mode (mode)",
        "other files: /etc/owner (owner)",
        "other files: /etc/text (content, mode)",
    )
    by_path = {one.path: one for one in found.files}
    assert by_path["/etc/owner"].detail == "0:0 -> 7:0"
    assert by_path["/etc/text"].diff.splitlines()[3:] == [" 1", "-2", "+two", " 3"]
    assert "      +two" in lines(found)
    assert "      +two" not in lines(found, diffs=False)


def test_a_secret_is_not_shown() -> None:
    one = dataclasses.replace(file("/etc/app.key", "old secret", secret=True), text=None)
    found = compare(facts(files=(one,)), facts(files=(dataclasses.replace(one, digest="ab"),)))
    assert (found.files[0].what, found.files[0].diff) == (("content",), "")
    assert "    /etc/app.key: content, not shown" in lines(found)


def test_a_file_that_was_a_secret_on_one_side_only_is_one() -> None:
    before = file("/etc/x", "password", mode=0o600, secret=True)
    found = compare(facts(files=(before,)), facts(files=(file("/etc/x", "nothing"),)))
    assert (found.files[0].secret, found.files[0].diff) == (True, "")


def test_long_diffs_are_cut() -> None:
    texts = ["".join(f"{word}{number}\n" for number in range(1000)) for word in "ab"]
    found = compare(*(facts(files=(file("/etc/x", text),)) for text in texts))
    rows = found.files[0].diff.splitlines()
    assert len(rows) == DIFF_LINES + 1
    assert rows[-1] == f"... and {2003 - DIFF_LINES} lines more"


# -- all else -----------------------------------------------------------------------------------------


def test_services_accounts_and_setuid_files() -> None:
    before = facts(
        services=(Service("cron.service", "enabled"), Service("x.timer", "masked")),
        users=(User("a", 100, 100, "/", "/bin/sh", "locked"), User("b", 101, 101, "/", "/bin/sh", "locked")),
        groups=(Group("sudo", 27),),
        privileged=(Privileged("/usr/bin/su", 0o4755, 0, 0),),
    )
    after = facts(
        services=(Service("cron.service", "disabled"), Service("new.service", "enabled")),
        users=(User("a", 200, 100, "/", "/bin/sh", "password"),),
        groups=(Group("sudo", 27, ("a",)),),
        privileged=(Privileged("/usr/bin/su", 0o755, 0, 0, "01000002"),),
    )
    found = compare(before, after)
    assert found.others == (
        Change("service", "cron.service", "enabled", "disabled"),
        Change("service", "new.service", "", "enabled"),
        Change("service", "x.timer", "masked", ""),
        Change("user", "a", "100:100, /, /bin/sh", "200:100, /, /bin/sh, password"),
        Change("user", "b", "101:101, /, /bin/sh", ""),
        Change("group", "sudo", "27", "27: a"),
        Change("privileged", "/usr/bin/su", "4755, 0:0", "0755, 0:0, capability 01000002"),
    )
    assert found.breaking == (
        "services no longer started: cron.service",
        "users removed: b",
        "users with another id: a 100 -> 200",
    )
    assert headline(found) == "3 services; 2 users; 1 group; 1 setuid file"


def test_what_breaks_comes_first_and_the_gravest_of_it_before_all() -> None:
    traits = dataclasses.replace(TRAITS, init="sysvinit", network="", ssh="")
    packages = (package("bash", "2.0-1"), package("openssl", "3.0.11-1~deb12u1"))
    before = facts(packages=(*packages, package("nano"), package("libold1", auto=True)))
    found = compare(before, facts(packages=(package("bash", "3.0-1"), packages[1]), traits=traits))
    assert found.breaking == (
        "another init: systemd -> sysvinit",
        "the network is configured otherwise: ifupdown -> none",
        "ssh: openssh, started -> none",
        "packages removed: nano",
        "libraries gone: libold1",
        "major versions: bash 2.0-1 -> 3.0-1",
    )
    assert lines(found)[:2] == ["what may break those who use it", "  ! another init: systemd -> sysvinit"]
    assert headline(found).endswith("; init, network, ssh")


def test_sizes_by_package() -> None:
    before = facts(packages=(package("bash", size=10),), unowned=5)
    found = compare(before, facts(packages=(package("bash", size=7),), size=997, unowned=9))
    assert found.sizes == (SizeChange("bash", 10, 7), SizeChange("", 5, 9))
    assert lines(found) == [
        "sizes",
        "    all files: 1.00 kB -> 997 B (-3 B)",
        "    bash: -3 B",
        "    of no package: +4 B",
    ]
    assert not found.same


def test_nothing_of_a_tree_drives_the_terminal() -> None:
    nasty = "\x1b[31m\n"
    before = facts(files=(file("/etc/x", "a"), file(f"/etc/{nasty}")))
    found = compare(
        before, facts(files=(file("/etc/x", f"b{nasty}"),), services=(Service(nasty, "enabled"),))
    )
    assert all(line.isprintable() for line in lines(found))
    assert headline(found).isprintable()


def any_facts(rng: random.Random) -> Facts:
    def word() -> str:
        return "".join(rng.choices(string.ascii_lowercase + "é\x1b\n\udcff", k=rng.randrange(1, 4)))

    def some(make: Any) -> tuple[Any, ...]:
        return tuple(make() for _ in range(rng.randrange(6)))

    return Facts(
        family=rng.choice(["dpkg", "rpm", ""]),
        title=word(),
        size=rng.randrange(9),
        unowned=rng.randrange(9),
        traits=dataclasses.replace(TRAITS, init=rng.choice(["", "systemd", "openrc"])),
        packages=some(
            lambda: package(word(), rng.choice(["1", "2:1", "1~a", "x"]), rng.choice(["all", "x"]))
        ),
        files=some(lambda: file(f"/etc/{word()}", word())),
        services=some(lambda: Service(word(), rng.choice(["enabled", "masked"]))),
        users=some(lambda: User(word(), rng.randrange(3), 0, "/", "", "locked")),
        groups=some(lambda: Group(word(), rng.randrange(3), some(word))),
        privileged=some(lambda: Privileged(word(), 0o4755, 0, 0)),
    )


@pytest.mark.parametrize("seed", range(40))
def test_any_two_are_compared_told_and_read_back(seed: int) -> None:
    rng = random.Random(seed)
    one, two = any_facts(rng), any_facts(rng)
    found = compare(one, two)
    assert from_json(to_json(found)) == found
    assert all(line.isprintable() for line in lines(found))
    assert compare(one, one).same
    back = compare(two, one)
    turned = {"added": "removed", "removed": "added", "upgraded": "downgraded", "downgraded": "upgraded"}
    assert sorted(turned.get(row.change, row.change) for row in found.packages) == sorted(
        row.change for row in back.packages
    )
    assert len(found.others) == len(back.others)
    assert found.same == back.same


@pytest.mark.parametrize(
    "data", [None, [], {}, {"schema": 9}, {"schema": 1, "before": {}}, {"schema": 1, "x": 2}]
)
def test_what_is_no_comparison_is_said_so(data: object) -> None:
    with pytest.raises(ValueError, match=r"."):
        from_json(data)
