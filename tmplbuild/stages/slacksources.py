"""What slackpkg reads: /etc/slackpkg/mirrors, one line of which is in force."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from tmplbuild.core.tree import Tree
from tmplbuild.recipes.model import Archive

_MIRRORS = "/etc/slackpkg/mirrors"


def write(tree: Tree, archives: Mapping[str, Archive], beside: Callable[[str], bytes]) -> list[str]:
    """See `tmplbuild.stages.configure.Writer`. The package's own lines stay, commented out; slackpkg reads
    one tree, the first suite of the first archive: the others are directories in it."""
    archive = next(iter(archives.values()))
    old = tree.read_text(_MIRRORS) if tree.is_file(_MIRRORS) else ""
    muted = re.sub(r"(?m)^(?=\w+://)", "#", old)
    tree.write(_MIRRORS, f"{muted}{archive.public.rstrip('/')}/{archive.suites[0]}/\n", mode=0o644)
    return [_MIRRORS]
