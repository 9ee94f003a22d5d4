"""publish and mirror: templates become a mirror that clients fetch from, and its builds are managed."""

from __future__ import annotations

import argparse
import dataclasses
import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tmplbuild.cli.options import screen_of, settings_of
from tmplbuild.cli.parser import Verbs

if TYPE_CHECKING:
    from tmplbuild.publish.delivery import Delivered
    from tmplbuild.publish.manage import Change
    from tmplbuild.publish.model import State


def add(verbs: Verbs) -> None:
    """Add the verbs of this module."""
    publish = verbs.add_parser(
        "publish",
        help="publish templates to a mirror",
        description="Make templates of the cache into builds of a mirror, in every format that the settings "
        "name, with indexes for vztmpl-dl, Proxmox VE, Incus, LXD, LXC, systemd, Docker and WSL. All files "
        "are written first; then one rename serves the new state. Without NAME all templates of the cache "
        "are published. What has not changed is left alone.",
    )
    publish.add_argument(
        "names", metavar="NAME", nargs="*", help="template (debian-12-x86_64) or recipe (debian-12)"
    )
    _add_to(publish)
    publish.add_argument("--cache", metavar="DIR", help="template cache that is published from")
    publish.add_argument("--dry-run", action="store_true", help="only show what would be done")
    publish.add_argument(
        "--force", action="store_true", help="publish what the check refuses, too; it is recorded"
    )
    publish.add_argument("--no-push", action="store_true", help="do not copy the mirror to its targets")
    publish.set_defaults(run=run_publish)
    _add_mirror(verbs)


def _add_mirror(verbs: Verbs) -> None:
    parser = verbs.add_parser(
        "mirror",
        help="list, pin and roll back what a mirror serves",
        description="What a mirror serves, and changes of it without a new build. Each change is one switch.",
    )
    found = parser.add_subparsers(title="verbs", metavar="VERB", dest="what", required=True)
    listing = found.add_parser(
        "list",
        help="list the builds of a mirror",
        description="List every build with its state: current, listed (indexes name it), pinned, withdrawn "
        "(by a rollback), or going (no index names it; its files stay for the grace time).",
    )
    listing.set_defaults(run=run_list)
    pin = found.add_parser(
        "pin", help="keep a build for good", description="Keep a build for good, whatever retention says."
    )
    pin.set_defaults(run=run_pin)
    unpin = found.add_parser(
        "unpin", help="no longer keep a build", description="Let retention decide about a build again."
    )
    unpin.set_defaults(run=run_unpin)
    rollback = found.add_parser(
        "rollback",
        help="serve an earlier build again",
        description="Serve an earlier build of a template: the one before the current one, or the one that "
        "is named. Newer ones leave the indexes; they can be served again the same way while they are "
        "there. The template that was taken back is not published again unless it changes.",
    )
    rollback.set_defaults(run=run_rollback)
    for one in (pin, unpin, rollback):
        one.add_argument("name", metavar="NAME", help="template (debian-12-x86_64)")
        one.add_argument("build", metavar="BUILD", nargs="?", default="", help="build (20261125_164500)")
    prune = found.add_parser(
        "prune",
        help="apply retention now",
        description="Let go of what retention does not keep: files that no index has named for the grace "
        "time. Publishing does the same.",
    )
    prune.set_defaults(run=run_prune)
    push = found.add_parser(
        "push",
        help="copy the mirror to its targets",
        description="Copy the mirror to the targets of the settings (publish.targets), by rsync or rclone: "
        "files first, then the switch, deletions last. What is there already is not sent again, what broke "
        "off is resumed. A target that fails does not stop the others.",
    )
    push.add_argument("targets", metavar="TARGET", nargs="*", help="names of targets (all, if none is given)")
    push.add_argument("--dry-run", action="store_true", help="only show what would be sent and deleted")
    push.set_defaults(run=run_push)
    for one in (listing, pin, unpin, rollback, prune, push):
        _add_to(one)


def _add_to(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--to", metavar="DIR", type=Path, help="the mirror's directory (publish.to in the settings)"
    )


def _place(args: argparse.Namespace) -> Path | None:
    return args.to.absolute() if args.to else None


def run_publish(args: argparse.Namespace) -> int:
    """Publish templates."""
    from tmplbuild.publish.delivery import failed, push
    from tmplbuild.publish.mirror import Mirror
    from tmplbuild.publish.publish import publish

    settings = settings_of(args)
    with screen_of(args) as emit:
        result = publish(
            args.names,
            settings=settings,
            to=_place(args),
            force=args.force,
            dry_run=args.dry_run,
            emit=emit,
        )
        pushed: list[Delivered] = []
        if settings.publish.targets and not args.no_push:
            pushed = push(Mirror(result.mirror), settings.publish, (), dry_run=args.dry_run, emit=emit)
    if args.json:
        found = {
            "event": "published",
            "mirror": str(result.mirror),
            "serial": result.serial,
            "templates": [
                {
                    "template": one.template,
                    "state": one.state,
                    "build": one.build,
                    "size": one.size,
                    "why": one.why,
                }
                for one in result.outcomes
            ],
            "removed": list(result.removed),
            "targets": [dataclasses.asdict(one) for one in pushed],
        }
        print(json.dumps(found))
    elif not args.quiet:
        from tmplbuild.cli.table import table
        from tmplbuild.ui.words import size

        rows = [
            (one.template, one.state, one.build or "-", size(one.size) if one.size else "-", _line(one.why))
            for one in result.outcomes
        ]
        print(*table(("template", "state", "build", "size", "why"), rows, args.color), sep="\n")
        if result.removed:
            print(f"removed: {', '.join(result.removed)}")
        print(f"{result.mirror}: generation {result.serial} is served")
        _show_pushed(pushed)
    if error := failed(pushed):
        raise error
    return 0


