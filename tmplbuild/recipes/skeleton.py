"""The first file of a recipe of one's own: what it must say, and as comments what it may."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from tmplbuild.errors import UsageError
from tmplbuild.recipes.load import LoadedRecipe
from tmplbuild.tomlfile import quote

_WORD = re.compile(r"[a-z][a-z0-9.]*")
_STEM = re.compile(r"[a-z0-9][a-z0-9._-]*")


@dataclass(frozen=True, slots=True)
class Skeleton:
    """A recipe file that is not written yet: its name in the catalogue, its place below a directory of
    recipes, and its text."""

    name: str
    place: Path
    text: str


def skeleton(name: str, like: LoadedRecipe) -> Skeleton:
    """A recipe that extends `like` and changes nothing but the template's name.

    Parameters:
        name: see `place_of`.

    Raises UsageError for a name that a recipe cannot have.
    """
    whole, place = place_of(name, like.recipe.image.release)
    parent = f"{like.path.resolve().parent.name}/{like.path.stem}"
    features = f"\nfeatures = [{', '.join(map(quote, like.features))}]" if like.features else ""
    text = _TEXT.format(name=whole, parent=parent, like=like.name, features=features, schema=SCHEMA)
    return Skeleton(whole, place, text)


def place_of(name: str, release: str) -> tuple[str, Path]:
    """What the catalogue will call a new recipe, and its place below a directory of recipes.

    Parameters:
        name: DISTRO-REST ("debian-12-web", "mydistro-1"); a bare word is a distribution, of `release`.

    Raises UsageError for a name that a recipe cannot have.
    """
    distro, _, rest = name.partition("-")
    stem = rest or release
    if not _WORD.fullmatch(distro) or not _STEM.fullmatch(stem):
        raise UsageError(
            f"a recipe cannot be called {quote(name)}",
            why="it is DISTRO-RELEASE, in lower case: debian-12-web",
            hint="letters, digits, dots and dashes; it begins with a letter",
        )
    return f"{distro}-{stem}", Path(distro) / f"{stem}.toml"


SCHEMA = "recipe.schema.json"
"""The schema that editors read, in the directory of recipes."""

_TEXT = """\
#:schema ../{schema}
# {name}: {like}, and what is different here. `tmplbuild recipe lint {name}` looks for faults,
# `tmplbuild recipe diff {like} {name}` shows what this file changes,
# `tmplbuild recipe show {name} --origin` all that holds, and docs/recipes.md every key.
# Lines that begin with "#" and no blank are examples: take the mark away.
extends = "{parent}"{features}

[image]
name = "{name}-{{ve_arch}}"
#title = "one line for people"

# Packages, with all that they depend on. `add` and `drop` change the inherited list.
#[install]
#add.packages = ["nginx"]
#drop.packages = ["nano"]
#files = ["debs/site.deb"]

# Another archive, whose key lies beside this file as keys/FINGERPRINT.asc.
#[archives.site]
#mirrors = ["http://repo.example/debian"]
#public = "http://repo.example/debian"
#suites = ["stable"]
#components = ["main"]
#keys = ["0123456789ABCDEF0123456789ABCDEF01234567"]
#own_keys = true

# Commands that run inside the tree: isolated, no services, no network.
#[configure]
#add.commands = [["update-alternatives", "--set", "editor", "/usr/bin/vim.tiny"]]

# Files: whole, or taken from beside this one.
#[configure.files]
#"/etc/motd".text = "Welcome.\\n"
#"/etc/app.conf" = {{ source = "files/app.conf", mode = "0640" }}

# A directory beside this file, whose files go into the tree.
#[configure.overlays]
#overlay = {{}}

# Accounts; their passwords are locked.
#[configure.users.deploy]
#groups = ["sudo"]
#authorized_keys = ["ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI... somebody"]

# An executable beside this file, run in the tree as a step of its own.
#[hooks.tune]
#run = "hooks/tune"
#after = "configure"

# What a container must not have.
#[strip]
#add.mask = ["exim4.service"]

# A rule of `tmplbuild check` that does not hold here, and why.
#[check.waive]
#setuid-unexpected = "the site's own tool needs it"
"""
