"""check: the lint of the finished tree. Findings that are errors fail the build."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from tmplbuild.changes.facts import write_facts
from tmplbuild.changes.gather import gather
from tmplbuild.checks.known import KnownFiles
from tmplbuild.checks.run import judge
from tmplbuild.checks.subject import Subject
from tmplbuild.checks.view import View
from tmplbuild.errors import StageError
from tmplbuild.events import Note
from tmplbuild.recipes.additions import User
from tmplbuild.recipes.model import Check
from tmplbuild.stages.context import Ctx


def run(
    ctx: Ctx,
    options: Check,
    users: Mapping[str, User],
    *,
    build_urls: tuple[str, ...],
    host_name: str,
    facts: Path,
    known: KnownFiles,
) -> dict[str, Any]:
    """Run every rule on the tree, and write down what is to be compared with other builds.

    Parameters:
        users: the accounts that the recipe asks for.
        build_urls: addresses used in the build that must not be named in the tree.
        host_name: this machine's name, which must not be in the tree either.
        facts: where the facts go.
        known: what the template's last check found of its files.

    Returns the counts. Raises StageError that lists the findings.
    """
    with ctx.tree() as tree:
        subject = Subject(View.of_tree(tree, known), build_urls, host_name, users)
        report = judge(subject, waive=options.waive)
        write_facts(facts, gather(subject))
    with suppress(OSError):  # it only saves time
        known.save()
    errors = [finding for finding in report.findings if finding.severity == "error"]
    warnings = [finding for finding in report.findings if finding.severity != "error"]
    for finding in warnings:
        ctx.emit(Note(f"check: {str(finding).removeprefix('warning: ')}", "warning"))
    if errors:
        raise StageError(
            f"the check found {len(errors)} fault{'s' * (len(errors) > 1)} in the tree",
            why="\n".join(str(finding) for finding in errors[:30]),
            hint='mend the recipe, or waive a rule with its reason: [check.waive] RULE = "why"',
        )
    return {"rules": report.rules_run, "warnings": [str(f) for f in warnings], "waived": len(report.waived)}
