"""The bench: a draft tree and the core, as a stage sees them (`tmplbuild.stages.context.Ctx`)."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from tmplbuild.archives.gateway import Gateway
from tmplbuild.archives.model import Package
from tmplbuild.artifact.gunzipped import open_members
from tmplbuild.core import VE, Core, Limits, Rootfs, Tree
from tmplbuild.core.foreign import Emulator
from tmplbuild.core.linux import make_apart
from tmplbuild.core.memory import room
from tmplbuild.core.model import Net
from tmplbuild.core.untar import extract
from tmplbuild.engine.store import TRIAL
from tmplbuild.errors import StageError, TmplbuildError
from tmplbuild.events import Command, Emit, Output, Progress
from tmplbuild.managers import Manager
from tmplbuild.recipes.model import Upgrade
from tmplbuild.secrets import Secret, Veil
from tmplbuild.stages import debtree

_UNPACKED = 6  # a packed template comes to two to four times its size
_TRIAL_ROOM = 64 << 20  # what two boots and a package write into it
_BOOTS = 2
_TAIL = 40  # lines of output that an error shows


class VeShell:
    """Commands in one VE, their output to the log (`tmplbuild.stages.context.Shell`)."""

    def __init__(
        self,
        ve: VE,
        env: Mapping[str, str],
        emit: Emit,
        progress: Callable[[bytes], tuple[str, float] | None],
    ) -> None:
        self.ve = ve
        self._env = env
        self._emit = emit
        self._progress = progress

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
        """See `tmplbuild.stages.context.Shell.run`."""
        self._emit(Command(tuple(argv), self.ve.veid))
        self._emit(Progress(what))
        out: list[bytes] = []
        tail = _Tail(self._progress, self._emit)
        veils = {stream: Veil(hidden) for stream in ("stdout", "stderr")}

        def show(data: bytes) -> None:
            if data:
                tail.feed(data)
                self._emit(Output(data))

        def take(data: bytes, stream: str) -> None:
            if both or stream == "stdout":
                out.append(data)
            show(veils[stream].feed(data))

        result = self.ve.exec(
            list(argv), env={**self._env, **(env or {})}, stdin=stdin, output=take, timeout_s=timeout_s
        )
        for veil in veils.values():
            show(veil.end())
        if result.timed_out:
            raise StageError(
                f"{what}: the command took longer than {timeout_s:g} s and was stopped",
                where=" ".join(argv),
                hint="raise timeout_s of the recipe's section if it only needs more time",
                tail=tail.lines(),
            )
        if result.signal or result.rc not in ok:
            how = f"signal {signal_name(result.signal)}" if result.signal else f"exit status {result.rc}"
            raise StageError(f"{what}: the command failed", where=" ".join(argv), why=how, tail=tail.lines())
        return b"".join(out)


class _Tail:
    """The last lines of output; lines that tell progress are shown as such and left out."""

    def __init__(self, progress: Callable[[bytes], tuple[str, float] | None], emit: Emit) -> None:
        self._progress = progress
        self._emit = emit
        self._rest = b""
        self._lines: list[bytes] = []

    def feed(self, data: bytes) -> None:
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            said = self._progress(line)
            if said is None:
                self._lines.append(line)
            else:
                self._emit(Progress(said[0], said[1]))
        del self._lines[:-_TAIL]

    def lines(self) -> tuple[str, ...]:
        rows = [*self._lines, *([self._rest] if self._rest else [])]
        return tuple(row.decode("utf-8", "replace") for row in rows[-_TAIL:])


@dataclass(slots=True)
class Bench:
    """What a stage may use (`tmplbuild.stages.context.Ctx`), bound to one tree.

    Parameters:
        gateway: makes what serves a VE's proxy socket; called when a VE with a network starts.
        read_beside: gives the content of a file beside the recipe.
        file_of: gives the verified file of a package.
        scratch: a directory for what a trial unpacks.
        console: where the console of a booted VE is written.
        emulator: what runs the tree's programs, where they are another processor's.
    """

    core: Core
    rootfs: Rootfs
    template: str
    arch: str
    epoch: int
    emit: Emit
    read_beside: Callable[[str], bytes]
    manager: Manager
    limits: Limits
    gateway: Callable[[], Gateway]
    file_of: Callable[[Package], Path]
    scratch: Path
    console: Path
    emulator: Emulator | None = None
    _open: list[str] = field(default_factory=list)

    @contextmanager
    def _alone(self, what: str) -> Iterator[None]:
        # the tree is one overlay: a second mount of its upper directory would corrupt it
        if self._open:
            raise AssertionError(f"{what} while the stage still holds {self._open[-1]}")
        self._open.append(what)
        try:
            yield
        finally:
            self._open.pop()

    @contextmanager
    def tree(self) -> Iterator[Tree]:
        """See `Ctx.tree`."""
        with self._alone("tree()"), self.core.tree(self.rootfs) as tree:
            yield tree

    @contextmanager
    def entered(self) -> Iterator[VeShell]:
        """See `Ctx.entered`."""
        with self._alone("entered()"):
            with self._without_init("none") as ve:
                yield VeShell(ve, self._env(), self.emit, self.manager.progress)

    @contextmanager
    def live(self, options: Upgrade) -> Iterator[VeShell]:
        """See `Ctx.live`."""
        if self.emulator is not None:
            with self._emulated() as shell:
                yield shell
            return
        with self._alone("live()"):
            with self._booted(
                self._veid("build"),
                self.rootfs,
                mask=options.mask,
                hostname="localhost",
                boot_timeout_s=options.boot_timeout_s,
                stop_timeout_s=options.stop_timeout_s,
            ) as shell:
                yield shell

    @contextmanager
    def _emulated(self) -> Iterator[VeShell]:
        """Instead of a booted VE one without init, since an emulated init does not come up; no script
        starts a service."""
        with self.tree() as tree:
            if quiet := tree.is_file("/usr/sbin/invoke-rc.d"):
                debtree.begin(tree)
        with self._alone("live()"):
            with self._without_init("proxy") as ve, self._served(ve) as shell:
                yield shell
        if quiet:
            with self.tree() as tree:
                debtree.end(tree)

    def _without_init(self, net: Net) -> VE:
        return self.core.start(
            self._veid("build"),
            self.rootfs,
            init=False,
            net=net,
            limits=self.limits,
            hostname="localhost",
            suppress_sync=True,
            emulator=self.emulator,
        )

    @contextmanager
    def _served(self, ve: VE) -> Iterator[VeShell]:
        """Commands in a VE that reaches the recipe's archives, and nothing else."""
        with self.gateway() as gateway:
            assert ve.proxy_socket is not None
            gateway.start(ve.proxy_socket)
            address = f"http://127.0.0.1:{ve.proxy_socket.getsockname()[1]}"
            env = {**self._env(), "http_proxy": address, "https_proxy": address}
            yield VeShell(ve, env, self.emit, self.manager.progress)

    @contextmanager
    def _booted(
        self,
        veid: str,
        rootfs: Rootfs,
        *,
        mask: tuple[str, ...],
        hostname: str,
        boot_timeout_s: float,
        stop_timeout_s: float,
    ) -> Iterator[VeShell]:
        self.emit(Progress("boot"))
        ve = self.core.start(
            veid,
            rootfs,
            init=True,
            net="proxy",
            limits=self.limits,
            hostname=hostname,
            mask_units=mask,
            timeout_s=boot_timeout_s,
            console_log=self.console,
            suppress_sync=True,
        )
        with ve, self._served(ve) as shell:
            yield shell
            self.emit(Progress("stop"))
            if ve.stop(timeout_s=stop_timeout_s) != "clean":
                raise StageError(
                    f"the VE did not stop by itself within {stop_timeout_s:g} s",
                    where=f"its console: {ve.console_log}",
                    hint="look for the unit that hangs: tmplbuild shell NAME --live",
                )

    def abandon(self) -> None:
        """End what runs in a VE of this bench, from another thread: its commands then fail. One that is
        not there yet is not ended."""
        for kind in ("build", "trial"):
            with suppress(TmplbuildError):
                self.core.attach(self._veid(kind)).kill()

    @contextmanager
    def trial(self, tarball: Path) -> Iterator[_Trial]:
        """See `Ctx.trial`."""
        if self.rootfs.lower:
            with self._trial_on_layers() as trial:
                yield trial
            return
        size = _UNPACKED * tarball.stat().st_size + _TRIAL_ROOM
        with self._trial_in_memory(tarball, size) if room(size) else self._trial_on_disk(tarball) as trial:
            yield trial

    @contextmanager
    def _trial_on_layers(self) -> Iterator[_Trial]:
        with self._trial_place() as place:
            fs = place / "fs"
            fs.mkdir()
            state = self.rootfs.lower[0].stat()  # the root directory's mode and owner are the topmost layer's
            os.chmod(fs, state.st_mode & 0o7777)
            os.chown(fs, state.st_uid, state.st_gid)
            rootfs = Rootfs.overlay(self.rootfs.lower, fs, place / "work")
            yield _Trial(self, lambda: rootfs, lambda: self.core.tree(rootfs))

    @contextmanager
    def _trial_in_memory(self, tarball: Path, size: int) -> Iterator[_Trial]:
        with self.core.memory(size, mounts=_BOOTS + 1) as (root, *mounts):
            self._unpack(tarball, root)
            yield _Trial(self, lambda: Rootfs.mounted(mounts.pop()), lambda: Tree(os.dup(root)))

    @contextmanager
    def _trial_on_disk(self, tarball: Path) -> Iterator[_Trial]:
        with self._trial_place() as place:
            root = os.open(place, os.O_RDONLY | os.O_DIRECTORY)
            try:
                self._unpack(tarball, root)
            finally:
                os.close(root)
            rootfs = Rootfs.plain(place)
            yield _Trial(self, lambda: rootfs, lambda: self.core.tree(rootfs))

    @contextmanager
    def _trial_place(self) -> Iterator[Path]:
        place = self.scratch / f"{TRIAL}{self.template}"
        shutil.rmtree(place, ignore_errors=True)
        make_apart(str(place))
        try:
            yield place
        finally:
            shutil.rmtree(place, ignore_errors=True)

    def _unpack(self, tarball: Path, root: int) -> None:
        self.emit(Progress("unpack the packed file"))
        with open_members(tarball, jobs=len(os.sched_getaffinity(0))) as stream:
            extract(stream, root)

    def beside(self, name: str) -> bytes:
        """See `Ctx.beside`."""
        return self.read_beside(name)

    def package_file(self, package: Package) -> Path:
        """See `Ctx.package_file`."""
        return self.file_of(package)

    def _veid(self, kind: str) -> str:
        return f"{kind}-{self.template}"

    def _env(self) -> dict[str, str]:
        return {"LC_ALL": "C.UTF-8", "SOURCE_DATE_EPOCH": str(self.epoch)}


@dataclass(frozen=True, slots=True)
class _Trial:
    """A VE made from a packed template (`tmplbuild.stages.context.Trial`)."""

    bench: Bench
    rootfs: Callable[[], Rootfs]
    tree: Callable[[], AbstractContextManager[Tree]]

    @contextmanager
    def live(self, *, boot_timeout_s: float, stop_timeout_s: float) -> Iterator[VeShell]:
        with ExitStack() as stack:
            yield stack.enter_context(
                self.bench._booted(
                    self.bench._veid("trial"),
                    self.rootfs(),
                    mask=(),
                    hostname="localhost",
                    boot_timeout_s=boot_timeout_s,
                    stop_timeout_s=stop_timeout_s,
                )
            )


def signal_name(number: int | None) -> str:
    """SIGKILL for 9."""
    try:
        return signal.Signals(number or 0).name
    except ValueError:
        return str(number)
