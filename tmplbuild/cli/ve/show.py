"""list, status, pid: which containers there are, and what they use."""

from __future__ import annotations

import argparse
import dataclasses
import json
from collections.abc import Sequence
from typing import TYPE_CHECKING

from tmplbuild.cli.options import settings_of
from tmplbuild.cli.parser import Verbs
from tmplbuild.cli.ve.common import add_ve, manager_of
from tmplbuild.errors import UsageError

if TYPE_CHECKING:
    from tmplbuild.core.model import Usage
    from tmplbuild.vz.listing import Row


def add(verbs: Verbs) -> None:
    """Add the verbs of this module."""
    listing = verbs.add_parser(
        "list",
        help="list containers",
        description="List the containers that run, those of builds and leftovers of crashed runs among them.",
    )
    listing.add_argument("veid", metavar="CTID", nargs="*", help="only these, whether they run or not")
    listing.add_argument("-a", "--all", action="store_true", help="also those that do not run")
    listing.add_argument("-S", "--stopped", action="store_true", help="only those that do not run")
    listing.add_argument("-o", "--output", metavar="COLUMNS", help="columns, joined by commas; -L lists them")
    listing.add_argument("-L", "--list-columns", action="store_true", help="list the columns that -o knows")
    listing.add_argument(
        "-H", "--no-header", action="store_true", help="no head, fields parted by blanks as they are"
    )
    listing.add_argument("-1", "--numbers", action="store_true", help="only the numbers")
    listing.add_argument("--words", action="store_true", help="all numbers and names, for completion")
    listing.set_defaults(run=run_list)
    templates = verbs.add_parser(
        "templates",
        help="list templates that `ve create` can take",
        description="List the templates of the template cache, each with the file that `ve create` takes and "
        "the dist configuration that it gets.",
    )
    templates.add_argument("--words", action="store_true", help="only the names")
    templates.set_defaults(run=run_templates)
    status = verbs.add_parser(
        "status",
        help="tell whether a container runs, what it uses and may use",
        description="The first line is vzctl's: CTID, whether it exists, is mounted, runs. For one that runs "
        "what it uses follows, the most it did, its limits, and how often each was hit, as in "
        "/proc/user_beancounters.",
    )
    add_ve(status)
    status.set_defaults(run=run_status)
    pid = verbs.add_parser(
        "pid",
        help="tell which container a process of the host belongs to",
        description="Tell for process ids of the host which container each belongs to, as vzpid does.",
    )
    pid.add_argument("pids", metavar="PID", nargs="+", type=int, help="process ids")
    pid.set_defaults(run=run_pid)


def run_list(args: argparse.Namespace) -> int:
    """List containers."""
    from tmplbuild.vz import listing

    if args.list_columns:
        print(*(f"{name:<12} {head}" for name, (head, _) in listing.COLUMNS.items()), sep="\n")
        return 0
    manager = manager_of(args)
    if args.words:
        print(*(f"{of.veid} {of.name}".rstrip() for of in manager.confs()), sep="\n")
        return 0
    rows = _chosen(listing.rows(manager), args)
    if args.json:
        print(json.dumps([_object(row) for row in rows], indent=2))
        return 0
    words = "ctid" if args.numbers else args.output
    names = [listing.column(word.strip()) for word in words.split(",")] if words else list(listing.USUAL)
    cells = [[_shown(name, listing.COLUMNS[name][1](row)) for name in names] for row in rows]
    if args.no_header or args.numbers:
        print(*(" ".join(row) for row in cells), sep="\n", end="\n" if cells else "")
    elif rows:
        from tmplbuild.cli.table import table

        print(*table([listing.COLUMNS[name][0] for name in names], cells, args.color), sep="\n")
    elif not args.quiet:
        print("no containers" if args.all else "no containers run: -a lists those that do not, too")
    return 0


def _chosen(rows: list[Row], args: argparse.Namespace) -> list[Row]:
    if args.veid:
        known = {word: row for row in rows for word in (row.veid, row.value("NAME")) if word}
        for word in args.veid:
            if word not in known:
                raise UsageError(f"there is no container {word!r}")
        return [known[word] for word in args.veid]
    idle = ("stopped", "mounted")
    if args.stopped:
        return [row for row in rows if row.status in idle]
    return [row for row in rows if args.all or row.status not in idle]


