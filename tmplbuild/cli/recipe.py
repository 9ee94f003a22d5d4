"""recipe: list, show, lint, schema."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from tmplbuild.cli.options import Verbs, add_arch, settings_of


def add(verbs: Verbs) -> None:
    """Add the verbs of this module."""
    parser = verbs.add_parser(
        "recipe", help="list, show and lint recipes", description="What recipes there are and what they say."
    )
    found = parser.add_subparsers(title="verbs", metavar="VERB", dest="what", required=True)
    listing = found.add_parser(
        "list",
        help="list the recipes",
        description="List the recipes, where they lie, and until when the release is supported.",
    )
    listing.set_defaults(run=run_list)
    show = found.add_parser(
        "show",
        help="print a recipe, flattened",
        description="Print a recipe with its parents merged in and placeholders filled. The text is itself "
        "a recipe.",
    )
    show.add_argument("name", metavar="NAME", help="recipe (debian-12) or path of its file")
    show.add_argument(
        "--origin", action="store_true", help="say of each value which file and line it comes from"
    )
    add_arch(show)
    show.set_defaults(run=run_show)
    lint = found.add_parser(
        "lint",
        help="look for faults in recipes",
        description="Read recipes and look for what types cannot say. Exit status 0: good, 3: faults.",
    )
    lint.add_argument("names", metavar="NAME", nargs="*", help="recipes (default: all)")
    lint.set_defaults(run=run_lint)
    schema = found.add_parser(
        "schema",
        help="print the JSON Schema of a recipe",
        description="Print the JSON Schema of a recipe file, for editors.",
    )
    schema.set_defaults(run=run_schema)


def _roots(args: argparse.Namespace) -> tuple[Path, ...]:
    from tmplbuild.recipes import recipe_roots

    return recipe_roots(settings_of(args).recipes)


def run_list(args: argparse.Namespace) -> int:
    """List recipes; one that cannot be read is listed with its fault."""
    from tmplbuild.errors import TmplbuildError
    from tmplbuild.recipes import entries, load

    roots = _roots(args)
    rows: list[dict[str, object]] = []
    for entry in entries(roots):
        row: dict[str, object] = {"name": entry.name, "path": str(entry.path)}
        try:
            image = load(entry.name, roots=roots).recipe.image
            row |= {"title": image.title, "arches": list(image.arches), "eol": str(image.eol or "")}
        except TmplbuildError as error:
            row["error"] = error.what
        rows.append(row)
    if args.json:
        print(json.dumps(rows, indent=2))
        return 0
    from tmplbuild.cli.table import table

    cells = [
        (
            str(row["name"]),
            str(row.get("eol", "")) or "-",
            " ".join(map(str, arches)) if isinstance(arches := row.get("arches"), list) else "-",
            str(row.get("error") or row["path"]),
        )
        for row in rows
    ]
    print(*table(("name", "until", "architectures", "file"), cells, args.color), sep="\n")
    return 0


def run_show(args: argparse.Namespace) -> int:
    """Print a recipe."""
    from tmplbuild.recipes import load, show

    found = load(args.name, arch=args.arch, roots=_roots(args))
    if args.json:
        from tmplbuild.recipes.model import plain

        print(json.dumps(plain(found.recipe), indent=2, default=str))
    else:
        sys.stdout.write(show(found, origin=args.origin))
    return 0


def run_lint(args: argparse.Namespace) -> int:
    """Lint recipes."""
    raise NotImplementedError


def run_schema(args: argparse.Namespace) -> int:
    """Print the schema."""
    from tmplbuild.recipes.schema import schema

    print(json.dumps(schema(), indent=2))
    return 0
