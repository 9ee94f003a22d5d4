"""recipe new and import: the first file of a recipe of one's own."""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path

from tmplbuild.cli.options import roots_of, settings_of
from tmplbuild.cli.parser import Verbs
from tmplbuild.errors import HostError, UsageError


def add(verbs: Verbs) -> None:
    """Add the verbs of this module below `recipe`."""
    new = verbs.add_parser(
        "new",
        help="begin a recipe of one's own",
        description="Write the first file of a recipe that is like another one, with comments that show what "
        "it may change. It builds as it is. A file that is there is not overwritten.",
    )
    new.add_argument("name", metavar="NAME", help="what it is called: DISTRO-RELEASE (debian-12-web)")
    new.add_argument("--like", metavar="NAME", required=True, help="the recipe that it extends (debian-12)")
    _add_to(new)
    new.set_defaults(run=run_new)
    foreign = verbs.add_parser(
        "import",
        help="make a recipe out of another builder's",
        description="Read a dab.conf of Proxmox's or a definition of distrobuilder's and write what has a "
        "counterpart as a recipe that extends ours for the same release. What has none is listed with the "
        "reason, on the screen and in the recipe. The other builder's own archives and keys are never taken.",
    )
    foreign.add_argument("file", metavar="FILE", help="dab.conf, or a definition in YAML")
    foreign.add_argument(
        "name", metavar="NAME", help="what the recipe is called: DISTRO-RELEASE (debian-12-web)"
    )
    foreign.add_argument("--release", default="", help="apply distrobuilder's filters for this release")
    foreign.add_argument("--variant", default="", help="apply distrobuilder's filters for this variant")
    foreign.add_argument("-n", "--dry-run", action="store_true", help="print the recipe and write nothing")
    _add_to(foreign)
    foreign.set_defaults(run=run_import)


def _add_to(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--to",
        metavar="DIR",
        help="directory of recipes that it goes to (default: that of --recipes, else /etc/tmplbuild/recipes)",
    )


def run_new(args: argparse.Namespace) -> int:
    """Write a skeleton."""
    from tmplbuild.recipes import load, skeleton

    roots = roots_of(args)
    made = skeleton(args.name, load(args.like, roots=roots))
    path = _place(args) / made.place
    _write_new(path, made.text)
    _write_schema(_place(args))
    load(str(path), roots=roots)  # what was written is a recipe
    if args.json:
        print(json.dumps({"name": made.name, "path": str(path)}))
    else:
        print(f"{path}: a recipe like {args.like}")
        print(f"build it: tmplbuild {_recipes_option(args)}build {made.name}")
    return 0


def run_import(args: argparse.Namespace) -> int:
    """Convert a foreign recipe."""
    from tmplbuild.recipes import load
    from tmplbuild.recipes.imports import read_foreign
    from tmplbuild.recipes.skeleton import place_of
    from tmplbuild.ui.words import printable

    roots = roots_of(args)
    draft = read_foreign(Path(args.file), roots, release=args.release, variant=args.variant)
    name, place = place_of(args.name, draft.parent.recipe.image.release)
    path = _place(args) / place
    if not args.dry_run:
        _write_new(path, draft.text())
        load(str(path), roots=roots)
    left = [{"key": row.key, "why": row.why} for row in draft.left]
    if args.json:
        found = {
            "name": name,
            "path": None if args.dry_run else str(path),
            "text": draft.text(),
            "left": left,
        }
        print(json.dumps(found, indent=2))
        return 0
    if args.dry_run:
        print(draft.text(), end="")
        return 0
    print(f"{path}: {draft.parent.name} with what {args.file} has")
    print(*(f"not converted: {printable(row['key'])}: {row['why']}\n" for row in left), sep="", end="")
    print(f"build it: tmplbuild {_recipes_option(args)}build {name}")
    return 0


def _write_schema(folder: Path) -> None:
    """Put the schema where the first line of a new recipe tells editors to find it."""
    from tmplbuild.recipes import schema
    from tmplbuild.recipes.skeleton import SCHEMA

    path = folder / SCHEMA
    draft = folder / f".{SCHEMA}.{os.getpid()}"
    try:
        draft.write_text(json.dumps(schema(), indent=2) + "\n")
        draft.rename(path)
    except OSError as error:
        raise HostError("the schema cannot be written", where=str(path), why=str(error)) from error


def _place(args: argparse.Namespace) -> Path:
    """The directory of recipes that new ones go to."""
    from tmplbuild.recipes.catalogue import SYSTEM_ROOT

    if args.to:
        return Path(args.to).absolute()
    given = settings_of(args).recipes
    return given[0] if given else SYSTEM_ROOT


def _recipes_option(args: argparse.Namespace) -> str:
    return f"--recipes {args.to} " if args.to else ""


def _write_new(path: Path, text: str) -> None:
    """Write a file that is not there yet. Raises UsageError where it is, HostError where it cannot be."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        draft.write_text(text)
        try:
            os.link(draft, path)  # unlike rename(2), it does not replace
        finally:
            draft.unlink()
    except FileExistsError as error:
        raise UsageError(
            "there is a recipe of that name", where=str(path), hint="give it another name"
        ) from error
    except OSError as error:
        raise HostError(
            "the recipe cannot be written", where=str(path), why=str(error), hint="--to names another place"
        ) from error
