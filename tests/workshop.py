"""A place of its own for whole builds: the tool is run as a user runs it, with all its directories
below one. Nothing of it may be left on the machine afterwards, and `remains` looks for what is."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tmplbuild.core import Core, Rootfs, Tree
from tmplbuild.engine.store import Store

ROOT = Path(__file__).resolve().parent.parent


@dataclass
class Run:
    """How a run ended: exit status, standard output (events as JSON where asked for) and error."""

    status: int
    out: str
    err: str
    events: list[dict[str, Any]] = field(default_factory=list)

    @property
    def ran(self) -> list[str]:
        """The stages that ran, in order."""
        return [e["stage"] for e in self.events if e["event"] == "stage_done" and not e["cached"]]

    @property
    def summary(self) -> dict[str, Any]:
        """What the last event says of the build."""
        done = next(e for e in self.events if e["event"] == "run_done")
        found: dict[str, Any] = done["summary"]
        return found

    @property
    def unchanged(self) -> bool:
        """Whether the run found that nothing had to be done."""
        return any(e["event"] == "run_done" and e["unchanged"] for e in self.events)


class Workshop:
    """Directories for one series of builds.

    Parameters:
        place: below it lie the store and the template cache.
        packages: the package cache, which several workshops may share.
    """

    def __init__(self, place: Path, packages: Path) -> None:
        self.place = place
        self.templates = place / "templates"
        self.templates.mkdir(parents=True, exist_ok=True)
        self.packages = packages
        self.run_dir = place / "run"
        self.first: Run | None = None
        self.running: subprocess.Popen[str] | None = None
        self.env = {
            "PATH": os.environ["PATH"],
            "HOME": str(place),
            "LC_ALL": "C.UTF-8",
            "PYTHONPATH": str(ROOT),
            "TMPLBUILD_TEMPLATE_CACHE": str(self.templates),
            "TMPLBUILD_CACHE_DIR": str(packages),
            "TMPLBUILD_STATE_DIR": str(place / "state"),
            "TMPLBUILD_RUN_DIR": str(self.run_dir),
        }

    def read_last(self, when: float, address: str = "") -> None:
        """Have the tool believe that it read archives then (seconds since the epoch).

        Parameters:
            address: a part of the address of those that are meant; "" means all.
        """
        for path in (self.packages / "suites").glob("*.json"):
            facts = json.loads(path.read_text())
            if address in facts.get("url", ""):
                path.write_text(json.dumps({**facts, "accepted_at": f"{when:.0f}"}))

    def argv(self, *words: str) -> list[str]:
        """The command line of the tool."""
        return [sys.executable, "-m", "tmplbuild", *words]

    def run(self, *words: str, env: Mapping[str, str] | None = None, wrap: tuple[str, ...] = ()) -> Run:
        """Run the tool to its end."""
        done = subprocess.run(
            [*wrap, *self.argv(*words)],
            env={**self.env, **(env or {})},
            cwd=self.place,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
        )
        return Run(done.returncode, done.stdout, done.stderr, _events(done.stdout))

    def heard(self, *words: str, heard: Callable[[dict[str, Any]], None], wrap: tuple[str, ...] = ()) -> Run:
        """Run the tool with --json to its end, in a session of its own, as `running`; `heard` sees each event
        as it comes."""
        with tempfile.TemporaryFile("w+", errors="replace") as errors:  # a pipe that nobody reads may fill
            self.running = process = subprocess.Popen(
                [*wrap, *self.argv(*words, "--json")],
                env=self.env,
                cwd=self.place,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                start_new_session=True,
            )
            assert process.stdout is not None
            events = []
            for line in process.stdout:
                events.append(json.loads(line))
                heard(events[-1])
            status = process.wait()
            errors.seek(0)
            return Run(status, "", errors.read(), events)

    def build(self, name: str, *words: str, ok: bool = True, **options: Any) -> Run:
        """`build NAME --json`; the run must succeed unless `ok` is false."""
        done = self.run("build", name, "--json", *words, **options)
        if ok:
            assert done.status == 0, f"{done.err}\n{done.out[-2000:]}"
        return done

    def stopped(
        self,
        name: str,
        when: Callable[[dict[str, Any]], bool],
        with_signal: int,
        *,
        words: tuple[str, ...] = (),
        env: Mapping[str, str] | None = None,
    ) -> Run:
        """Start a build and send a signal as soon as an event fulfils `when`."""
        process = subprocess.Popen(
            self.argv("build", name, "--json", *words),
            env={**self.env, **(env or {})},
            cwd=self.place,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            start_new_session=True,
        )
        assert process.stdout is not None
        assert process.stderr is not None
        lines: list[str] = []
        sent = False
        for line in process.stdout:
            lines.append(line)
            if not sent and when(json.loads(line)):
                process.send_signal(with_signal)
                sent = True
        err = process.stderr.read()
        status = process.wait()
        assert sent or status == 0, f"{err}\n{''.join(lines[-5:])}"
        return Run(status, "".join(lines), err, _events("".join(lines)))

    def kill_stages(self, name: str, stages: tuple[str, ...], number: int) -> Iterator[tuple[str, Run]]:
        """Build again and again, each time stopped in the next stage; what came of each."""
        for stage in stages:

            def started(event: dict[str, Any], stage: str = stage) -> bool:
                return event["event"] == "stage_started" and bool(event["stage"] == stage)

            yield stage, self.stopped(name, started, number)

    def recipe(self, name: str, text: str) -> str:
        """Write a recipe of the workshop's own; the name to build it by (a path)."""
        path = self.place / "recipes" / "test" / f"{name}.toml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return str(path)

    @contextmanager
    def tree(self, template: str, step: str) -> Iterator[Tree]:
        """The tree of the last good build as it was after a step."""
        store = Store(self.place / "state")
        record = store.read_record(template)
        assert record is not None
        key = next(row["key"] for row in record["steps"] if row["name"] == step)
        lower = tuple(layer.fs for layer in store.chain(key))
        rootfs = Rootfs.plain(lower[0]) if len(lower) == 1 else Rootfs.overlay(lower, None)
        with Core(self.run_dir).tree(rootfs, writable=False) as tree:
            yield tree

    def remains(self) -> dict[str, list[str]]:
        """What is left on the machine of VEs and mounts of this workshop: should be nothing."""
        mounts = [line for line in Path("/proc/self/mountinfo").read_text().splitlines() if self._ours(line)]
        processes = [words.replace("\0", " ") for words in self.processes().values()]
        states = [str(p) for p in self.run_dir.glob("*") if p.is_dir() and p.name not in ("locks",)]
        drafts = [str(p) for p in (self.templates).glob(".*")]
        found = {"mounts": mounts, "processes": processes, "state": states, "drafts": drafts}
        return {kind: rows for kind, rows in found.items() if rows}

    def processes(self) -> dict[int, str]:
        """The processes of this workshop that run, with their command lines."""
        found = {}
        for entry in Path("/proc").glob("[0-9]*/cmdline"):
            pid = int(entry.parent.name)
            try:
                words = entry.read_bytes().decode("utf-8", "replace")
                state = (entry.parent / "stat").read_text().rpartition(")")[2].split()[0]
            except OSError:
                continue
            if self._ours(words) and state != "Z" and pid != os.getpid():
                found[pid] = words
        return found

    def temporary(self) -> list[Path]:
        """Files and directories in the making, which only a run that is under way has."""
        places = [self.place / "state", self.packages, self.templates]
        names = (".*", "*.part", "*.new", "*-new")
        found = {path for place in places for name in names for path in place.rglob(name) if _is_ours(path)}
        found = {path for path in found if path.parent.name != "locks" and path.name != ".lock"}  # these stay
        return sorted([*found, *(self.place / "state/drafts").glob("*"), *self.packages.glob("incoming/*")])

    def _ours(self, text: str) -> bool:
        return str(self.place) in text


def _is_ours(path: Path) -> bool:
    """Whether a path is the tool's own, not one within a layer's tree."""
    return "fs" not in path.parts


@contextmanager
def other_umask(mask: int) -> Iterator[None]:
    """Another umask for what is started within."""
    old = os.umask(mask)
    try:
        yield
    finally:
        os.umask(old)


def _events(out: str) -> list[dict[str, Any]]:
    events = []
    for line in out.splitlines():
        if line.startswith("{"):
            try:
                events.append(json.loads(line))
            except ValueError:
                continue
    return [event for event in events if isinstance(event, dict) and "event" in event]
