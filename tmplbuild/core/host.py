"""The container core's front: trees and VEs on this machine."""

from __future__ import annotations

import hashlib
import os
import re
import socket
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Literal, NoReturn

from tmplbuild.core import cgroup, folders, images, layers, linux, remains, resources, runstate, wire
from tmplbuild.core.foreign import Emulator
from tmplbuild.core.masks import DEFAULT_MASK
from tmplbuild.core.model import Limits, Net, Probe, Rootfs, VEInfo, Venet
from tmplbuild.core.process import Helper
from tmplbuild.core.sysctls import INOTIFY
from tmplbuild.core.tree import Tree
from tmplbuild.core.ve import VE
from tmplbuild.errors import BusyError, HostError, StageError, UsageError
from tmplbuild.events import Emit, silent

UID_BASE = 0x7000_0000
"""Host ids of VEs: 65536 from here. Outside of what systemd and distributions hand out
(systemd: docs/UIDS-GIDS.md; useradd's subordinate ids begin at 100000)."""

# `list` is a verb of Core, so within the class the type needs another name.
Infos = list[VEInfo]
Names = list[str]
Fds = list[int]
Entries = list[os.DirEntry[str]]

_VEID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
_MARGIN_S = 120.0  # for the birth before its init, and the removal after a failure
_DEFAULT_STATE = Path("/run/tmplbuild")


