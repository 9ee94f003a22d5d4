"""This machine's own rpm, as far as tests must know which one it is."""

from __future__ import annotations

import functools
import subprocess


@functools.cache
def install_words() -> tuple[str, ...]:
    """What it wants to hear before it installs anything: Debian's, up to Debian 12, has to be forced."""
    told = subprocess.run(["rpm", "--force-debian", "--version"], capture_output=True, check=False)
    return ("--force-debian",) if told.returncode == 0 else ()
