"""What a stage is handed beside its own section of the recipe.

A stage is a plain function `run(ctx, options)`. It reaches files through `ctx.tree()` and commands
through `ctx.entered()` (the tree isolated, no init) or `ctx.live()` (its init booted). One at a
time: the tree is one overlay, and two mounts of the same upper directory would corrupt it; the
context refuses.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol

from tmplbuild.archives.model import Package
from tmplbuild.core.tree import Tree
from tmplbuild.events import Emit
from tmplbuild.recipes.model import Upgrade
from tmplbuild.secrets import Secret


class Shell(Protocol):
    """A VE in which commands run; output goes to the step's log."""

    def run(
        self,
        argv: Sequence[str],
        *,
        what: str,
        env: Mapping[str, str] | None = None,
        stdin: bytes | None = None,
        timeout_s: float | None = None,
        ok: Sequence[int] = (0,),
        both: bool = False,
        hidden: Sequence[Secret] = (),
    ) -> bytes:
        """Run `argv` as root in the VE and return its standard output.

        Parameters:
            what: the error's first words if it fails ("configure the packages").
            env: added to a clean environment (PATH, LC_ALL=C.UTF-8, HOME=/root, SOURCE_DATE_EPOCH...).
            stdin: fed to the command; nothing (/dev/null) without it.
            timeout_s: seconds after which the command's whole cgroup is killed.
            ok: exit statuses that are no failure.
            both: return what it wrote to standard error too, as it came.
            hidden: secrets that are blotted out of what is logged, shown, and told of a failure.

        Raises StageError with the status and the last lines of output.
        """
        ...


class Trial(Protocol):
    """A VE made from a packed template, to be tried and thrown away."""

    def tree(self) -> AbstractContextManager[Tree]:
        """Its files, while it is stopped."""
        ...

    def live(self, *, boot_timeout_s: float, stop_timeout_s: float) -> AbstractContextManager[Shell]:
        """Its init booted with the template's own units; leaving the block stops it cleanly."""
        ...


class Ctx(Protocol):
    """What every stage may use."""

    @property
    def arch(self) -> str:
        """The distribution's own word for the architecture (amd64)."""
        ...

    @property
    def epoch(self) -> int:
        """Newest archive date, seconds: the latest time that a file of the template may carry."""
        ...

    @property
    def emit(self) -> Emit:
        """Where events go."""
        ...

    def beside(self, name: str) -> bytes:
        """The content of a file that lies beside the recipe (or beside its parent).

        Raises RecipeError when it cannot be read.
        """
        ...

    def tree(self) -> AbstractContextManager[Tree]:
        """The tree's files, writable."""
        ...

    def entered(self) -> AbstractContextManager[Shell]:
        """The tree in a VE of its own without init: no network, no services."""
        ...

    def live(self, options: Upgrade) -> AbstractContextManager[Shell]:
        """The tree as a VE with its init booted and ready; a proxy that reaches only the recipe's
        archives is in the commands' environment. Leaving the block stops it cleanly or raises
        StageError."""
        ...

    def trial(self, tarball: Path) -> AbstractContextManager[Trial]:
        """A VE created from a packed template, as a client would; it is destroyed at the end."""
        ...

    def package_file(self, package: Package) -> Path:
        """The verified file of a package in the cache (downloaded if it is not there yet)."""
        ...
