"""Workshops for whole builds."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.workshop import Workshop


@pytest.fixture(scope="session")
def workshop(tmp_path_factory: pytest.TempPathFactory, packages: Path) -> Workshop:
    """The workshop in which Debian 12 was built."""
    made = Workshop(tmp_path_factory.mktemp("workshop"), packages)
    made.first = made.build("debian-12")
    return made


@pytest.fixture(scope="session")
def small(tmp_path_factory: pytest.TempPathFactory, packages: Path) -> Workshop:
    """A workshop for builds that are stopped, fail, or are many: its recipe has few packages."""
    made = Workshop(tmp_path_factory.mktemp("small"), packages)
    made.recipe("small", SMALL)
    return made


SMALL = """
extends = "debian/12"
[image]
name = "small-12-{ve_arch}"
[install]
packages = ["systemd-sysv", "dbus", "ifupdown", "net-tools", "iproute2", "procps"]
[check]
install = []
"""
