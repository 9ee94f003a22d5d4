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
    """Lint recipes, for every architecture that they declare."""
    from tmplbuild.checks import rules
    from tmplbuild.errors import RecipeError
    from tmplbuild.recipes import entries, lint, load

    roots = _roots(args)
    known = [rule.id for rule in rules()]
    found: list[dict[str, str]] = []
    names = args.names or [entry.name for entry in entries(roots)]
    for name in names:
        try:
            arches = load(name, roots=roots).recipe.image.arches
            loaded = [load(name, arch=arch, roots=roots) for arch in arches]
        except RecipeError as error:
            found += [
                {"recipe": name, "level": "error", "text": fault} for fault in error.faults or (str(error),)
            ]
            continue
        rows = [finding for recipe in loaded for finding in lint(recipe, rules=known)]
        found += [{"recipe": name, "level": row.level, "text": str(row.fault)} for row in rows]
    unique = [dict(row) for row in dict.fromkeys(tuple(row.items()) for row in found)]
    _show_lint(unique, names, args)
    return RecipeError.exit_code if any(row["level"] == "error" for row in unique) else 0


def _show_lint(found: list[dict[str, str]], names: list[str], args: argparse.Namespace) -> None:
    if args.json:
        print(json.dumps(found, indent=2))
        return
    from tmplbuild.ui.style import Ink, wants_colour
    from tmplbuild.ui.words import plural, printable

    ink = Ink(wants_colour(sys.stdout, args.color))
    for row in found:
        first, *more = row["text"].splitlines()
        print(f"{ink(row['level'], 'red' if row['level'] == 'error' else 'yellow')}: {printable(first)}")
        print(*(f"  {printable(line)}\n" for line in more), sep="", end="")
    if not args.quiet:
        print(f"{plural(len(names), 'recipe')}: {plural(len(found), 'finding') if found else 'no findings'}")


def run_schema(args: argparse.Namespace) -> int:
    """Print the schema."""
    from tmplbuild.recipes import schema

    print(json.dumps(schema(), indent=2))
    return 0
