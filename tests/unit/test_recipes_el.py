"""Enterprise Linux: its recipes, what dnf is told, and what is understood of what it says."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.fake_bench import UserTree
from tests.unit.recipe_files import write
from tmplbuild.managers import manager, rpm
from tmplbuild.recipes import LoadedRecipe, lint, load
from tmplbuild.recipes.catalogue import shipped_root
from tmplbuild.stages import repofiles

NAMES = ("almalinux-9", "almalinux-10", "rocky-9", "rocky-10", "centos-9", "centos-10")
FEDORA = ("fedora-44", "fedora-45")


@pytest.fixture(params=(*NAMES, *FEDORA))
def el(request: pytest.FixtureRequest) -> LoadedRecipe:
    return load(request.param, roots=[shipped_root()])


def test_nothing_is_built_before_its_key_is_there(el: LoadedRecipe) -> None:
    (error,) = [str(found.fault) for found in lint(el) if found.level == "error"]
    assert ".asc is not there" in error


def test_repositories_are_directories_of_the_archive(el: LoadedRecipe) -> None:
    (archive,) = el.recipe.archives.values()
    assert not archive.components
    if el.name in FEDORA:
        return
    assert [suite.split("/")[1:] for suite in archive.suites] == [
        ["BaseOS", "x86_64", "os"],
        ["AppStream", "x86_64", "os"],
    ]


@pytest.mark.parametrize("name", FEDORA)
def test_fedoras_packages_are_signed_and_its_lists_are_not(name: str, tmp_path: Path) -> None:
    archives = load(name, roots=[shipped_root()]).recipe.archives
    release = name.rpartition("-")[2]
    assert archives["fedora"].signed == "packages"
    assert archives["fedora"].suites == (
        f"releases/{release}/Everything/x86_64/os",
        f"updates/{release}/Everything/x86_64",
    )
    assert repofiles.sections(archives).count("repo_gpgcheck=0\ngpgcheck=1\n") == 2


def test_no_kernel_no_clock_no_console(el: LoadedRecipe) -> None:
    assert {"kernel-core", "dracut", "chrony"} <= set(el.recipe.install.exclude)
    assert {"systemd-udevd.service", "fstrim.timer"} <= set(el.recipe.strip.mask)
    assert "getty@tty1.service" in el.recipe.strip.disable


def test_a_release_more_is_a_few_lines_and_a_distribution_more_a_folder(tmp_path: Path) -> None:
    write(
        tmp_path,
        "oracle/9",
        'extends = "el/_base"\n[image]\ndistro = "oracle"\nrelease = "9"\nsuite = "OL9"\neol = 2032-06-30\n'
        '[archives.oracle]\nmirrors = ["http://yum.example/repo"]\npublic = "http://yum.example/repo"\n'
        f'suites = ["{{suite}}/baseos/latest/{{arch}}"]\nkeys = ["{"A" * 40}"]\n',
    )
    found = load("oracle-9", arch="aarch64", roots=[tmp_path, shipped_root()])
    assert found.recipe.archives["oracle"].suites == ("OL9/baseos/latest/aarch64",)
    assert found.recipe.image.name == "oracle-9-aarch64"
    assert found.recipe.upgrade.manager == "dnf"


def test_repositories_of_packages_are_switched_off_and_ours_checked(tmp_path: Path) -> None:
    archives = load("almalinux-9", roots=[shipped_root()]).recipe.archives
    folder = tmp_path / "etc/yum.repos.d"
    folder.mkdir(parents=True)
    (folder / "vendor.repo").write_text(
        "[one]\nname=One\nenabled=1\nmirrorlist=https://x\n\n[two]\nname=Two\n"
    )
    with UserTree(tmp_path) as tree:
        changed = repofiles.write_dnf(tree, archives, lambda name: name.encode())
        again = repofiles.write_dnf(tree, archives, lambda name: name.encode())
    text = (folder / "vendor.repo").read_text()
    assert text == "[one]\nenabled=0\nname=One\nmirrorlist=https://x\n\n[two]\nenabled=0\nname=Two\n"
    (key,) = archives["almalinux"].keys
    assert (tmp_path / f"etc/pki/rpm-gpg/{key}.asc").read_text() == f"keys/{key}.asc"
    own = (folder / "almalinux.repo").read_text()
    assert own.count("[almalinux-") == 2
    assert own.count("repo_gpgcheck=1\ngpgcheck=1\n") == 2
    assert f"gpgkey=file:///etc/pki/rpm-gpg/{key}.asc" in own
    assert "/etc/yum.repos.d/vendor.repo" in changed
    assert "/etc/yum.repos.d/vendor.repo" not in again


UPGRADING = b"  Upgrading        : bash-5.1.8-9.el9.x86_64                      3/12 "
DNF_5 = b"[ 3/12] Upgrading bash-0:5.3.0-2.fc44.x86_64   100% |  12.0 MiB/s |   1.9 MiB |  00m00s"
SCRIPT = b"  Running scriptlet: dbus-1-1.x86_64                     9/9 "


@pytest.mark.parametrize(
    ("line", "found"),
    [
        (UPGRADING, ("upgrading bash-5.1.8-9.el9.x86_64", 0.25)),
        (SCRIPT, ("running scriptlet dbus-1-1.x86_64", 1.0)),
        (b"  Installing       : a-1.x86_64       1/0 ", None),
        (DNF_5, ("upgrading bash-0:5.3.0-2.fc44.x86_64", 0.25)),
        (b"Dependencies resolved.", None),
    ],
)
def test_progress(line: bytes, found: object) -> None:
    assert manager("dnf").progress(line) == found


@pytest.mark.parametrize(
    "line",
    [
        "warning: %post(app-3-1.el9.x86_64) scriptlet failed, exit status 3",
        "Error in POSTIN scriptlet in rpm package app",
        ">>> Error in post-install scriptlet: app-0:3-1.fc44.x86_64",
        ">>> Non-critical error in post-install scriptlet: app-0:3-1.fc44.x86_64",
    ],
)
def test_failures_that_the_status_hides(line: str) -> None:
    assert rpm.failure(b"before\n" + line.encode() + b"\nafter\n") == line
    assert rpm.failure(b"Complete!\n") == ""
