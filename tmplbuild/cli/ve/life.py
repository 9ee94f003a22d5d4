"""create, start, stop, restart, destroy, mount, umount, autostart, gc."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING

from tmplbuild.cli.options import completed
from tmplbuild.cli.parser import Verbs
from tmplbuild.cli.ve.change import add_settings, request_of
from tmplbuild.cli.ve.common import TEMPLATES, add_ve, manager_of, say
from tmplbuild.errors import TmplbuildError, UsageError

if TYPE_CHECKING:
    from tmplbuild.vz.manage import Manager


def add(verbs: Verbs) -> None:
    """Add the verbs of this module."""
    _add_create(verbs)
    start = verbs.add_parser(
        "start",
        help="start a container",
        description="Boot the container's init and wait until it says that it is ready. Its address, host "
        "name and name servers are written into its files first, as its configuration has them.",
    )
    add_ve(start)
    start.add_argument("--wait", action="store_true", help="wait until it is ready, which is done anyway")
    start.add_argument("--force", action="store_true", help="start one that is disabled, too")
    _add_timeout(start, "seconds until its init must be ready (default 120)")
    start.set_defaults(run=run_start)
    stop = verbs.add_parser(
        "stop",
        help="stop a container",
        description="Ask the container's init to stop; kill it if it does not in time.",
    )
    add_ve(stop, "the container, as `ve list` names it")
    stop.add_argument("--fast", "--kill", action="store_true", help="kill it at once")
    _add_timeout(stop, "seconds that its init has (default: STOP_TIMEOUT, else 120)")
    stop.set_defaults(run=run_stop)
    restart = verbs.add_parser(
        "restart", help="stop and start a container", description="Stop it, if it runs, and start it."
    )
    add_ve(restart)
    restart.add_argument("--wait", action="store_true", help="wait until it is ready, which is done anyway")
    restart.add_argument("--fast", action="store_true", help="kill it instead of asking its init")
    restart.add_argument("--force", action="store_true", help="start one that is disabled, too")
    _add_timeout(restart, "seconds until its init must be ready (default 120)")
    restart.set_defaults(run=run_restart)
    destroy = verbs.add_parser(
        "destroy",
        help="remove a container and its files",
        description="Remove a container that does not run, with all its files. Its configuration is kept as "
        "CTID.conf.destroyed.",
    )
    add_ve(destroy)
    destroy.set_defaults(run=run_destroy)
    mount = verbs.add_parser(
        "mount",
        help="show a stopped container's files on the host",
        description="Mount the files of a container that does not run at its VE_ROOT.",
    )
    add_ve(mount)
    mount.set_defaults(run=run_mount)
    umount = verbs.add_parser("umount", help="end `ve mount`", description="Unmount the container's files.")
    add_ve(umount)
    umount.set_defaults(run=run_umount)
    auto = verbs.add_parser(
        "autostart",
        help="start what starts with the host",
        description="Start the containers that have ONBOOT=yes: those with the highest BOOTORDER first, then "
        "by number. One that fails does not keep the others from it; the exit status is the first failure's.",
    )
    auto.add_argument("--stop", action="store_true", help="stop all that run, in the reverse order")
    auto.set_defaults(run=run_autostart)
    gc = verbs.add_parser(
        "gc",
        help="remove what crashed runs left behind",
        description="Remove processes, cgroups and state of containers whose run is gone, what a crash left "
        "of creating or destroying one, and unpacked templates that nothing needs any more. Every build does "
        "the first; containers in use are not touched.",
    )
    gc.set_defaults(run=run_gc)


def _add_create(verbs: Verbs) -> None:
    create = verbs.add_parser(
        "create",
        help="make a container from a template",
        description="Make a container from a template: NAME.tar, .tar.gz, .tar.bz2, .tar.xz or .tar.zst of "
        "the template cache, or any such file by its path. It is unpacked once and shared by all containers "
        "that are made from it (--layout copy: unpacked for this one alone).",
    )
    create.add_argument(
        "veid", metavar="CTID", help="a number from 1 on, or a name: the next number is taken"
    )
    option = create.add_argument("--ostemplate", metavar="NAME", help="template (vz.conf's DEF_OSTEMPLATE)")
    completed(option, TEMPLATES)
    create.add_argument("--config", dest="sample", metavar="NAME", help="begin with conf/ve-NAME.conf-sample")
    create.add_argument(
        "--layout",
        metavar="KIND",
        default="",
        help="overlay (usual); image: of the size that --diskspace gives; copy (simfs): a tree of its own",
    )
    create.add_argument(
        "--dist", metavar="NAME", default="", help="dist configuration, whatever the template's name says"
    )
    create.add_argument("--private", metavar="DIR", help="its private area (VE_PRIVATE)")
    create.add_argument("--root", metavar="DIR", help="where `ve mount` shows its files (VE_ROOT)")
    create.add_argument("--name", default="", help="a name by which it can be called")
    add_settings(create, removal=False)
    create.set_defaults(run=run_create)


def _add_timeout(parser: argparse.ArgumentParser, text: str) -> None:
    parser.add_argument("--timeout", metavar="S", type=float, help=text)


def run_create(args: argparse.Namespace) -> int:
    """Make a container."""
    from tmplbuild.vz import conf
    from tmplbuild.vz.manage import New

    manager = manager_of(args)
    veid, name = args.veid, args.name
    if not conf.is_veid(veid):
        if name and name != veid:
            raise UsageError(f"{veid!r} is no number", hint="a number, and --name NAME; or only a name")
        veid, name = "", veid
    new = New(
        ostemplate=args.ostemplate or "",
        sample=args.sample or "",
        layout=args.layout,
        dist=args.dist,
        name=name,
        area=Path(args.private).absolute() if args.private else None,
        root=Path(args.root).absolute() if args.root else None,
        request=request_of(args),
    )
    made = manager.create(veid, new) if veid else manager.create_next(new)
    veid = made.veid
    called = f"{veid} ({name})" if name else veid
    say(
        args,
        f"{called}: created from {made.get('OSTEMPLATE')}",
        veid=veid,
        name=name,
        ostemplate=made.get("OSTEMPLATE"),
        private=str(manager.area(made).path),
    )
    return 0


def run_start(args: argparse.Namespace) -> int:
    """Start a container."""
    return _start(manager_of(args), args)


def _start(manager: Manager, args: argparse.Namespace) -> int:
    of = manager.start(
        args.veid, force=args.force, **({} if args.timeout is None else {"timeout_s": args.timeout})
    )
    say(args, f"{args.veid}: running", veid=of.veid, status="running")
    return 0


def run_stop(args: argparse.Namespace) -> int:
    """Stop a container."""
    ending = manager_of(args).stop(args.veid, fast=args.fast, timeout_s=args.timeout)
    say(
        args,
        f"{args.veid}: {'stopped cleanly' if ending == 'clean' else ending}",
        veid=args.veid,
        ended=ending,
    )
    return 0


def run_restart(args: argparse.Namespace) -> int:
    """Stop and start a container."""
    manager = manager_of(args)
    if manager.running(manager.conf(args.veid).veid) is not None:
        manager.stop(args.veid, fast=args.fast)
    return _start(manager, args)


def run_destroy(args: argparse.Namespace) -> int:
    """Remove a container."""
    veid = manager_of(args).destroy(args.veid)
    say(args, f"{args.veid}: destroyed", veid=veid, status="deleted")
    return 0


def run_mount(args: argparse.Namespace) -> int:
    """Show a container's files."""
    root = manager_of(args).mount(args.veid)
    say(args, f"{args.veid}: mounted at {root}", veid=args.veid, root=str(root))
    return 0


