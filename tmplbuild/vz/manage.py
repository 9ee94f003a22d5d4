"""The life of a named VE: created from a template, started, changed, stopped, destroyed.

One command at a time works on a VE (a lock under the run directory); each leaves it as it was, or as
it was asked to be.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

from tmplbuild.config import Settings
from tmplbuild.core import VE, Core, Rootfs, Venet
from tmplbuild.core.filelock import exclusive, is_held
from tmplbuild.core.model import Ending, Net
from tmplbuild.errors import BusyError, HostError, UsageError
from tmplbuild.events import Emit, Note, silent
from tmplbuild.vz import apply, bases, conf, mounts, ostemplate, private
from tmplbuild.vz.conf import Conf
from tmplbuild.vz.dists import Wish, choose
from tmplbuild.vz.limits import limits_of, not_kept
from tmplbuild.vz.options import option_of
from tmplbuild.vz.request import Request, addresses_of

# `set` is a verb of Manager, so within the class the type needs another name.
Paths = set[Path]

_START_TIMEOUT_S = 120
_GRACE_S = 1.0  # a command that was killed may take this long to be gone
_STOP_TIMEOUT_S = 120  # vzctl's STOP_TIMEOUT


@dataclass(frozen=True, slots=True)
class New:
    """How a VE is to be created.

    Parameters:
        ostemplate: a template's name, or a path; "" takes vz.conf's DEF_OSTEMPLATE.
        sample: a configuration sample to begin with; "" takes vz.conf's CONFIGFILE, if it is there.
        layout: "overlay", "image" or "copy"; "" takes vz.conf's VE_LAYOUT, else overlay.
        dist: a dist configuration; "" chooses by the template's name.
        name: of the VE; "" is none.
        area: its private area; None is below VE_PRIVATE.
        root: where `mount` shows its files; None is below VE_ROOT.
        request: what else is asked for.
    """

    ostemplate: str = ""
    sample: str = ""
    layout: str = ""
    dist: str = ""
    name: str = ""
    area: Path | None = None
    root: Path | None = None
    request: Request = field(default_factory=Request)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What `set` came to: paths in the VE that changed, and keys that only its next start takes up."""

    changed: list[str] = field(default_factory=list)
    later: list[str] = field(default_factory=list)


