"""A fleet whose parties are processes in network namespaces with addresses of their own, on a bridge."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from tests.workshop import Run, Workshop

NET = "10.203.77"
PORT = 8786


def sh(*words: str) -> None:
    subprocess.run(words, check=True, capture_output=True)


def certificates(place: Path) -> list[str]:
    """An authority and one party's certificate; the options that name them."""
    place.mkdir()
    ca, own = place / "ca", place / "own"
    new = ("openssl", "req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
    sh(*new, "-x509", "-days", "2", "-subj", "/CN=ca", "-keyout", f"{ca}.key", "-out", f"{ca}.crt")
    sh(*new, "-subj", "/CN=party", "-keyout", f"{own}.key", "-out", f"{own}.csr")
    signed = ("-CA", f"{ca}.crt", "-CAkey", f"{ca}.key", "-CAcreateserial", "-days", "2")
    sh("openssl", "x509", "-req", "-in", f"{own}.csr", *signed, "-out", f"{own}.crt")
    return ["--tls-ca", f"{ca}.crt", "--tls-cert", f"{own}.crt", "--tls-key", f"{own}.key"]


class Worker:
    """A worker's machine: it is started again when it ends, as systemd would do it."""

    def __init__(self, yard: Yard, number: int, env: Mapping[str, str], store: str) -> None:
        self.yard, self.number, self.store = yard, number, store
        self.name = f"w{number}"
        self.place = yard.place / self.name
        self.place.mkdir(exist_ok=True)
        self.env = {
            **yard.shop.env,
            "TMPLBUILD_STATE_DIR": str(self.place / "state"),
            "TMPLBUILD_RUN_DIR": str(self.place / "run"),
            **env,
        }
        self.over = threading.Event()
        self.lock = threading.Lock()  # held while it is started
        self.starts = 0
        self.begins = 0  # where the log of this start begins
        self.process: subprocess.Popen[bytes] | None = None
        self.thread = threading.Thread(target=self._keep, daemon=True)
        self.thread.start()

    def _keep(self) -> None:
        words = ["worker", self.yard.address, "--store", self.store, "--name", self.name, "--jobs", "1"]
        with (self.place / "log").open("ab") as log:
            while True:
                argv = self.yard.inside(self.name, self.yard.shop.argv(*words, *self.yard.tls))
                with self.lock:
                    if self.over.is_set():
                        return
                    self.begins = log.tell()
                    self.process = subprocess.Popen(argv, env=self.env, stdout=log, stderr=log)
                    self.starts += 1
                self.process.wait()
                self.over.wait(0.5)

    def is_ready(self) -> bool:
        """Whether it has found its scheduler since it was started last."""
        log = self.place / "log"
        return log.exists() and b"is ready at" in log.read_bytes()[self.begins :]

    @property
    def busy(self) -> bool:
        """Whether a part of a build runs here."""
        return bool(self._parts())

    def _parts(self) -> list[int]:
        """The processes that do parts of builds: copies of the one that is kept for it."""
        assert self.process is not None
        return [part for kept in _children(self.process.pid) for part in _children(kept)]

    def halt(self) -> list[int]:
        """Stop the clock for the parts of builds that run here. Returns their processes, for `go_on`."""
        found = self._parts()
        for pid in found:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGSTOP)
        return found

    def end(self) -> None:
        """Stop it as systemd does, in the middle of what it does."""
        assert self.process is not None
        parts = self.halt()
        self.process.terminate()
        until(lambda: any(_is_told_to_stop(pid) for pid in parts), 120)
        go_on(parts)

    def kill(self) -> None:
        """As a power cut does it."""
        assert self.process is not None
        self.process.kill()

    def cut_off(self, *, off: bool = True) -> None:
        """Take its network away, or give it back."""
        sh(*self.yard.inside("hub", ["ip", "link", "set", f"p-{self.name}", "down" if off else "up"]))

    def again(self, **env: str) -> None:
        """Stop it as systemd does, and have it started with other variables."""
        with self.lock:
            assert self.process is not None
            starts = self.starts
            self.env = {**self.env, **env}
            self.process.terminate()
        until(lambda: self.starts > starts, 180)

    def stop(self) -> None:
        """End it for good."""
        with self.lock:
            self.over.set()
            if self.process is not None:
                self.process.terminate()
        self.thread.join(180)
        if self.thread.is_alive():  # after a test that failed it may be cut off
            self.kill()
            self.thread.join()


