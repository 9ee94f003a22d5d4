"""recipe new: the first file of a recipe of one's own."""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path

from tmplbuild.cli.options import Verbs, roots_of, settings_of
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
    new.add_argument(
        "--to",
        metavar="DIR",
        help="directory of recipes that it goes to (default: that of --recipes, else /etc/tmplbuild/recipes)",
    )
    new.set_defaults(run=run_new)


def run_new(args: argparse.Namespace) -> int:
    """Write a skeleton."""
    from tmplbuild.recipes import load, skeleton

    roots = roots_of(args)
    made = skeleton(args.name, load(args.like, roots=roots))
    path = _place(args) / made.place
    _write_new(path, made.text)
    load(str(path), roots=roots)  # what was written is a recipe
    if args.json:
        print(json.dumps({"name": made.name, "path": str(path)}))
    else:
        print(f"{path}: a recipe like {args.like}")
        print(f"build it: tmplbuild {_recipes_option(args)}build {made.name}")
    return 0


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
