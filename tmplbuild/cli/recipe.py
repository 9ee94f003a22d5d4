"""recipe: list, show, diff, lint, schema; what writes one is in `recipe_write`."""

from __future__ import annotations

import argparse
import json
import sys
from typing import TYPE_CHECKING, Any

from tmplbuild.cli import recipe_write
from tmplbuild.cli.options import add_arch, roots_of
from tmplbuild.cli.parser import Verbs

if TYPE_CHECKING:
    from tmplbuild.recipes import Difference


def add(verbs: Verbs) -> None:
    """Add the verbs of this module."""
    parser = verbs.add_parser(
        "recipe",
        help="list, show, lint and begin recipes",
        description="What recipes there are and what they say, and the first file of one's own.",
    )
    found = parser.add_subparsers(title="verbs", metavar="VERB", dest="what", required=True)
    listing = found.add_parser(
        "list",
        help="list the recipes",
        description="List the recipes, until when the release is supported, and where they lie. Each variant "
        "is a recipe, too: debian-12 has the variant minimal, so there is debian-12-minimal.",
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
    features = found.add_parser(
        "features",
        help="list the features that a recipe may have",
        description="List the features that may be laid on a recipe: `build NAME --feature FEATURE`, or "
        "NAME+FEATURE wherever a recipe is named.",
    )
    features.add_argument("name", metavar="NAME", help="recipe (debian-12) or path of its file")
    features.set_defaults(run=run_features)
    diff = found.add_parser(
        "diff",
        help="tell how two recipes differ",
        description="Compare two recipes, flattened: + is what only the second has, - what only the first, "
        "~ what each has in its own way. Exit status 0: the same, 1: they differ (as diff(1)).",
    )
    diff.add_argument("old", metavar="A", help="recipe (debian-12) or path of its file")
    diff.add_argument("new", metavar="B", help="recipe or path of its file")
    add_arch(diff)
    diff.set_defaults(run=run_diff)
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
    recipe_write.add(found)


def run_list(args: argparse.Namespace) -> int:
    """List recipes; one that cannot be read is listed with its fault."""
    from tmplbuild.errors import TmplbuildError
    from tmplbuild.recipes import entries, load

    roots = roots_of(args)
    everything = entries(roots, variants=True)
    rows: list[dict[str, Any]] = []
    for entry in everything:
        if entry.variant:
            continue
        mine = [other.variant for other in everything if other.variant and other.path == entry.path]
        row: dict[str, Any] = {"name": entry.name, "path": str(entry.path), "variants": mine}
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
            row["name"],
            row.get("eol") or "-",
            " ".join(row.get("arches", ())) or "-",
            " ".join(row["variants"]) or "-",
            row.get("error") or row["path"],
        )
        for row in rows
    ]
    print(*table(("name", "until", "architectures", "variants", "file"), cells, args.color), sep="\n")
    return 0


def run_show(args: argparse.Namespace) -> int:
    """Print a recipe."""
    from tmplbuild.recipes import load, show

    found = load(args.name, arch=args.arch, roots=roots_of(args))
    if args.json:
        from tmplbuild.recipes.model import plain

        print(json.dumps(plain(found.recipe), indent=2, default=str))
    else:
        sys.stdout.write(show(found, origin=args.origin))
    return 0


def run_features(args: argparse.Namespace) -> int:
    """List a recipe's features."""
    from tmplbuild.cli.table import table
    from tmplbuild.recipes import find, offered

    roots = roots_of(args)
    asked = find(args.name, roots)
    rows = offered(asked.path, [*roots, asked.path.resolve().parent.parent])
    if args.json:
        found = [{"name": row.name, "title": row.title, "path": str(row.path)} for row in rows]
        print(json.dumps(found, indent=2))
        return 0
    cells = [(row.name, row.title or "-", str(row.path)) for row in rows]
    print(*table(("feature", "what it brings", "file"), cells, args.color), sep="\n")
    return 0


def run_diff(args: argparse.Namespace) -> int:
    """Compare two recipes."""
    from tmplbuild.recipes import difference, load

    roots = roots_of(args)
    old, new = (load(name, arch=args.arch, roots=roots) for name in (args.old, args.new))
    rows = difference(old, new)
    if args.json:
        found = [{"key": row.key, "sign": row.sign, "old": row.old, "new": row.new} for row in rows]
        print(json.dumps(found, indent=2))
        return 1 if rows else 0
    from tmplbuild.ui.style import Ink, wants_colour

    ink = Ink(wants_colour(sys.stdout, args.color))
    colours = {"+": "green", "-": "red", "~": "yellow"}
    for row in rows:
        print(ink(f"{row.sign} {row.key}: {_change(row)}", colours[row.sign]))
    return 1 if rows else 0


def _change(row: Difference) -> str:
    old, new = (json.dumps(value, ensure_ascii=False) for value in (row.old, row.new))
    return {"+": new, "-": old, "~": f"{old} -> {new}"}[row.sign]


def run_lint(args: argparse.Namespace) -> int:
    """Lint recipes, for every architecture that they declare."""
    from tmplbuild.checks import rules
    from tmplbuild.errors import RecipeError
    from tmplbuild.recipes import entries, lint, load

    roots = roots_of(args)
    known = [rule.id for rule in rules()]
    found: list[dict[str, str]] = []
    names = args.names or [entry.name for entry in entries(roots, variants=True)]
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
