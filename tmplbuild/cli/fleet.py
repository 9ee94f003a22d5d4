"""scheduler, worker, task, and the options that give a build to a fleet. See docs/fleet.md."""

from __future__ import annotations

import argparse
import json
import os
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from tmplbuild.cli.options import settings_of
from tmplbuild.cli.parser import Verbs
from tmplbuild.errors import UsageError

if TYPE_CHECKING:
    from tmplbuild.config import Settings
    from tmplbuild.engine.elsewhere import Elsewhere
    from tmplbuild.fleet.desk import Desk
    from tmplbuild.fleet.grid import Grid
    from tmplbuild.fleet.parties import Tls
    from tmplbuild.fleetconf import FleetSettings

_PARTS = ("base", "tree", "pack", "base+tree", "tree+pack", "base+tree+pack")
_PORT = 8786


def add(verbs: Verbs) -> None:
    """Add the verbs of this module."""
    scheduler = verbs.add_parser(
        "scheduler",
        help="be the scheduler of a fleet of builders",
        description="Run Dask's scheduler until a signal ends it. It listens on loopback; on another address "
        "only with TLS.",
    )
    scheduler.add_argument(
        "--listen",
        metavar="ADDRESS",
        help=f"default: tcp://127.0.0.1:{_PORT}, with TLS tls://127.0.0.1:{_PORT}",
    )
    scheduler.add_argument(
        "--dashboard", metavar="HOST:PORT", default="127.0.0.1:8787", help="of Dask's own page"
    )
    add_tls(scheduler)
    scheduler.set_defaults(run=run_scheduler)
    worker = verbs.add_parser(
        "worker",
        help="build for a fleet",
        description="Take orders of a scheduler until a signal ends it: parts of builds, for the "
        "architectures and with the memory and the secrets that this machine has. It must be able to build "
        "by itself (`doctor`) and have the same version as all others.",
    )
    worker.add_argument(
        "scheduler",
        metavar="ADDRESS",
        nargs="?",
        help="tcp://127.0.0.1:8786, or tls://HOST:PORT (default: that of the settings' table [fleet])",
    )
    worker.add_argument("--name", help="how the report calls this machine (default: its host name)")
    worker.add_argument("--jobs", metavar="N", help="parts of builds at once (default: half the processors)")
    worker.add_argument(
        "--listen", metavar="HOST", default="", help="this machine's address (default: that to the scheduler)"
    )
    add_store(worker)
    add_tls(worker)
    worker.set_defaults(run=run_worker)
    task = verbs.add_parser(
        "task",
        help="do one part of a build for the fleet (workers run this)",
        description="Take an order from the fleet's store and do a part of it: base, tree or pack, or "
        "neighbours in one go. Workers run this for each part that the scheduler gives them.",
    )
    task.add_argument("order", metavar="ORDER", nargs="?", help="name of the order: a digest")
    task.add_argument(
        "part", metavar="PART", nargs="?", choices=_PARTS, help="base, tree, pack; neighbours: tree+pack"
    )
    task.add_argument(
        "--stacks", action="store_true", help="VEs run here on layers that are stacked: it need not be tried"
    )
    task.add_argument(
        "--socket", metavar="FD", help="take command lines from here, and run each in a copy of this process"
    )
    add_store(task)
    task.set_defaults(run=run_task)


def add_fleet(parser: argparse.ArgumentParser) -> None:
    """The options that give a build to a fleet; `elsewhere` reads them."""
    group = parser.add_argument_group("a fleet of builders (defaults: the settings' table [fleet])")
    group.add_argument("--scheduler", metavar="ADDRESS", help="have the work done by the workers of this one")
    group.add_argument("--local-cluster", metavar="N", help="have it done by N workers on this machine")
    group.add_argument("--here", action="store_true", help="have it done by this machine itself, no fleet")
    add_store(group)
    add_tls(group)


def add_store(parser: argparse._ActionsContainer) -> None:
    parser.add_argument(
        "--store", metavar="ADDRESS", help="what the fleet shares: a directory, sftp://..., s3://BUCKET/..."
    )


