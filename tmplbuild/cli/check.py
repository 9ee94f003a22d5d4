"""check: lint any template or tree."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from tmplbuild.cli.parser import Verbs
from tmplbuild.errors import UsageError

if TYPE_CHECKING:
    from tmplbuild.checks import Finding, Report, Rule

_SHOWN = 8  # findings of one rule, without -v


def add(verbs: Verbs) -> None:
    """Add the verb of this module."""
    parser = verbs.add_parser(
        "check",
        help="lint a template, ours or not",
        description="Look at tarballs of root file systems, or at directories, for what a template must "
        "not have: kernels, keys, logs, caches, leftovers... Nothing is unpacked and no root is needed. "
        "Exit status 0: clean, 1: findings. docs/checks.md explains every rule.",
    )
    parser.add_argument(
        "files", metavar="FILE", nargs="*", help="NAME.tar.gz (or .zst, .xz, ...), or a directory"
    )
    parser.add_argument(
        "--waive",
        metavar="RULE=WHY",
        action="append",
        default=[],
        help="let a rule pass, for a reason (repeatable)",
    )
    parser.add_argument("--list-rules", action="store_true", help="list the rules and exit")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Lint files."""
    if args.list_rules:
        return _list_rules(args)
    if not args.files:
        raise UsageError("check needs a FILE", hint="tmplbuild check debian-12-x86_64.tar.gz")
    waive = dict(_waiver(text) for text in args.waive)
    from tmplbuild.checks import check_file

    reports = {name: check_file(Path(name), waive=waive) for name in args.files}
    if args.json:
        print(json.dumps([{"file": name} | report.to_json() for name, report in reports.items()], indent=2))
    else:
        for name, report in reports.items():
            _show(name, report, args)
    return 1 if any(report.findings for report in reports.values()) else 0


def _waiver(text: str) -> tuple[str, str]:
    rule, _, why = text.partition("=")
    if not why.strip():
        raise UsageError(f"--waive {text}: a waiver needs a reason", hint="--waive RULE=WHY")
    return rule, why.strip()


def _list_rules(args: argparse.Namespace) -> int:
    from tmplbuild.checks import rules

    if args.json:
        rows = [
            {"id": rule.id, "severity": rule.severity, "text": rule.text, "why": rule.why, "fix": rule.fix}
            for rule in rules()
        ]
        print(json.dumps(rows, indent=2))
        return 0
    from tmplbuild.cli.table import table

    cells = [(rule.id, rule.severity, rule.text) for rule in rules()]
    print(*table(("rule", "severity", "what it wants"), cells, args.color), sep="\n")
    return 0


def _show(name: str, report: Report, args: argparse.Namespace) -> None:
    from tmplbuild.ui.style import Ink, wants_colour
    from tmplbuild.ui.words import plural, printable

    ink = Ink(wants_colour(sys.stdout, args.color))
    waived = f", {len(report.waived)} waived" if report.waived else ""
    if report.clean:
        if not args.quiet:
            asked = plural(len(report.rules_run), "rule")
            print(f"{printable(name)}: {ink('clean', 'green')} ({asked}{waived})")
        return
    errors = sum(finding.severity == "error" for finding in report.findings)
    counts = f"{plural(errors, 'error')}, {plural(len(report.findings) - errors, 'warning')}{waived}"
    print(f"{ink(printable(name), 'bold')}: {counts}")
    for rule, findings in _by_rule(report):
        style = "red" if findings[0].severity == "error" else "yellow"
        print(f"\n  {ink(f'{findings[0].severity}: {rule.id}', style)}: {rule.text}")
        for finding in findings if args.verbose else findings[:_SHOWN]:
            print(f"    {printable(finding.path)}  {ink(printable(finding.text), 'dim')}".rstrip())
        if len(findings) > _SHOWN and not args.verbose:
            print(f"    and {len(findings) - _SHOWN} more (-v shows all)")
        print(f"    {ink('fix:', 'cyan')} {rule.fix}")
    print()


def _by_rule(report: Report) -> list[tuple[Rule, list[Finding]]]:
    """The findings of each rule, errors first, else in the rules' order."""
    from tmplbuild.checks import rules

    grouped = [(rule, [row for row in report.findings if row.rule == rule.id]) for rule in rules()]
    return sorted(
        ((rule, rows) for rule, rows in grouped if rows), key=lambda pair: pair[1][0].severity != "error"
    )
