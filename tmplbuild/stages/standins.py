"""Programs that packages' scripts call, and what stands in their place while a tree is made.

Stand-ins are mounts in a VE, and files in its /run: they end with it. An idle program does nothing. One
in the background does its work while the scripts go on, on another processor; `settle` waits for it.
A package's own script can go on in the background, too. Programs that take turns wait for each other. A
program in Perl that is kept ready has its modules loaded once for all calls (ready/Ready.pm).
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path

from tmplbuild.errors import StageError
from tmplbuild.stages.context import Shell

_PLACE = "/run/tmplbuild"
_TREE = f"{_PLACE}/tree"  # the tree without stand-ins
_MOUNTS = f"{_PLACE}/mounts"
_TIMEOUT_S = 300
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
{ {real} "$@" 8>&- 9>&- || echo "$0 $*: exit status $?" >> {name}.failed; } \
    < /dev/null > {name}.output 2>&1 3>&- 4>&- 5>&- 6>&- 7>&- &
"""
_TURN = 'exec flock -o {place}/turn.lock {real} "$@"\n'
_READY = Path(__file__).with_name("ready")
# All its own descriptors are above those that callers have.
_KEEP = (
    "perl -I{place} -MReady={name}.door{turn} {real} "
    "< /dev/null > /dev/null 2>&1 3<&0 4<&0 5<&0 6<&0 7<&0 8<&0 9<&0 &"
)
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
    shell: Shell,
    *,
    idle: Sequence[str] = (),
    background: Sequence[str] = (),
    turns: Sequence[str] = (),
    ready: Sequence[str] = (),
    env: Mapping[str, str] | None = None,
) -> None:
    """Put stand-ins where the tree has the programs.

    Parameters:
        idle: programs that do nothing; one with words after it does nothing if they are the first words of
            its arguments.
        background: programs that are not waited for.
        turns: programs of which only one may run at a time, once others go on in the background.
        ready: programs in Perl that are kept ready; not those that are in the background or idle at times.
        env: what the scripts will have in their environment.
    """
    some: dict[str, list[str]] = {}
    never = list(_ALWAYS_IDLE)
    for one in idle:
        path, _, words = one.partition(" ")
        if words:
            some.setdefault(path, []).append(shlex.quote(words))
        else:
            never.append(path)
    kept = [path for path in ready if path not in some and path not in background]
    one_by_one = turns if background else ()
    stubs = dict.fromkeys(background, _BACKGROUND)
    stubs |= {path: _TURN for path in one_by_one if path not in stubs}
    stubs |= {path: _SAME for path in some if path not in stubs}
    stubs |= dict.fromkeys(kept, (_READY / "caller.pl").read_text())
    lines: list[str] = []
    if stubs:  # each calls the program that it stands for
        lines.append(f"mount --bind / {_TREE}")
    if kept:
        lines.append(_write(f"{_PLACE}/Ready.pm", (_READY / "Ready.pm").read_text()))
    for number, (path, stub) in enumerate(stubs.items()):
        name, there, real = f"{_PLACE}/{number}", shlex.quote(path), shlex.quote(_TREE + path)
        turn = f"'flock', '-o', '{_PLACE}/turn.lock', " if path in one_by_one else ""
        stub = _filled(stub, place=_PLACE, name=name, real=real, program=_TREE + path, turn=turn)
        for words in some.get(path, ()):
            stub = _IDLE.format(words=words, otherwise=stub)
        lines.append(f"if test -e {there}; then")
        if path in kept:
            turn = f",{_PLACE}/turn.lock" if path in one_by_one else ""
            lines.append(_filled(_KEEP, place=_PLACE, name=name, turn=turn, real=real))
        else:
            stub = f"#!/bin/sh\n{stub}"
        lines += [_write(f"{name}.stub", stub), _bind(f"{name}.stub", path), "fi"]
    lines += [f"set -- {_PLACE}/*.stub", 'test ! -e "$1" || chmod 755 "$@"']
    lines += [_idle(path) for path in never]
    _do(shell, lines, "prepare for the scripts", env)


def silence(shell: Shell, programs: Sequence[str]) -> None:
    """Have these programs do nothing, as long as the VE runs."""
    _do(shell, [_idle(path) for path in programs], "silence programs")


def _do(shell: Shell, lines: Sequence[str], what: str, env: Mapping[str, str] | None = None) -> None:
    """Run these lines, and mount what they say to be mounted, all of it by one program."""
    before = ["set -e", f"mkdir -p {_TREE}", f"> {_MOUNTS}"]
    script = "\n".join([*before, *lines, f"mount -a -T {_MOUNTS}"]).encode()
    shell.run(["/bin/sh", "-s"], what=what, env=env, stdin=script, timeout_s=_TIMEOUT_S)


def _filled(text: str, **values: str) -> str:
    for name, value in values.items():  # not str.format: programs are full of braces
        text = text.replace(f"{{{name}}}", value)
    return text


def _write(path: str, text: str) -> str:
    return f"printf %s {shlex.quote(text)} > {path}"


def _idle(path: str) -> str:
    return f"test ! -e {shlex.quote(path)} || {_bind('/bin/true', path)}"


def _bind(path: str, there: str) -> str:
    escaped = "".join(rf"\{ord(sign):03o}" if sign in " \t\n\\" else sign for sign in there)  # fstab(5)
    return f"printf '%s\\n' {shlex.quote(f'{path} {escaped} none bind')} >> {_MOUNTS}"


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
