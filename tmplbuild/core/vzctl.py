"""VEs of a host with an OpenVZ kernel, by its own programs: vzctl(8), vzlist(8).

Command lines and exit statuses are those of vzctl 4's manual page. They are tested against a program
that answers as the manual says; it has not run on an OpenVZ kernel.
"""

from __future__ import annotations

import shlex
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

from tmplbuild.core import process
from tmplbuild.core.backend import Listed, Options, Output, Status
from tmplbuild.core.model import ExecResult, Feature
from tmplbuild.errors import BusyError, HostError, StageError, TmplbuildError, UsageError

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_SEARCH = {"PATH": PATH}
_TIMEOUT_S = 600.0
_COLUMNS = "ctid,nproc,status,ip,hostname"

# Listed, for `list` is a verb here.
Rows = list[Listed]

# vzctl(8), EXIT STATUS: those that a user can do something about, and how they are told.
_FAILURES: dict[int, tuple[type[TmplbuildError], str]] = {
    5: (HostError, "the running kernel is not an OpenVZ kernel"),
    6: (HostError, "not enough system resources"),
    9: (BusyError, "it is locked by another vzctl"),
    10: (HostError, "vz.conf is missing"),
    12: (HostError, "permission denied"),
    14: (UsageError, "there is no such VE"),
    20: (UsageError, "vzctl does not know a parameter"),
    21: (UsageError, "a parameter has a value that cannot be"),
    29: (UsageError, "no template is named"),
    31: (BusyError, "it does not run"),
    32: (BusyError, "it runs already"),
    33: (StageError, "it does not stop"),
    40: (BusyError, "it is not mounted"),
    41: (BusyError, "it is mounted"),
    43: (UsageError, "its private area is missing"),
    44: (BusyError, "there is a VE of that number already"),
    46: (HostError, "not enough disk space"),
    47: (StageError, "the tree has no /sbin/init or /bin/sh"),
    63: (UsageError, "DISKSPACE is not set"),
    71: (UsageError, "that is no IP address"),
    78: (BusyError, "the address is in use"),
    91: (UsageError, "there is no such template"),
    105: (UsageError, "it is disabled"),
    133: (StageError, "its init did not become ready"),
}