def run_push(args: argparse.Namespace) -> int:
    """Copy the mirror to its targets."""
    from tmplbuild.publish.delivery import failed, push
    from tmplbuild.publish.mirror import Mirror
    from tmplbuild.publish.publish import mirror_of

    settings = settings_of(args)
    mirror = Mirror(mirror_of(settings, _place(args)))
    with screen_of(args) as emit:
        pushed = push(mirror, settings.publish, args.targets, dry_run=args.dry_run, emit=emit)
    if args.json:
        print(json.dumps({"event": "pushed", "targets": [dataclasses.asdict(one) for one in pushed]}))
    elif not args.quiet:
        _show_pushed(pushed)
    if error := failed(pushed):
        raise error
    return 0


def _show_pushed(pushed: Sequence[Delivered]) -> None:
    from tmplbuild.ui.words import printable

    for one in pushed:
        print(f"{one.name}: {one.state} ({printable(one.address)})")
        for line in one.changes:
            print(f"  {printable(line)}")


def _line(why: str) -> str:
    first, _, more = why.partition("\n")
    return f"{first} ..." if more else first


def run_list(args: argparse.Namespace) -> int:
    """List what a mirror serves."""
    from tmplbuild.publish.mirror import Mirror
    from tmplbuild.publish.publish import mirror_of

    settings = settings_of(args)
    state = Mirror(mirror_of(settings, _place(args))).state()
    rows = _rows(state)
    if args.json:
        print(json.dumps({"serial": state.serial, "builds": rows}, indent=2))
        return 0
    if not rows:
        print("nothing has been published yet")
        return 0
    from tmplbuild.cli.table import table
    from tmplbuild.ui.words import size

    cells = [
        (
            row["template"],
            row["build"],
            time.strftime("%Y-%m-%d %H:%M", time.gmtime(row["published"])),
            size(row["size"]),
            str(row["files"]),
            ", ".join(row["state"]),
        )
        for row in rows
    ]
    print(*table(("template", "build", "published", "size", "files", "state"), cells, args.color), sep="\n")
    return 0


def _rows(state: State) -> list[dict[str, Any]]:
    rows = []
    for name in state.templates():
        listed = [build.build for build in state.listed(name)]
        for build in state.of(name):
            words = ["current"] if build.build == next(iter(listed), "") else []
            if build.build in listed[1:]:
                words.append("listed")
            words += [
                word
                for word, holds in (
                    ("withdrawn", build.withdrawn),
                    ("going", bool(build.unlisted) and not build.pinned),
                    ("pinned", build.pinned),
                    ("forced", bool(build.forced)),
                )
                if holds
            ]
            rows.append(
                {
                    "template": build.template,
                    "build": build.build,
                    "published": build.published,
                    "size": build.size,
                    "files": len(build.files),
                    "state": words,
                    "path": build.folder,
                }
            )
    return rows


def run_pin(args: argparse.Namespace) -> int:
    """Pin a build."""
    from tmplbuild.publish.manage import pin

    return _change(args, pin(args.name, args.build, pinned=True), "pinned")


def run_unpin(args: argparse.Namespace) -> int:
    """Unpin a build."""
    from tmplbuild.publish.manage import pin

    return _change(args, pin(args.name, args.build, pinned=False), "not pinned any more")


def run_rollback(args: argparse.Namespace) -> int:
    """Serve an earlier build."""
    from tmplbuild.publish.manage import rollback

    return _change(args, rollback(args.name, args.build), "")


def run_prune(args: argparse.Namespace) -> int:
    """Apply retention."""
    return _change(args, lambda state: state, "")


def _change(args: argparse.Namespace, make: Change, done: str) -> int:
    from tmplbuild.publish.manage import change
    from tmplbuild.publish.publish import mirror_of

    settings = settings_of(args)
    place = mirror_of(settings, _place(args))
    with screen_of(args) as emit:
        state, gone = change(place, settings, make, emit)
    removed = [f"{build.template} {build.build}" for build in gone]
    name = getattr(args, "name", "")
    current = next((one.build for one in state.listed(name)), "") if name else ""
    if args.json:
        print(json.dumps({"event": "mirror", "serial": state.serial, "current": current, "removed": removed}))
    elif not args.quiet:
        if name:
            print(f"{name}: {done + '; ' if done else ''}{current or 'nothing'} is served")
        if removed:
            print(f"removed: {', '.join(removed)}")
        print(f"{place}: generation {state.serial} is served")
    return 0
