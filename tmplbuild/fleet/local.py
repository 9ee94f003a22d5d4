"""A fleet on this machine alone, to try it: a scheduler and workers on loopback, each a process."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from tmplbuild.config import Settings, as_environment
from tmplbuild.core.process import Sibling
from tmplbuild.errors import HostError


@contextmanager
def local_cluster(count: int, settings: Settings, store: str) -> Iterator[str]:
    """Start a scheduler and workers, and end them with the block. Returns the scheduler's address.

    Parameters:
        store: the shared store's address.

    Raises HostError when one of them does not come up.
    """
    env = as_environment(settings)
    with ExitStack() as stack:
        listen = ["--listen", "tcp://127.0.0.1:0", "--dashboard", "127.0.0.1:0"]
        address = _started(stack, ["scheduler", *listen, "--json"], env)
        workers = []
        for number in range(1, count + 1):
            own = {
                "TMPLBUILD_STATE_DIR": str(settings.state_dir / "fleet" / f"worker-{number}"),
                "TMPLBUILD_RUN_DIR": str(settings.run_dir / f"fleet-{number}"),
            }
            for path in own.values():
                Path(path).mkdir(parents=True, exist_ok=True)
            words = [
                "worker",
                address,
                "--store",
                store,
                "--name",
                f"local-{number}",
                "--jobs",
                "1",
                "--json",
            ]
            workers.append(_begun(stack, words, env | own))
        for sibling in workers:
            _address(sibling)
        yield address


def _started(stack: ExitStack, words: list[str], env: dict[str, str]) -> str:
    return _address(_begun(stack, words, env))


def _begun(stack: ExitStack, words: list[str], env: dict[str, str]) -> Sibling:
    sibling = Sibling(words, env)
    stack.callback(_end, sibling)
    return sibling


def _address(sibling: Sibling) -> str:
    said = []
    for line in sibling.lines():
        said.append(line.decode("utf-8", "replace"))
        found = json.loads(line)
        if found.get("event") == "ready":
            return str(found["address"])
        break
    raise HostError("a part of the local fleet did not start", why="".join(said).strip() or sibling.wait()[1])


def _end(sibling: Sibling) -> None:
    sibling.stop()
    sibling.wait()
