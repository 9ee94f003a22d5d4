"""The run that README prints, made anew: a first build and a second one, on a terminal of 80 columns.

    python docs/readme_run.py        (as root, with tmux; best while the machine does nothing else)

Layers are made in a directory of their own, so that it is a first build; packages come from the cache.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
COMMAND = "make template DIST=debian-12"
_SESSION = "tmplbuild-readme"
_ENDED = "tmplbuild-readme-ended"


def shown(state: str) -> str:
    """What is on the screen after the command."""
    line = f"clear; TMPLBUILD_STATE_DIR={state} {COMMAND}; tmux wait-for -S {_ENDED}; sleep 60"
    tmux("new-window", "-t", _SESSION, "-c", str(ROOT), "sh", "-c", line)
    tmux("wait-for", _ENDED)
    time.sleep(0.5)  # what is written is not yet what is drawn
    return tmux("capture-pane", "-p", "-t", _SESSION)


def tmux(*words: str) -> str:
    """Run tmux with a server of its own."""
    argv = ["tmux", "-L", _SESSION, *words]
    return subprocess.run(argv, check=True, capture_output=True, text=True).stdout


def block(text: str) -> str:
    """A screen as Markdown has it."""
    lines = [line.rstrip() for line in text.strip("\n").splitlines()]
    return "".join(f"    {line}".rstrip() + "\n" for line in lines)


def main() -> int:
    """Put both screens into README.md, each for the one before it."""
    tmux("new-session", "-d", "-s", _SESSION, "-x", "80", "-y", "100")
    try:
        with tempfile.TemporaryDirectory(prefix="tmplbuild-readme-", dir="/var/tmp") as state:
            screens = [block(shown(state)) for _ in range(2)]
    finally:
        tmux("kill-server")
    readme = ROOT / "README.md"
    text = readme.read_text()
    for lead, screen in zip(("The first prints:\n\n", "it says so at once:\n\n"), screens, strict=True):
        text, count = re.subn(rf"(?<={lead})(?:    .*\n|\n(?=    ))+", lambda _, new=screen: new, text)
        if count != 1:
            raise SystemExit(f"README.md has {count} places for what follows {lead.strip()!r}")
    readme.write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
