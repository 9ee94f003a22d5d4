"""The lint of root file systems: named rules, each with a reason and a remedy (docs/checks.md)."""

from tmplbuild.checks.rule import Finding, Rule
from tmplbuild.checks.run import Report, check_file, lint, rules

__all__ = ["Finding", "Report", "Rule", "check_file", "lint", "rules"]