def add_tls(parser: argparse._ActionsContainer) -> None:
    for name, text in (
        ("ca", "certificate of the fleet's own authority"),
        ("cert", "this machine's certificate"),
        ("key", "its private key"),
    ):
        parser.add_argument(f"--tls-{name}", metavar="FILE", help=f"TLS: {text}")


def tls_of(args: argparse.Namespace, fleet: FleetSettings, address: str) -> Tls | None:
    """What the TLS options name, or else the settings, unless the address is one without TLS. Raises
    UsageError when some are missing, or a file is not there."""
    names = ("ca", "cert", "key")
    given = {name: getattr(args, f"tls_{name}") for name in names}
    if any(given.values()) or not address.startswith("tcp://"):
        given = {name: path or getattr(fleet, f"tls_{name}") for name, path in given.items()}
    if not any(given.values()):
        return None
    for name, path in given.items():
        if not path:
            raise UsageError(f"--tls-{name} is missing", hint="TLS takes --tls-ca, --tls-cert and --tls-key")
        if not os.access(path, os.R_OK):
            raise UsageError("a file of TLS cannot be read", where=str(path))
    from tmplbuild.fleet.parties import Tls

    return Tls(**{name: Path(path) for name, path in given.items()})


@contextmanager
def elsewhere(args: argparse.Namespace, settings: Settings) -> Iterator[Elsewhere | None]:
    """The fleet that the options name; None where the work is done here. Raises UsageError, HostError."""
    asked = [args.scheduler is not None, args.local_cluster is not None, args.here]
    if sum(asked) > 1:
        raise UsageError("--scheduler, --local-cluster and --here exclude each other", hint="keep one")
    scheduler = args.scheduler or ("" if any(asked) else settings.fleet.scheduler)
    if not scheduler and args.local_cluster is None:
        if args.store is not None:
            raise UsageError("--store is for a fleet", hint="name its --scheduler, or --local-cluster N")
        yield None
        return
    from tmplbuild.fleet.desk import connected

    if args.local_cluster is not None:
        from tmplbuild.fleet.local import local_cluster

        store = args.store or str(settings.state_dir / "fleet" / "store")
        count = _number(args.local_cluster, "--local-cluster")
        with local_cluster(count, settings, store) as address, connected(address, None) as grid:
            yield _fleet(grid, store, settings)
        return
    store = _store(args, settings.fleet)
    with connected(scheduler, tls_of(args, settings.fleet, scheduler)) as grid:
        yield _fleet(grid, store, settings)


def _fleet(grid: Grid | Desk, store: str, settings: Settings) -> Elsewhere:
    import tmplbuild.engine.chronicle  # noqa: F401  # a build wants it, and Dask is being loaded meanwhile
    from tmplbuild.fleet.maker import Fleet

    def tell(text: str) -> None:
        print(f"tmplbuild: {text}", file=sys.stderr, flush=True)

    return Fleet(grid, store, patience_s=settings.store_patience_s, tell=tell)


def show_fleet(args: argparse.Namespace) -> int:
    """Print the workers of a scheduler. Raises UsageError, HostError."""
    fleet = settings_of(args).fleet
    scheduler = _scheduler(args, fleet)
    from tmplbuild.fleet.desk import connected
    from tmplbuild.fleet.identity import identity

    with connected(scheduler, tls_of(args, fleet, scheduler)) as grid:
        members, page = grid.members(), grid.dashboard
    if args.json:
        told = [{name: value for name, value in asdict(one).items() if name != "offers"} for one in members]
        print(json.dumps({"dashboard": page, "workers": told}, indent=2))
        return 0
    from tmplbuild.cli.table import table

    rows = [
        (
            one.name,
            urlsplit(one.address).netloc,
            " ".join(one.arches),
            str(one.jobs),
            f"{one.memory_mib} MiB",
            ", ".join(one.running)
            or ("idle" if one.version == identity() else f"another version: {one.version}"),
        )
        for one in members
    ]
    print(*table(("worker", "address", "arches", "jobs", "memory", "does"), rows, args.color), sep="\n")
    print(f"Dask's own page: {page} (on the scheduler's machine)")
    return 0


