"""Facts of small templates, for the tests of comparisons."""

from __future__ import annotations

import hashlib
from typing import Any

from tmplbuild.changes.facts import Facts, File, Package, Service, Traits, User

TRAITS = Traits(
    distribution="debian",
    release="12",
    arch="x86_64",
    libc="glibc",
    init="systemd",
    network="ifupdown",
    ssh="openssh, started",
    ssh_root="prohibit-password",
)


def package(name: str, version: str = "1.0-1", arch: str = "amd64", **more: Any) -> Package:
    """A package whose source has the same version."""
    return Package(name, version, arch, **{"source": name, "source_version": version, **more})


def file(path: str, text: str = "", mode: int = 0o644, **more: Any) -> File:
    """A text file."""
    digest = hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()
    return File(path, "file", mode, 0, 0, **{"digest": digest, "text": text, **more})


def facts(**more: Any) -> Facts:
    """The facts of a template of dpkg's."""
    found: dict[str, Any] = {
        "family": "dpkg",
        "title": "Debian GNU/Linux 12 (bookworm)",
        "size": 1000,
        "unowned": 0,
        "traits": TRAITS,
        "packages": (package("bash"), package("openssl", "3.0.11-1~deb12u1")),
        "files": (file("/etc/motd", "hello\n"),),
        "services": (Service("cron.service", "enabled"),),
        "users": (User("root", 0, 0, "/root", "/bin/bash", "locked"),),
    }
    return Facts(**{**found, **more})
