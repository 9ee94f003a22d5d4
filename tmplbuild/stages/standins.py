"""Programs that packages' scripts call, and what stands in their place while a tree is made.

Stand-ins are mounts in a VE, and files in its /run: they end with it. An idle program does nothing. One
in the background does its work while the scripts go on, on another processor; `settle` waits for it.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from tmplbuild.errors import StageError
from tmplbuild.stages.context import Shell

_PLACE = "/run/tmplbuild"
_TIMEOUT_S = 60
# Scripts that ask whether this is a tree being made are told yes; libc6 then lets init alone.
_ALWAYS_IDLE = ("/usr/bin/ischroot",)

# The lock is taken before the program is left alone, so whoever comes next waits for its end. Descriptors
# of the caller are closed: debconf would wait for its own.
_STUB = """\
#!/bin/sh
exec 9> {name}.lock
flock 9
{{ {name}.real "$@" || echo "$0 $*: exit status $?" >> {name}.failed; }} \\
    < /dev/null > {name}.output 2>&1 3>&- 4>&- 5>&- 6>&- 7>&- 8>&- &
"""
_SETTLE = f"""\
set -e
cd {_PLACE} 2> /dev/null || exit 0
for lock in *.lock; do test ! -e "$lock" || flock "$lock" true; done
set -- *.failed
test -e "$1" || exit 0
cat *.output *.failed
exit 1
"""


def put_up(shell: Shell, *, idle: Sequence[str] = (), background: Sequence[str] = ()) -> None:
    """Put stand-ins where the tree has the programs."""
    lines = ["set -e", f"mkdir -p {_PLACE}"]
    for path in map(shlex.quote, (*_ALWAYS_IDLE, *idle)):
        lines += [f"test ! -e {path} || mount --bind /bin/true {path}"]
    for number, path in enumerate(background):
        name, there = f"{_PLACE}/{number}", shlex.quote(path)
        lines += [
            f"if test -e {there}; then",
            f"cat > {name}.stub << 'END'\n{_STUB.format(name=name)}END",
            f"chmod 755 {name}.stub; touch {name}.real",
            f"mount --bind {there} {name}.real; mount --bind {name}.stub {there}",
            "fi",
        ]
    script = "\n".join(lines).encode()
    shell.run(["/bin/sh", "-s"], what="prepare for the scripts", stdin=script, timeout_s=_TIMEOUT_S)


def settle(shell: Shell, timeout_s: float) -> None:
    """Wait for what goes on in the background.

    Raises StageError with the output of a program that failed.
    """
    try:
        shell.run(["/bin/sh", "-c", _SETTLE], what="wait for programs in the background", timeout_s=timeout_s)
    except StageError as error:
        raise StageError(
            "a program that a package's script started in the background failed",
            why=error.tail[-1] if error.tail else error.why,
            hint="see install.background in the recipe",
            log=error.log,
            tail=error.tail,
        ) from error
