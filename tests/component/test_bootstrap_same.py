"""A tree made by bootstrap and install is the one that mmdebstrap makes of the same packages."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from tests.deb_trees import Choice, Maker, Source, local_archive, mmdebstrap, open_source
from tests.tree_compare import Allowed, Fact, compare, facts, lines, stanzas
from tmplbuild.core import Rootfs, Tree

pytestmark = [pytest.mark.root, pytest.mark.network, pytest.mark.live, pytest.mark.slow]

HOST = "mmdebstrap brings what its apt and its chroot need on the build host; the stage configure writes ours"
ALLOWED = (
    Allowed("/dev/*", "theirs", "mmdebstrap makes device nodes; a VE's /dev is made when it starts"),
    Allowed("/etc/apt/sources.list /etc/hostname /etc/resolv.conf /etc/fstab", "theirs", HOST),
    Allowed("/run/lock /run/lock/*", "theirs", "scripts of ours see a /run of their own, as after a boot"),
    Allowed(
        "/var/lib/apt/lists/lock /var/cache/apt/archives/lock", "theirs", "the host's apt ran on the tree"
    ),
    Allowed(
        "/var/lib/apt/lists/partial /var/cache/apt/archives/partial",
        "mode uid",
        "the host's apt gave them to _apt, as the tree's own does when it first runs",
    ),
    Allowed("/var/lib/dpkg/arch", "theirs", "names foreign architectures; mmdebstrap writes it always"),
    Allowed("/var/lib/dpkg/status-old", "content", "the status before dpkg's last step, and steps differ"),
)
OLD_STATES = Allowed(
    "/var/cache/debconf/*.dat-old /var/lib/dpkg/diversions-old",
    "content",
    "the state before the last step of debconf or dpkg-divert, and steps differ",
)
IDLE = (
    Allowed("/etc/ssh/ssh_host_*_key*", "theirs", "keys are each container's own: the recipe has none made"),
    Allowed(
        "/var/cache/man/*", "theirs", "the recipe has no index made of manual pages: `clean` would empty it"
    ),
)
# For the whole template. The tests run for Debian 12; for another: TMPLBUILD_SAME=debian-13 pytest FILE
BY_RECIPE = {
    "debian-11": (
        OLD_STATES,
        Allowed(
            "/etc/passwd /etc/passwd- /etc/shadow /etc/shadow-",
            "content",
            "apt makes its user as the first of the dynamic ids, since the base is a layer of its own",
        ),
    ),
    "debian-12": (),
    "debian-13": (
        OLD_STATES,
        Allowed(
            "/etc/systemd/system/timers.target.wants/apt-daily*.timer",
            "link",
            "/lib for /usr/lib; presumably since apt is configured in the base, before systemd is there",
        ),
    ),
}
RECIPE = os.environ.get("TMPLBUILD_SAME", "debian-12")
# In these the order follows the order of the work and means nothing to those who read them.
UNORDERED = {"/var/lib/dpkg/triggers/File": lines, "/var/lib/apt/extended_states": stanzas}
if RECIPE == "debian-13":  # presumably theirs made systemd's users before passwd's files were there
    UNORDERED |= {f"/etc/{name}": lines for name in ("shadow", "shadow-", "gshadow", "gshadow-")}


@pytest.fixture(scope="module")
def source(packages: Path) -> Source:
    """The recipe's archives."""
    if shutil.which("mmdebstrap") is None:
        pytest.skip("mmdebstrap is not installed: run `make test`, or apt-get install mmdebstrap")
    return open_source(RECIPE, packages)


def by_mmdebstrap(choice: Choice, place: Path) -> dict[str, Fact]:
    """Their tree, of the same package files."""
    mmdebstrap(choice, local_archive(place / "archive", choice), place / "theirs")
    with Tree(place / "theirs") as tree:
        return facts(tree)


def seen(maker: Maker, rootfs: Rootfs) -> dict[str, Fact]:
    """Our tree."""
    with maker.core.tree(rootfs, writable=False) as tree:
        return facts(tree)


def test_the_base_is_the_same(source: Source, tmp_path: Path) -> None:
    choice = source.choose(packages=())
    maker = Maker(tmp_path / "ours")
    maker.make_base(choice)
    allowed = ALLOWED if RECIPE == "debian-11" else (*ALLOWED, OLD_STATES)
    unlisted, used = compare(
        seen(maker, maker.base_rootfs), by_mmdebstrap(choice, tmp_path), allowed, UNORDERED
    )
    assert unlisted == []
    assert used == set(allowed), "a row of the table has no difference any more: take it out"


def test_the_standard_template_is_the_same(source: Source, tmp_path: Path) -> None:
    choice = source.choose()
    maker = Maker(tmp_path / "ours")
    maker.make_base(choice)
    maker.make_rest(choice)
    allowed = (*ALLOWED, *BY_RECIPE[RECIPE], *IDLE)
    unlisted, used = compare(
        seen(maker, maker.full_rootfs), by_mmdebstrap(choice, tmp_path), allowed, UNORDERED
    )
    assert unlisted == []
    assert used == set(allowed), "a row of the table has no difference any more: take it out"
