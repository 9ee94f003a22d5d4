"""Keys: what a layer is made of, as one hash.

    key = sha256(canonical JSON of: stage name and version, what the stage is handed, parent's key)

What is handed to a stage is its section of the recipe, the pins it uses, and digests of the files
it takes from beside the recipe. Timeouts are left out, since they change no byte of the result;
so are mirrors, descriptions and output names.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

Plain = Any  # JSON values


def canonical(value: Plain) -> bytes:
    """JSON with sorted keys and no spaces: equal values, equal bytes."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def digest(value: Plain) -> str:
    """sha256 of the canonical JSON, 64 hex digits."""
    return hashlib.sha256(canonical(value)).hexdigest()


def without_timeouts(section: Mapping[str, Plain]) -> dict[str, Plain]:
    """A recipe section without the keys that only bound how long something may take."""
    return {key: value for key, value in section.items() if not key.endswith("_s")}


def layer_key(stage: str, version: int, handed: Plain, parent: str | None) -> str:
    """The key of a stage's result.

    Parameters:
        version: the stage's own number, raised when its code changes what it does.
        handed: everything the stage is handed, as JSON values.
        parent: the key of the layer below.
    """
    return digest({"stage": stage, "version": version, "handed": handed, "parent": parent})
