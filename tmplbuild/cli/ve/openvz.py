"""The same verbs on a host with an OpenVZ kernel, where vzctl does them."""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from tmplbuild.errors import UsageError

if TYPE_CHECKING:
    from tmplbuild.core.backend import Backend

Run = Callable[[argparse.Namespace], int]

# Verbs that vzctl has no word for work on files alone, or are not to be had there.
_ELSEWHERE = frozenset({"dist", "templates", "gc"})


def on_openvz_by_vzctl(run: Run) -> Run:
    """The verb, done by vzctl where the kernel is OpenVZ's."""

    def choose(args: argparse.Namespace) -> int:
        if args.what in _ELSEWHERE:
            return run(args)
        from tmplbuild.vz.native import openvz

        backend = openvz()
        return by(backend, args) if backend else run(args)

    choose.__doc__ = run.__doc__
    return choose


def by(backend: Backend, args: argparse.Namespace) -> int:
    """Have a backend do a verb. Raises UsageError for one that it does not know."""
    found = _VERBS.get("exec" if args.what == "exec2" else args.what)
    if found is None:
        raise UsageError(f"{backend.name} has no {args.what}", why="this host runs an OpenVZ kernel")
    return found(backend, args) or 0


def _create(backend: Backend, args: argparse.Namespace) -> None:
    own = {"config": args.sample, "layout": args.layout, "private": args.private, "root": args.root}
    options = {name: [word] for name, word in own.items() if word}
    backend.create(args.veid, args.ostemplate or "", {**options, **_settings(args)})


def _set(backend: Backend, args: argparse.Namespace) -> None:
    name = {} if args.name is None else {"name": [args.name]}
    backend.set(args.veid, {**_settings(args), **name}, save=args.save)


def _settings(args: argparse.Namespace) -> dict[str, list[str]]:
    """The options that were given, by vzctl's names: of two, that is the second."""
    from tmplbuild.vz.options import OPTIONS

    found: dict[str, list[str]] = {}
    for option in OPTIONS:
        given = getattr(args, f"set_{option.key}")
        if given is not None:
            found[option.flags[-1].removeprefix("--")] = [given] if isinstance(given, str) else given
    for name in ("ipadd", "ipdel", "userpasswd"):
        if words := getattr(args, name, []):
            found[name] = words
    return found


def _exec(backend: Backend, args: argparse.Namespace) -> int:
    from tmplbuild.cli.ve.inside import copy, words_of

    feed = None if sys.stdin.isatty() else sys.stdin.buffer.read()
    return backend.exec(
        args.veid, words_of(args), cwd=args.cwd, stdin=feed, output=copy, timeout_s=args.timeout
    ).rc


def _run_script(backend: Backend, args: argparse.Namespace) -> int:
    from tmplbuild.cli.ve.inside import copy

    return backend.run_script(args.veid, Path(args.script).absolute(), copy)


def _status(backend: Backend, args: argparse.Namespace) -> None:
    found = backend.status(args.veid)
    if args.json:
        print(json.dumps({"veid": args.veid, **dataclasses.asdict(found)}))
        return
    words = ("exist" if found.exists else "deleted", "mounted" if found.mounted else "unmounted")
    print(f"CTID {args.veid} {' '.join(words)} {'running' if found.running else 'down'}")


def _list(backend: Backend, args: argparse.Namespace) -> None:
    rows = [row for row in backend.list() if args.all or args.stopped != (row.status == "running")]
    if args.json:
        print(json.dumps([dataclasses.asdict(row) for row in rows], indent=2))
        return
    from tmplbuild.cli.table import table

    cells = [
        (row.veid, str(row.processes or "-"), row.status, " ".join(row.addresses) or "-", row.hostname or "-")
        for row in rows
    ]
    print(*table(("CTID", "NPROC", "STATUS", "IP_ADDR", "HOSTNAME"), cells, args.color), sep="\n")


def _restart(backend: Backend, args: argparse.Namespace) -> None:
    if backend.status(args.veid).running:
        backend.stop(args.veid, fast=args.fast)
    backend.start(args.veid, force=args.force)


_VERBS: dict[str, Callable[[Backend, argparse.Namespace], int | None]] = {
    "create": _create,
    "set": _set,
    "start": lambda backend, args: backend.start(args.veid, wait=args.wait, force=args.force),
    "stop": lambda backend, args: backend.stop(args.veid, fast=args.fast),
    "restart": _restart,
    "destroy": lambda backend, args: backend.destroy(args.veid),
    "mount": lambda backend, args: backend.mount(args.veid),
    "umount": lambda backend, args: backend.umount(args.veid),
    "status": _status,
    "list": _list,
    "exec": _exec,
    "runscript": _run_script,
    "enter": lambda backend, args: backend.enter(args.veid),
}
