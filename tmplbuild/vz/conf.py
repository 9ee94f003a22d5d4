"""A VE's configuration: conf/VEID.conf over vz.conf, edited in place, and names that lead to it."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tmplbuild import vzconf
from tmplbuild.artifact.atomic import remove_stale, write_atomic
from tmplbuild.config import Settings
from tmplbuild.errors import BusyError, StoreError, UsageError
from tmplbuild.tomlfile import did_you_mean

_VEID = re.compile(r"[1-9][0-9]{0,8}")
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,62}")
_FIRST_FREE = 101  # ids up to 100 are OpenVZ's own (vzctl(8))


@dataclass(frozen=True, slots=True)
class Conf:
    """What holds for one VE.

    Parameters:
        veid: its number, as text.
        own: the values of VEID.conf.
        common: those of vz.conf, which hold where VEID.conf is silent.
    """

    veid: str
    own: Mapping[str, str] = field(default_factory=dict)
    common: Mapping[str, str] = field(default_factory=dict)

    def get(self, key: str, default: str = "") -> str:
        """A value with $VEID filled in."""
        found = self.own.get(key)
        if found is None:
            found = self.common.get(key, default)
        return vzconf.for_veid(found, self.veid)

    def words(self, key: str) -> tuple[str, ...]:
        """A value that is a list."""
        return tuple(self.get(key).split())

    def yes(self, key: str) -> bool:
        """Whether a value is "yes"."""
        return self.get(key).lower() in ("yes", "on", "true", "1")

    def with_values(self, changes: Mapping[str, str | None]) -> Conf:
        """The same with some values of its own changed; None takes one away."""
        own = {**self.own, **{key: value for key, value in changes.items() if value is not None}}
        for key, value in changes.items():
            if value is None:
                own.pop(key, None)
        return Conf(self.veid, own, self.common)

    @property
    def name(self) -> str:
        """Its name, or "" ."""
        return self.get("NAME")


def path_of(settings: Settings, veid: str) -> Path:
    """Where the configuration of a VE lies."""
    return settings.vz_dir / "conf" / f"{veid}.conf"


def known(settings: Settings) -> list[str]:
    """The numbers of all VEs that have a configuration, in order."""
    try:
        names = os.listdir(settings.vz_dir / "conf")
    except OSError:
        return []
    found = [name.removesuffix(".conf") for name in names if name.endswith(".conf")]
    return sorted((veid for veid in found if _VEID.fullmatch(veid)), key=int)


def common(settings: Settings) -> dict[str, str]:
    """The values of vz.conf. Raises UsageError when it cannot be read."""
    path = settings.vz_dir / "vz.conf"
    return values_of(_text(path)) if path.exists() else {}


def every(settings: Settings) -> Iterator[Conf]:
    """The configurations of all VEs, by number; one that is destroyed meanwhile is left out."""
    for veid in known(settings):
        try:
            yield load(settings, veid)
        except UsageError:
            if path_of(settings, veid).exists():
                raise


def load(settings: Settings, veid: str) -> Conf:
    """The configuration of a VE. Raises UsageError where there is none, or it cannot be read."""
    path = path_of(settings, veid)
    if not path.exists():
        raise UsageError(
            f"there is no VE {veid}",
            where=str(path),
            hint="`tmplbuild ve list -a` lists those that there are",
        )
    return Conf(veid, values_of(_text(path)), common(settings))


def resolve(settings: Settings, word: str) -> str:
    """The number of a VE that is named by its number or its name. Raises UsageError."""
    if _VEID.fullmatch(word):
        return word
    link = settings.vz_dir / "names" / word
    veid = Path(_target(link)).name.removesuffix(".conf") if _NAME.fullmatch(word) else ""
    if veid and path_of(settings, veid).exists():
        return veid
    names = {conf.name: conf.veid for conf in every(settings) if conf.name}
    if word in names:
        return names[word]
    near = did_you_mean(word, names)
    raise UsageError(
        f"there is no VE {word!r}", hint=near or "`tmplbuild ve list -a` lists those that there are"
    )


def free_veid(settings: Settings, *, taken: Callable[[str], bool] = lambda veid: False) -> str:
    """The lowest number from 101 on that no VE has.

    Parameters:
        taken: whether a VE of that number is just being made.
    """
    there = set(known(settings))
    number = _FIRST_FREE
    while str(number) in there or (settings.ve_private / str(number)).exists() or taken(str(number)):
        number += 1
    return str(number)


def is_veid(word: str) -> bool:
    """Whether a word is a VE's number."""
    return _VEID.fullmatch(word) is not None


