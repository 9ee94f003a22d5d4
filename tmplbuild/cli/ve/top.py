"""top: what containers, or the processes of one, do with the processors and the memory just now."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from tmplbuild.cli.options import completed
from tmplbuild.cli.parser import Verbs
from tmplbuild.cli.ve.common import VES, manager_of
from tmplbuild.errors import UsageError

if TYPE_CHECKING:
    from tmplbuild.vz.manage import Manager

_CLEAR = "\x1b[H\x1b[2J"

Sample = dict[str, tuple[float, float, tuple[str, ...]]]
"""By id: processor time so far in seconds, memory in bytes, what else is shown."""


def add(verbs: Verbs) -> None:
    """Add the verb of this module."""
    parser = verbs.add_parser(
        "top",
        help="watch what containers, or the processes of one, use",
        description="Show the containers that run by the processor time that they take, or the processes of "
        "one, until Ctrl-C. Into a pipe, and with -n, a number of times.",
    )
    one = parser.add_argument("veid", metavar="CTID", nargs="?", help="show the processes of this container")
    completed(one, VES)
    parser.add_argument(
        "-d", "--delay", type=float, default=2.0, metavar="S", help="seconds between two (default 2)"
    )
    parser.add_argument("-n", "--count", type=int, metavar="N", help="how many times")
    parser.set_defaults(run=run_top)


def run_top(args: argparse.Namespace) -> int:
    """Show again and again."""
    manager = manager_of(args)
    if args.delay <= 0:
        raise UsageError("--delay must be above 0")
    veid = manager.attach(args.veid).veid if args.veid else None
    take = (lambda: _of_processes(manager, veid)) if veid else (lambda: _of_ves(manager))
    head = ("PID", "CPU%", "MEMORY", "COMMAND") if veid else ("CTID", "CPU%", "MEMORY", "NPROC", "NAME")
    screen = sys.stdout.isatty() and not args.json
    count = args.count if args.count is not None else (None if screen else 1)
    try:
        _watch(take, head, count, args, screen)
    except KeyboardInterrupt:
        if not screen:
            raise
        print()  # how one leaves it is no fault
    return 0


def _watch(
    take: Callable[[], Sample],
    head: tuple[str, ...],
    count: int | None,
    args: argparse.Namespace,
    screen: bool,
) -> None:
    before, then = take(), time.monotonic()
    while count is None or count > 0:
        time.sleep(args.delay)
        now, at = take(), time.monotonic()
        rows = [
            (key, 100 * (cpu - before[key][0]) / (at - then) if key in before else 0.0, memory, rest)
            for key, (cpu, memory, rest) in now.items()
        ]
        _show(sorted(rows, key=lambda row: (-row[1], -row[2])), head, args, screen)
        before, then = now, at
        count = None if count is None else count - 1


def _show(
    rows: list[tuple[str, float, float, tuple[str, ...]]],
    head: tuple[str, ...],
    args: argparse.Namespace,
    screen: bool,
) -> None:
    from tmplbuild.cli.table import table
    from tmplbuild.vz import sizes

    if args.json:
        names = [name.lower().rstrip("%") for name in head]
        found = [
            dict(zip(names, (key, round(cpu, 1), int(memory), *rest), strict=True))
            for key, cpu, memory, rest in rows
        ]
        print(json.dumps(found), flush=True)
        return
    cells = [(key, f"{cpu:.1f}", sizes.shown(memory), *rest) for key, cpu, memory, rest in rows]
    if screen:
        import shutil

        sys.stdout.write(_CLEAR)
        cells = cells[: max(shutil.get_terminal_size().lines - 2, 1)]
    print(*table(head, cells, args.color), sep="\n", flush=True)


def _of_ves(manager: Manager) -> Sample:
    from tmplbuild.vz.listing import rows

    return {
        row.veid: (
            row.held.get("cpu", 0.0),
            row.held.get("memory", 0.0),
            (f"{row.held.get('pids', 0):g}", row.value("NAME")),
        )
        for row in rows(manager)
        if row.held
    }


def _of_processes(manager: Manager, veid: str) -> Sample:
    from tmplbuild.vz.processes import of_ve

    return {
        str(found.pid): (found.cpu_s, float(found.memory), (found.command,))
        for found in of_ve(manager.core.owner, veid)
    }
