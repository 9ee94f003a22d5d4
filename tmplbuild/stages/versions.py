"""The stages' versions, which are part of their layers' keys.

A stage's version counts up when it makes something else of what it is handed than it did before: then
old layers are not taken for its result. The numbers stand here, and not in the stages, because a run that
finds nothing to do needs them and must not load all that the stages need.
"""

from __future__ import annotations

BOOTSTRAP = 1
UNPACK = 4
INSTALL = 2
CONFIGURE = 3
STRIP = 1
CLEAN = 1
UPGRADE = 1
RELEASE = 1
LEFTOVERS = 2
CHECK = 1
PACK = 4
BOOT = 2
HOOK = 1
