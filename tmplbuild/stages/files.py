"""Files that a recipe asks for, and changes to lines: what several stages do to a tree."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping

from tmplbuild.core.tree import Tree
from tmplbuild.recipes.model import Edit, File


def put(tree: Tree, files: Mapping[str, File], beside: Callable[[str], bytes]) -> list[str]:
    """Make the files, directories and links of a recipe table.

    Parameters:
        beside: gives the content of a file that `source` names.

    Returns the paths made.
    """
    for path, file in files.items():
        mode = None if file.mode is None else int(file.mode, 8)
        if file.link is not None:
            tree.symlink(file.link, path)
            tree.chown(path, file.uid, file.gid)
        elif file.directory:
            tree.mkdir(path, 0o755 if mode is None else mode)
            if mode is not None:
                tree.chmod(path, mode)
            tree.chown(path, file.uid, file.gid)
        else:
            content = beside(file.source) if file.source is not None else file.text or ""
            mode = 0o644 if mode is None else mode
            tree.write(path, content, mode=mode, uid=file.uid, gid=file.gid)
    return list(files)


def edit(tree: Tree, edits: Iterable[Edit]) -> list[str]:
    """Apply line edits. A file that is not there is passed over: recipes of one family share rules.

    Returns the paths whose content changed.
    """
    changed = []
    for rule in edits:
        if tree.is_file(rule.path):
            old = tree.read_text(rule.path)
            new = edited(old, rule)
            if new != old:
                tree.write(_real(tree, rule.path), new)
                changed.append(rule.path)
    return changed


def edited(text: str, rule: Edit) -> str:
    """The text after one rule: see `tmplbuild.recipes.model.Edit`."""
    old = text.splitlines()
    lines = old
    if rule.match:
        pattern = re.compile(rule.match)
        lines = [new for line in old for new in _line(line, pattern, rule)]
    if rule.append and rule.append not in lines:
        lines = [*lines, rule.append]
    if lines == old:
        return text
    return "".join(f"{line}\n" for line in lines)


def _line(line: str, pattern: re.Pattern[str], rule: Edit) -> list[str]:
    if not pattern.search(line):
        return [line]
    if rule.delete:
        return []
    if rule.comment:
        return [line if line.lstrip().startswith("#") else f"#{line}"]
    return [line if rule.replace is None else pattern.sub(rule.replace, line)]


def _real(tree: Tree, path: str) -> str:
    """The path of the file itself where `path` is a link within the tree: a link must stay a link."""
    for _ in range(40):
        if not tree.is_link(path):
            return path
        target = tree.readlink(path)
        path = target if target.startswith("/") else f"{path.rpartition('/')[0]}/{target}"
    return path
