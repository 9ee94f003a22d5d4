"""leftovers: configuration that an upgrade put beside the one in use.

Each such file is decided about (`tmplbuild.leftovers.decide`), recorded with its hashes and the
difference, and removed; so that nothing of value is lost, neither what the recipe and the packages'
scripts had done nor what the new version brings. Files of the recipe that the upgrade replaced
without a word are written again. Names of an unfinished transaction fail the build.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

from tmplbuild.core.tree import Tree
from tmplbuild.errors import StageError
from tmplbuild.events import Note, Output
from tmplbuild.leftovers import accounts, decide, facts, report
from tmplbuild.leftovers.cause import File, Versions, look
from tmplbuild.leftovers.decide import Decision, Policy
from tmplbuild.leftovers.facts import Facts
from tmplbuild.leftovers.intent import Intent
from tmplbuild.leftovers.suffixes import Leftover, Names
from tmplbuild.recipes.afterwards import Leftovers
from tmplbuild.recipes.model import Edit
from tmplbuild.stages import files
from tmplbuild.stages.context import Ctx
from tmplbuild.stages.work import Work


@dataclass(frozen=True, slots=True)
class Past:
    """The template before the upgrade.

    Parameters:
        pristine: opens the tree that stage install left: packages as they came.
        before: opens the tree that was booted for the upgrade.
        ask: runs a command in the former tree without changing it, and returns its output; used
            for package databases that only their own program reads.
    """

    pristine: Callable[[], AbstractContextManager[Tree]]
    before: Callable[[], AbstractContextManager[Tree]]
    ask: Callable[[tuple[str, ...]], bytes]


def run(ctx: Ctx, options: Leftovers, work: Work, past: Past) -> dict[str, Any]:
    """Find, decide, record and remove.

    Returns the decisions (`tmplbuild.leftovers.report.row`) under "leftovers". Raises StageError for
    an unfinished transaction, for accounts that clash, and for conflicts where the recipe says "fail".
    """
    names = Names(options.managers, options.suffixes, options.unfinished)
    with ctx.tree() as tree:
        found = list(find(tree, options.roots, names))
    rpm = _rpm(ctx, past, options, bool(found))
    with ctx.tree() as tree, past.pristine() as pristine, past.before() as before:
        desk = Desk(
            ctx=ctx,
            tree=tree,
            pristine=pristine,
            before=before,
            old=facts.joined(facts.read(pristine, owners=False), rpm[0]),
            now=facts.joined(facts.read(tree, owners=bool(found)), rpm[1]),
            intent=intent_of(work),
            policy=Policy(options.on_conflict, options.keyed, options.machine_state),
            work=work,
            secrets=options.secrets,
        )
        rows = desk.clear(found)
    return {"leftovers": rows} if rows else {}


def find(tree: Tree, roots: Iterable[str], names: Names) -> Iterator[Leftover]:
    """Files below `roots` with names of leftovers, sorted, each once."""
    found: dict[str, Leftover] = {}
    for root in roots:
        for path in tree.paths(root):
            if leftover := names.read(path):
                found[path] = leftover
    yield from (found[path] for path in sorted(found))


def intent_of(work: Work) -> Intent:
    """The recipe's work as the decisions want it."""
    edits = {
        path: functools.partial(_edited, rules=tuple(rule for rule in work.edits if rule.path == path))
        for path in dict.fromkeys(rule.path for rule in work.edits)
    }
    return Intent(frozenset(work.files), work.written, edits, work.removed)


def _edited(text: str, rules: tuple[Edit, ...]) -> str:
    for rule in rules:
        text = files.edited(text, rule)
    return text


def _rpm(ctx: Ctx, past: Past, options: Leftovers, wanted: bool) -> tuple[Facts, Facts]:
    """What rpm says of the tree before and after the upgrade."""
    if not wanted or "rpm" not in options.managers:
        return Facts(), Facts()
    with ctx.entered() as ve:
        now = ve.run(facts.RPM_QUERY, what="ask rpm for configuration files")
    return facts.from_rpm(past.ask(facts.RPM_QUERY)), facts.from_rpm(now)


