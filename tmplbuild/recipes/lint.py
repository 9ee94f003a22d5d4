"""What types cannot say: faults of a whole, loaded recipe.

An error makes the recipe unfit to build; a warning is something that its author should know.
"""

from __future__ import annotations

import datetime
import re
from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Literal
from urllib.parse import urlsplit

from tmplbuild.recipes import lint_additions as additions
from tmplbuild.recipes.certificate import key_fingerprint_of, key_name
from tmplbuild.recipes.lint_additions import Row
from tmplbuild.recipes.load import LoadedRecipe
from tmplbuild.recipes.model import Edit, File
from tmplbuild.recipes.placeholders import WORDS
from tmplbuild.recipes.release import begins_packed
from tmplbuild.tomlfile import Fault, KeyPath, Place, did_you_mean, quote, spell

SOON = datetime.timedelta(days=90)
"""An end of support that is nearer than this is told."""

_UNIT = re.compile(
    r"^[\w:.@\\-]+\.(service|socket|mount|automount|swap|target|path|timer|slice|scope|device)$"
)
_PACKAGE = re.compile(r"^[A-Za-z0-9][A-Za-z0-9+._-]+$")
_BRACES = re.compile(r"\{([A-Za-z_]+)\}")
_WHOLE_TREE = {"/", "/*", "/**", "/**/*"}
# slackpkg knows one tree, and the keys that it has imported.
_OWN_KEYS = frozenset({"apt-deb", "apt-rpm", "dnf", "zypper", "apk", "pacman"})
_PACKAGE_SIGNED = frozenset({"dnf", "zypper", "pacman", "slackpkg"})  # elsewhere packages have no signatures
_WEAK_KEYS = frozenset({"dnf", "zypper", "slackpkg"})
_WITH_COMPONENTS = frozenset({"apt-deb", "apt-rpm"})  # other archives' suites are not divided any further


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that lint has to say, with its place and key path in `fault`."""

    level: Literal["error", "warning"]
    fault: Fault

    def __str__(self) -> str:
        return f"{self.level}: {self.fault}"


def lint(
    loaded: LoadedRecipe, *, rules: Collection[str] = (), today: datetime.date | None = None
) -> list[Finding]:
    """All that can be said of a recipe without root and without network.

    Parameters:
        rules: ids of the check rules there are, for `check.waive`; none: waivers are not looked at.
        today: the day that ends of support are compared with; the machine's if not given.
    """
    rows = [
        *_image(loaded, today or datetime.date.today()),
        *_archives(loaded),
        *_bootstrap(loaded),
        *_packages(loaded),
        *_release(loaded),
        *_files(loaded),
        *_edits(loaded),
        *additions.rows(loaded),
        *_units(loaded),
        *_paths(loaded),
        *_leftovers(loaded),
        *_check(loaded, rules),
        *_twice(loaded),
    ]
    return [
        Finding(level, Fault(_place(loaded, key), spell(key), text, hint)) for level, key, text, hint in rows
    ]


def _place(loaded: LoadedRecipe, key: KeyPath) -> Place:
    """Where the value, or the nearest table around it, is written."""
    while key:
        if place := loaded.origin.get(spell(key)):
            return place
        key = key[:-1]
    return Place(loaded.path, 0)


def _image(loaded: LoadedRecipe, today: datetime.date) -> Iterator[Row]:
    eol = loaded.recipe.image.eol
    if eol is None and not loaded.recipe.image.rolling:
        hint = "the last day of support, such as 2028-06-30; or rolling = true"
        yield "warning", ("image", "eol"), "missing", hint
    elif eol is None:
        return
    elif eol < today:
        yield "warning", ("image", "eol"), f"support ended on {eol}", "no security updates come any more"
    elif eol - today <= SOON:
        yield "warning", ("image", "eol"), f"support ends in {(eol - today).days} days, on {eol}", ""


def _archives(loaded: LoadedRecipe) -> Iterator[Row]:
    for role, archive in loaded.recipe.archives.items():
        for at, mirror in enumerate(archive.mirrors):
            if mirror != "host" and not mirror.startswith(("http://", "https://", "file://")):
                key = ("archives", role, "mirrors", at)
                yield "error", key, f"{quote(mirror)} is no address", 'expected http://..., or "host"'
        yield from _credentials(loaded, role)
        if archive.signed != "index":
            yield from _package_signed(loaded, role)
        if not archive.components and loaded.recipe.upgrade.manager in _WITH_COMPONENTS:
            yield "error", ("archives", role, "components"), "missing", 'such as components = ["main"]'
        for suite in archive.frozen:
            if suite not in archive.suites:
                frozen: KeyPath = ("archives", role, "frozen", suite)
                hint = did_you_mean(suite, archive.suites)
                yield "error", frozen, "is none of the archive's suites", hint
        if not archive.keys and not set(archive.suites) <= archive.frozen.keys():
            why = archive.keys_missing or "no key is pinned: nothing can be verified"
            hint = f"put it beside {loaded.path} as keys/FINGERPRINT.asc, and its fingerprint into `keys`"
            yield "error", ("archives", role, "keys"), why, hint
        if archive.own_keys and loaded.recipe.upgrade.manager not in _OWN_KEYS:
            hint = "slackpkg knows one tree, and the keys that it has imported"
            what = f"has no effect with {loaded.recipe.upgrade.manager}"
            yield "error", ("archives", role, "own_keys"), what, hint
        for at, old in enumerate(archive.weak_keys):
            where = ("archives", role, "weak_keys", at)
            if old not in archive.keys:
                yield "error", where, "is none of the archive's keys", did_you_mean(old, archive.keys)
            elif loaded.recipe.upgrade.manager not in _WEAK_KEYS:
                yield "error", where, f"has no effect with {loaded.recipe.upgrade.manager}", ""
            else:
                what = "signatures of this key are accepted that can be forged"
                yield "warning", where, what, "take a stronger key as soon as the distribution has one"
        if archive.modules and loaded.recipe.upgrade.manager != "dnf":
            what = f"has no effect with {loaded.recipe.upgrade.manager}"
            yield "error", ("archives", role, "modules"), what, "module streams are dnf's"
        if not archive.keyring:
            yield from _certificates(loaded, ("archives", role, "keys"), archive.keys)
        elif loaded.find(f"keys/{archive.keyring}") is None:
            why = f"keys/{archive.keyring} is not there"
            yield "error", ("archives", role, "keyring"), why, f"put it beside {loaded.path}"


def _credentials(loaded: LoadedRecipe, role: str) -> Iterator[Row]:
    archive = loaded.recipe.archives[role]
    one = archive.credentials
    key = ("archives", role, "credentials")
    for name, other in (("user", "password"), ("certificate", "key")):
        if bool(getattr(one, name)) != bool(getattr(one, other)):
            yield "error", key, f"{name} and {other} belong together", "give both, or neither"
    if one.authority and loaded.find(one.authority) is None:
        hint = f"it is looked for beside {loaded.path} and its parents"
        yield "error", (*key, "authority"), f"{one.authority} is not there", hint
    for at, mirror in enumerate(archive.mirrors):
        if "@" in urlsplit(mirror).netloc:
            hint = "a recipe is read by many: see archives.NAME.credentials"
            yield "error", ("archives", role, "mirrors", at), "has a password in it", hint


def _package_signed(loaded: LoadedRecipe, role: str) -> Iterator[Row]:
    archive = loaded.recipe.archives[role]
    key = ("archives", role, "signed")
    if loaded.recipe.upgrade.manager not in _PACKAGE_SIGNED:
        yield "error", key, f"has no effect with {loaded.recipe.upgrade.manager}", "leave it out"
    if archive.signed == "packages" and archive.frozen:
        yield "error", ("archives", role, "frozen"), "an index that is not signed cannot be frozen", ""
    if archive.signed == "packages" and any(one.startswith("http://") for one in archive.mirrors):
        hint = "over https the mirror at least is who it says it is"
        yield "warning", ("archives", role, "mirrors"), "nobody vouches for which versions there are", hint


def _certificates(loaded: LoadedRecipe, table: KeyPath, keys: tuple[str, ...]) -> Iterator[Row]:
    for at, fingerprint in enumerate(keys):
        key = (*table, at)
        path = loaded.key_file(fingerprint)
        if path is None:
            yield "error", key, f"{key_name(fingerprint)} is not there", f"export it beside {loaded.path}"
            continue
        try:
            found = key_fingerprint_of(path.read_bytes())
        except (OSError, ValueError) as error:
            yield "error", key, f"{path} is no certificate", str(error)
            continue
        if found != fingerprint:
            yield "error", key, f"{path} holds another key", f"its fingerprint is {found}"


def _bootstrap(loaded: LoadedRecipe) -> Iterator[Row]:
    """What a packed tree is verified by."""
    bootstrap = loaded.recipe.bootstrap
    if bootstrap.method == "tarball" and not bootstrap.urls:
        yield "error", ("bootstrap", "urls"), 'missing, and bootstrap.method is "tarball"', "where it lies"
    if bootstrap.urls and not begins_packed(loaded.recipe):
        hint = f'bootstrap.method is "{bootstrap.method}"; "tarball" and "template" take them'
        yield "error", ("bootstrap", "urls"), "has no effect", hint
    if len({url.rpartition("/")[2] for url in bootstrap.urls}) > 1:
        hint = "they are addresses of one and the same file"
        yield "error", ("bootstrap", "urls"), "name different files", hint
    if bootstrap.urls and not bootstrap.keys and not bootstrap.sha256:
        hint = "pin the keys that sign its digest (bootstrap.keys), or the digest (bootstrap.sha256)"
        yield "error", ("bootstrap", "urls"), "nothing would vouch for the tarball", hint
    yield from _certificates(loaded, ("bootstrap", "keys"), bootstrap.keys)


def _packages(loaded: LoadedRecipe) -> Iterator[Row]:
    install, bootstrap = loaded.recipe.install, loaded.recipe.bootstrap
    lists: dict[KeyPath, tuple[str, ...]] = {
        ("bootstrap", "include"): bootstrap.include,
        ("install", "packages"): install.packages,
        ("install", "exclude"): install.exclude,
        ("install", "prefer"): install.prefer,
        ("strip", "purge"): loaded.recipe.strip.purge,
        ("check", "install"): loaded.recipe.check.install,
    }
    for key, names in lists.items():
        for at, name in enumerate(names):
            if not _PACKAGE.match(name):
                yield "error", (*key, at), f"{quote(name)} is no name of a package", ""
    for at, name in enumerate(install.packages):
        if name in install.exclude:
            yield "error", ("install", "packages", at), f"{quote(name)} is in install.exclude too", ""
        if name in loaded.recipe.strip.purge:
            yield "error", ("install", "packages", at), f"{quote(name)} is in strip.purge too", ""
    for at, name in enumerate(bootstrap.include):
        if name in install.exclude:
            yield "error", ("bootstrap", "include", at), f"{quote(name)} is in install.exclude too", ""


def _release(loaded: LoadedRecipe) -> Iterator[Row]:
    """How an earlier release becomes this one."""
    upgrade = loaded.recipe.upgrade
    bootstrap = loaded.recipe.bootstrap
    if bootstrap.method == "template" and not upgrade.from_ and not bootstrap.urls:
        hint = 'the recipe whose template is taken, such as "debian-12"'
        yield "error", ("upgrade", "from"), 'missing, and bootstrap.method is "template"', hint
    for at, name in enumerate(upgrade.first):
        if not _PACKAGE.match(name):
            yield "error", ("upgrade", "first", at), f"{quote(name)} is no name of a package", ""
    for key, commands in (("before", upgrade.before), ("after", upgrade.after)):
        for at, argv in enumerate(commands):
            if not argv or not argv[0]:
                yield "error", ("upgrade", key, at), "names no command", 'such as ["update-locale"]'


def _files(loaded: LoadedRecipe) -> Iterator[Row]:
    publish = loaded.recipe.publish
    tables: dict[tuple[str, ...], dict[str, File]] = {
        ("configure",): loaded.recipe.configure.files,
        ("clean",): loaded.recipe.clean.files,
        **{("publish", who): getattr(publish, who).files for who in publish.__struct_fields__},
    }
    for section, table in tables.items():
        for path, file in table.items():
            key = (*section, "files", path)
            given = [
                name
                for name, there in (
                    ("text", file.text is not None),
                    ("source", file.source is not None),
                    ("link", file.link is not None),
                    ("directory", file.directory),
                )
                if there
            ]
            if not given:
                yield (
                    "error",
                    key,
                    "says nothing",
                    'give text, source, link or directory (text = "": an empty file)',
                )
            if len(given) > 1:
                yield "error", key, f"{' and '.join(given)} are given", "give one of them"
            if file.link is not None and file.mode is not None:
                yield "error", (*key, "mode"), "a link has no mode", "leave it out"
            if file.source is not None and loaded.find(file.source) is None:
                hint = f"it is looked for beside {loaded.path} and its parents"
                yield "error", (*key, "source"), f"{file.source} is not there", hint
            yield from _text((*key, "text"), file.text)


def _edits(loaded: LoadedRecipe) -> Iterator[Row]:
    for section, edits in (
        ("configure", loaded.recipe.configure.edits),
        ("strip", loaded.recipe.strip.edits),
    ):
        for at, edit in enumerate(edits):
            yield from _edit((section, "edits", at), edit)
    for at, argv in enumerate(loaded.recipe.configure.commands):
        if not argv or not argv[0]:
            yield "error", ("configure", "commands", at), "names no command", 'such as ["update-locale"]'
        for place, word in enumerate(argv):
            yield from _text(("configure", "commands", at, place), word)


def _edit(key: KeyPath, edit: Edit) -> Iterator[Row]:
    given = [
        name
        for name, there in (
            ("replace", edit.replace is not None),
            ("delete", edit.delete),
            ("comment", edit.comment),
        )
        if there
    ]
    if len(given) > 1:
        yield "error", key, f"{' and '.join(given)} are given", "give one of them"
    if given and not edit.match:
        yield "error", key, f"{given[0]} without match", "match says which lines"
    if edit.match and not given:
        yield "error", key, "match without an action", "give replace, delete or comment"
    if not given and not edit.match and not edit.append:
        yield "error", key, "does nothing", "give match with an action, or append"
    try:
        re.compile(edit.match).sub(edit.replace or "", "")
    except (re.error, IndexError) as error:
        name = "replace" if "group reference" in str(error) or "escape" in str(error) else "match"
        name = name if _compiles(edit.match) else "match"
        yield "error", (*key, name), f"not a regular expression: {error}", ""
    for name, text in (("match", edit.match), ("replace", edit.replace), ("append", edit.append)):
        yield from _text((*key, name), text)


def _compiles(pattern: str) -> bool:
    try:
        re.compile(pattern)
    except re.error:
        return False
    return True


def _text(key: KeyPath, text: str | None) -> Iterator[Row]:
    """Free text keeps unknown words in braces; one that is nearly a placeholder is told."""
    for word in dict.fromkeys(_BRACES.findall(text or "")):
        if word not in WORDS and (hint := did_you_mean(word, WORDS)):
            yield "warning", key, f"{{{word}}} stays as it is", hint


def _units(loaded: LoadedRecipe) -> Iterator[Row]:
    strip = loaded.recipe.strip
    lists: dict[KeyPath, tuple[str, ...]] = {
        ("strip", "mask"): strip.mask,
        ("strip", "disable"): strip.disable,
        ("upgrade", "mask"): loaded.recipe.upgrade.mask,
    }
    for key, units in lists.items():
        for at, unit in enumerate(units):
            if not _UNIT.match(unit):
                hint = f'did you mean "{unit}.service"?' if _UNIT.match(f"{unit}.service") else ""
                yield "error", (*key, at), f"{quote(unit)} is no name of a unit", hint


def _paths(loaded: LoadedRecipe) -> Iterator[Row]:
    clean = loaded.recipe.clean
    lists: dict[KeyPath, tuple[str, ...]] = {
        ("strip", "remove"): loaded.recipe.strip.remove,
        ("clean", "remove"): clean.remove,
        ("clean", "empty"): clean.empty,
        ("clean", "truncate"): clean.truncate,
    }
    for key, globs in lists.items():
        for at, glob in enumerate(globs):
            if "/" + glob.strip("/") in _WHOLE_TREE:
                yield "error", (*key, at), f"{quote(glob)} is the whole tree", ""
    install = loaded.recipe.install
    programs: dict[KeyPath, tuple[str, ...]] = {
        ("bootstrap", "background"): loaded.recipe.bootstrap.background,
        ("bootstrap", "ready"): loaded.recipe.bootstrap.ready,
        ("install", "background"): install.background,
        ("install", "ready"): install.ready,
        ("install", "idle"): install.idle,
        ("upgrade", "idle"): loaded.recipe.upgrade.idle,
    }
    for key, paths in programs.items():
        for at, path in enumerate(paths):
            if not path.startswith("/"):
                yield "error", (*key, at), f"{quote(path)} is no absolute path", ""


def _leftovers(loaded: LoadedRecipe) -> Iterator[Row]:
    leftovers = loaded.recipe.leftovers
    if not leftovers.suffixes and not leftovers.managers:
        hint = "configuration that an upgrade leaves behind stays"
        yield "warning", ("leftovers", "suffixes"), "names nothing", hint
    for name, suffixes in (("suffixes", leftovers.suffixes), ("unfinished", leftovers.unfinished)):
        for at, suffix in enumerate(suffixes):
            if len(suffix) < 2:
                yield "error", ("leftovers", name, at), f"{quote(suffix)} would match too much", ""
    for at, suffix in enumerate(leftovers.unfinished):
        if suffix in leftovers.suffixes:
            yield (
                "error",
                ("leftovers", "unfinished", at),
                f"{quote(suffix)} is in leftovers.suffixes too",
                "",
            )


def _check(loaded: LoadedRecipe, rules: Collection[str]) -> Iterator[Row]:
    check = loaded.recipe.check
    for rule, reason in check.waive.items():
        if rules and rule not in rules:
            yield "error", ("check", "waive", rule), "there is no such rule", did_you_mean(rule, rules)
        if not reason.strip():
            yield "error", ("check", "waive", rule), "has no reason", "say why the rule does not hold here"
    for at, pattern in enumerate(check.unwanted_processes):
        try:
            re.compile(pattern)
        except re.error as error:
            yield "error", ("check", "unwanted_processes", at), f"not a regular expression: {error}", ""


def _twice(loaded: LoadedRecipe) -> Iterator[Row]:
    """Items that a list of names holds twice, wherever it is."""
    recipe = loaded.recipe
    lists: dict[KeyPath, tuple[str, ...]] = {
        ("image", "arches"): recipe.image.arches,
        ("bootstrap", "include"): recipe.bootstrap.include,
        ("install", "packages"): recipe.install.packages,
        ("install", "exclude"): recipe.install.exclude,
        ("strip", "purge"): recipe.strip.purge,
        ("strip", "mask"): recipe.strip.mask,
        ("strip", "disable"): recipe.strip.disable,
        ("strip", "remove"): recipe.strip.remove,
        ("clean", "remove"): recipe.clean.remove,
        ("clean", "empty"): recipe.clean.empty,
        ("clean", "truncate"): recipe.clean.truncate,
        ("upgrade", "mask"): recipe.upgrade.mask,
    }
    for role, archive in recipe.archives.items():
        for name in ("suites", "keys", "modules"):
            lists[("archives", role, name)] = getattr(archive, name)
    for key, items in lists.items():
        for item, count in Counter(items).items():
            if count > 1:
                last = len(items) - 1 - items[::-1].index(item)
                yield "warning", (*key, last), f"{quote(item)} is in the list {count} times", ""