class Core:
    """Starts VEs and opens trees.

    Parameters:
        state_dir: run state; one name space of veids.
        uid_base: first host id of the 65536 that VEs use; a multiple of 65536.
        emit: where events go.
        copy: how a plain directory gets a VE's owners: "idmap" by the kernel, "shift" by changing
            them on disk while the VE runs, "auto" the first that works.
    """

    def __init__(
        self,
        state_dir: Path = _DEFAULT_STATE,
        *,
        uid_base: int = UID_BASE,
        emit: Emit = silent,
        copy: Literal["auto", "idmap", "shift"] = "auto",
    ) -> None:
        if uid_base < 65536 or uid_base % 65536 or uid_base >= 2**32 - 65536:
            raise UsageError("The base of VEs' ids must be a multiple of 65536.", why=f"it is {uid_base}")
        self.state_dir = state_dir.absolute()
        self.uid_base = uid_base
        self.emit = emit
        self.copy = copy
        # Two state directories may know the same veid: their groups must not meet.
        digest = hashlib.sha256(os.fsencode(self.state_dir)).hexdigest()[:8]
        self.owner = "tmplbuild" if self.state_dir == _DEFAULT_STATE else f"tmplbuild-{digest}"

    def folder(self, veid: str) -> Path:
        """Where a VE's run state lies. Raises UsageError for what is no veid."""
        if not _VEID.fullmatch(veid):
            raise UsageError(
                f"{veid!r} is no id for a VE.", hint="use a number, or letters, digits, '.', '_' and '-'"
            )
        return self.state_dir / veid

    # -- looking ---------------------------------------------------------------------------------

    def probe(self, where: Path) -> Probe:
        """Try what VEs need, for layers that lie on the file system of the directory `where`."""
        from tmplbuild.core.probe import probe

        return probe(self._trial, where)

    def stacks(self, where: Path) -> bool:
        """Whether VEs run on layers stacked there, tried with one VE; `probe` has why. Raises HostError."""
        from tmplbuild.core.probe import stacks

        return stacks(self._trial, where)

    def _trial(self, state_dir: Path, copy: Literal["auto", "idmap"]) -> Core:
        return Core(state_dir, uid_base=self.uid_base, copy=copy)

    def list(self) -> Infos:
        """The VEs of this state directory, running ones and leftovers, by id."""
        self._need_root()
        names = {entry.name for entry in self._entries()}
        names.update(filter(_VEID.fullmatch, cgroup.known(self.owner)))
        found = [self._info(name) for name in sorted(names)]
        return [info for info in found if info.state != "leftover" or self._is_there(info.veid)]

    def _is_there(self, veid: str) -> bool:
        """Whether something of a VE is left; what was listed may have ended meanwhile."""
        return self.folder(veid).exists() or veid in cgroup.known(self.owner)

    def _entries(self) -> Entries:
        """The directories of VEs; others may keep things of theirs beside them."""
        try:
            found = [entry for entry in os.scandir(self.state_dir) if entry.is_dir(follow_symlinks=False)]
        except FileNotFoundError:
            return []
        return [entry for entry in found if _VEID.fullmatch(entry.name) and runstate.is_ves(entry.path)]

    def _info(self, veid: str) -> VEInfo:
        state = runstate.read(f"{self.folder(veid)}/{runstate.STATE}")
        if not runstate.is_held(str(self.state_dir), veid):
            return VEInfo(veid, "leftover")
        return VEInfo(
            veid,
            "running" if state.get("state") == "running" else "starting",
            pid=int(str(state.get("pid", 0))),
            init=bool(state.get("init")),
            net=str(state.get("net", "none")),
            tether=bool(state.get("tether", True)),
            started=float(str(state.get("started", 0.0))),
            addresses=tuple(str(address) for address in _listed(state.get("addresses"))),
        )

    # -- trees -----------------------------------------------------------------------------------

    @contextmanager
    def tree(self, rootfs: Rootfs, *, writable: bool = True) -> Iterator[Tree]:
        """The merged files of a root file system, with its own ids; nothing is mounted on the host.

        A tree that a VE or another writer uses is refused. Raises BusyError, HostError.
        """
        self._need_root()
        if rootfs.changes is None:
            writable = False
        locks = self._lock_tree(rootfs, shared=not writable)
        try:
            whole = rootfs.whole
            if whole is not None:
                remains.restore_owners(str(whole))
                with Tree(whole) as tree:
                    yield tree
                return
            with Tree(self._mounted(rootfs, writable)) as tree:
                yield tree
            if writable and rootfs.work:
                remains.clean_work(str(rootfs.work))
        finally:
            for fd in locks:
                os.close(fd)

    @contextmanager
    def mounted(self, rootfs: Rootfs) -> Iterator[int]:
        """A descriptor of a writable mount of a root file system, attached nowhere, for a caller who
        wants it to be seen; within the block nobody else uses the tree. Raises BusyError, HostError.
        """
        self._need_root()
        locks = self._lock_tree(rootfs, shared=False)
        try:
            whole = rootfs.whole
            if whole is not None:
                remains.restore_owners(str(whole))
            fd = self._mounted(rootfs, True) if whole is None else linux.open_tree(str(whole))
            try:
                yield fd
            finally:
                os.close(fd)
        finally:
            for lock in locks:
                os.close(lock)

    @contextmanager
    def memory(self, size: int, mounts: int) -> Iterator[Fds]:
        """A new tree in memory that has no name anywhere: it is gone when nobody holds a mount of it.

        Parameters:
            size: the most bytes that it may take.
            mounts: how many descriptors of it are wanted; each start of a VE uses one up.

        Raises HostError.
        """
        self._need_root()
        folders.make(self.state_dir, 0o711)
        config: wire.Message = {"scratch": str(self.state_dir), "size": size, "mounts": mounts}
        answer, fds = self._ask_helper("memory", config)
        if not fds:
            raise HostError("A tree in memory cannot be made.", why=str(answer.get("error")))
        try:
            yield fds
        finally:
            for fd in fds:
                os.close(fd)

    def _mounted(self, rootfs: Rootfs, writable: bool) -> int:
        if writable and rootfs.work:
            remains.clean_work(str(rootfs.work))
            os.mkdir(str(rootfs.work), 0o700)
        try:
            if rootfs.image:
                return self._mounted_image(rootfs, writable)
            lower = [str(path) for path in rootfs.lower]
            return layers.merged(
                lower,
                str(rootfs.upper or ""),
                str(rootfs.work),
                read_only=not writable,
                volatile=rootfs.volatile,
            )
        except OSError as error:
            raise HostError(
                "The layers cannot be stacked.",
                where=str(rootfs.changes or rootfs.lower[0]),
                why=str(error),
                hint="tmplbuild doctor tells what this machine can do",
            ) from error

    def _mounted_image(self, rootfs: Rootfs, writable: bool) -> int:
        folders.make(self.state_dir, 0o711)
        config = {**rootfs.as_message(), "scratch": str(self.state_dir), "read_only": not writable}
        answer, fds = self._ask_helper("treemount", config)
        if not fds:
            raise OSError(str(answer.get("error")))
        return fds[0]

    def _ask_helper(self, module: str, config: wire.Message) -> tuple[wire.Message, Fds]:
        ours, theirs = wire.pair()
        with ours:
            with theirs:
                helper = Helper(module, theirs.fileno())
            try:
                return wire.call(ours, config)
            except EOFError as error:
                raise HostError("A helper process ended too early.", where=module) from error
            finally:
                ours.shutdown(socket.SHUT_RDWR)
                helper.wait()

    def _lock_tree(self, rootfs: Rootfs, *, shared: bool) -> Fds:
        path = rootfs.changes
        if path is None:
            return []
        try:
            return [runstate.lock_tree(str(path), shared=shared)]
        except BlockingIOError as error:
            raise BusyError("The tree is in use.", where=str(path), hint="tmplbuild ve list") from error
        except OSError as error:
            raise HostError("The tree cannot be opened.", where=str(path), why=str(error)) from error

    # -- VEs -------------------------------------------------------------------------------------

    def start(
        self,
        veid: str,
        rootfs: Rootfs,
        *,
        init: bool | Sequence[str],
        net: Net | Venet = "none",
        limits: Limits | None = None,
        hostname: str = "localhost",
        mask_units: Sequence[str] = (),
        env: Mapping[str, str] | None = None,
        timeout_s: float = 120,
        tether: bool = True,
        bits: Literal[0, 32, 64] = 0,
        suppress_sync: bool = False,
        console_log: Path | None = None,
        emulator: Emulator | None = None,
    ) -> VE:
        """Start a VE; with init, return when it is ready.

        Parameters:
            veid: its id, unique among the VEs of the state directory.
            init: boot /sbin/init; False: process 1 is a small reaper, and commands are all that runs; a
                command: it is process 1 itself, on the console, and what `stop` sends SIGTERM to.
            net: "none" is loopback alone; "proxy" adds a listener that the caller serves; a Venet is a
                routed device with addresses ("venet": with none yet); "host" is the host's own network,
                with all that listens in it.
            limits: an error when the machine cannot hold one of them.
            mask_units: systemd units to mask for this run, whatever /etc has (DEFAULT_MASK gives way to it).
            env: added to init's environment.
            timeout_s: seconds until init must be ready.
            tether: the VE ends when this process does; else it lives on, and starts again when it
                reboots itself.
            bits: 32 makes uname(2) name a 32-bit machine; 0 looks at the tree's programs.
            suppress_sync: fsync(2) and its kin return at once (where the kernel has seccomp): for a
                tree that is thrown away when something goes wrong, and synced when it is done.
            console_log: a file to keep the console's text in; else it goes with the VE.
            emulator: what runs its programs, where they are another processor's (`foreign.emulator`).

        Raises BusyError (the id or the tree is in use), HostError, StageError (init failed; `tail`
        has the console's last lines).
        """
        self._need_root()
        folder = self.folder(veid)
        if net == "venet":
            net = Venet()
        line = _line(net) if isinstance(net, Venet) else None
        wanted = self._checked(limits or Limits())
        locks: list[int] = []
        try:
            locks.append(self._lock(veid))
            remains.clear(str(self.state_dir), veid, self.owner, keep=True)
            locks += self._lock_tree(rootfs, shared=rootfs.changes is None)
            if rootfs.image is not None and limits is not None and limits.disk_mib is not None:
                images.fit(rootfs.image, limits.disk_mib)
            config: wire.Message = {
                "veid": veid,
                "state": str(self.state_dir),
                "owner": self.owner,
                "uid": self.uid_base,
                "rootfs": rootfs.as_message(),
                "copy": self.copy,
                "init": bool(init),
                "command": [] if isinstance(init, bool) else list(init),
                "net": "venet" if isinstance(net, Venet) else net,
                "venet": line,
                "limits": wanted,
                "hostname": hostname,
                "mask": {"usual": [*DEFAULT_MASK], "asked": [*mask_units]},
                "env": dict(env or {}),
                "timeout_s": timeout_s,
                "tether": tether,
                "bits": bits,
                "suppress_sync": suppress_sync,
                "emulator": emulator.program if emulator is not None else "",
                "emulation": emulator.line if emulator is not None else "",
                "console": str((console_log or folder / runstate.CONSOLE).absolute()),
                "started": time.time(),
            }
            runstate.write(f"{folder}/{runstate.CONFIG}", config)
            return self._launch(veid, config, locks, [] if rootfs.mount is None else [rootfs.mount])
        except BaseException:
            if locks:
                self._abandon(veid, locks[0])
            raise
        finally:
            for fd in locks:
                os.close(fd)

    def _abandon(self, veid: str, lock: int) -> None:
        """Remove what a start that failed or was interrupted has left, unless its monitor did: one that
        ended before it was told what to do removes nothing."""
        if os.fstat(lock).st_nlink:
            with suppress(OSError, TimeoutError):  # the next start, or gc, tries again
                remains.clear(str(self.state_dir), veid, self.owner)

    def _lock(self, veid: str) -> int:
        try:
            return runstate.lock_veid(str(self.state_dir), veid)
        except BlockingIOError as error:
            raise BusyError(f"The VE {veid} is in use.", hint="tmplbuild ve list") from error
        except OSError as error:
            raise HostError(
                "The run state cannot be written.", where=str(self.state_dir), why=str(error)
            ) from error

    @staticmethod
    def _checked(limits: Limits) -> wire.Message:
        wanted = limits.as_message()
        if wanted:
            try:
                resources.check(limits.numbers(), cgroup.controllers())
            except resources.Unenforceable as error:
                raise HostError(
                    f"This machine cannot limit a VE's {error.name}.",
                    why=error.why,
                    hint=f"{error.hint}, or do without this limit",
                ) from error
        return wanted

    def _launch(self, veid: str, config: wire.Message, locks: Fds, mounts: Fds) -> VE:
        ours, theirs = wire.pair()
        with theirs:
            helper = Helper("monitor", theirs.fileno())
        try:
            ours.settimeout(float(str(config["timeout_s"])) + _MARGIN_S)
            answer, fds = wire.call(ours, config, [*locks, *mounts])
            if "error" in answer:
                self._refuse(veid, answer)
        except BaseException as error:
            ours.close()
            helper.wait(_MARGIN_S)
            if isinstance(error, (EOFError, TimeoutError)):
                raise HostError("The VE's monitor did not answer.", where=veid, why=str(error)) from error
            raise
        ours.settimeout(None)
        if config["tether"]:
            return VE(self, veid, answer, fds, tether=ours, helper=helper)
        ours.close()
        helper.leave()
        return VE(self, veid, answer, fds)

    def _refuse(self, veid: str, answer: wire.Message) -> NoReturn:
        step, why = str(answer.get("step")), str(answer["error"])
        if step == "set up the network":
            raise HostError("The VE's network could not be set up.", where=veid, why=why)
        if step == "boot":
            tail = tuple(str(answer.get("tail", "")).splitlines()[-40:])
            # systemd's last words where all VEs' inits together have used up their allowance (inotify(7))
            starved = any("Too many open files" in line for line in tail)
            hint = f"sysctl -w {INOTIFY}=2048" if starved else ""
            raise StageError("The VE did not boot.", where=veid, why=why, hint=hint, tail=tail)
        raise HostError(
            "The VE could not be started.",
            where=f"{veid}: {step}",
            why=why,
            hint="tmplbuild doctor tells what this machine can do",
        )

    def attach(self, veid: str) -> VE:
        """A VE that runs already. Raises HostError when none has that id."""
        self._need_root()
        about: wire.Message = {
            "pid": 0, "init": False, "kind": "", "bits": 0, "mode": "", "console": "",
            "limits": {}, "addresses": [],
        }  # fmt: skip
        stub = VE(self, veid, about, [])
        try:
            with stub.connect() as connection:
                answer, fds = wire.call(connection, {"op": "about"})
        except EOFError as error:
            raise HostError("The VE does not run.", where=veid) from error
        return VE(self, veid, answer, fds)

    # -- what is left ----------------------------------------------------------------------------

    def gc(self) -> Names:
        """Remove every leftover whose monitor is gone. Returns their ids.

        Raises HostError when one cannot be removed, after the others are.
        """
        self._need_root()
        removed, troubles = [], []
        for info in self.list():
            if info.state != "leftover":
                continue
            try:
                if self.clear(info.veid):
                    removed.append(info.veid)
            except (OSError, HostError) as error:
                troubles.append(f"{info.veid}: {error}")
        with suppress(OSError):
            self.state_dir.rmdir()
        if troubles:
            raise HostError("Some leftovers cannot be removed.", why="\n".join(troubles))
        return removed

    def clear(self, veid: str) -> bool:
        """Remove what is left of a VE. False when there was nothing, or somebody is at work on it."""
        if not self._is_there(veid):
            return False
        try:
            lock = runstate.lock_veid(str(self.state_dir), veid, to_clear=True)
        except BlockingIOError:
            return False
        try:
            remains.clear(str(self.state_dir), veid, self.owner)
        except (OSError, TimeoutError) as error:
            raise HostError("A leftover cannot be removed.", where=veid, why=str(error)) from error
        finally:
            os.close(lock)
        return True

    @staticmethod
    def _need_root() -> None:
        if os.geteuid() != 0:
            raise HostError("VEs need root.", why=f"this runs as user {os.geteuid()}", hint="use sudo")


def _line(venet: Venet) -> wire.Message:
    """The network that is wanted, with the program that translates addresses where that is wanted."""
    wanted = venet.as_message()
    wanted["nat"] = ""
    if venet.nat:
        from tmplbuild.core.nat import program

        wanted["nat"] = program()
    return wanted


def _listed(value: object) -> Sequence[object]:
    return value if isinstance(value, list) else []