@dataclass(slots=True)
class Desk:
    """All that decisions are made from: the tree and its past, what is known of both, the recipe."""

    ctx: Ctx
    tree: Tree
    pristine: Tree
    before: Tree
    old: Facts
    now: Facts
    intent: Intent
    policy: Policy
    work: Work
    secrets: tuple[str, ...]

    def clear(self, found: Iterable[Leftover]) -> list[dict[str, Any]]:
        """Decide about all, do it, and tell. Raises StageError."""
        ours = [one for one in found if one.path not in self.now.owned]
        _no_unfinished(ours)
        done = [(one, *self._settle(one)) for one in ours]
        self._no_conflicts([row for _, decision, row in done if decision.conflict])
        for one, decision, _ in done:
            if decision.text != _STRAY.text:
                self.tree.remove(one.path)
        added = {"passwd": (), "group": ()} | self._added(done)
        completed = accounts.complete(self.tree, added["passwd"], added["group"])
        rows = [row for _, _, row in done] + list(self._replaced()) + list(self._obsolete())
        for row in rows:
            self._tell(row)
        if completed:
            self.ctx.emit(Note(f"entries made for new users: {', '.join(completed)}"))
        return rows

    def _settle(self, one: Leftover) -> tuple[Decision, dict[str, Any]]:
        """Decide about one leftover and do it, all but removing it."""
        versions = self._versions(one)
        if not self._is_config(one.base):
            decision, kind = _STRAY, "stray"
        elif one.side == "new":
            decision, kind = decide.new_side(one.base, versions, self.intent, self.policy), "new"
        elif one.side == "old":
            decision, kind = decide.old_side(one.base, versions, self.intent, self.policy), "old"
        else:
            decision, kind = Decision("dropped, a by-product", "unknown"), "waste"
        self._do(one, decision)
        if decision.warning:
            self.ctx.emit(Note(decision.warning, "warning"))
        row = report.row(
            one.path,
            kind,
            decision,
            versions,
            result=look(self.tree, one.base),
            now=self.now.configs.get(one.base),
            secrets=self.secrets,
            base=one.base,
        )
        return decision, row

    def _versions(self, one: Leftover) -> Versions:
        side, disk = look(self.tree, one.path), look(self.tree, one.base)
        mine, new = (side, disk) if one.side == "old" else (disk, side)
        return self._past(one.base, mine, new)

    def _past(self, path: str, mine: File | None, new: File | None) -> Versions:
        return Versions(
            pristine=look(self.pristine, path),
            before=look(self.before, path),
            mine=mine,
            new=new,
            config=self.old.configs.get(path),
        )

    def _is_config(self, path: str) -> bool:
        return path.startswith("/etc/") or path in self.now.configs or path in self.old.configs

    def _do(self, one: Leftover, decision: Decision) -> None:
        if decision.action == "move":
            self.tree.rename(one.path, one.base)
            self._edit(one.base)
        elif decision.action == "put":
            self._put(one.base)
        elif decision.action == "write" and decision.content is not None:
            mode, uid, gid = decision.attributes or (None, None, None)
            self.tree.write(one.base, decision.content, mode=mode, uid=uid, gid=gid)

    def _put(self, path: str) -> None:
        files.put(self.tree, {path: self.work.files[path]}, self.ctx.beside)

    def _edit(self, path: str) -> None:
        files.edit(self.tree, [rule for rule in self.work.edits if rule.path == path])

    def _added(self, done: list[tuple[Leftover, Decision, dict[str, Any]]]) -> dict[str, tuple[str, ...]]:
        found: dict[str, tuple[str, ...]] = {}
        for one, decision, _ in done:
            if one.base in (accounts.PASSWD, accounts.GROUP):
                name = one.base.rpartition("/")[2]
                found[name] = (*found.get(name, ()), *decision.added)
        return found

    def _no_conflicts(self, rows: list[dict[str, Any]]) -> None:
        if rows and self.policy.on_conflict == "fail":
            raise StageError(
                "new configuration of packages cannot be merged with what the template changed",
                where=", ".join(row["path"] for row in rows[:10]),
                why="\n".join(row.get("diff", "") for row in rows).strip(),
                hint="change the recipe's edits, or say what stays with leftovers.on_conflict",
            )

    def _replaced(self) -> Iterator[dict[str, Any]]:
        """Files of the recipe that the upgrade replaced, silently, since they are no configuration
        in the package's eyes: the recipe's work is done again."""
        for path in dict.fromkeys((*self.work.again, *self.intent.edits)):
            was, disk = look(self.before, path), look(self.tree, path)
            if was is None or was.holds_the_same(disk) or (was.data is None and not was.link):
                continue
            if path in self.work.again:
                self._put(path)
            else:
                self._edit(path)
            result = look(self.tree, path)
            if result is not None and not result.holds_the_same(disk):
                decision = Decision("written again, the upgrade had replaced the recipe's work", "recipe")
                versions = self._past(path, was, disk)
                config = self.now.configs.get(path)
                yield report.row(
                    path, "replaced", decision, versions, result=result, now=config, secrets=self.secrets
                )

    def _obsolete(self) -> Iterator[dict[str, Any]]:
        """Conffiles that dpkg leaves in place though the new version of the package has them no more."""
        for path, config in sorted(self.now.configs.items()):
            known = self.old.configs.get(path)
            disk = look(self.tree, path)
            if config.obsolete and known is not None and not known.obsolete and disk is not None:
                decision = Decision("stays, its package has it no more", "nobody")
                versions = self._past(path, disk, None)
                yield report.row(path, "obsolete", decision, versions, result=disk, now=config)

    def _tell(self, row: dict[str, Any]) -> None:
        text = f"{row['path']}: {row['decision']}"
        self.ctx.emit(Output(f"{text}\n{row.get('diff', '')}".encode("utf-8", "surrogateescape")))


_STRAY = Decision("left alone, not known as configuration", "unknown")


def _no_unfinished(found: list[Leftover]) -> None:
    if broken := [one.path for one in found if one.side == "unfinished"]:
        raise StageError(
            "the package manager left an unfinished transaction",
            where=", ".join(broken[:10]),
            hint="open the tree with `tmplbuild shell NAME` and look at its package database",
        )
