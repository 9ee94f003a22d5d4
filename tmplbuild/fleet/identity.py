"""Which tmplbuild this is: two that differ do not work on one template."""

from __future__ import annotations

import functools
import hashlib
from pathlib import Path

from tmplbuild import __version__


@functools.cache
def identity() -> str:
    """The version, and a hash of the program's own code: a checkout has the version of its last release."""
    package = Path(__file__).resolve().parent.parent
    total = hashlib.sha256()
    for path in sorted(package.rglob("*.py")):
        total.update(
            f"{path.relative_to(package)}\0{hashlib.sha256(path.read_bytes()).hexdigest()}\n".encode()
        )
    return f"{__version__}+{total.hexdigest()[:12]}"
