"""distrobuilder's YAML: https://linuxcontainers.org/distrobuilder/docs/latest/reference/

Filters (releases, architectures, variants, types) are applied for one release, our recipe's first
architecture, one variant, and containers.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, get_args

import msgspec

from tmplbuild.errors import RecipeError
from tmplbuild.recipes.catalogue import VE_ARCHES
from tmplbuild.recipes.imports.draft import Draft, Left, of_release
from tmplbuild.recipes.model import File
from tmplbuild.yamlfile import YamlError, documents

_PONGO = re.compile(r"\{[{%]")
_SHEBANG = re.compile(r"#!\s*/(?:usr/)?bin/(?:env )?(sh|bash|dash)\b.*\n?")


class _Filtered(msgspec.Struct, kw_only=True):
    releases: list[str] = []
    architectures: list[str] = []
    variants: list[str] = []
    types: list[str] = []


class _Set(_Filtered, kw_only=True):
    action: str
    packages: list[str] = []
    flags: list[str] = []


class _Repository(_Filtered, kw_only=True):
    name: str = ""
    url: str = ""


class _File(_Filtered, kw_only=True):
    generator: str
    name: str = ""
    path: str = ""
    content: str = ""
    source: str = ""
    pongo: bool = False
    mode: int | str | None = None
    uid: int | str = 0
    gid: int | str = 0


class _Action(_Filtered, kw_only=True):
    trigger: str
    action: str
    pongo: bool = False


class _Image(msgspec.Struct, kw_only=True):
    distribution: str
    release: str = ""
    variant: str = "default"
    description: str = ""


class _Packages(msgspec.Struct, kw_only=True):
    manager: str = ""
    custom_manager: dict[str, Any] = {}
    sets: list[_Set] = []
    repositories: list[_Repository] = []


class _Variable(msgspec.Struct, kw_only=True):
    key: str = ""
    value: str = ""
    set: bool = True


class _Environment(msgspec.Struct, kw_only=True):
    clear_defaults: bool = False
    variables: list[_Variable] = []


class _Definition(msgspec.Struct, kw_only=True):
    image: _Image
    source: dict[str, Any] = {}
    packages: _Packages = msgspec.field(default_factory=_Packages)
    files: list[_File] = []
    actions: list[_Action] = []
    targets: dict[str, Any] = {}
    environment: _Environment = msgspec.field(default_factory=_Environment)


def is_one(text: str) -> bool:
    """Whether the text looks like a definition of distrobuilder's."""
    return re.search(r"^image:", text, re.MULTILINE) is not None


def read(path: Path, text: str, roots: Sequence[Path], *, release: str = "", variant: str = "") -> Draft:
    """The definition as a draft. Raises RecipeError where it is not what distrobuilder takes, UsageError
    where no recipe of ours has its release."""
    definition, raw = _decode(path, text)
    image = definition.image
    parent = of_release(path, image.distribution.lower(), release or image.release, roots)
    draft = Draft(path, parent, title=_plain_text(image.description))
    variant = variant or image.variant or "default"
    draft.name = (
        "{distro}-{release}" + ("" if variant == "default" else f"-{variant}") + "-imported-{ve_arch}"
    )
    holds = _filter(draft, variant)
    _source(draft, definition.source)
    _packages(draft, definition.packages, holds)
    for file in filter(holds, definition.files):
        _file(draft, file)
    variables = _variables(draft, definition.environment)
    for action in filter(holds, definition.actions):
        _action(draft, action, variables)
    for name in definition.targets:
        draft.leave(f"targets.{name}", "what a client's own format needs is written when it is published")
    _leave_unknown(draft, raw, _Definition, "")
    return draft


