"""One interface to VEs that have a number and a configuration, whoever runs them.

The native way is this package; on a host with an OpenVZ kernel it is `vzctl`. Which one is found by
`choose`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from tmplbuild.core.model import ExecResult

Output = Callable[[bytes, str], None]
Options = Mapping[str, Sequence[str]]
"""Parameters by vzctl's names without dashes, each with its values: {"ipadd": ["192.0.2.1"]}."""


@dataclass(frozen=True, slots=True)
class Status:
    """What a VE is: whether there is one of that number, its files are mounted, its init runs."""

    exists: bool
    mounted: bool = False
    running: bool = False


@dataclass(frozen=True, slots=True)
class Listed:
    """One VE in a list. `processes` is 0 when it does not run."""

    veid: str
    processes: int
    status: str
    addresses: tuple[str, ...]
    hostname: str


class Backend(Protocol):
    """What can be done with VEs. A VE is named by its number.

    All raise BusyError (another command works on it, it runs or is mounted already), UsageError (no
    such VE or template, a value that cannot be), HostError, StageError.
    """

    name: str

    def create(self, veid: str, ostemplate: str, options: Options) -> None:
        """Make a VE from a template; `options` are those of `vzctl create` and `set`."""

    def start(self, veid: str, *, wait: bool = True, force: bool = False) -> None:
        """Start it; with `wait`, until its init is ready; with `force`, one that is disabled, too."""

    def stop(self, veid: str, *, fast: bool = False) -> None:
        """Have its init stop it; with `fast`, stop it at once."""

    def destroy(self, veid: str) -> None:
        """Remove it with its files."""

    def status(self, veid: str) -> Status:
        """What it is now."""

    def set(self, veid: str, options: Options, *, save: bool) -> None:
        """Change it; with `save` for good."""

    def exec(
        self,
        veid: str,
        argv: Sequence[str],
        *,
        env: Mapping[str, str] | None = None,
        cwd: str = "/",
        stdin: bytes | None = None,
        output: Output | None = None,
        timeout_s: float | None = None,
    ) -> ExecResult:
        """Run a command in a VE that runs."""

    def run_script(self, veid: str, script: Path, output: Output | None = None) -> int:
        """Run a script of the host in it, running or not. Returns its exit status."""

    def enter(self, veid: str) -> int:
        """A shell on the caller's terminal. Returns its exit status."""

    def mount(self, veid: str) -> None:
        """Show its files at VE_ROOT."""

    def umount(self, veid: str) -> None:
        """The reverse."""

    def list(self) -> Sequence[Listed]:
        """All VEs, running or not."""
