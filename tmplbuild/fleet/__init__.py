"""A fleet of builders: what `tmplbuild.engine.execute` does, done by other machines.

Dask distributed says who does what and when (`grid`, the one module that imports it); a store that all
reach holds what they make (`shared`, the one module that imports fsspec). Nothing else in the program needs
either, and this package is imported only where a fleet is asked for. See docs/adr/0010-fleet.md.
"""

from __future__ import annotations

from tmplbuild.errors import HostError


def not_installed(error: ImportError) -> HostError:
    """The error for a machine without the packages that a fleet needs."""
    return HostError(
        "a fleet needs packages that are not installed here",
        why=str(error),
        hint="pip install 'tmplbuild[cluster]'",
    )