class Manager:
    """The named VEs of this machine.

    Parameters:
        settings: where things lie.
        emit: where events go.
    """

    def __init__(self, settings: Settings, emit: Emit = silent) -> None:
        self.settings = settings
        self.emit = emit
        self.core = Core(settings.run_dir, uid_base=settings.uid_base, emit=emit)
        self.bases = bases.Bases(settings.state_dir / "bases", emit)

    # -- looking ---------------------------------------------------------------------------------

    def conf(self, word: str) -> Conf:
        """The configuration of a VE named by number or name. Raises UsageError."""
        return conf.load(self.settings, conf.resolve(self.settings, word))

    def confs(self) -> list[Conf]:
        """The configurations of all named VEs, by number."""
        return list(conf.every(self.settings))

    def area(self, of: Conf) -> private.Area:
        """A VE's private area, where VEID.conf, or else vz.conf, has it."""
        path = Path(of.get("VE_PRIVATE") or self.settings.ve_private / of.veid)
        return private.Area(path, private.layout_of(of.own.get("VE_LAYOUT", "simfs")))

    def root(self, of: Conf) -> Path:
        """Where `mount` shows a VE's files."""
        return Path(of.get("VE_ROOT") or self.settings.ve_root / of.veid)

    def running(self, veid: str) -> VE | None:
        """The VE if it runs."""
        try:
            return self.core.attach(veid)
        except HostError:
            if os.geteuid() != 0:
                raise
            return None

    def attach(self, word: str) -> VE:
        """A VE that runs, by number or name; one of a build by its id. Raises HostError, UsageError."""
        try:
            veid = conf.resolve(self.settings, word)
        except UsageError:
            if all(info.veid != word for info in self.core.list()):
                raise
            veid = word
        found = self.running(veid)
        if found is None:
            raise HostError(f"VE {word} does not run", hint=f"tmplbuild ve start {word}")
        return found

    def console(self, veid: str) -> Path:
        """Where the console of a VE is kept."""
        return self.settings.state_dir / "ve" / f"{veid}.console"

    @contextmanager
    def alone(self, veid: str) -> Iterator[None]:
        """Nobody else works on the VE meanwhile. Raises BusyError."""
        with exclusive(self._lock(veid), f"another command works on VE {veid}", grace_s=_GRACE_S):
            yield

    def _lock(self, veid: str) -> Path:
        return self.settings.run_dir / "locks" / f"ve-{veid}.lock"

    # -- create and destroy ------------------------------------------------------------------------

    def create(self, veid: str, new: New) -> Conf:
        """Make a VE from a template. On any error nothing of it is left.

        Raises UsageError for what was asked wrongly (before anything is made), BusyError when there is
        a VE of that number or name, VerifyError for a template that is damaged or hostile.
        """
        with self.alone(veid):
            if conf.path_of(self.settings, veid).exists():
                raise BusyError(f"there is a VE {veid} already", hint=f"tmplbuild ve destroy {veid}")
            conf.check_name(self.settings, veid, new.name)
            base, values, template = self._thought_out(veid, new)
            made = Conf(veid, conf.values_of(base), conf.common(self.settings)).with_values(values)
            limits = limits_of(made)
            _net_of(made)
            self._warn_of_limits(made)
            area = self.area(made)
            if area.layout == "image" and limits.disk_mib is None:
                raise UsageError("an image needs a size", hint="--diskspace SIZE")
            dist = apply.dist_of(self.settings, made)
            wish = _created(apply.wish_of(made), new.request)
            with private.creating(area.path, area.layout, self.bases, template, limits) as draft:
                apply.to_tree(self.core, veid, draft.rootfs(), dist, wish, self.emit)
            conf.save(self.settings, veid, values, base=base)
            conf.rename(self.settings, veid, new.name)
            return made

    def create_next(self, new: New) -> Conf:
        """Make a VE of the lowest number from 101 on that is free. Raises as `create` does."""
        while True:
            veid = self._free()
            try:
                return self.create(veid, new)
            except BusyError:
                if self._free() == veid:
                    raise  # it is not that somebody else took the number just now

    def _free(self) -> str:
        return conf.free_veid(self.settings, taken=lambda veid: is_held(self._lock(veid)))

    def _thought_out(self, veid: str, new: New) -> tuple[str, dict[str, str | None], Path]:
        """The sample's text, the values that go into it, the template's file."""
        common = conf.common(self.settings)
        base, origin = self._sample(new.sample, common)
        found = ostemplate.find(self.settings.template_cache, new.ostemplate or _default_template(common))
        if found.warning:
            self.emit(Note(found.warning, "warning"))
        layout = private.layout_of(new.layout) if new.layout else _usual_layout(common)
        if new.dist:
            choose(found.name, self.settings.dists, new.dist)
        values: dict[str, str | None] = {
            **new.request.changed(Conf(veid, conf.values_of(base), common)),
            "VE_ROOT": str(new.root or self.settings.ve_root / "$VEID"),
            "VE_PRIVATE": str(new.area or self.settings.ve_private / "$VEID"),
            "VE_LAYOUT": layout,
            "OSTEMPLATE": found.name,
        }
        values |= {"ORIGIN_SAMPLE": origin} if origin else {}
        values |= {"DISTRIBUTION": new.dist} if new.dist else {}
        values |= {"NAME": new.name} if new.name else {}
        return base, values, found.path

    def _sample(self, wanted: str, common: Mapping[str, str]) -> tuple[str, str]:
        if wanted:
            return conf.sample(self.settings, wanted), wanted
        usual = common.get("CONFIGFILE", "")
        if usual:
            try:
                return conf.sample(self.settings, usual), usual
            except UsageError as error:
                self.emit(Note(f"{error.what} (vz.conf's CONFIGFILE): created without", "warning"))
        return "", ""

    def _warn_of_limits(self, of: Conf) -> None:
        keys = not_kept(of)
        if keys:
            text = ", ".join(keys)
            self.emit(
                Note(
                    f"VE {of.veid}: limits that only OpenVZ's kernel keeps, not kept here: {text}", "warning"
                )
            )

    def destroy(self, word: str) -> str:
        """Remove a VE that does not run, with its files; its configuration is kept as *.destroyed.

        Returns its number. Raises UsageError where there is none, BusyError when it runs or is mounted.
        """
        veid = conf.resolve(self.settings, word)
        with self.alone(veid):
            of = self._conf_or_bare(veid)
            self._must_not_run(veid)
            if mounts.is_mounted(self.root(of)):
                raise BusyError(
                    f"VE {veid} is mounted", where=str(self.root(of)), hint=f"tmplbuild ve umount {veid}"
                )
            self.core.clear(veid)
            private.destroy(self.area(of).path)
            with suppress(OSError):  # others' files may lie there
                self.root(of).rmdir()
            for log in self.console(veid).parent.glob(f"{veid}.console*"):
                log.unlink(missing_ok=True)
            conf.remove(self.settings, veid)  # last: what a crash leaves can be destroyed again
        return veid

    def _conf_or_bare(self, veid: str) -> Conf:
        """The configuration; or what would hold for a VE whose configuration was lost, if it has files."""
        try:
            return conf.load(self.settings, veid)
        except UsageError:
            bare = Conf(veid, {}, conf.common(self.settings))
            if not self.area(bare).path.exists():
                raise
            return bare

    def _must_not_run(self, veid: str) -> None:
        if self.running(veid) is not None:
            raise BusyError(f"VE {veid} runs", hint=f"tmplbuild ve stop {veid}")

    # -- start and stop ----------------------------------------------------------------------------

    def start(self, word: str, *, timeout_s: float = _START_TIMEOUT_S, force: bool = False) -> Conf:
        """Start a VE and wait until its init is ready.

        Parameters:
            timeout_s: seconds.
            force: start one that is DISABLED as well.

        Raises BusyError when it runs already, HostError, StageError with the end of its console.
        """
        of = self.conf(word)
        with self.alone(of.veid):
            if of.yes("DISABLED") and not force:
                raise UsageError(f"VE {of.veid} is disabled", hint="--force starts it all the same")
            if self.running(of.veid) is not None:
                raise BusyError(f"VE {of.veid} runs already")
            limits, net = limits_of(of), _net_of(of)
            self._warn_of_limits(of)
            rootfs = self._usable(of)
            apply.to_tree(
                self.core, of.veid, rootfs, apply.dist_of(self.settings, of), apply.wish_of(of), self.emit
            )
            console = self.console(of.veid)
            console.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            ve = self.core.start(
                of.veid,
                rootfs,
                init=True,
                net=net,
                limits=limits,
                hostname=of.get("HOSTNAME").partition(".")[0] or "localhost",
                timeout_s=timeout_s,
                tether=False,
                console_log=console,
            )
            ve.detach()
        return of

    def _usable(self, of: Conf) -> Rootfs:
        """The files of a VE that does not run, unmounted from where `mount` has shown them; of one whose
        monitor was killed, a process may only just be ending."""
        self.core.clear(of.veid)
        if mounts.is_mounted(self.root(of)):
            mounts.umount(self.root(of))
        return self.area(of).rootfs()

    def stop(self, word: str, *, fast: bool = False, timeout_s: float | None = None) -> Ending:
        """Stop a VE: by its init, and by killing it after `timeout_s` seconds; `fast` kills at once."""
        ve = self.attach(word)
        with self.alone(ve.veid):
            if fast:
                ve.kill()
                return "killed"
            return ve.stop(timeout_s if timeout_s is not None else self._stop_timeout(ve.veid))

    def _stop_timeout(self, veid: str) -> float:
        if not conf.is_veid(veid) or not conf.path_of(self.settings, veid).exists():
            return _STOP_TIMEOUT_S
        text = conf.load(self.settings, veid).get("STOP_TIMEOUT")
        return float(text) if text.isascii() and text.isdigit() else _STOP_TIMEOUT_S

    # -- change ------------------------------------------------------------------------------------

    def set(self, word: str, request: Request, *, save: bool, name: str | None = None) -> Outcome:
        """Change a VE: while it runs, at once; and for good, with `save`.

        Parameters:
            name: a new name; "" takes it away; it is always saved.

        Raises UsageError before anything is changed; without `save`, when there is nothing to change.
        """
        of = self.conf(word)
        with self.alone(of.veid):
            of = conf.load(self.settings, of.veid)
            if name is not None:
                conf.check_name(self.settings, of.veid, name)
            values = request.changed(of)
            after = of.with_values(values)
            limits_of(after)
            ve = self.running(of.veid)
            if not save and ve is None and values:
                raise UsageError(
                    f"VE {of.veid} does not run: there is nothing to set for now", hint="add --save"
                )
            outcome = self._take_up(of, after, values, request, ve)
            if save:
                conf.save(self.settings, of.veid, values)
            if name is not None:
                conf.save(self.settings, of.veid, {"NAME": name or None})
                conf.rename(self.settings, of.veid, name)
            return outcome

    def _take_up(
        self, before: Conf, after: Conf, values: Mapping[str, str | None], request: Request, ve: VE | None
    ) -> Outcome:
        dist = apply.dist_of(self.settings, after)
        wish = _created(apply.wish_of(after, values), request, created=False)
        if ve is None:
            if wish == Wish():
                return Outcome()
            return Outcome(apply.to_tree(self.core, after.veid, self._usable(after), dist, wish, self.emit))
        later = [key for key in values if (option := option_of(key)) and option.live]
        if _net_of(before) != _net_of(after):
            later += self._change_addresses(ve, before, after)
        limits = limits_of(after)
        if limits != limits_of(before):
            ve.set_limits(limits)
        if "IP_ADDRESS" in later:
            wish = replace(wish, addresses=None)
        changed = apply.to_running(ve, dist, wish, self.emit) if wish != Wish() else []
        return Outcome(changed, later)

    def _change_addresses(self, ve: VE, before: Conf, after: Conf) -> list[str]:
        """Addresses of a running VE. One that has no venet0 yet gets it at its next start."""
        if not isinstance(_net_of(before), Venet) or not isinstance(_net_of(after), Venet):
            return ["IP_ADDRESS"]
        old, new = set(map(str, addresses_of(before))), set(map(str, addresses_of(after)))
        for one in sorted(old - new):
            ve.remove_address(one)
        for one in sorted(new - old):
            ve.add_address(one)
        return []

    # -- mount -------------------------------------------------------------------------------------

    def mount(self, word: str) -> Path:
        """Show the files of a stopped VE at its VE_ROOT. Raises BusyError when it runs or is mounted."""
        of = self.conf(word)
        with self.alone(of.veid):
            self._must_not_run(of.veid)
            root = self.root(of)
            if mounts.is_mounted(root):
                raise BusyError(f"VE {of.veid} is mounted already", where=str(root))
            mounts.mount(self.core, self.area(of).rootfs(), root)
            return root

    def umount(self, word: str) -> Path:
        """The reverse. Raises BusyError when somebody is in there, UsageError when it is not mounted."""
        of = self.conf(word)
        with self.alone(of.veid):
            root = self.root(of)
            if not mounts.is_mounted(root):
                raise UsageError(f"VE {of.veid} is not mounted", where=str(root))
            mounts.umount(root)
            return root

    # -- scripts -----------------------------------------------------------------------------------

    def run_script(self, word: str, script: bytes, output: Callable[[bytes, str], None]) -> int:
        """Run a shell script in a VE; in one that does not run isolated, without its init and network."""
        of = self.conf(word)
        ve = self.running(of.veid)
        if ve is not None:
            return ve.exec(["/bin/sh", "-s"], stdin=script, output=output).rc
        with self.alone(of.veid), self.core.start(of.veid, self._usable(of), init=False) as ve:
            return ve.exec(["/bin/sh", "-s"], stdin=script, output=output).rc

    # -- what is left ------------------------------------------------------------------------------

    def tidy(self) -> list[str]:
        """Remove what crashes left of creating and destroying, and trees that no VE or template needs."""
        gone = []
        for folder in self._folders():
            for path in private.leftovers(folder):
                try:
                    with self.alone(private.veid_of(path)):
                        private.remove_tree(path)
                except BusyError:
                    continue
                gone.append(str(path))
        cache = self.settings.template_cache
        templates = cache.iterdir() if cache.is_dir() else iter(())
        return gone + [f"shared tree {name}" for name in self.bases.collect(self._used, templates)]

    def _folders(self) -> Paths:
        """Where private areas lie."""
        return {self.settings.ve_private, *(self.area(of).path.parent for of in self.confs())}

    def _used(self) -> Paths:
        """The shared trees that private areas are made of, those in the making included."""
        areas = {self.area(of).path for of in self.confs()}
        for folder in self._folders():
            areas.update(folder.iterdir() if folder.is_dir() else ())
        return {base for path in areas if (base := private.base_of(path)) is not None}


