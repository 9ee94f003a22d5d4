"""The core's words: what a VE is made of, what it may use, what came of a command."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from tmplbuild.errors import UsageError

Net = Literal["none", "proxy"]
Ending = Literal["clean", "killed", "already"]


@dataclass(frozen=True, slots=True)
class Rootfs:
    """Where a VE's files lie at rest, with the template's own ids (0-based).

    Parameters:
        lower: read-only layers, topmost first; none means no overlay.
        upper: the directory that takes the changes. Without lower layers it is the whole tree.
        work: overlayfs' own directory; made when missing, emptied after use. It must be on the
            file system of `upper`; a sibling is best.
        directory: a plain directory instead of layers.
    """

    lower: tuple[Path, ...] = ()
    upper: Path | None = None
    work: Path | None = None
    directory: Path | None = None

    def __post_init__(self) -> None:
        if (self.directory is None) == (self.upper is None and not self.lower):
            raise UsageError("A root file system is either layers or one plain directory.")
        if self.lower and self.upper is not None and self.work is None:
            object.__setattr__(self, "work", self.upper.parent / "work")

    @classmethod
    def overlay(cls, lower: tuple[Path, ...], upper: Path | None, work: Path | None = None) -> Rootfs:
        """Layers, topmost first, and the directory for the changes (None: read only)."""
        return cls(lower=tuple(lower), upper=upper, work=work)

    @classmethod
    def plain(cls, directory: Path) -> Rootfs:
        """One directory that holds the whole tree."""
        return cls(directory=directory)

    @property
    def whole(self) -> Path | None:
        """The one directory that is the whole tree, or None when layers are stacked."""
        if self.lower:
            return None
        return self.directory or self.upper

    def as_message(self) -> dict[str, object]:
        """The same as plain values, for the helpers."""
        return {
            "lower": [str(path.absolute()) for path in self.lower],
            "upper": str(self.upper.absolute()) if self.lower and self.upper else "",
            "work": str(self.work.absolute()) if self.lower and self.upper and self.work else "",
            "directory": str(self.whole.absolute()) if self.whole else "",
        }


@dataclass(frozen=True, slots=True)
class Limits:
    """What a VE may use; None is no limit.

    Parameters:
        memory_mib: memory and swap together, MiB.
        pids: processes and threads.
        cpus: processor time, in processors (1.5 is one and a half).
    """

    memory_mib: int | None = None
    pids: int | None = None
    cpus: float | None = None

    def as_message(self) -> dict[str, object]:
        """The limits that are set, by the controller that holds them."""
        rows = {"memory": self.memory_mib, "pids": self.pids, "cpu": self.cpus}
        return {name: value for name, value in rows.items() if value is not None}


@dataclass(frozen=True, slots=True)
class ExecResult:
    """How a command in a VE ended.

    `rc` is 0 to 255 as a shell has it: 128 + N for signal N, 127 for a command that was not found,
    126 for one that could not be run. `stdout` and `stderr` hold the output unless it was streamed
    to a callback (or went to a terminal, or to descriptors).
    """

    rc: int
    signal: int | None = None
    timed_out: bool = False
    stdout: bytes = b""
    stderr: bytes = b""

    @property
    def ok(self) -> bool:
        """True when the command ended with status 0."""
        return self.rc == 0


@dataclass(frozen=True, slots=True)
class VEInfo:
    """A VE as `Core.list` finds it. `started` is seconds since 1970.

    `state`: "running"; "starting", when its init has not said that it is ready; "leftover", when its
    monitor is gone: `Core.gc` removes it.
    """

    veid: str
    state: Literal["running", "starting", "leftover"]
    pid: int = 0
    init: bool = False
    net: str = "none"
    tether: bool = True
    started: float = 0.0


@dataclass(frozen=True, slots=True)
class Feature:
    """One thing that was tried on this machine: whether it works, why not, and the fix."""

    name: str
    works: bool
    why: str = ""
    fix: str = ""


@dataclass(frozen=True, slots=True)
class Probe:
    """What this machine can do.

    Parameters:
        usable: VEs can be run here.
        why, fix: the first cause that they cannot, and what to do about it.
        mode: "overlay" when layers can be stacked on the directory that was asked about, else
            "copy", with `mode_reason`.
        features: everything that was tried, in order.
    """

    usable: bool
    why: str
    fix: str
    mode: Literal["overlay", "copy"]
    mode_reason: str
    features: tuple[Feature, ...] = field(default_factory=tuple)

    def feature(self, name: str) -> Feature:
        """The feature of that name. Raises KeyError."""
        for row in self.features:
            if row.name == name:
                return row
        raise KeyError(name)