class Vzctl:
    """The backend that runs vzctl.

    Parameters:
        path: where its programs are looked for.
        proc: the directory that tells what kernel runs.
    """

    name = "vzctl"

    def __init__(self, path: str = PATH, proc: Path = Path("/proc")) -> None:
        self._path = path
        self._proc = proc

    def probe(self) -> Feature:
        """Whether this host is one. Within a VE of OpenVZ there is /proc/vz, but no /proc/bc."""
        if not (self._proc / "vz").is_dir() or not (self._proc / "bc").is_dir():
            return Feature("vzctl", works=False, why="this is not the host of an OpenVZ kernel")
        if shutil.which("vzctl", path=self._path) is None:
            return Feature("vzctl", works=False, why="vzctl is not installed", fix="install vzctl")
        return Feature("vzctl", works=True, why="an OpenVZ kernel and vzctl")

    # -- life ----------------------------------------------------------------------------------------

    def create(self, veid: str, ostemplate: str, options: Options) -> None:
        """See `Backend.create`. What `create` itself does not take is set right after, and saved."""
        first = {name: values for name, values in options.items() if name in _OF_CREATE}
        self._vzctl("create", veid, "--ostemplate", ostemplate, *_words(first))
        rest = {name: values for name, values in options.items() if name not in _OF_CREATE}
        try:
            if rest:
                self.set(veid, rest, save=True)
        except TmplbuildError:
            self.destroy(veid)
            raise

    def start(self, veid: str, *, wait: bool = True, force: bool = False) -> None:
        """See `Backend.start`."""
        self._vzctl("start", veid, *(["--wait"] if wait else []), *(["--force"] if force else []))

    def stop(self, veid: str, *, fast: bool = False) -> None:
        """See `Backend.stop`."""
        self._vzctl("stop", veid, *(["--fast"] if fast else []))

    def destroy(self, veid: str) -> None:
        """See `Backend.destroy`."""
        self._vzctl("destroy", veid)

    def status(self, veid: str) -> Status:
        """See `Backend.status`."""
        told = self._vzctl("status", veid).stdout.decode("utf-8", "replace").split()
        if len(told) < 5 or told[0] != "CTID":
            raise HostError(
                "vzctl's answer is not understood.", where=f"vzctl status {veid}", why=" ".join(told)
            )
        return Status(exists=told[2] == "exist", mounted=told[3] == "mounted", running=told[4] == "running")

    def set(self, veid: str, options: Options, *, save: bool) -> None:
        """See `Backend.set`."""
        self._vzctl("set", veid, *_words(options), *(["--save"] if save else []))

    def mount(self, veid: str) -> None:
        """See `Backend.mount`."""
        self._vzctl("mount", veid)

    def umount(self, veid: str) -> None:
        """See `Backend.umount`."""
        self._vzctl("umount", veid)

    # -- inside --------------------------------------------------------------------------------------

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
        """See `Backend.exec`. vzctl hands its words to a shell, and starts with an empty environment."""
        if not self.status(veid).running:  # later, its own statuses could not be told from the command's
            raise BusyError(f"VE {veid} does not run.", hint=f"vzctl start {veid}")
        settings = [f"{name}={value}" for name, value in {**_SEARCH, **(env or {})}.items()]
        line = f"cd {shlex.quote(cwd)} && exec env {shlex.join([*settings, *argv])}"
        done = process.run(
            self._argv("exec2", veid, line), stdin=stdin or b"", output=output, timeout_s=timeout_s, ok=None
        )
        return ExecResult(
            done.rc, done.rc - 128 if done.rc > 128 else None, done.timed_out, done.stdout, done.stderr
        )

    def run_script(self, veid: str, script: Path, output: Output | None = None) -> int:
        """See `Backend.run_script`."""
        return process.run(self._argv("runscript", veid, str(script)), output=output, ok=None).rc

    def enter(self, veid: str) -> int:
        """See `Backend.enter`."""
        return process.on_terminal(self._argv("enter", veid))

    # -- looking -------------------------------------------------------------------------------------

    def list(self) -> Rows:
        """See `Backend.list`."""
        vzlist = self._program("vzlist")
        done = process.run([vzlist, "-a", "-H", "-o", _COLUMNS], timeout_s=_TIMEOUT_S, ok=(0, 1))
        return [_listed(row) for row in done.stdout.decode("utf-8", "replace").splitlines() if row.strip()]

    # -- the program -----------------------------------------------------------------------------------

    def _program(self, name: str) -> str:
        found = shutil.which(name, path=self._path)
        if found is None:
            raise HostError(f"{name} is not installed.", where=self._path)
        return found

    def _argv(self, verb: str, veid: str, *words: str) -> Sequence[str]:
        if not veid.isdigit():
            raise UsageError(f"{veid!r} is no number of a VE.")
        return [self._program("vzctl"), "--quiet", verb, veid, *words] if verb in _QUIET else [
            self._program("vzctl"), verb, veid, *words
        ]  # fmt: skip

    def _vzctl(self, verb: str, veid: str, *words: str) -> process.Done:
        done = process.run(self._argv(verb, veid, *words), timeout_s=_TIMEOUT_S, ok=None)
        if done.rc:
            kind, why = _FAILURES.get(done.rc, (HostError, f"exit status {done.rc}"))
            told = (done.stderr or done.stdout).decode("utf-8", "replace").strip()
            raise kind(f"vzctl could not {verb} VE {veid}.", why=f"{why}: {told}" if told else why)
        return done


_QUIET = ("exec2", "runscript", "enter")
_OF_CREATE = ("config", "layout", "diskspace", "diskinodes", "private", "root", "ipadd", "hostname")


def _words(options: Options) -> Sequence[str]:
    return [word for name, values in options.items() for value in values for word in (f"--{name}", value)]


def _listed(row: str) -> Listed:
    veid, processes, status, *rest = row.split()
    addresses = tuple(word for word in rest[:-1] if word != "-")
    hostname = rest[-1] if rest and rest[-1] != "-" else ""
    return Listed(veid, int(processes) if processes.isdigit() else 0, status, addresses, hostname)