_SOURCE = {
    "url": "a mirror is no part of a recipe: --mirror, MIRROR= or the setting mirrors",
    "skip_verification": "nothing is used unverified",
}
_UNKNOWN = {
    "image.architecture": "it is chosen when it is built: --arch",
    "image.architectures": "it is chosen when it is built: --arch",
    "image.expiry": "the images' own data are written when it is published",
    "image.name": "the images' own data are written when it is published",
    "image.serial": "the images' own data are written when it is published",
    "image.variants": "each variant is a recipe of its own: --variant",
    "mappings": "the recipe names architectures in the distribution's words",
    "packages.cleanup": "stage clean does it",
    "packages.update": "every build brings the tree up to date",
    "packages.sets.early": "packages are installed all at once",
    "packages.repositories.key": "a key is pinned by its fingerprint: [archives.ROLE] keys",
    "packages.repositories.type": "see [archives.ROLE]",
    "simplestreams": "indexes are written when it is published",
    "files.templated": "made by a template: write what it comes to",
    "files.template": "a template of Incus': written when it is published",
}


def _leave_unknown(draft: Draft, raw: Any, kind: Any, path: str) -> None:
    """Every key that the types do not know is listed: msgspec passes over it."""
    if isinstance(raw, list):
        for item in raw:
            _leave_unknown(draft, item, kind, path)
        return
    fields = {field.encode_name: field.type for field in msgspec.structs.fields(kind)}
    for key, value in raw.items():
        here = f"{path}{key}"
        if key not in fields:
            row = Left(here, _UNKNOWN.get(here, "has no counterpart"))
            if row not in draft.left:
                draft.left.append(row)
            continue
        inner = next((one for one in (fields[key], *get_args(fields[key])) if _is_struct(one)), None)
        if inner is not None and isinstance(value, dict | list):
            _leave_unknown(draft, value, inner, f"{here}.")


def _is_struct(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, msgspec.Struct)


def _variables(draft: Draft, environment: _Environment) -> list[str]:
    """The variables that commands get, as env(1) takes them."""
    if environment.clear_defaults:
        draft.leave("environment.clear_defaults", "commands have a clean environment anyway")
    for variable in environment.variables:
        if not variable.set:
            draft.leave(f"environment.variables {variable.key}", "commands have a clean environment anyway")
    return [f"{one.key}={one.value}" for one in environment.variables if one.set and one.key]


def _decode(path: Path, text: str) -> tuple[_Definition, Any]:
    try:
        raw = next(documents(text, typed=True), None)
        return msgspec.convert(raw, _Definition), raw
    except YamlError as error:
        line = f":{error.line}" if error.line else ""
        raise RecipeError("the file is not YAML", where=f"{path}{line}", why=error.why) from error
    except msgspec.ValidationError as error:
        raise RecipeError(
            "the file is no definition of distrobuilder's", where=str(path), why=str(error)
        ) from error


def _filter(draft: Draft, variant: str) -> Callable[[_Filtered], bool]:
    image = draft.parent.recipe.image
    releases = {image.release, image.suite}
    arches = {draft.parent.arch, VE_ARCHES[draft.parent.arch]}

    def holds(item: _Filtered) -> bool:
        return (
            (not item.releases or bool(releases & set(item.releases)))
            and (not item.architectures or bool(arches & set(item.architectures)))
            and (not item.variants or variant in item.variants)
            and (not item.types or "container" in item.types)
        )

    return holds


def _source(draft: Draft, source: dict[str, Any]) -> None:
    downloader = str(source.get("downloader", ""))
    if downloader and downloader != "debootstrap":
        draft.leave("source", f"{downloader}: the tree is made of packages, as {draft.parent.name} says")
    for key in source:
        if key not in ("downloader", "keys"):
            draft.leave(f"source.{key}", _SOURCE.get(key, f"the tree is made as {draft.parent.name} says"))
    known = {key for archive in draft.parent.recipe.archives.values() for key in archive.keys}
    for key in source.get("keys") or ():
        word = str(key).upper().removeprefix("0X")
        if word not in known:
            shown = word if re.fullmatch("[0-9A-F]+", word) else "a certificate"
            draft.leave(f"source.keys: {shown}", f"{draft.parent.name} pins its own keys")


