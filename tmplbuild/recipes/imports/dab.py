"""Proxmox's dab.conf: "Key: value" lines, a Description of several lines; dab(1), CONFIGURATION.

A dab.conf is half of an appliance: what is installed, its Makefile says (`dab install ...`).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from tmplbuild.errors import RecipeError
from tmplbuild.recipes.imports.draft import Draft, of_release
from tmplbuild.recipes.model import Archive
from tmplbuild.tomlfile import quote

_LINE = re.compile(r"([A-Za-z][A-Za-z-]*):[ \t]*(.*?)[ \t]*")
_SOURCE = re.compile(r"((?:https?|ftp)://\S+)\s+(\S+)((?:\s+\S+)*)")
# Depends is Debian's own form: alternatives by "|", versions in brackets (deb-control(5))
_DEPEND = re.compile(r"([a-z0-9][a-z0-9+.-]*)(?::\w+)?\s*(\(.*\))?")
_UBUNTU = frozenset({"focal", "jammy", "noble", "resolute", "trusty", "xenial", "bionic", "vivid"})
_LATER = {
    "section": "the appliance's own data are written when it is published",
    "maintainer": "the appliance's own data are written when it is published",
    "infopage": "the appliance's own data are written when it is published",
    "manageurl": "the appliance's own data are written when it is published",
    "certified": "the appliance's own data are written when it is published",
    "cachedir": "one cache serves all builds: the setting cache_dir",
    "workdir": "trees are made below the setting state_dir",
    "mirror": "a mirror is no part of a recipe: --mirror, MIRROR= or the setting mirrors",
}


def is_one(text: str) -> bool:
    """Whether the text looks like a dab.conf."""
    return re.search(r"^Suite:[ \t]*\S", text, re.MULTILINE | re.IGNORECASE) is not None


def read(path: Path, text: str, roots: Sequence[Path]) -> Draft:
    """The dab.conf as a draft. Raises RecipeError for lines that dab would not take, and UsageError
    where no recipe of ours has its release."""
    fields = _fields(path, text)
    suite = fields["suite"][0]
    draft = Draft(path, of_release(path, "ubuntu" if suite in _UBUNTU else "debian", suite, roots))
    image = draft.parent.recipe.image
    for key, values in fields.items():
        for value in values:
            if key in _LATER:
                draft.leave(f"{_spelled(key)}: {value}", _LATER[key])
            elif key not in (
                "suite",
                "name",
                "version",
                "architecture",
                "description",
                "source",
                "depends",
                "install-source",
            ):
                draft.leave(f"{_spelled(key)}: {value}", "dab(1) does not know it")
    if name := fields.get("name"):
        # NAME_VERSION_ARCH, with the distribution before it: what dab calls the file, and Proxmox expects
        ostype = f"{image.distro}-{image.release}"
        whole = name[0] if name[0].startswith(ostype) else f"{ostype}-{name[0]}"
        version = "".join(f"_{text}" for text in fields.get("version", ()))
        draft.name = f"{whole}{version}_{{arch}}"
    draft.title = fields.get("description", [""])[0].partition("\n")[0]
    if len(fields.get("description", [""])[0].splitlines()) > 1:
        draft.leave("Description", "only its first line is kept, as the title")
    for arch in fields.get("architecture", ()):
        if arch not in image.arches:
            draft.leave(f"Architecture: {arch}", f"the recipe for {suite} has {', '.join(image.arches)}")
        elif arch != image.arches[0]:
            draft.leave(f"Architecture: {arch}", f"it is chosen when it is built: --arch {arch}")
    for value in fields.get("source", ()):
        _source(draft, "Source", value, suite)
    for value in fields.get("install-source", ()):
        draft.leave(
            f"Install-Source: {value}", "write it as [archives.ROLE] with build_only = true and its key"
        )
    for value in fields.get("depends", ()):
        _depends(draft, value)
    draft.leave(
        "Makefile",
        "what `dab install` does there belongs into install.packages, `dab exec` into configure or [hooks]",
    )
    return draft


def _fields(path: Path, text: str) -> dict[str, list[str]]:
    fields: dict[str, list[str]] = {}
    key = ""
    for number, line in enumerate(text.splitlines(), 1):
        if line.startswith("#") or not line.strip():
            continue
        found = _LINE.fullmatch(line)
        if line[0] in " \t" and key == "description":
            fields[key][-1] += "\n" + line.strip()
        elif found is None:
            raise RecipeError(
                "the file is no dab.conf", where=f"{path}:{number}", why=f"not a key and a value: {line}"
            )
        else:
            key = found[1].lower()
            if key in fields and key not in ("source", "mirror", "install-source"):
                raise RecipeError(
                    "the file is no dab.conf", where=f"{path}:{number}", why=f"{found[1]} is given twice"
                )
            fields.setdefault(key, []).append(found[2])
    return fields


def _source(draft: Draft, key: str, value: str, suite: str) -> None:
    found = _SOURCE.fullmatch(value.strip())
    if found is None:
        draft.leave(f"{key}: {value}", "not an address, a suite and components")
        return
    url, wanted, components = found[1], found[2].replace("SUITE", suite), found[3].split()
    archive = _known(draft, url, wanted)
    if archive is None:
        draft.leave(f"{key}: {value}", "another vendor's archive needs its key: write it as [archives.ROLE]")
    elif more := [name for name in components if name not in archive.components]:
        wanted = ", ".join(map(quote, more))
        draft.leave(f"{key}: {value}", f"in [archives.ROLE], add.components = [{wanted}] takes these, too")


def _known(draft: Draft, url: str, suite: str) -> Archive | None:
    """The parent's archive with this suite, if the address is the distribution's own."""
    host = url.partition("://")[2].partition("/")[0]
    own = ("debian.org", "ubuntu.com")
    if not any(host == name or host.endswith(f".{name}") for name in own):
        return None
    # the security suite was called SUITE/updates until Debian 10
    names = {suite, suite.replace("/updates", "-security")}
    for archive in draft.parent.recipe.archives.values():
        if names & set(archive.suites):
            return archive
    return None


def _depends(draft: Draft, value: str) -> None:
    for part in filter(None, map(str.strip, value.split(","))):
        first = part.split("|")[0].strip()
        found = _DEPEND.fullmatch(first)
        if found is None:
            draft.leave(f"Depends: {part}", "not a package's name")
            continue
        draft.install([found[1]])
        if found[2] or "|" in part:
            draft.leave(
                f"Depends: {part}", f"{found[1]} is installed; versions and alternatives are not asked for"
            )


def _spelled(key: str) -> str:
    return "-".join(word.capitalize() for word in key.split("-"))