def prune_store(args: argparse.Namespace, settings: Settings, days: float) -> int:
    """Remove what the fleet's store need not keep. Raises StoreError."""
    from tmplbuild.engine.store import Store
    from tmplbuild.fleet.retention import prune
    from tmplbuild.fleet.shared import SharedStore

    needed = Store(settings.state_dir).wanted()
    shared = SharedStore(args.store, patience_s=settings.store_patience_s)
    gone = prune(shared, max_age_s=days * 86400, needed=needed, dry_run=args.dry_run)
    if args.json:
        print(json.dumps({"dry_run": args.dry_run, "removed": gone}, indent=2))
    elif not args.quiet:
        print(f"{'would remove' if args.dry_run else 'removed'} {len(gone)} from {args.store}")
    return 0


def run_scheduler(args: argparse.Namespace) -> int:
    """Be the scheduler."""
    from tmplbuild.fleet.grid import serve

    settings = settings_of(args)
    tls = tls_of(args, settings.fleet, args.listen or "")
    listen = args.listen or f"{'tls' if tls else 'tcp'}://127.0.0.1:{_PORT}"
    scratch = settings.run_dir / "dask"
    serve(listen, tls, args.dashboard, scratch, lambda address: _ready(args, "the scheduler", address))
    return 0


def run_worker(args: argparse.Namespace) -> int:
    """Be a worker."""
    from tmplbuild.core import Core
    from tmplbuild.errors import HostError
    from tmplbuild.fleet.grid import work

    settings = settings_of(args)
    settings.state_dir.mkdir(parents=True, exist_ok=True)
    probe = Core(settings.run_dir).probe(settings.state_dir)
    if not probe.usable:
        raise HostError("VEs cannot be run on this machine", why=probe.why, hint=probe.fix)
    jobs = int(args.jobs) if args.jobs else max(1, settings.jobs // 2)
    name = args.name or socket.gethostname()
    scheduler = _scheduler(args, settings.fleet)
    work(
        scheduler,
        tls_of(args, settings.fleet, scheduler),
        settings=settings,
        store=_store(args, settings.fleet),
        stacks=probe.mode == "overlay",
        name=name,
        jobs=jobs,
        listen=args.listen,
        ready=lambda address: _ready(args, f"the worker {name}", address),
    )
    return 0


def run_task(args: argparse.Namespace) -> int:
    """Do a part of an order, or all that come."""
    if args.socket is not None:
        return _run_tasks(int(args.socket), _store(args, settings_of(args).fleet))
    if args.order is None or args.part is None:
        raise UsageError("ORDER and PART are missing", hint="workers run this")
    from tmplbuild.cli.options import screen_of
    from tmplbuild.fleet.task import run

    with screen_of(args) as emit:
        settings = settings_of(args)

        def tell(found: dict[str, Any]) -> None:
            print(json.dumps({"event": "task_done", "found": found}), flush=True)

        store = _store(args, settings.fleet)
        run(args.order, args.part, store, settings, emit, tell, stacks=args.stacks)
    return 0


def _run_tasks(socket: int, store: str) -> int:
    from tmplbuild.cli import main
    from tmplbuild.core.forks import serve
    from tmplbuild.fleet.kept import load

    serve(socket, main, load(store))
    return 0


def _scheduler(args: argparse.Namespace, fleet: FleetSettings) -> str:
    if not (args.scheduler or fleet.scheduler):
        raise UsageError(
            "the fleet's scheduler is not named", hint="name its ADDRESS, or set fleet.scheduler"
        )
    return str(args.scheduler or fleet.scheduler)


def _store(args: argparse.Namespace, fleet: FleetSettings) -> str:
    if not (args.store or fleet.store):
        raise UsageError(
            "the fleet's store is not named",
            hint="--store ADDRESS, or fleet.store in the settings: one that all machines reach",
        )
    return str(args.store or fleet.store)


def _number(text: str, option: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 64:
        raise UsageError(f"{option}: expected a whole number from 1 to 64", why=f'found "{text}"')
    return int(text)


def _ready(args: argparse.Namespace, who: str, address: str) -> None:
    if args.json:
        print(json.dumps({"event": "ready", "address": address}), flush=True)
    else:
        print(f"{who} is ready at {address}", file=sys.stderr, flush=True)
