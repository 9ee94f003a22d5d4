"""enter, exec, runscript, logs: what happens in a container."""

from __future__ import annotations

import argparse
import contextlib
import os
import re
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from tmplbuild.cli.options import refuse_json
from tmplbuild.cli.parser import Verbs
from tmplbuild.cli.ve.common import add_ve, manager_of
from tmplbuild.errors import UsageError

if TYPE_CHECKING:
    from tmplbuild.vz.manage import Manager

_COLOURS = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
_LOOK_S = 0.2  # how often `logs --follow` looks for more


def add(verbs: Verbs) -> None:
    """Add the verbs of this module."""
    enter = verbs.add_parser(
        "enter",
        help="open a shell in a container",
        description="Open a shell in a running container, on this terminal: job control, the window's size "
        "and every key, Ctrl-C included, are the container's. The exit status is the shell's.",
    )
    add_ve(enter)
    enter.add_argument(
        "--exec", dest="command", metavar="COMMAND", help="run this shell command there instead"
    )
    enter.set_defaults(run=run_enter)
    for name in ("exec", "exec2"):
        parser = verbs.add_parser(
            name,
            help="run a command in a container" if name == "exec" else "the same as exec",
            description="Run a command in a running container; options stand before CTID. One word is a line "
            "for the container's shell, several are run as they are; '-' reads a script from standard input. "
            "The exit status is the command's: 128 + N for signal N, 127 when there is no such command.",
        )
        parser.add_argument(
            "--user", default="root", help="run it as this user of the container (default root)"
        )
        parser.add_argument("--cwd", default="/", metavar="DIR", help="run it in this directory (default /)")
        parser.add_argument(
            "--timeout", type=float, metavar="S", help="kill it after this many seconds (status 124)"
        )
        add_ve(parser)
        parser.add_argument(
            "command", nargs=argparse.REMAINDER, metavar="COMMAND", help="the command and its words"
        )
        parser.set_defaults(run=run_exec)
    script = verbs.add_parser(
        "runscript",
        help="run a script of the host in a container",
        description="Run a shell script that lies on the host in a container. One that does not run is not "
        "started: the script runs isolated in its files, without init, services and network. The exit status "
        "is the script's.",
    )
    add_ve(script)
    script.add_argument("script", metavar="SCRIPT", help="the script's file")
    script.set_defaults(run=run_script)
    logs = verbs.add_parser(
        "logs",
        help="show a container's console",
        description="Show what the container's init wrote to its console, also of its last run.",
    )
    add_ve(logs)
    logs.add_argument(
        "-f", "--follow", action="store_true", help="show what comes, until the container stops"
    )
    logs.add_argument("-n", "--lines", type=int, metavar="N", help="only the last N lines")
    logs.set_defaults(run=run_logs)


def run_enter(args: argparse.Namespace) -> int:
    """Open a shell."""
    refuse_json(args)
    ve = manager_of(args).attach(args.veid)
    if args.command is not None:
        return ve.shell(["/bin/sh", "-c", args.command])
    return ve.shell()


def run_exec(args: argparse.Namespace) -> int:
    """Run a command."""
    refuse_json(args)
    argv = words_of(args)
    ve = manager_of(args).attach(args.veid)
    result = ve.exec(argv, stdin=_input(), output=copy, user=args.user, cwd=args.cwd, timeout_s=args.timeout)
    if result.timed_out:
        print(f"tmplbuild: killed after {args.timeout:g} s", file=sys.stderr)
        return 124  # as timeout(1)
    return result.rc


def words_of(args: argparse.Namespace) -> list[str]:
    """The command of `exec`: several words as they are, one as a line for a shell. Raises UsageError."""
    words: list[str] = args.command[1:] if args.command[:1] == ["--"] else args.command
    if not words:
        raise UsageError("there is no command", hint="tmplbuild ve exec CTID COMMAND ...")
    if words == ["-"]:
        return ["/bin/sh", "-s"]
    return words if len(words) > 1 else ["/bin/sh", "-c", words[0]]


def _input() -> int:
    """What a command reads: our standard input, but for a terminal, which is not handed to a container:
    what is typed there is passed on."""
    if not sys.stdin.isatty():
        return sys.stdin.fileno()
    reader, writer = os.pipe()

    def pump() -> None:
        with contextlib.suppress(OSError):
            while data := os.read(0, 4096):
                os.write(writer, data)
        os.close(writer)

    threading.Thread(target=pump, daemon=True).start()
    return reader


def run_script(args: argparse.Namespace) -> int:
    """Run a script."""
    refuse_json(args)
    try:
        script = Path(args.script).read_bytes()
    except OSError as error:
        raise UsageError("the script cannot be read", where=args.script, why=error.strerror or "") from error
    return manager_of(args).run_script(args.veid, script, copy)


def copy(data: bytes, name: str) -> None:
    """Hand on a piece of a command's output at once."""
    out = sys.stdout.buffer if name == "stdout" else sys.stderr.buffer
    out.write(data)
    out.flush()


def run_logs(args: argparse.Namespace) -> int:
    """Show the console."""
    refuse_json(args)
    manager = manager_of(args)
    path, veid = _console(manager, args.veid)
    try:
        file = path.open("rb")
    except OSError as error:
        raise UsageError(f"{args.veid} has no console yet", where=str(path), hint="start it") from error
    show = _harmless if sys.stdout.isatty() else copy
    with file:
        _last(file, args.lines)
        while args.follow:
            data = file.read()
            if data:
                show(data, "stdout")
            elif manager.running(veid) is None:
                break
            else:
                time.sleep(_LOOK_S)
        show(file.read(), "stdout")
    return 0


def _harmless(data: bytes, name: str) -> None:
    """Show a container's console on a terminal, which is not to obey what is written there; colours go."""
    from tmplbuild.ui.words import printable

    lines = _COLOURS.sub("", data.decode("utf-8", "surrogateescape")).replace("\r\n", "\n").split("\n")
    sys.stdout.write("\n".join(printable(line.rstrip("\r")) for line in lines))
    sys.stdout.flush()


def _console(manager: Manager, word: str) -> tuple[Path, str]:
    try:
        veid = manager.conf(word).veid
    except UsageError:
        ve = manager.attach(word)  # a build's
        return ve.console_log, ve.veid
    return manager.console(veid), veid


def _last(file: BinaryIO, lines: int | None) -> None:
    if lines is None:
        return
    data = file.read()
    kept = data.splitlines(keepends=True)[-lines:] if lines > 0 else []
    file.seek(len(data) - sum(map(len, kept)))
