"""A small valid recipe that tests write, change and load."""

from __future__ import annotations

from pathlib import Path

import pytest

from tmplbuild.errors import RecipeError
from tmplbuild.recipes import LoadedRecipe, load

KEY = "1F89983E0081FDE018F3CC9673A4F27B8DD47936"

BASE = f"""\
[image]
distro = "tiny"
arches = ["amd64", "i386"]

[archives.tiny]
mirrors = ["host"]
public = "http://tiny.example/tiny"
suites = ["{{suite}}", "{{suite}}-updates"]
components = ["main"]
keys = ["{KEY}"]

[bootstrap]
method = "deb"

[install]
packages = ["one", "two", "three"]

[upgrade]
manager = "apt-deb"
"""

CHILD = """\
extends = "tiny/_base"

[image]
release = "1"
suite = "first"
"""


def write(root: Path, name: str, text: str) -> Path:
    """A file below a directory of recipes, by name without suffix."""
    path = root / f"{name}.toml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def tiny(root: Path, child: str = "", base: str = "", *, arch: str | None = None) -> LoadedRecipe:
    """tiny-1 with more lines in its file, or in its parent's."""
    write(root, "tiny/_base", BASE + base)
    write(root, "tiny/1", CHILD + child)
    return load("tiny-1", arch=arch, roots=[root])


def faults(root: Path, child: str = "", base: str = "") -> tuple[str, ...]:
    """What is wrong with it, each as "FILE:LINE: ..." with the file's bare name."""
    with pytest.raises(RecipeError) as caught:
        tiny(root, child, base)
    assert caught.value.exit_code == 3
    return tuple(fault.replace(f"{root}/tiny/", "") for fault in caught.value.faults)
