"""Running the rules: `lint` on a view, `check_file` on a tarball or a directory."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tmplbuild.checks import (
    rules_accounts,
    rules_alt,
    rules_archive,
    rules_boot,
    rules_build,
    rules_console,
    rules_files,
    rules_identity,
    rules_network,
    rules_packages,
    rules_remains,
    rules_rpm,
)
from tmplbuild.checks.rule import Finding, Rule, printable
from tmplbuild.checks.subject import Subject
from tmplbuild.checks.tarball import tarball_view
from tmplbuild.checks.view import View
from tmplbuild.core.tree import Tree
from tmplbuild.errors import StageError, UsageError

_MODULES = (
    rules_boot,
    rules_console,
    rules_identity,
    rules_network,
    rules_accounts,
    rules_files,
    rules_remains,
    rules_packages,
    rules_build,
    rules_rpm,
    rules_alt,
    rules_archive,
)
_RULES = tuple(value for module in _MODULES for value in vars(module).values() if isinstance(value, Rule))

MAX_FINDINGS = 100
"""Findings of one rule that are listed one by one; the rest is counted."""


@dataclass(frozen=True, slots=True)
class Report:
    """What a lint found. `findings` stand, `waived` hold but are excused (by `waivers`: id to
    reason); `rules_run` names the rules that this tree was asked, `skipped` those for
    families that it does not belong to."""

    findings: tuple[Finding, ...]
    waived: tuple[Finding, ...]
    rules_run: tuple[str, ...]
    skipped: tuple[str, ...]
    waivers: Mapping[str, str]

    @property
    def clean(self) -> bool:
        """True when nothing stands."""
        return not self.findings

    def to_json(self) -> dict[str, Any]:
        """Plain data for `--json`, the same for the same tree."""
        return {
            "clean": self.clean,
            "findings": [_row(finding) for finding in self.findings],
            "waived": [{**_row(finding), "reason": self.waivers[finding.rule]} for finding in self.waived],
            "rules_run": list(self.rules_run),
            "skipped": list(self.skipped),
        }


def rules() -> tuple[Rule, ...]:
    """Every rule, in the order in which they run and are documented."""
    return _RULES


def lint(
    view: View,
    *,
    waive: Mapping[str, str] | None = None,
    build_urls: Sequence[str] = (),
    host_name: str = "",
) -> Report:
    """Run every rule that is for this tree.

    Parameters:
        waive: rule id to the reason why what it says does not count here.
        build_urls: addresses used in the build that the tree must not name.
        host_name: the build machine's name, which it must not name either; ignored when it is a
            common word.

    Raises UsageError for a waiver of a rule that does not exist, HostError where files cannot be
    read, StoreError when there is no room for a temporary file.
    """
    return judge(Subject(view, tuple(build_urls), host_name), waive=waive)


def judge(subject: Subject, *, waive: Mapping[str, str] | None = None) -> Report:
    """`lint` for a subject that is at hand."""
    waive = dict(waive or {})
    _check_waivers(waive)
    asked = [rule for rule in _RULES if not rule.families or subject.families.intersection(rule.families)]
    found = [finding for rule in asked for finding in _ask(rule, subject)]
    return Report(
        findings=tuple(finding for finding in found if finding.rule not in waive),
        waived=tuple(finding for finding in found if finding.rule in waive),
        rules_run=tuple(rule.id for rule in asked),
        skipped=tuple(rule.id for rule in _RULES if rule not in asked),
        waivers=waive,
    )


def check_file(
    path: Path,
    waive: Mapping[str, str] | None = None,
    *,
    build_urls: Sequence[str] = (),
    host_name: str = "",
) -> Report:
    """Lint a tarball (any of .tar, .gz, .bz2, .xz, .zst, told by content) or a directory.

    Raises what `lint` and `tarball_view` do.
    """
    if path.is_dir():
        with Tree(path) as tree:
            return lint(View.of_tree(tree), waive=waive, build_urls=build_urls, host_name=host_name)
    with tarball_view(path) as view:
        return lint(view, waive=waive, build_urls=build_urls, host_name=host_name)


def _ask(rule: Rule, subject: Subject) -> Iterator[Finding]:
    count = 0
    try:
        for path, text in rule.look(subject):
            count += 1
            if count <= MAX_FINDINGS:
                yield Finding(rule.id, rule.severity, path, text)
    except StageError:
        # A damaged package database is one finding (dpkg-database-broken), not one a rule.
        if rule.id == "dpkg-database-broken":
            raise
    if count > MAX_FINDINGS:
        yield Finding(rule.id, rule.severity, "/", f"and {count - MAX_FINDINGS} more")


def _check_waivers(waive: Mapping[str, str]) -> None:
    known = [rule.id for rule in _RULES]
    for name in waive:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=2)
            raise UsageError(
                f'a waiver names the rule "{name}", which does not exist',
                hint=f"did you mean {' or '.join(near)}?" if near else "docs/checks.md lists the rules",
            )


def _row(finding: Finding) -> dict[str, str]:
    return {
        "rule": finding.rule,
        "severity": finding.severity,
        "path": printable(finding.path),
        "text": printable(finding.text),
    }
