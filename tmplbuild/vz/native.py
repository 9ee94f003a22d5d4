"""The backend that needs no OpenVZ kernel, and the choice between the two (`tmplbuild.core.backend`)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from tmplbuild.config import Settings
from tmplbuild.core.backend import Backend, Listed, Options, Output, Status
from tmplbuild.core.model import ExecResult
from tmplbuild.core.vzctl import Vzctl
from tmplbuild.errors import UsageError
from tmplbuild.events import Emit, silent
from tmplbuild.vz import conf, mounts
from tmplbuild.vz.addresses import address
from tmplbuild.vz.manage import Manager, New
from tmplbuild.vz.options import OPTIONS, parsed
from tmplbuild.vz.request import Request, dropped, password

Rows = list[Listed]

_OF_NEW = ("config", "layout", "private", "root", "name", "dist")


def choose(settings: Settings, emit: Emit = silent) -> Backend:
    """vzctl on a host with an OpenVZ kernel, else our own."""
    vzctl = openvz()
    return vzctl if vzctl else Native(Manager(settings, emit))


def openvz() -> Vzctl | None:
    """vzctl, where the kernel is OpenVZ's."""
    vzctl = Vzctl()
    return vzctl if vzctl.probe().works else None


class Native:
    """The named VEs of `Manager`, as a backend.

    Parameters:
        manager: whose VEs they are.
    """

    name = "native"

    def __init__(self, manager: Manager) -> None:
        self._manager = manager

    def create(self, veid: str, ostemplate: str, options: Options) -> None:
        """See `Backend.create`."""
        own = {key: options[key][-1] for key in _OF_NEW if options.get(key)}
        new = New(
            ostemplate=ostemplate,
            sample=own.get("config", ""),
            layout=own.get("layout", ""),
            dist=own.get("dist", ""),
            name=own.get("name", ""),
            area=Path(own["private"]) if "private" in own else None,
            root=Path(own["root"]) if "root" in own else None,
            request=request_of({key: words for key, words in options.items() if key not in _OF_NEW}),
        )
        self._manager.create(veid, new)

    def start(self, veid: str, *, wait: bool = True, force: bool = False) -> None:
        """See `Backend.start`; it waits always."""
        self._manager.start(veid, force=force)

    def stop(self, veid: str, *, fast: bool = False) -> None:
        """See `Backend.stop`."""
        self._manager.stop(veid, fast=fast)

    def destroy(self, veid: str) -> None:
        """See `Backend.destroy`."""
        self._manager.destroy(veid)

    def status(self, veid: str) -> Status:
        """See `Backend.status`."""
        if not conf.path_of(self._manager.settings, veid).exists():
            return Status(exists=False)
        ve = self._manager.running(veid)
        root = self._manager.root(self._manager.conf(veid))
        return Status(exists=True, mounted=ve is not None or mounts.is_mounted(root), running=ve is not None)

    def set(self, veid: str, options: Options, *, save: bool) -> None:
        """See `Backend.set`."""
        name = options["name"][-1] if options.get("name") else None
        rest = {key: words for key, words in options.items() if key != "name"}
        self._manager.set(veid, request_of(rest), save=save, name=name)

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
        """See `Backend.exec`."""
        ve = self._manager.attach(veid)
        return ve.exec(argv, env=env, cwd=cwd, stdin=stdin, output=output, timeout_s=timeout_s)

    def run_script(self, veid: str, script: Path, output: Output | None = None) -> int:
        """See `Backend.run_script`."""
        try:
            text = script.read_bytes()
        except OSError as error:
            raise UsageError(
                "the script cannot be read", where=str(script), why=error.strerror or ""
            ) from error
        return self._manager.run_script(veid, text, output or (lambda data, name: None))

    def enter(self, veid: str) -> int:
        """See `Backend.enter`."""
        return self._manager.attach(veid).shell()

    def mount(self, veid: str) -> None:
        """See `Backend.mount`."""
        self._manager.mount(veid)

    def umount(self, veid: str) -> None:
        """See `Backend.umount`."""
        self._manager.umount(veid)

    def list(self) -> Rows:
        """See `Backend.list`."""
        from tmplbuild.vz.listing import rows

        return [
            Listed(
                row.veid,
                int(row.held.get("pids", 0)),
                row.status,
                row.info.addresses if row.info else tuple(row.value("IP_ADDRESS").split()),
                row.value("HOSTNAME"),
            )
            for row in rows(self._manager)
            if row.conf
        ]


def request_of(options: Options) -> Request:
    """What options by vzctl's names ask for. Raises UsageError."""
    known = {flag.removeprefix("--"): option for option in OPTIONS for flag in option.flags}
    values: dict[str, str | None] = {}
    for name, words in options.items():
        if name in known:
            option = known[name]
            values[option.key] = parsed(option, words if option.many else words[-1])
        elif name not in ("ipadd", "ipdel", "userpasswd"):
            raise UsageError(f"there is no option --{name}")
    drop, drop_all = dropped(options.get("ipdel", ()))
    return Request(
        values=values,
        add=tuple(address(word) for word in options.get("ipadd", ())),
        drop=drop,
        drop_all=drop_all,
        passwords=tuple(password(text, _cannot_ask) for text in options.get("userpasswd", ())),
    )


def _cannot_ask(user: str) -> str:
    raise UsageError(f"no password of {user} is given", hint="USER:PASSWORD")
