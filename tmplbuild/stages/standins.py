"""Programs that packages' scripts call, and what stands in their place while a tree is made.

Stand-ins are mounts in a VE, and files in its /run: they end with it. An idle program does nothing. One
in the background does its work while the scripts go on, on another processor; `settle` waits for it.
A package's own script can go on in the background, too. Programs that take turns wait for each other.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from tmplbuild.errors import StageError
from tmplbuild.stages.context import Shell

_PLACE = "/run/tmplbuild"
_TREE = f"{_PLACE}/tree"  # the tree without stand-ins
_TIMEOUT_S = 60
# Scripts that ask whether this is a tree being made are told yes; libc6 then lets init alone. What moves the
# configuration of an earlier version (dpkg-maintscript-helper(1)) finds none where a package is new, and is
# called a hundred times for it.
_ALWAYS_IDLE = ("/usr/bin/ischroot", "/usr/bin/dpkg-maintscript-helper")

# Both locks are taken before the program is left alone: whoever calls it next waits for its end (lock 9),
# and so does `settle`, whose lock is everybody's (8). Neither goes on to the program, nor do descriptors of
# the caller: debconf would wait for its own.
_BACKGROUND = """\
exec 8> {place}/all.lock 9> {name}.lock
flock 9
flock -s 8
{{ {real} "$@" 8>&- 9>&- || echo "$0 $*: exit status $?" >> {name}.failed; }} \
    < /dev/null > {name}.output 2>&1 3>&- 4>&- 5>&- 6>&- 7>&- &
"""
_TURN = 'exec flock -o {place}/turn.lock {real} "$@"\n'
_SAME = 'exec {real} "$@"\n'
_IDLE = 'case "$*" in {words}*) exit 0 ;; esac\n{otherwise}'
_SETTLE = f"""\
set -e
cd {_PLACE} 2> /dev/null || exit 0
test ! -e all.lock || flock all.lock true
set -- *.failed
test -e "$1" || exit 0
cat *.output *.failed
exit 1
"""


def put_up(
    shell: Shell, *, idle: Sequence[str] = (), background: Sequence[str] = (), turns: Sequence[str] = ()
) -> None:
    """Put stand-ins where the tree has the programs.

    Parameters:
        idle: programs that do nothing; one with words after it does nothing if they are the first words of
            its arguments.
        background: programs that are not waited for.
        turns: programs of which only one may run at a time, once others go on in the background.
    """
    stubs: dict[str, str] = {}
    for path in background:
        stubs[path] = _BACKGROUND
    for path in turns if background else ():
        stubs.setdefault(path, _TURN)
    never = list(_ALWAYS_IDLE)
    some: dict[str, list[str]] = {}
    for one in idle:
        path, _, words = one.partition(" ")
        if words:
            some.setdefault(path, []).append(shlex.quote(words))
            stubs.setdefault(path, _SAME)
        else:
            never.append(path)
    lines: list[str] = []
    if stubs:  # each calls the program that it stands for
        lines += [f"mkdir -p {_TREE}", f"mount --bind / {_TREE}"]
    lines += [_idle(path) for path in never]
    for number, (path, stub) in enumerate(stubs.items()):
        name, there = f"{_PLACE}/{number}", shlex.quote(path)
        text = stub.format(place=_PLACE, name=name, real=shlex.quote(_TREE + path))
        for words in some.get(path, ()):
            text = _IDLE.format(words=words, otherwise=text)
        lines += [
            f"if test -e {there}; then",
            f"cat > {name}.stub << 'END'\n#!/bin/sh\n{text}END",
            f"chmod 755 {name}.stub; mount --bind {name}.stub {there}",
            "fi",
        ]
    _do(shell, lines, "prepare for the scripts")


def silence(shell: Shell, programs: Sequence[str]) -> None:
    """Have these programs do nothing, as long as the VE runs."""
    _do(shell, [_idle(path) for path in programs], "silence programs")


def _do(shell: Shell, lines: Sequence[str], what: str) -> None:
    script = "\n".join(["set -e", *lines]).encode()
    shell.run(["/bin/sh", "-s"], what=what, stdin=script, timeout_s=_TIMEOUT_S)


def _idle(path: str) -> str:
    there = shlex.quote(path)
    return f"test ! -e {there} || mount --bind /bin/true {there}"


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