def _packages(draft: Draft, packages: _Packages, holds: Callable[[_Filtered], bool]) -> None:
    if packages.custom_manager:
        draft.leave("packages.custom_manager", "the package manager is the distribution's own")
    for number, row in enumerate(packages.sets):
        if not holds(row):
            continue
        if row.flags:
            draft.leave(f"packages.sets[{number}].flags", f"{' '.join(row.flags)}: see install.recommends")
        names = [name for name in row.packages if not _PONGO.search(name)]
        for name in row.packages:
            if name not in names:
                draft.leave(f"packages.sets[{number}]", f"{name} is made by a template")
        (draft.install if row.action == "install" else draft.uninstall)(names)
    public = {archive.public.rstrip("/") for archive in draft.parent.recipe.archives.values()}
    for repository in filter(holds, packages.repositories):
        for line in _lines(repository.url):
            if not any(address in line for address in public) and ".ubuntu.com/" not in line:
                draft.leave(
                    f"packages.repositories {repository.name}",
                    f"{line}: another archive needs its key, as [archives.ROLE]",
                )


def _lines(text: str) -> Iterator[str]:
    yield from (line.strip() for line in text.splitlines() if line.strip() and not line.startswith("#"))


_ELSEWHERE = {
    "hostname": "the name is written when a container is created",
    "hosts": "the file is written when a container is created",
    "cloud-init": "a template of Incus': written when it is published",
    "template": "a template of Incus': written when it is published",
    "incus-agent": "for virtual machines",
    "lxd-agent": "for virtual machines",
    "fstab": "for virtual machines",
}


def _file(draft: Draft, file: _File) -> None:
    key = f"files {file.path or file.name} ({file.generator})"
    if file.generator in _ELSEWHERE:
        draft.leave(key, _ELSEWHERE[file.generator])
    elif file.pongo and _PONGO.search(file.path + file.content):
        draft.leave(key, "made by a template: write what it comes to")
    elif file.generator == "remove" and file.path.startswith("/"):
        if file.path not in draft.parent.recipe.strip.remove:
            draft.remove.append(file.path)
    elif file.generator == "dump" and file.path.startswith("/"):
        if not file.content and file.path in draft.parent.recipe.clean.files:
            return  # machine-id and its kin: clean does it
        mode = re.sub(r"^0o?", "0", str(file.mode)) if file.mode is not None else None
        try:
            made = File(text=_ended(file.content), mode=mode, uid=int(file.uid), gid=int(file.gid))
        except ValueError:
            draft.leave(key, "its owner is not a number")
            return
        draft.files[file.path] = made
    elif file.generator == "copy":
        draft.leave(
            key, f"put {file.source} beside the recipe, in a directory of [configure.overlays] or as a source"
        )
    else:
        draft.leave(key, "has no counterpart")


def _action(draft: Draft, action: _Action, variables: list[str]) -> None:
    key = f"actions {action.trigger}"
    if action.pongo and _PONGO.search(action.action):
        draft.leave(key, "made by a template: write what it comes to")
        return
    found = _SHEBANG.match(action.action)
    if action.action.startswith("#!") and found is None:
        draft.leave(key, f"{action.action.splitlines()[0]}: not a shell's")
        return
    shell = "bash" if found and found[1] == "bash" else "sh"
    script = action.action[found.end() :] if found else action.action
    env = ["env", *variables] if variables else []
    draft.commands.append([*env, shell, "-c", script.strip() + "\n"])
    if action.trigger in ("post-update", "post-files"):
        draft.leave(
            key,
            'converted, and run before the upgrade; if it must come later: [hooks.NAME] after = "upgrade"',
        )
    if re.search(r"\bu?mount\b", script):
        draft.leave(key, "converted, but nothing can be mounted where commands run: look at it")


def _ended(text: str) -> str:
    return text if not text or text.endswith("\n") else text + "\n"


def _plain_text(text: str) -> str:
    return "" if _PONGO.search(text) else text.partition("\n")[0]
