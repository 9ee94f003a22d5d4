"""docs/recipes.md, the reference of all keys, made from the model.

python -m tmplbuild.recipes.reference > docs/recipes.md
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any, get_origin

import msgspec

from tmplbuild.recipes import docs
from tmplbuild.recipes.additions import Feature, Hook, Overlay, User, Variant
from tmplbuild.recipes.credentials import Credentials
from tmplbuild.recipes.kinds import Section
from tmplbuild.recipes.model import Archive, Delta, Edit, File, Recipe
from tmplbuild.recipes.validate import bare, wanted

_HEAD = """\
# Recipes

<!-- Made from tmplbuild/recipes/model.py by `python -m tmplbuild.recipes.reference`: edit there. -->

A recipe says what a template is made of. It is a TOML file, `recipes/DISTRO/RELEASE.toml`, and is called
DISTRO-RELEASE: `recipes/debian/12.toml` is `debian-12`. Files whose name begins with `_` are only there to
be extended.

    tmplbuild recipe list                      the recipes there are
    tmplbuild recipe show debian-12 --origin   all of one, and where each value comes from
    tmplbuild recipe lint debian-12            what is wrong with it
    tmplbuild recipe diff debian-12 debian-13  how two differ
    tmplbuild recipe new debian-12-web --like debian-12   the first file of one's own
    tmplbuild recipe import dab.conf debian-12-mail       out of another builder's
    tmplbuild recipe schema > recipe.json      a JSON Schema for editors

`import` reads Proxmox's dab.conf and distrobuilder's YAML. What has a counterpart becomes a recipe that
extends ours for the same release; what has none is listed with the reason, on the screen and in the recipe.
Archives of other vendors are never taken over: each needs its key pinned.

Recipes are looked for in the directories of `--recipes`, in `/etc/tmplbuild/recipes`, and among those that
come with the tool; the first that has the name counts. It may extend the one that it hides.

## A release in a few lines

    extends = "debian/_base"

    [image]
    release = "12"
    suite = "bookworm"
    eol = 2028-06-30

    [install]
    add.packages = ["postgresql"]
    drop.packages = ["nano"]

`extends` names one parent below a directory of recipes. Tables are merged; a scalar or a list takes the
place of the parent's. Within a table, `add.NAME` appends to the inherited list NAME, and `drop.NAME` takes
items from it (or keys from an inherited table: `drop.files = ["/etc/motd"]`). To add what is there, to drop
what is not, and to edit what no parent sets are errors.

## Features and variants

A feature is a delta with a name: `debian/_features/ssh.toml` may be laid on every recipe of Debian, and of
the distributions that extend Debian's. It is written as a recipe is, without `extends`; to add what is there
and to drop what is not is no error in it.

    tmplbuild recipe features debian-12         those there are
    tmplbuild build debian-12 --feature ssh     the template debian-12-ssh-x86_64
    tmplbuild build debian-12+ssh               the same: so it is called wherever a recipe is named

A recipe that always has it says so at its top; what the recipe's file says itself comes after it:

    extends = "debian/12"
    features = ["ssh"]

A variant is a template of its own, made by features. Declared in `_base.toml` it is there for every release,
without a file for each: `debian-12-minimal`, `debian-13-minimal`.

    [variants.minimal]
    features = ["minimal"]

A release without it says `[drop]` and `variants = ["minimal"]`. `recipe list` shows them. A pattern means
variants where it has a part for them (`debian-*-minimal`, `debian-12-*`); `debian-*` means the releases.

## Placeholders

`{distro}`, `{release}`, `{suite}`, `{arch}` (the distribution's word, amd64) and `{ve_arch}` (OpenVZ's,
x86_64) may stand in any string but those that they come from. There are no others and no conditions: if two
releases differ, they are two files. Any other word in braces is an error, except in free text (contents of
files, edits, commands), where it stays as it is.

## Faults

All faults of a recipe and its parents are told at once, each with file, line, key and, where something comes
near, what was perhaps meant. Exit status 3.
"""


def reference() -> str:
    """The page."""
    parts = [_HEAD, *_page(Recipe, "The recipe")]
    for field in msgspec.structs.fields(Recipe):
        kind = bare(field.type)
        if kind is not int and get_origin(kind) is not dict:
            parts += _page(kind, f"[{field.name}]")
        if field.name == "archives":
            parts += _page(Archive, "[archives.ROLE]")
            parts += _page(Credentials, "[archives.ROLE.credentials]")
        if field.name == "publish":
            parts += _page(Delta, "[publish.CONSUMER]")
        if field.name == "configure":
            parts += _page(File, '[configure.files."PATH"], [clean.files."PATH"]')
            parts += _page(Edit, "[[configure.edits]], [[strip.edits]]")
            parts += _page(Overlay, '[configure.overlays."DIRECTORY"]')
            parts += _page(User, "[configure.users.NAME]")
    parts += _page(Hook, "[hooks.NAME]")
    parts += _page(Variant, "[variants.NAME]")
    parts += _page(Feature, "[feature], in a file _features/NAME.toml")
    return "\n".join(parts)


def _page(kind: type[Section], title: str) -> Iterator[str]:
    yield f"## {title}\n"
    yield docs.summary(kind) + "\n"
    texts = docs.keys(kind)
    yield "| key | value | default | meaning |"
    yield "|---|---|---|---|"
    for field in msgspec.structs.fields(kind):
        name = field.encode_name
        cells = (f"`{name}`", _cell(wanted(field.type)), _default(field), _cell(texts[name]))
        yield f"| {' | '.join(cells)} |"
    yield ""


def _default(field: msgspec.structs.FieldInfo) -> str:
    value: Any = field.default
    if field.required:
        return "must be given"
    if value is msgspec.NODEFAULT or value is None or value in ((), ""):
        return ""
    if isinstance(value, Section):
        return "see below"
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    if isinstance(value, tuple):
        return " ".join(f"`{item}`" for item in value)
    return f"`{value}`"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


if __name__ == "__main__":
    sys.stdout.write(reference())
