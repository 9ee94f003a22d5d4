"""ve: containers as their administrator knows them, in vzctl's words; and those that builds run."""

from __future__ import annotations

from tmplbuild.cli.parser import Verbs
from tmplbuild.cli.ve import change, dist, inside, life, show, top
from tmplbuild.cli.ve.openvz import on_openvz_by_vzctl


def add(verbs: Verbs) -> None:
    """Add the verbs of this package."""
    parser = verbs.add_parser(
        "ve",
        help="create, start, enter, change, list containers",
        description="Containers (VEs): created from templates, known by a number and perhaps a name, and "
        "used in vzctl's words. docs/ve.md shows a session.",
    )
    found = parser.add_subparsers(title="verbs", metavar="VERB", dest="what", required=True)
    for module in (life, change, inside, show, top, dist):
        module.add(found)
    for verb in found.choices.values():
        if run := verb.get_default("run"):
            verb.set_defaults(run=on_openvz_by_vzctl(run))