def sample(settings: Settings, name: str) -> str:
    """The text of ve-NAME.conf-sample. Raises UsageError where there is none."""
    path = settings.vz_dir / "conf" / f"ve-{name}.conf-sample"
    if "/" not in name and path.exists():
        return _text(path)
    there = sorted(found.name[3:-12] for found in path.parent.glob("ve-*.conf-sample"))
    raise UsageError(
        f"there is no configuration sample {name!r}",
        where=str(path),
        hint=did_you_mean(name, there) or ("there are " + ", ".join(there) if there else "write that file"),
    )


def save(
    settings: Settings, veid: str, changes: Mapping[str, str | None], *, base: str | None = None
) -> None:
    """Change values of a VE's configuration; all else in the file stays as it was.

    Parameters:
        base: the text to begin with, for a file that is not there yet.

    Raises UsageError for what cannot be read, StoreError for what cannot be written.
    """
    path = path_of(settings, veid)
    before = _text(path) if base is None else base
    after = vzconf.edited(before, changes)
    if base is None and after == before:
        return
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StoreError("the directory cannot be made", where=str(path.parent), why=str(error)) from error
    write_atomic(path, after.encode("utf-8", "surrogateescape"))


def remove(settings: Settings, veid: str) -> None:
    """Put a VE's configuration away as VEID.conf.destroyed, as vzctl does, and its name with it."""
    path = path_of(settings, veid)
    remove_stale(path)
    for link in _names_of(settings, veid):
        link.unlink(missing_ok=True)
    if path.exists():
        path.rename(path.with_name(f"{path.name}.destroyed"))


def rename(settings: Settings, veid: str, name: str) -> None:
    """Let a name lead to a VE, and no other name; "" takes it away.

    Raises UsageError for what is no name, BusyError when another VE has it.
    """
    check_name(settings, veid, name)
    for link in _names_of(settings, veid):
        if link.name != name:
            link.unlink(missing_ok=True)
    if not name:
        return
    link = settings.vz_dir / "names" / name
    link.parent.mkdir(parents=True, exist_ok=True)
    draft = link.with_name(f".{name}.{os.getpid()}")
    draft.unlink(missing_ok=True)
    draft.symlink_to(path_of(settings, veid))
    draft.rename(link)


def check_name(settings: Settings, veid: str, name: str) -> None:
    """Raises UsageError for what is no name of a VE, BusyError when another VE has it."""
    if not name:
        return
    if not _NAME.fullmatch(name):
        raise UsageError(
            f"{name!r} is no name for a VE", hint="a letter, then letters, digits, '.', '_', '-'"
        )
    for other in every(settings):
        if other.veid != veid and other.name == name:
            raise BusyError(f"the name {name} is taken", where=str(path_of(settings, other.veid)))


def _names_of(settings: Settings, veid: str) -> list[Path]:
    folder = settings.vz_dir / "names"
    if not folder.is_dir():
        return []
    return [link for link in folder.iterdir() if _target(link).endswith(f"/{veid}.conf")]


def _target(link: Path) -> str:
    """Where a link leads; "" where there is none, or none any more."""
    try:
        return os.readlink(link)
    except OSError:
        return ""


def values_of(text: str) -> dict[str, str]:
    """The values of a configuration file; the last of a name counts."""
    return {found.name: found.value for found in vzconf.assignments(text) if found.value is not None}


def _text(path: Path) -> str:
    try:
        return vzconf.text_of(path)
    except vzconf.Malformed as error:
        raise UsageError("a configuration cannot be read", where=str(error)) from error
