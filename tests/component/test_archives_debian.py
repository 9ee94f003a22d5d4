"""Debian's own archive: read, resolved as apt does it, downloaded."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.conftest import Places
from tests.debian import debian_archives, debian_keys, private_apt
from tmplbuild.archives import mirrors
from tmplbuild.archives.cache import PackageCache
from tmplbuild.archives.deb import closure, download, open_pool, read_archives
from tmplbuild.archives.deb.pool import Pool
from tmplbuild.archives.fetch import Fetcher
from tmplbuild.archives.wishes import Wishes

pytestmark = [
    pytest.mark.network,
    pytest.mark.skipif(shutil.which("apt-get") is None, reason="the oracle is missing: apt-get install apt"),
]

RELEASES = ("bullseye", "bookworm", "trixie")
TEMPLATE = """systemd-sysv dbus ifupdown net-tools iproute2 iputils-ping isc-dhcp-client netbase
    openssh-server ca-certificates cron logrotate rsyslog nano less"""
SETS = {
    "nothing": "",
    "template": TEMPLATE,
    "servers": "nginx php-fpm mariadb-server python3-requests postfix dovecot-imapd samba",
    "tools": "build-essential git debhelper emacs-nox vim default-jre-headless r-base-core",
    "desktop": "gnome-core texlive-latex-base cups",
}


@dataclass(frozen=True)
class Debian:
    """A release as we read it, and an apt that reads it too."""

    place: Path
    codename: str
    pool: Pool
    fetcher: Fetcher
    cache: PackageCache

    def apt(self, names: list[str]) -> dict[str, str]:
        """What `apt-get install` would install on nothing: versions by name."""
        env = {**os.environ, "APT_CONFIG": str(self.place / "apt/apt.conf"), "LC_ALL": "C"}
        argv = ["apt-get", "-q", "-s", "install", *names]
        done = subprocess.run(argv, env=env, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return dict(re.findall(r"^Inst (\S+) \((\S+) ", done.stdout, re.MULTILINE))


@pytest.fixture(scope="module", params=RELEASES)
def debian(request: pytest.FixtureRequest, places: Places) -> Debian:
    codename = request.param
    place = places(codename)
    archives = debian_archives(codename)
    table = mirrors.table(archives)
    fetcher, cache = Fetcher(table), PackageCache(place / "cache")
    states = read_archives(archives, "amd64", fetcher=fetcher, cache=cache, keys_dir=debian_keys())
    sources = [(table[role][0], suite, "main") for role, one in archives.items() for suite in one.suites]
    env = {**os.environ, "APT_CONFIG": str(private_apt(place / "apt", sources))}
    subprocess.run(["apt-get", "-q", "update"], env=env, check=True, capture_output=True)
    return Debian(place, codename, open_pool(states, "amd64"), fetcher, cache)


@pytest.mark.parametrize(
    "names",
    [
        pytest.param(names.split(), id=name, marks=[pytest.mark.slow] if name == "desktop" else [])
        for name, names in SETS.items()
    ],
)
def test_same_packages_as_apt(debian: Debian, names: list[str]) -> None:
    packages = [name for name in names if debian.pool.candidate(name) or debian.pool.providers(name)]
    assert len(packages) >= 0.8 * len(names)
    ours = closure(debian.pool, Wishes(include=("apt",), packages=packages))
    marked = debian.pool.marked()
    base = [package.name for package in marked if package.essential or package.priority == "required"]
    assert {p.name: p.version for p in ours.packages} == debian.apt([*base, "apt", *packages])


def test_packages_come_verified(debian: Debian) -> None:
    packages = closure(debian.pool, Wishes()).packages
    assert len(packages) > 50
    download(packages, fetcher=debian.fetcher, cache=debian.cache)
    assert all(debian.cache.path(p.sha256).stat().st_size == p.size for p in packages)


def test_nothing_changed_costs_three_requests_and_little_time(debian: Debian) -> None:
    archives = debian_archives(debian.codename)
    fetcher = Fetcher(mirrors.table(archives))
    start = time.process_time()
    states = read_archives(archives, "amd64", fetcher=fetcher, cache=debian.cache, keys_dir=debian_keys())
    assert fetcher.requests == 3
    assert [len(state.suites) for state in states] == [2, 1]
    print(f"{debian.codename}: {time.process_time() - start:.3f} s of CPU")  # noqa: T201
