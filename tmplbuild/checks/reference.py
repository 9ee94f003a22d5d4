"""docs/checks.md, made of the rules: `python -m tmplbuild.checks.reference > docs/checks.md`."""

from __future__ import annotations

import sys

from tmplbuild.checks.rule import Rule
from tmplbuild.checks.run import rules

_HEAD = """\
# What `check` looks for

<!-- Made by `python -m tmplbuild.checks.reference > docs/checks.md` from the rules: change those. -->

`tmplbuild check FILE...` judges root file systems, ours or not: a tarball (plain, gzip, bzip2, xz or
zstd, told by content) or a directory. Nothing is unpacked to disk by its name, nothing of the tree is
run, and a tarball needs no root. Exit status 0: clean, 1: findings. A build runs the same rules on the
finished tree; an **error** fails it, a **warning** is told.

A rule that does not hold for a template is waived in its recipe, with the reason, which the report shows:

    [check.waive]
    device-node = "this template is for OpenVZ 6 kernels"

On the command line: `--waive RULE=WHY`. A rule for a family (dpkg, rpm, systemd, ...) is asked only of
trees that belong to it.
"""


def markdown() -> str:
    """The whole page."""
    table = ["| rule | | for | what it wants |", "|---|---|---|---|"]
    table += [
        f"| [{rule.id}](#{rule.id}) | {rule.severity} | {_families(rule)} | {rule.text} |" for rule in rules()
    ]
    sections = [
        f"## {rule.id}\n\n{rule.text}. *{rule.severity.capitalize()}, for {_families(rule)}.*\n\n"
        f"**Why:** {rule.why}\n\n**Fix:** {rule.fix}\n"
        for rule in rules()
    ]
    return "\n".join([_HEAD, f"{len(rules())} rules:\n", *table, "", *sections])


def _families(rule: Rule) -> str:
    names = ["tarballs" if name == "tarball" else name for name in rule.families]
    return ", ".join(names) or "all"


if __name__ == "__main__":
    sys.stdout.write(markdown())
