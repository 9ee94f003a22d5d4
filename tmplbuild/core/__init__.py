"""The container core: VEs on Linux namespaces, with nothing but the standard library.

What others use is named here. The names are looked up when they are asked for: the small helper
processes of the core import modules of this package and must start in milliseconds.
"""

from __future__ import annotations

import importlib

TYPE_CHECKING = False  # type checkers know the name; `typing` itself would cost the helpers 3 ms
if TYPE_CHECKING:
    from tmplbuild.core.host import Core
    from tmplbuild.core.masks import DEFAULT_MASK
    from tmplbuild.core.model import ExecResult, Limits, Probe, Rootfs, Usage, VEInfo, Venet
    from tmplbuild.core.tree import Tree
    from tmplbuild.core.ve import VE

__all__ = [
    "DEFAULT_MASK",
    "VE",
    "Core",
    "ExecResult",
    "Limits",
    "Probe",
    "Rootfs",
    "Tree",
    "Usage",
    "VEInfo",
    "Venet",
]

_HOMES = {
    "Core": "host",
    "DEFAULT_MASK": "masks",
    "ExecResult": "model",
    "Limits": "model",
    "Probe": "model",
    "Rootfs": "model",
    "Tree": "tree",
    "VE": "ve",
    "Usage": "model",
    "VEInfo": "model",
    "Venet": "model",
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