class Yard:
    """Namespaces, a scheduler in the first one; workers are added.

    Parameters:
        place: a directory for what the machines write.
        shop: the workshop of the machine that gives the orders.
        silent_s: after so many seconds the scheduler takes a silent worker for lost; on a busy machine one is
            silent for some seconds at times.
    """

    def __init__(self, place: Path, shop: Workshop, *, silent_s: int = 120) -> None:
        place.mkdir()
        self.place, self.shop, self.silent_s = place, shop, silent_s
        self.store = str(place / "store")
        self.tls = certificates(place / "tls")
        self.address = f"tls://{NET}.1:{PORT}"
        self.mark = f"tbf{os.getpid()}"
        self.names: list[str] = []
        self._space("hub")
        sh(*self.inside("hub", ["ip", "link", "add", "br0", "type", "bridge"]))
        sh(*self.inside("hub", ["ip", "addr", "add", f"{NET}.1/24", "dev", "br0"]))
        sh(*self.inside("hub", ["ip", "link", "set", "br0", "up"]))
        self.scheduler = self._scheduler()
        self.workers: list[Worker] = []

    def _space(self, name: str) -> None:
        sh("ip", "netns", "add", f"{self.mark}-{name}")
        self.names.append(name)
        sh(*self.inside(name, ["ip", "link", "set", "lo", "up"]))

    def inside(self, name: str, words: list[str]) -> list[str]:
        """A command line that runs in the network namespace of one of the machines."""
        return ["nsenter", f"--net=/run/netns/{self.mark}-{name}", "--", *words]

    def _scheduler(self) -> subprocess.Popen[str]:
        argv = self.shop.argv("scheduler", "--listen", self.address, "--dashboard", "127.0.0.1:0", "--json")
        env = {**self.shop.env, "DASK_DISTRIBUTED__SCHEDULER__WORKER_TTL": f"{self.silent_s}s"}
        process = subprocess.Popen(
            self.inside("hub", [*argv, *self.tls]), env=env, stdout=subprocess.PIPE, text=True
        )
        assert process.stdout is not None
        assert json.loads(process.stdout.readline())["event"] == "ready"
        return process

    def restart(self) -> None:
        """Kill the scheduler, and start it again."""
        self.scheduler.kill()
        self._gone()
        self.scheduler = self._scheduler()

    def _gone(self) -> None:
        self.scheduler.wait()
        assert self.scheduler.stdout is not None
        self.scheduler.stdout.close()

    def worker(self, env: Mapping[str, str] | None = None, store: str = "") -> Worker:
        """One more machine; `store`: the shared store as this one reaches it."""
        number = len(self.workers) + 1
        name = f"w{number}"
        self._space(name)
        sh(*self.inside("hub", ["ip", "link", "add", f"p-{name}", "type", "veth", "peer", "name", "eth0"]))
        sh(*self.inside("hub", ["ip", "link", "set", "eth0", "netns", f"{self.mark}-{name}"]))
        sh(*self.inside("hub", ["ip", "link", "set", f"p-{name}", "master", "br0", "up"]))
        sh(*self.inside(name, ["ip", "addr", "add", f"{NET}.{number + 1}/24", "dev", "eth0"]))
        sh(*self.inside(name, ["ip", "link", "set", "eth0", "up"]))
        self.workers.append(Worker(self, number, env or {}, store or self.store))
        return self.workers[-1]

    def ready(self) -> None:
        """Wait until the scheduler knows all workers."""
        for worker in self.workers:
            until(worker.is_ready, 180)

    def run(self, *words: str, heard: Callable[[dict[str, Any]], None] = lambda event: None) -> Run:
        """Give orders; `heard` sees each event as it comes."""
        fleet = ("--scheduler", self.address, "--store", self.store, *self.tls)
        return self.shop.heard(*words, *fleet, heard=heard, wrap=tuple(self.inside("hub", [])))

    @property
    def orders(self) -> subprocess.Popen[str]:
        """The command that gives orders, a session of its own."""
        assert self.shop.running is not None
        return self.shop.running

    def ask(self, *words: str, env: Mapping[str, str] | None = None) -> Run:
        """Run the tool on the machine that gives the orders, to its end."""
        wrap = tuple(self.inside("hub", []))
        return self.shop.run(*words, *self.tls, env=env, wrap=wrap)

    def settings(self) -> Path:
        """A settings file that names all that the fleet's options do."""
        named = dict(zip(self.tls[::2], self.tls[1::2], strict=True))
        rows = {"scheduler": self.address, "store": self.store}
        rows |= {option.removeprefix("--").replace("-", "_"): path for option, path in named.items()}
        path = self.place / "tmplbuild.toml"
        path.write_text("[fleet]\n" + "".join(f'{name} = "{value}"\n' for name, value in rows.items()))
        return path

    def close(self) -> None:
        """End all, and take the namespaces away."""
        for worker in self.workers:
            worker.stop()
        self.scheduler.terminate()
        self._gone()
        for name in self.names:
            sh("ip", "netns", "del", f"{self.mark}-{name}")


def _children(pid: int) -> list[int]:
    try:
        tasks = list(Path(f"/proc/{pid}/task").iterdir())
        return [int(child) for task in tasks for child in (task / "children").read_text().split()]
    except OSError:
        return []


def _is_told_to_stop(pid: int) -> bool:
    """Whether a process that is halted has a SIGTERM to come."""
    try:
        rows = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    except OSError:
        return False
    return bool((int(rows["SigPnd"], 16) | int(rows["ShdPnd"], 16)) & 1 << signal.SIGTERM - 1)


def go_on(pids: Iterable[int]) -> None:
    """Let the clock run again."""
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)


def until(true: Callable[[], bool], within_s: float) -> None:
    """Wait for something that others bring about."""
    deadline = time.monotonic() + within_s
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.05)
