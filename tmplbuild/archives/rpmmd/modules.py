"""Module streams (modules.yaml): which of a repository's packages are seen.

A module has streams, of which one at most is active: the one that the recipe names, or else the default one
if the archive has such. Of an active stream the packages are seen, and nothing else that provides what they
are called; those of all other streams are not. The rules are libdnf's (module/ModulePackageContainer.cpp,
setModuleExcludes in dnf-sack.cpp), the format is libmodulemd's (yaml_specs/modulemd_stream_v2.yaml,
modulemd_defaults_v1.yaml). What a stream needs of the platform is taken for met: an archive is of one
release.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

from tmplbuild.archives.libsolv import Solver
from tmplbuild.errors import ResolveError, VerifyError
from tmplbuild.yamlfile import YamlError, documents

LIMIT = 64 << 20
"""Bytes of a list of modules; the largest that were seen have some 12 MB."""
_NONE = "-"  # before a stream that a module cannot stand with
_PLATFORM = "platform"
_NAME = re.compile(r"[!-~]{1,200}")

Need: TypeAlias = tuple[str, tuple[str, ...]]
"""A module, and its streams of which one is needed (none: any; "-" before one that must not be)."""


@dataclass(frozen=True, slots=True)
class Stream:
    """A stream's build. `packages` are NAME-EPOCH:VERSION-RELEASE.ARCH; `plain` names packages that left the
    module, so that others of these names are seen."""

    module: str
    stream: str
    version: int = 0
    context: str = ""
    arch: str = ""
    packages: tuple[str, ...] = field(default=(), repr=False)
    plain: frozenset[str] = frozenset()
    needs: tuple[Need, ...] = ()

    @property
    def title(self) -> str:
        """As dnf and recipes write it."""
        return f"{self.module}:{self.stream}"

    def names(self) -> Iterator[str]:
        """The names of its binary packages, but those that left the module."""
        for package in self.packages:
            name = package.rsplit("-", 2)[0]
            if not package.endswith((".src", ".nosrc")) and name not in self.plain:
                yield name


@dataclass(slots=True)
class Modules:
    """What all lists of modules say: every build of every stream, and default streams by module."""

    streams: list[Stream] = field(default_factory=list)
    _stated: dict[str, tuple[int, str]] = field(default_factory=dict)

    @property
    def defaults(self) -> dict[str, str]:
        """The default stream of each module that has one."""
        return {module: stream for module, (_, stream) in self._stated.items() if stream}

    def read(self, path: Path, where: str) -> None:
        """Add a list. Raises VerifyError for what is none."""
        if path.stat().st_size > LIMIT:
            raise _bad(where, "it is larger than any")
        try:
            for document in documents(path.read_bytes()):
                self._take(document, where)
        except YamlError as error:
            raise _bad(f"{where}:{error.line}", f"not YAML: {error.why}") from error

    def _take(self, document: Any, where: str) -> None:
        kind = document.get("document") if isinstance(document, dict) else None
        if kind not in ("modulemd", "modulemd-defaults"):
            return  # translations, obsoletes, what packagers write: they decide nothing
        data = _Data(document.get("data"), where)
        if kind == "modulemd":
            self.streams.append(data.stream())
            return
        module, modified, stream = data.text("module"), data.number("modified"), data.text("stream", "")
        old = self._stated.get(module)
        if old is None or modified > old[0]:
            self._stated[module] = (modified, stream)
        elif modified == old[0] and stream != old[1]:
            self._stated[module] = (modified, "")  # two lists differ: there is none

    def of_package(self, name: str) -> list[str]:
        """The streams that have a package of a name."""
        return sorted({one.title for one in self.streams if name in one.names()})


def active(modules: Modules, wanted: Sequence[str], arch: str) -> tuple[Stream, ...]:
    """The builds of all streams that are seen.

    Parameters:
        wanted: the streams that a recipe names, as MODULE:STREAM.
        arch: the tree's architecture.

    Raises ResolveError for one that there is not, or that cannot stand with the others.
    """
    ours = [one for one in modules.streams if one.arch in ("", "noarch", arch)]
    known = {one.title for one in ours}
    for title in wanted:
        if title not in known:
            raise _no_such(title, known)
    named = {title.partition(":")[0] for title in wanted}
    usual = [
        f"{module}:{stream}" for module, stream in sorted(modules.defaults.items()) if module not in named
    ]
    usual = [title for title in usual if title in known]
    builds = _Builds(ours)
    taken = builds.solve(wanted)
    if taken is None:
        raise ResolveError(
            f"the module streams {', '.join(wanted)} cannot be had together",
            why="; ".join(_needs_in_words(one) for one in ours if one.title in wanted and one.needs),
            hint="a stream may need one of another module: name that one, too (archives.NAME.modules)",
        )
    if usual and (both := builds.solve((*wanted, *usual))) is not None:
        return both
    # a default stream that cannot be had is none: the first word have those that need nothing
    needy = {one.title: len(one.needs) for one in ours}
    good = list(wanted)
    for title in sorted(usual, key=lambda title: needy[title]):
        if (more := builds.solve((*good, title))) is not None:
            good.append(title)
            taken = more
    for one in taken:
        if one.module not in named and f"{one.module}:{modules.defaults.get(one.module)}" in {*usual} - {
            one.title
        }:
            raise ResolveError(
                f"a module stream that is enabled needs {one.title}, which is not its module's default one",
                where="archives.NAME.modules",
                why=f"the default stream is {one.module}:{modules.defaults[one.module]}",
                hint=f"enable {one.title}, too: the template's dnf would take the default one",
            )
    return taken


def seen(
    modules: Modules, streams: Iterable[Stream]
) -> tuple[frozenset[str], frozenset[str], frozenset[str]]:
    """What follows of the active streams: the packages that are seen, those that are not, and the names that
    nothing else may provide."""
    shown: set[str] = set()
    names: set[str] = set()
    for one in streams:
        shown.update(one.packages)
        names.update(one.names())
    gone = {package for one in modules.streams for package in one.packages} - shown
    return frozenset(shown), frozenset(gone), frozenset(names)


class _Builds:
    """The builds of all streams as packages of a problem: of a module one build at most."""

    def __init__(self, streams: Sequence[Stream]) -> None:
        # all versions of a stream that need the same come and go together (libdnf: resolveContext)
        self._groups: dict[tuple[str, str, tuple[Need, ...]], list[Stream]] = {}
        for one in streams:
            self._groups.setdefault((one.module, one.stream, one.needs), []).append(one)

    def solve(self, titles: Sequence[str]) -> tuple[Stream, ...] | None:
        """The builds of these streams and of what they need; None where they cannot be had together."""
        solver, numbers = Solver(), _Numbers()
        groups = sorted(self._groups.items(), key=lambda row: (row[0][0], max(one.version for one in row[1])))
        for number, ((module, _, needs), builds) in enumerate(groups):
            solver.package(number, module, number)
            solver.provides(number, numbers[(module, ())])
            solver.provides(number, numbers[(module, (builds[0].stream,))])
            for need, streams in needs:
                for stream in streams:
                    if stream.startswith(_NONE):
                        solver.conflicts(number, numbers[(need, (stream.removeprefix(_NONE),))])
                some = tuple(stream for stream in streams if not stream.startswith(_NONE))
                solver.requires(number, numbers[(need, some)])
        for (module, streams), capability in list(numbers.items()):
            for number, ((name, stream, _), _builds) in enumerate(groups):
                if len(streams) > 1 and name == module and stream in streams:
                    solver.provides(number, capability)
        wanted = []
        for title in titles:
            module, _, stream = title.partition(":")
            wanted.append(numbers[(module, (stream,))])
        outcome = solver.solve(wanted, ())
        if outcome.clashes or outcome.stuck or (wanted and not outcome.taken):
            return None
        return tuple(one for number in sorted(outcome.taken) for one in groups[number][1])


class _Numbers(dict[Need, int]):
    """A number for each capability, made when it is first asked for."""

    def __missing__(self, need: Need) -> int:
        self[need] = len(self)
        return self[need]


class _Data:
    """The `data` of a document. Raises VerifyError for what is of another form."""

    def __init__(self, value: Any, where: str) -> None:
        if not isinstance(value, dict):
            raise _bad(where, "a document without data")
        self._value = value
        self._where = where

    def stream(self) -> Stream:
        artifacts, gone = self._table("artifacts"), self._table("demodularized")
        return Stream(
            module=self._name("name"),
            stream=self._name("stream"),
            version=self.number("version"),
            context=self.text("context", ""),
            arch=self.text("arch", ""),
            packages=tuple(one for one in artifacts.texts("rpms") if one.count("-") >= 2),
            plain=frozenset(gone.texts("rpms")),
            needs=tuple(self._needs()),
        )

    def _needs(self) -> Iterator[Need]:
        listed = self._value.get("dependencies") or []
        for one in listed if isinstance(listed, list) else [listed]:
            requires = _Data(one, self._where)._table("requires")
            for module in requires._value:
                if module != _PLATFORM:
                    yield module, tuple(sorted(requires.texts(module)))

    def _name(self, key: str) -> str:
        name = self.text(key)
        if not _NAME.fullmatch(name):
            raise _bad(self._where, f"{key} is {name[:40]!r}")
        return name

    def text(self, key: str, default: str | None = None) -> str:
        found = self._value.get(key, default)
        if not isinstance(found, str):
            raise _bad(self._where, f"{key} is no text")
        return found

    def number(self, key: str) -> int:
        text = self.text(key, "0")
        if not (text.isascii() and text.isdigit() and len(text) <= 20):
            raise _bad(self._where, f"{key} is {text[:40]!r}")
        return int(text)

    def texts(self, key: str) -> list[str]:
        found = self._value.get(key) or []
        rows = [found] if isinstance(found, str) else found
        if not isinstance(rows, list) or not all(isinstance(one, str) for one in rows):
            raise _bad(self._where, f"{key} is no list of texts")
        return rows

    def _table(self, key: str) -> _Data:
        return _Data(self._value.get(key) or {}, self._where)


def _needs_in_words(one: Stream) -> str:
    rows = [f"{module} {' or '.join(streams) or 'of any stream'}" for module, streams in one.needs]
    return f"{one.title} needs {', '.join(rows)}"


def _no_such(title: str, known: Collection[str]) -> ResolveError:
    module = title.partition(":")[0]
    others = sorted(one for one in known if one.partition(":")[0] == module)
    near = others or difflib.get_close_matches(title, known, n=2, cutoff=0.6)
    return ResolveError(
        f"there is no module stream {title!r} in the recipe's archives",
        where="archives.NAME.modules",
        hint=f"there are {', '.join(near)}" if near else "these archives have no such module",
    )


def _bad(where: str, why: str) -> VerifyError:
    return VerifyError(
        "a repository's list of modules cannot be read",
        where=where,
        why=why,
        hint="use another mirror (MIRROR=)",
    )
