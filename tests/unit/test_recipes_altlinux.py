"""The shipped ALT recipes: the rules of a container as data, and nothing built without a known key."""

from __future__ import annotations

import re

import pytest

from tmplbuild.recipes import LoadedRecipe, lint, load
from tmplbuild.recipes.catalogue import shipped_root

NAMES = (
    *("4.1", "5.0", "p10", "p10-rootfs", "p11", "p11-networkd", "p11-rootfs", "p11-sysvinit"),
    *("sisyphus", "sisyphus-rootfs"),
)


@pytest.fixture(params=NAMES)
def alt(request: pytest.FixtureRequest) -> LoadedRecipe:
    return load(f"altlinux-{request.param}", roots=[shipped_root()])


def test_nothing_is_built_before_its_keys_are_there(alt: LoadedRecipe) -> None:
    error, *more = [str(found.fault) for found in lint(alt) if found.level == "error"]
    keys = alt.recipe.archives["altlinux"].keys
    if keys:
        assert f"keys/{keys[0]}.asc is not there" in error
    else:
        assert "known here" in error
        assert "keys/FINGERPRINT.asc" in error
    assert len(more) == len(alt.recipe.bootstrap.keys)
    assert all(f"keys/{key}.asc" in row for key, row in zip(alt.recipe.bootstrap.keys, more, strict=True))


def test_every_line_of_the_sources_has_a_vendor(alt: LoadedRecipe) -> None:
    assert all(archive.vendor for archive in alt.recipe.archives.values())
    assert alt.recipe.configure.sources == "apt-rpm"


def test_templates_have_openvz_names(alt: LoadedRecipe) -> None:
    assert re.fullmatch(r"altlinux-[a-z0-9.]+(-[a-z]+)?-x86_64", alt.recipe.image.name)


def test_each_architecture_is_a_suite_beside_noarch() -> None:
    archive = load("altlinux-p11", arch="aarch64", roots=[shipped_root()]).recipe.archives["altlinux"]
    assert archive.suites == ("p11/branch/aarch64", "p11/branch/noarch")
    x86 = load("altlinux-p10", arch="i586", roots=[shipped_root()])
    assert x86.recipe.image.name == "altlinux-p10-x86"


LINES = [
    "1:2345:respawn:/sbin/mingetty tty1",
    "2:2345:respawn:/sbin/agetty 38400 tty2",
    "ca::ctrlaltdel:/sbin/shutdown -t3 -r now",
    "pf::powerfail:/sbin/shutdown -f -h +2",
]


@pytest.mark.parametrize("line", LINES)
def test_inittab_starts_nothing_on_consoles(alt: LoadedRecipe, line: str) -> None:
    rules = [rule for rule in alt.recipe.strip.edits if rule.path == "/etc/inittab"]
    assert any(rule.comment and re.search(rule.match, line) for rule in rules)


@pytest.mark.parametrize(
    "line", ["id:3:initdefault:", "si::sysinit:/etc/rc.d/rc.sysinit", "l3:3:wait:/etc/rc.d/rc 3"]
)
def test_inittab_keeps_what_boots(alt: LoadedRecipe, line: str) -> None:
    rules = [rule for rule in alt.recipe.strip.edits if rule.path == "/etc/inittab"]
    assert not any(re.search(rule.match, line) for rule in rules)


def test_the_interface_is_the_manager_s(alt: LoadedRecipe) -> None:
    assert {"/etc/net/ifaces/eth*", "/etc/net/ifaces/venet*"} <= set(alt.recipe.strip.remove)


def test_secrets_and_copies_go(alt: LoadedRecipe) -> None:
    assert {
        "/etc/openssh/ssh_host_*",
        "/etc/tcb/*/shadow-",
        "/var/lib/random/random-seed",
        "/var/lib/rpm/__db.*",
        "/var/lib/apt/lists/*_*",
    } <= set(alt.recipe.clean.remove)


def test_syslog_does_not_write_to_consoles_nor_wait_for_disks(alt: LoadedRecipe) -> None:
    from tmplbuild.stages.files import edited

    text = "*.* /dev/tty12\nmail.* /var/log/maillog\n# /var/log/x\nkern.* -/var/log/kern\n"
    for rule in alt.recipe.configure.edits:
        if rule.path == "/etc/syslog.conf":
            text = edited(text, rule)
    assert text == "mail.* -/var/log/maillog\n# /var/log/x\nkern.* -/var/log/kern\n"


def test_old_branches_become_newer_ones() -> None:
    froms = {name: load(f"altlinux-{name}", roots=[shipped_root()]).recipe.upgrade.from_ for name in NAMES}
    assert (froms["p11"], froms["5.0"]) == ("altlinux-p10", "altlinux-4.1")
    before = load("altlinux-p11", roots=[shipped_root()]).recipe.upgrade.before
    assert "usrmerge-hier-convert" in before[0]
