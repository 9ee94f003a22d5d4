"""The core's words: what a VE is made of, what it may use, what came of a command."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from tmplbuild.errors import UsageError

Net = Literal["none", "proxy", "host", "venet"]
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
        image: a file that `images.make` made, which takes the changes instead of `upper`: the VE can
            write no more than fits into it.
        mount: the descriptor of a mount that is attached nowhere (`Core.memory`) instead of any of
            these. The start of a VE takes it up; it stays the caller's to close.
        volatile: who lets go of the layers does not wait until the changes are on disk (overlayfs'
            "volatile"): for a tree that is synced, or thrown away, by its owner.
    """

    lower: tuple[Path, ...] = ()
    upper: Path | None = None
    work: Path | None = None
    directory: Path | None = None
    image: Path | None = None
    mount: int | None = None
    volatile: bool = False

    def __post_init__(self) -> None:
        layers = self.upper is not None or bool(self.lower)
        if layers + (self.directory is not None) + (self.mount is not None) != 1:
            raise UsageError("A root file system is either layers or one plain directory.")
        if self.image is not None and (self.upper is not None or not self.lower):
            raise UsageError("An image takes the changes to layers, and no other directory does.")
        if self.lower and self.upper is not None and self.work is None:
            object.__setattr__(self, "work", self.upper.parent / "work")

    @classmethod
    def overlay(
        cls,
        lower: tuple[Path, ...],
        upper: Path | None,
        work: Path | None = None,
        *,
        volatile: bool = False,
    ) -> Rootfs:
        """Layers, topmost first, and the directory for the changes (None: read only)."""
        return cls(lower=tuple(lower), upper=upper, work=work, volatile=volatile)

    @classmethod
    def imaged(cls, lower: tuple[Path, ...], image: Path) -> Rootfs:
        """Layers, topmost first, and the image for the changes."""
        return cls(lower=tuple(lower), image=image)

    @classmethod
    def plain(cls, directory: Path) -> Rootfs:
        """One directory that holds the whole tree."""
        return cls(directory=directory)

    @classmethod
    def mounted(cls, fd: int) -> Rootfs:
        """A mount that is attached nowhere."""
        return cls(mount=fd)

    @property
    def whole(self) -> Path | None:
        """The one directory that is the whole tree, or None when layers are stacked."""
        if self.lower:
            return None
        return self.directory or self.upper

    @property
    def changes(self) -> Path | None:
        """What takes the changes: a directory or an image; None when the tree is read only."""
        return self.whole or self.upper or self.image

    def as_message(self) -> dict[str, object]:
        """The same as plain values, for the helpers."""
        return {
            "lower": [str(path.absolute()) for path in self.lower],
            "upper": str(self.upper.absolute()) if self.lower and self.upper else "",
            "work": str(self.work.absolute()) if self.lower and self.upper and self.work else "",
            "directory": str(self.whole.absolute()) if self.whole else "",
            "image": str(self.image.absolute()) if self.image else "",
            "mounted": self.mount is not None,
            "volatile": self.volatile,
        }


@dataclass(frozen=True, slots=True)
class Venet:
    """A routed network for a VE: a device `venet0` in it, and a host route to each of its addresses.

    Parameters:
        addresses: IPv4 and IPv6 addresses, without prefix ("192.0.2.101", "2001:db8::101").
        nat: what the VE sends beyond this host bears the host's address (IPv4 and IPv6).
        configure: give venet0 its addresses and the default route inside, too. False leaves that to
            the VE's own scripts; the device is there, and down.
    """

    addresses: tuple[str, ...] = ()
    nat: bool = False
    configure: bool = True

    def as_message(self) -> dict[str, object]:
        """The same as plain values, addresses in their canonical form. Raises UsageError."""
        return {
            "addresses": [address(text) for text in self.addresses],
            "nat": self.nat,
            "configure": self.configure,
        }


def address(text: str) -> str:
    """An IP address in its canonical form. Raises UsageError for what no VE can have."""
    import ipaddress

    try:
        found = ipaddress.ip_address(text)
    except ValueError as error:
        raise UsageError(
            f"{text!r} is no IP address.", hint="such as 192.0.2.101 or 2001:db8::101"
        ) from error
    if found.is_loopback or found.is_multicast or found.is_unspecified or found.is_link_local:
        raise UsageError(f"{text} cannot be the address of a VE.", why="it is not one of a single machine")
    return str(found)


@dataclass(frozen=True, slots=True)
class Limits:
    """What a VE may use; None is no limit.

    Parameters:
        memory_mib: memory, MiB; where `swap_mib` is not given, memory and swap together.
        swap_mib: swap beyond that, MiB.
        pids: processes and threads.
        cpus: processor time, in processors (1.5 is one and a half).
        cpu_weight: share of the processors when they are short: 1 to 10000, others have 100.
        io_weight: share of the disk when it is busy, likewise.
        disk_mib: what its files may take, MiB; shared layers do not count.
        inodes: how many files, directories and links it may add.
        wall_s: seconds that it may run.
        idle_s: seconds that it may run without using a processor.
    """

    memory_mib: int | None = None
    pids: int | None = None
    cpus: float | None = None
    swap_mib: int | None = None
    cpu_weight: int | None = None
    io_weight: int | None = None
    disk_mib: int | None = None
    inodes: int | None = None
    wall_s: float | None = None
    idle_s: float | None = None

    def __post_init__(self) -> None:
        for name in self.__slots__:
            value = getattr(self, name)
            if value is None or value > 0 or (value == 0 and name == "swap_mib"):
                continue
            raise UsageError(f"The limit {name} must be above 0.", why=f"it is {value}")
        for name in ("cpu_weight", "io_weight"):
            if (getattr(self, name) or 1) > 10000:
                raise UsageError(f"The limit {name} must be 1 to 10000.", why=f"it is {getattr(self, name)}")
        if self.swap_mib is not None and self.memory_mib is None:
            raise UsageError("A limit on swap needs one on memory.")

    def numbers(self) -> dict[str, float]:
        """The limits that are set, by name."""
        return {name: getattr(self, name) for name in self.__slots__ if getattr(self, name) is not None}

    def as_message(self) -> dict[str, object]:
        """The same as plain values, for the helpers."""
        return dict(self.numbers())


@dataclass(frozen=True, slots=True)
class Usage:
    """One row of what a VE uses, as /proc/user_beancounters had them.

    Parameters:
        resource: "memory", "swap", "pids", "cpu", "disk", "inodes", "wall".
        unit: "bytes", "s" or "" (a number of things).
        held: what is in use now.
        maxheld: the most since the start; None where the kernel does not tell.
        limit: None is no limit.
        failcnt: how often it was refused: processes killed for memory, forks that failed, periods in
            which the processors' quota was used up.
    """

    resource: str
    unit: str
    held: float
    maxheld: float | None
    limit: float | None
    failcnt: int


@dataclass(frozen=True, slots=True)
class ExecResult:
    """How a command in a VE ended.

    `rc` is 0 to 255 as a shell has it: 128 + N for signal N, 127 for a command that was not found,
    126 for one that could not be run. `stdout` and `stderr` hold the output unless it was streamed
    to a callback (or went to a terminal, or to descriptors). `over_limit` names the VE's limits
    that were hit while it ran (not necessarily by it): "memory", "pids", "disk", "inodes".
    """

    rc: int
    signal: int | None = None
    timed_out: bool = False
    stdout: bytes = b""
    stderr: bytes = b""
    over_limit: tuple[str, ...] = ()

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
    addresses: tuple[str, ...] = ()


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
