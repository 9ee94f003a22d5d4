"""Every error that a user can see: one tree, one exit code a class.

    TmplbuildError            1  (a bug, when it is none of the others)
    ├── UsageError            2  the command line or the settings
    ├── RecipeError           3  a recipe: wrong type, unknown key, missing file, cycle
    ├── HostError             4  this machine lacks something that is needed
    ├── FetchError            5  the network or a mirror; trying again may help
    ├── VerifyError           6  bytes that are not what a pinned key or hash says
    ├── StageError            7  a stage failed: a command, a script, a check
    ├── StoreError            8  the template cache, the layers, the disk
    ├── BusyError             9  another run holds the lock
    └── ResolveError         10  a package that does not exist or cannot be installed

A message says *what* failed; `where` (file and key, URL, package), `why` and `hint` (what to do
next) complete it. They are rendered by `tmplbuild.ui`; nothing here prints.
"""

from __future__ import annotations


class TmplbuildError(Exception):
    """An error for the user's eyes.

    Parameters:
        what: one sentence: what could not be done.
        where: file and key, URL, package or path that it is about.
        why: the cause as far as it is known, with the system's own words.
        hint: what the user can do about it.
    """

    exit_code = 1

    def __init__(self, what: str, *, where: str = "", why: str = "", hint: str = "") -> None:
        super().__init__(what)
        self.what = what
        self.where = where
        self.why = why
        self.hint = hint

    def __str__(self) -> str:
        parts = [self.what]
        parts += [f"{label}: {text}" for label, text in self.details()]
        return "\n".join(parts)

    def details(self) -> list[tuple[str, str]]:
        """The labelled lines below the first, those that have a text."""
        rows = [("where", self.where), ("why", self.why), ("hint", self.hint)]
        return [(label, text) for label, text in rows if text]


class UsageError(TmplbuildError):
    """The command line or the settings ask for something that cannot be."""

    exit_code = 2


class RecipeError(TmplbuildError):
    """A recipe is wrong. `faults` holds every fault found, each one line."""

    exit_code = 3

    def __init__(
        self,
        what: str,
        *,
        where: str = "",
        why: str = "",
        hint: str = "",
        faults: tuple[str, ...] = (),
    ) -> None:
        super().__init__(what, where=where, why=why or "\n".join(faults), hint=hint)
        self.faults = faults


class HostError(TmplbuildError):
    """This machine lacks a privilege, a kernel feature or a file that is needed."""

    exit_code = 4


class FetchError(TmplbuildError):
    """No mirror gave the bytes. Trying again later may help."""

    exit_code = 5


class VerifyError(TmplbuildError):
    """Bytes came that are not what a pinned key, a signed date or a hash says. They are not used."""

    exit_code = 6


class StageError(TmplbuildError):
    """A stage failed. `log` is the path of its log, `tail` the last lines of it."""

    exit_code = 7

    def __init__(
        self,
        what: str,
        *,
        where: str = "",
        why: str = "",
        hint: str = "",
        log: str = "",
        tail: tuple[str, ...] = (),
    ) -> None:
        super().__init__(what, where=where, why=why, hint=hint)
        self.log = log
        self.tail = tail


class StoreError(TmplbuildError):
    """The template cache, the layer store or the package cache cannot be read or written."""

    exit_code = 8


class BusyError(TmplbuildError):
    """Another run works on the same thing."""

    exit_code = 9


class ResolveError(TmplbuildError):
    """A package does not exist in the recipe's archives, or its dependencies cannot be met."""

    exit_code = 10


INTERRUPTED = 130
"""Exit status after Ctrl-C or SIGTERM (128 + SIGINT, as shells have it)."""


def bug(error: BaseException, where: str, hint: str = "") -> TmplbuildError:
    """What nobody foresaw, as an error that is told as all others are."""
    return TmplbuildError(
        "this is a bug in tmplbuild", where=where, why=f"{type(error).__name__}: {error}", hint=hint
    )
