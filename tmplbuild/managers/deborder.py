"""Which packages have to be configured before others are even unpacked (Pre-Depends; Policy 7.2)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from tmplbuild.managers.debpackage import DebPackage


def configured_first(packages: Sequence[DebPackage]) -> list[DebPackage]:
    """Those of `packages` that another one Pre-Depends on, with all that they depend on, each after
    what it needs (where needs go in a circle, dpkg finds the way through).

    apt configures exactly these in advance, so users and groups get the same ids as with apt.
    """
    return with_needs([names for package in packages for names in package.needs("pre-depends")], packages)


def with_needs(wanted: Iterable[Sequence[str]], packages: Sequence[DebPackage]) -> list[DebPackage]:
    """Those of `packages` that have or provide one of the names in `wanted`, in the order of
    `configured_first`."""
    by_name: dict[str, list[DebPackage]] = {}
    for package in packages:
        for name in package.provides():
            by_name.setdefault(name, []).append(package)
    found: dict[str, DebPackage] = {}
    for names in wanted:
        _collect(names, by_name, found, set())
    return list(found.values())


def _collect(
    names: Sequence[str],
    by_name: Mapping[str, Sequence[DebPackage]],
    found: dict[str, DebPackage],
    on_the_way: set[str],
) -> None:
    for name in names:
        for package in by_name.get(name, ()):
            if package.instance in found or package.instance in on_the_way:
                continue
            on_the_way.add(package.instance)
            for deeper in package.needs("pre-depends", "depends"):
                _collect(deeper, by_name, found, on_the_way)
            found[package.instance] = package
