"""The check on real trees: what a bootstrap tool leaves is found, and nothing that is right is blamed."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from tmplbuild.archives.mirrors import host_mirror
from tmplbuild.checks import check_file
from tmplbuild.core.tree import Tree
from tmplbuild.managers import dpkg

INCLUDE = (
    "systemd-sysv,udev,ifupdown,net-tools,openssh-server,cron,ucf,ca-certificates,man-db,vim-tiny,python3"
)

# What mmdebstrap's tree is not meant to be: a template.
ALWAYS = {
    "backup-file",
    "cache-present",
    "device-node",
    "getty-on-tty",
    "kernel-service-enabled",
    "locale-missing",
    "ssh-host-keys",
    "trace-of-use",
    "udev-enabled",
}
# Taken from the machine that it runs on, if that has them; its archive is one on loopback here.
FROM_THE_HOST = {"hostname-set", "hosts-polluted", "resolv-conf-set", "resolv-conf-dangling", "unknown-owner"}
FROM_THE_HOST |= {"source-of-build"}
# 11: faillog and lastlog, hwdb.bin. Time: a Debian that changed since this was written.
BY_RELEASE = {"bullseye": {"log-not-empty"}, "bookworm": set(), "trixie": set()}


@pytest.mark.root
@pytest.mark.network
@pytest.mark.slow
@pytest.mark.parametrize("suite", ["bullseye", "bookworm", "trixie"])
def test_what_mmdebstrap_leaves_is_found_and_nothing_else(suite: str, tmp_path: Path) -> None:
    if shutil.which("mmdebstrap") is None:
        pytest.skip("mmdebstrap is not installed: run `make test`, or apt-get install mmdebstrap")
    mirror = host_mirror("debian")
    assert mirror is not None
    tarball = tmp_path / f"{suite}.tar.zst"
    command = [
        "mmdebstrap",
        "--quiet",
        "--variant=minbase",
        f"--include={INCLUDE}",
        suite,
        str(tarball),
        mirror,
    ]
    made = subprocess.run(command, capture_output=True, text=True, check=False)
    assert made.returncode == 0, made.stderr[-2000:]
    report = check_file(tarball)
    found = {finding.rule for finding in report.findings}
    strange = found - ALWAYS - FROM_THE_HOST - BY_RELEASE[suite]
    assert [str(finding) for finding in report.findings if finding.rule in strange] == []
    assert ALWAYS | BY_RELEASE[suite] <= found


def test_packages_are_what_dpkg_query_says() -> None:
    if shutil.which("dpkg-query") is None:
        pytest.skip("this machine has no dpkg to compare with: run the test on Debian")
    form = "${Package}\t${Version}\t${Architecture}\t${Status}\t${source:Package}\t${source:Version}\n"
    told = subprocess.run(["dpkg-query", "-W", "-f", form], capture_output=True, text=True, check=True).stdout
    with Tree(Path("/")) as tree:
        read = {
            f"{one.name}\t{one.version}\t{one.arch}\t{one.status}\t{one.source}\t{one.source_version}"
            for one in dpkg.packages(tree)
        }
    assert read == set(told.splitlines())


def test_files_are_those_that_dpkg_query_lists() -> None:
    if shutil.which("dpkg-query") is None:
        pytest.skip("this machine has no dpkg to compare with: run the test on Debian")
    told = subprocess.run(
        ["dpkg-query", "-L", "dpkg", "base-files"], capture_output=True, text=True, check=True
    )
    with Tree(Path("/")) as tree:
        real = dpkg.RealPaths(tree)
        files = {real(path) for path in told.stdout.splitlines() if path.startswith("/") and path != "/."}
        files = {
            path for path in files if not tree.is_dir(path) and (tree.is_link(path) or tree.is_file(path))
        }
        owned = {
            path for path, one in dpkg.owned_files(tree).items() if one.package in ("dpkg", "base-files")
        }
        there = {
            path for path in owned if not tree.is_dir(path) and (tree.is_link(path) or tree.is_file(path))
        }
    assert files == there
