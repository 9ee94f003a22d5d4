"""What all tests share: each marker's need is tried once, and a test skips with what to do about it."""

from __future__ import annotations

import functools
import os
import shutil
import signal
import tempfile
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# A job that a shell starts in the background or under nohup, as a CI system may, is born deaf to some
# signals, and so would be all that the tests start to see what signals do.
for _number, _usual in (
    (signal.SIGINT, signal.default_int_handler),
    (signal.SIGTERM, signal.SIG_DFL),
    (signal.SIGHUP, signal.SIG_DFL),
    (signal.SIGQUIT, signal.SIG_DFL),
):
    if signal.getsignal(_number) is signal.SIG_IGN:
        signal.signal(_number, _usual)

# What is shown does not depend on where the tests are started.
os.environ["TERM"] = "xterm-256color"
for _name in ("NO_COLOR", "FORCE_COLOR", "COLUMNS", "LINES"):
    os.environ.pop(_name, None)

KEPT_TREES = "TMPLBUILD_TEST_TREES"
"""Names a directory that keeps the trees of `tests.core_trees` between runs."""

SEARCH = "TMPLBUILD_TEST_SEARCH"
"""Set, it has hypothesis draw other examples each time."""

_SESSION = "TMPLBUILD_TEST_SESSION"
"""What all processes of a run of the tests share lies in the directory that it names."""

# All of it lies where a fresh Debian 13 has a disk: its /tmp is memory.
os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", "/var/tmp")

# How fast a machine is, and what else it does, is no property of the code; nor is chance: all see the same
# examples, unless they look for others.
settings.register_profile(
    "tests",
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
    derandomize=SEARCH not in os.environ,
)
settings.load_profile("tests")


def pytest_configure(config: pytest.Config) -> None:
    """Make the shared directory; the workers of pytest-xdist find it in their environment."""
    if _SESSION not in os.environ:
        place = tempfile.mkdtemp(prefix="tmplbuild-tests-", dir="/var/tmp")
        os.chmod(place, 0o755)
        os.environ[_SESSION] = place
        config.add_cleanup(lambda: shutil.rmtree(os.environ.pop(_SESSION), ignore_errors=True))
        if os.geteuid() == 0 and Path("/etc/apt").is_dir():
            from tests.frozen_archive import freeze

            config.add_cleanup(freeze(Path(place) / "apt"))


def pytest_report_header() -> str:
    place = os.environ["PYTEST_DEBUG_TEMPROOT"]
    return f"room in {place}: {shutil.disk_usage(place).free / 1e9:.0f} GB; all tests together need 11"


def shared(name: str) -> Path:
    """A directory that all processes of this run of the tests share; whoever fills it locks it."""
    place = Path(os.environ[_SESSION]) / name
    place.mkdir(exist_ok=True)
    return place


Places = Callable[[str], Path]
"""Makes a new directory, whose name begins with that word."""


@pytest.fixture(scope="module")
def places(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Places]:
    """Directories for the fixtures of a module; as with tmp_path, they are kept where a test failed.

    All that the tests write is more than 30 GB, so that none of it may stay for longer than it is used.
    """
    made: list[Path] = []

    def new(word: str) -> Path:
        made.append(tmp_path_factory.mktemp(word))
        return made[-1]

    before = request.session.testsfailed
    yield new
    if request.session.testsfailed == before:
        for place in made:
            shutil.rmtree(place, ignore_errors=True)


@pytest.fixture(scope="session")
def packages() -> Path:
    """The package cache of all whole builds and trees: what one has downloaded, the next ones have."""
    return shared("packages")


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip a marked test where what it needs is not there."""
    live = item.get_closest_marker("live") is not None
    if (live or item.get_closest_marker("root")) and os.geteuid() != 0:
        pytest.skip("needs root: run `make test` as root")
    if live and (reason := _no_ve()):
        pytest.skip(reason)
    if item.get_closest_marker("network") and (reason := _no_archive()):
        pytest.skip(reason)
    if item.get_closest_marker("trees") and not os.environ.get(KEPT_TREES) and (reason := _no_archive()):
        pytest.skip(reason)


@functools.cache
def _no_ve() -> str:
    from tmplbuild.core import Core

    probe = Core().probe(Path("/tmp"))
    return "" if probe.usable else f"VEs cannot run here: {probe.why}; {probe.fix}"


@functools.cache
def _no_archive() -> str:
    from tmplbuild.archives.mirrors import host_mirror

    mirror = host_mirror("debian")
    if mirror is None:
        return "no Debian archive is named in /etc/apt: add one to the sources"
    try:
        with urllib.request.urlopen(f"{mirror}/dists/stable/Release", timeout=120):
            return ""
    except (OSError, urllib.error.URLError) as error:
        return f"the archive that /etc/apt names does not answer ({error}): check network and proxy"