def run_umount(args: argparse.Namespace) -> int:
    """Hide them again."""
    root = manager_of(args).umount(args.veid)
    say(args, f"{args.veid}: unmounted", veid=args.veid, root=str(root))
    return 0


def run_autostart(args: argparse.Namespace) -> int:
    """Start, or stop, what goes with the host."""
    from tmplbuild.cli.failures import fail
    from tmplbuild.vz.onboot import to_start, to_stop

    manager = manager_of(args)
    status, done = 0, []
    for of in to_stop(manager) if args.stop else to_start(manager):
        try:
            if args.stop:
                manager.stop(of.veid)
            else:
                manager.start(of.veid)
        except TmplbuildError as error:
            status = status or fail(error, args)
            continue
        done.append(of.veid)
        if not args.quiet and not args.json:
            print(f"{of.veid}: {'stopped' if args.stop else 'running'}", flush=True)
    if args.json:
        print(json.dumps({"stopped" if args.stop else "started": done}))
    return status


def run_gc(args: argparse.Namespace) -> int:
    """Remove leftovers."""
    manager = manager_of(args)
    gone = manager.core.gc() + manager.tidy()
    if args.json:
        print(json.dumps({"removed": gone}))
    elif gone:
        print(*(f"removed {name}" for name in gone), sep="\n")
    elif not args.quiet:
        print("nothing was left behind")
    return 0
