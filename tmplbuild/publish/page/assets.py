"""Style, script and icon of the pages. Their names hold their digests: a page that was read before a switch
finds its own after it, too, for generations that are still kept.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

FOLDER = "assets"
_HERE = Path(__file__).parent
_USED = re.compile(rb'"(?:\.\./)*(assets/[a-z]+-[0-9a-f]{16}\.[a-z]+)"')


@dataclass(frozen=True, slots=True)
class Assets:
    """The files by path, and the paths of the three."""

    files: dict[str, bytes]
    style: str
    script: str
    icon: str


def _read() -> Assets:
    files: dict[str, bytes] = {}
    paths = []
    for name in ("style.css", "page.js", "icon.svg"):
        data = (_HERE / name).read_bytes()
        stem, _, suffix = name.partition(".")
        paths.append(f"{FOLDER}/{stem}-{hashlib.sha256(data).hexdigest()[:16]}.{suffix}")
        files[paths[-1]] = data
    return Assets(files, *paths)


ASSETS = _read()


def earlier(generations: Iterator[Path]) -> dict[str, bytes]:
    """The assets that pages of earlier generations name, whose directories these are."""
    found: dict[str, bytes] = {}
    for place in generations:
        try:
            names = _USED.findall((place / "index.html").read_bytes())
            found |= {name.decode(): (place / name.decode()).read_bytes() for name in names}
        except OSError:
            continue  # it has no page
    return found
