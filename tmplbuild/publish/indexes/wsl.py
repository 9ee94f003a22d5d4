"""DistributionInfo.json for `wsl --list --online` and `wsl --install` (microsoft/WSL:distributions/).

A machine is pointed to it by the registry value DistributionListUrl or DistributionListUrlAppend. Addresses
in it are absolute, so it is only made where the mirror's own is set.
"""

from __future__ import annotations

from typing import Any

from tmplbuild.publish.indexes.catalog import Catalog
from tmplbuild.publish.model import Build, json_bytes

NAME = "DistributionInfo.json"
_ARCHES = {"amd64": "Amd64Url", "x86_64": "Amd64Url", "arm64": "Arm64Url", "aarch64": "Arm64Url"}


def files(catalog: Catalog) -> dict[str, bytes]:
    """The list, if there is something for it."""
    builds = [one for one in catalog.state.current() if one.file("wsl") and one.arch in _ARCHES]
    if not builds or not catalog.settings.url:
        return {}
    flavors: dict[str, dict[str, list[Build]]] = {}
    for build in builds:
        flavors.setdefault(build.distro.capitalize(), {}).setdefault(build.release, []).append(build)
    distributions = {
        flavor: _entries(catalog, flavor, releases) for flavor, releases in sorted(flavors.items())
    }
    return {NAME: json_bytes({"ModernDistributions": distributions})}


def _entries(catalog: Catalog, flavor: str, releases: dict[str, list[Build]]) -> list[dict[str, Any]]:
    """One entry a release; exactly one of a flavor is its default: the newest release."""
    newest = max(releases, key=lambda one: max(build.epoch for build in releases[one]))
    return [
        _entry(catalog, flavor, builds, release == newest) for release, builds in sorted(releases.items())
    ]


def _entry(catalog: Catalog, flavor: str, builds: list[Build], default: bool) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "Name": f"{flavor}-{builds[0].release}",
        "FriendlyName": builds[0].title,
        "Default": default,
    }
    for build in builds:
        if file := build.file("wsl"):
            entry[_ARCHES[build.arch]] = {
                "Url": catalog.absolute(file.path),
                "Sha256": f"0x{file.sha256}",
            }
    return entry
