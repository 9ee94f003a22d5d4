"""TEMPLATE_BUILD.wsl for Windows: the .tar.gz under another name, of templates whose variant is wsl.

What WSL needs otherwise (masked units, /etc/wsl-distribution.conf, no resolv.conf) is the recipe's: it is
the opposite of what an LXC image wants, so such a template is a recipe of its own, not a repack.
"""

from __future__ import annotations

import os

from tmplbuild.publish.draft import Draft, told

VARIANT = "wsl"


def write(draft: Draft) -> None:
    """Give the .tar.gz its second name."""
    if draft.source.variant != VARIANT:
        return
    name = draft.dated("wsl")
    if name in draft.kinds:
        return  # the recipe wants something of it otherwise: it was made as the stream passed
    with told(draft.place / name):
        os.link(draft.place / draft.dated("tar.gz"), draft.place / name)
    draft.adopt(name, "wsl")