def _object(row: Row) -> dict[str, object]:
    from tmplbuild.vz.listing import COLUMNS

    found = {name: value(row) for name, (_, value) in COLUMNS.items()}
    core = dataclasses.asdict(row.info) if row.info else {"veid": row.veid, "state": row.status}
    return {**core, **found}


def _shown(name: str, value: object) -> str:
    from tmplbuild.ui.words import seconds
    from tmplbuild.vz import sizes

    if value is None or value == "":
        return "-"
    if name in ("memory", "swap", "disk") and isinstance(value, int):
        return sizes.shown(value)
    if name in ("uptime", "cpu") and isinstance(value, int | float):
        return seconds(value)
    return str(value)


def run_templates(args: argparse.Namespace) -> int:
    """List templates."""
    import time

    from tmplbuild.ui.words import size
    from tmplbuild.vz import ostemplate
    from tmplbuild.vz.dists import choose

    settings = settings_of(args)
    names = ostemplate.names(settings.template_cache)
    if args.words:
        print(*names, sep="\n")
        return 0
    found = [(ostemplate.find(settings.template_cache, name), choose(name, settings.dists)) for name in names]
    if args.json:
        rows = [
            {"name": one.name, "file": str(one.path), "bytes": one.path.stat().st_size, "dist": dist.name}
            for one, dist in found
        ]
        print(json.dumps(rows, indent=2))
        return 0
    from tmplbuild.cli.table import table

    cells = []
    for one, dist in found:
        state = one.path.stat()
        day = time.strftime("%Y-%m-%d", time.localtime(state.st_mtime))
        cells.append((one.name, dist.name, size(state.st_size), day, one.path.name))
    print(*table(("TEMPLATE", "DIST", "SIZE", "DATE", "FILE"), cells, args.color), sep="\n")
    return 0


def run_status(args: argparse.Namespace) -> int:
    """Tell how a container is."""
    from tmplbuild.vz import conf, mounts

    manager = manager_of(args)
    if not conf.is_veid(args.veid) and any(info.veid == args.veid for info in manager.core.list()):
        _say_status(args, args.veid, "exist", True, "running", manager.attach(args.veid).usage())  # a build's
        return 0
    veid = conf.resolve(manager.settings, args.veid)
    if not conf.path_of(manager.settings, veid).exists():
        _say_status(args, veid, "deleted", False, "down", ())
        return 0
    of = manager.conf(veid)
    ve = manager.running(veid)
    mounted = ve is not None or mounts.is_mounted(manager.root(of))
    _say_status(args, veid, "exist", mounted, "running" if ve else "down", ve.usage() if ve else ())
    return 0


def _say_status(
    args: argparse.Namespace, veid: str, exists: str, mounted: bool, state: str, usage: Sequence[Usage]
) -> None:
    if args.json:
        rows = [dataclasses.asdict(row) for row in usage]
        found = {"veid": veid, "exists": exists == "exist", "mounted": mounted, "running": state == "running"}
        print(json.dumps({**found, "resources": rows}, indent=2))
        return
    print(f"CTID {veid} {exists} {'mounted' if mounted else 'unmounted'} {state}")
    if usage:
        from tmplbuild.cli.table import table

        cells = [
            (
                row.resource,
                *(_amount(row, value) for value in (row.held, row.maxheld, row.limit)),
                str(row.failcnt),
            )
            for row in usage
        ]
        print()
        print(*table(("RESOURCE", "HELD", "MAXHELD", "LIMIT", "FAILCNT"), cells, args.color), sep="\n")


def _amount(row: Usage, value: float | None) -> str:
    from tmplbuild.ui.words import seconds
    from tmplbuild.vz import sizes

    if value is None:
        return "-"
    if row.unit == "bytes":
        return sizes.shown(value)
    return seconds(value) if row.unit == "s" else f"{value:g}"


def run_pid(args: argparse.Namespace) -> int:
    """Tell which container processes belong to."""
    from tmplbuild.vz import processes

    manager = manager_of(args)
    names = {of.veid: of.name for of in manager.confs()}
    found = [(pid, processes.veid_of(manager.core.owner, pid)) for pid in args.pids]
    if args.json:
        rows = [{"pid": pid, "veid": veid, "name": names.get(veid or "", "")} for pid, veid in found]
        print(json.dumps(rows, indent=2))
    else:
        print("Pid\tCTID\tName")
        for pid, veid in found:
            print(f"{pid}\t{'-' if veid is None else veid}\t{names.get(veid or '', '')}".rstrip())
    return 0 if all(veid is not None for _, veid in found) else UsageError.exit_code