def _created(wish: Wish, request: Request, *, created: bool = True) -> Wish:
    return replace(wish, created=created, passwords=request.passwords)


def _default_template(common: Mapping[str, str]) -> str:
    found = common.get("DEF_OSTEMPLATE", "")
    if not found:
        raise UsageError("no template is named", hint="--ostemplate NAME, or DEF_OSTEMPLATE in vz.conf")
    return found


def _usual_layout(common: Mapping[str, str]) -> str:
    """VE_LAYOUT of vz.conf; OpenVZ's own usual one, ploop, is not meant for us."""
    found = common.get("VE_LAYOUT", "").partition(":")[0]
    return private.LAYOUTS.get(found, "overlay")


def _net_of(of: Conf) -> Net | Venet:
    addresses = tuple(str(one) for one in addresses_of(of))
    mode = of.get("NETMODE") or "venet"  # as in OpenVZ: there before it has an address
    if mode == "venet":
        return Venet(addresses, nat=of.yes("NAT"))
    if mode not in ("none", "host"):
        raise UsageError(f"NETMODE of VE {of.veid}: there is no network {mode!r}", hint="none, venet or host")
    if addresses:
        raise UsageError(
            f"VE {of.veid} has addresses, but its network is {mode}", hint="--ipdel all, or --net venet"
        )
    return "host" if mode == "host" else "none"
