"""The one door to subprocesses: argument lists, a clean environment, limits in time, whole groups.

Nothing else in the project imports `subprocess`. A command gets no terminal, no standard input
unless it is given, and of our environment only what is listed here.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, NoReturn

from tmplbuild.errors import HostError, StageError

PASSED_ON = ("PATH", "HOME", "TMPDIR", "LANG", "LC_ALL")
"""The variables of our own environment that a command sees."""

_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_TAIL_LINES = 20
_PARENT = "TMPLBUILD_PARENT"

Output = Callable[[bytes, str], None]


@dataclass(frozen=True, slots=True)
class Done:
    """How a command ended: `rc` is 0 to 255, 128 + N for signal N, as shells have it."""

    rc: int
    stdout: bytes
    stderr: bytes
    timed_out: bool = False


def clean_environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """The environment that a command gets, with `extra` on top."""
    env = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
    env.setdefault("PATH", _PATH)
    return {**env, **(extra or {})}


def run(
    argv: Sequence[str],
    *,
    what: str = "",
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    stdin: bytes | IO[bytes] | None = None,
    timeout_s: float | None = None,
    output: Output | None = None,
    ok: Sequence[int] | None = (0,),
) -> Done:
    """Run a command on the host and wait for its end.

    Parameters:
        what: the first words of the error if it fails ("compress the index").
        env: added to the clean environment.
        cwd: where it runs; "/" if not given.
        stdin: bytes or an open file; /dev/null if not given.
        timeout_s: seconds after which its whole process group is killed.
        output: called with each piece and "stdout" or "stderr"; without it the output is kept.
        ok: exit statuses that are no failure; None accepts all (look at the result).

    Raises HostError when the program is not there, StageError when it fails or takes too long.
    """
    child = _open(argv, env, cwd, stdin)
    kept: dict[str, list[bytes]] = {"stdout": [], "stderr": []}

    def keep(data: bytes, name: str) -> None:
        kept[name].append(data)
        if output is not None:
            output(data, name)
            del kept[name][:-_TAIL_LINES]

    try:
        feed = stdin if isinstance(stdin, bytes) else b""
        timed_out = _pump(child, feed, keep, timeout_s)
        if not timed_out:
            os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    finally:
        _kill_group(child)
    code = child.wait()
    rc = 128 - code if code < 0 else code
    tail = (b"".join(kept["stdout"]) + b"".join(kept["stderr"])).decode("utf-8", "replace")
    if timed_out or (ok is not None and rc not in ok):
        why = f"it took longer than {timeout_s} seconds" if timed_out else f"exit status {rc}"
        raise StageError(
            f"Could not {what or 'run ' + argv[0]}.",
            where=" ".join(argv),
            why=why,
            tail=tuple(tail.splitlines()[-_TAIL_LINES:]),
        )
    if output is not None:
        return Done(rc, b"", b"")
    return Done(rc, b"".join(kept["stdout"]), b"".join(kept["stderr"]))


def on_terminal(argv: Sequence[str]) -> int:
    """Run a command on our own standard input and output until it ends. Returns its exit status."""
    try:
        code = subprocess.run(list(argv), env=clean_environment(), cwd="/", check=False).returncode
    except OSError as error:
        raise HostError(f"The program {argv[0]} cannot be run.", why=error.strerror or str(error)) from error
    return 128 - code if code < 0 else code


def _open(
    argv: Sequence[str], env: Mapping[str, str] | None, cwd: Path | None, stdin: bytes | IO[bytes] | None
) -> subprocess.Popen[bytes]:
    source: int | IO[bytes] = subprocess.DEVNULL
    if stdin is not None:
        source = subprocess.PIPE if isinstance(stdin, bytes) else stdin
    try:
        return subprocess.Popen(
            list(argv),
            env=clean_environment(env),
            cwd=cwd or "/",
            stdin=source,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
    except OSError as error:
        raise HostError(
            f"The program {argv[0]} cannot be run.",
            why=error.strerror or str(error),
            hint=f"install the package that has {argv[0]}",
        ) from error


def _pump(child: subprocess.Popen[bytes], feed: bytes, keep: Output, timeout_s: float | None) -> bool:
    """Move bytes until both outputs are closed. True when the time ran out."""
    deadline = None if timeout_s is None else time.monotonic() + timeout_s
    with selectors.DefaultSelector() as selector:
        for stream, name in ((child.stdout, "stdout"), (child.stderr, "stderr")):
            assert stream is not None
            selector.register(stream, selectors.EVENT_READ, name)
        if child.stdin is not None:
            os.set_blocking(child.stdin.fileno(), False)
            selector.register(child.stdin, selectors.EVENT_WRITE, "stdin")
        while selector.get_map():
            left = None if deadline is None else deadline - time.monotonic()
            if left is not None and left <= 0:
                _kill_group(child)
                return True
            for key, _events in selector.select(left):
                if key.data == "stdin":
                    feed = _feed(child, feed, selector)
                elif data := os.read(key.fd, 65536):
                    keep(data, key.data)
                else:
                    selector.unregister(key.fileobj)
    return False


def _feed(child: subprocess.Popen[bytes], feed: bytes, selector: selectors.DefaultSelector) -> bytes:
    assert child.stdin is not None
    try:
        feed = feed[os.write(child.stdin.fileno(), feed[:65536]) :] if feed else b""
    except BrokenPipeError:
        feed = b""
    if not feed:
        selector.unregister(child.stdin)
        child.stdin.close()
    return feed


def _kill_group(child: subprocess.Popen[bytes]) -> None:
    """Kill what is left of a command: its group is its own, for it is a session leader.

    Once it has been waited for, and none of its group is left, another group may be given that number.
    """
    if child.returncode is None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(child.pid, signal.SIGKILL)
        child.wait()
    for stream in (child.stdin, child.stdout, child.stderr):
        if stream is not None:
            stream.close()


class Helper:
    """A small Python of the core's own that runs beside the tool, reached by a socket.

    It starts without site packages and without our environment (-I -S), in a session of its own, so
    that a Ctrl-C at the terminal does not reach it.
    """

    def __init__(self, module: str, sock: int) -> None:
        root = Path(__file__).resolve().parents[2]
        code = (
            f"import sys; sys.path.insert(0, {str(root)!r}); "
            f"from tmplbuild.core.{module} import main; main({sock})"
        )
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", code],
            env={"PATH": _PATH},
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            pass_fds=(sock,),
            start_new_session=True,
        )
        self.pid = self._process.pid

    def wait(self, timeout_s: float | None = None) -> bool:
        """Wait for its end. False when it still runs after `timeout_s` seconds."""
        try:
            self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            return False
        return True

    def leave(self) -> None:
        """Let it live on without us; it is reaped if it ends while we are there."""
        _left_alone.append(self)

    def running(self) -> bool:
        """True while it runs."""
        return self._process.poll() is None


class Sibling:
    """Another run of this tool beside us, as a process of its own: its crash is not ours.

    It has our environment and no terminal, in a session of its own, so that a Ctrl-C at the terminal
    reaches it only through `stop`. It dies with the thread that started it: see `die_with_parent`.

    Parameters:
        pass_fds: descriptors that it finds under the same numbers.
    """

    def __init__(self, words: Sequence[str], env: Mapping[str, str], *, pass_fds: Sequence[int] = ()) -> None:
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115  # closed by `wait`
        self._process = subprocess.Popen(
            _ourselves(words),
            env={**os.environ, **env, _PARENT: str(os.getpid())},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            start_new_session=True,
            pass_fds=pass_fds,
        )

    def running(self) -> bool:
        """True while it runs."""
        return self._process.poll() is None

    def lines(self) -> Iterator[bytes]:
        """The lines of its output as they come."""
        assert self._process.stdout is not None
        yield from iter(
            self._process.stdout.readline, b""
        )  # by itself it would be closed with this generator

    def stop(self) -> None:
        """Ask it to clean up and leave."""
        if self._process.poll() is None:
            self._process.terminate()

    def kill(self) -> None:
        """End it and what it started at once."""
        if self._process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)

    def wait(self) -> tuple[int, str]:
        """Its exit status (-N for signal N), and what it wrote to standard error."""
        code = self._process.wait()
        assert self._process.stdout is not None
        self._process.stdout.close()
        with self._errors as errors:
            errors.seek(0)
            return code, errors.read().decode("utf-8", "replace")


def _ourselves(words: Sequence[str]) -> list[str]:
    return [sys.executable, "-P", "-m", "tmplbuild", *words]


def become(words: Sequence[str]) -> NoReturn:
    """Go on as another run of this tool, from its very beginning. Raises OSError."""
    os.execv(sys.executable, _ourselves(words))


def die_with_parent() -> None:
    """In a run that `Sibling` started: be killed when who started us dies (PR_SET_PDEATHSIG).

    What is left of a killed run is found and removed by the next one, as after any crash.
    """
    parent = os.environ.pop(_PARENT, "")
    if parent:
        from tmplbuild.core import linux  # ctypes, which most runs need not load

        linux.die_with_parent()
        if str(os.getppid()) != parent:
            os.kill(os.getpid(), signal.SIGKILL)  # it was too late to be told


def be_nice(nice: int, io_class: str) -> None:
    """Let others go first: this process and all that it will start.

    Parameters:
        nice: 0 to 19; one that is higher already stays.
        io_class: "idle", "best-effort", or "none" to leave it as it is.

    Raises HostError when there is no ionice(1), StageError when it fails.
    """
    os.setpriority(os.PRIO_PROCESS, 0, max(nice, os.getpriority(os.PRIO_PROCESS, 0)))
    if io_class != "none":
        number = {"idle": "3", "best-effort": "2"}[io_class]
        run(["ionice", "-c", number, "-p", str(os.getpid())], what="set the class for the disk")


_left_alone: list[Helper] = []
