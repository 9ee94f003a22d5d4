"""The house rules that no linter knows: who may import whom, and what must not be in the tree."""

from __future__ import annotations

import ast
import configparser
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from urllib.parse import urlsplit

import pytest

import tmplbuild

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "tmplbuild"

# Imports run one way: a part may import those of its own rank and of lower ranks that are named for it.
RANKS = {
    "tmplbuild": 0,  # the package itself: its version
    "errors": 0,
    "events": 0,
    "tomlfile": 1,
    "yamlfile": 1,
    "secrets": 1,
    "vzconf": 2,
    "nightlyconf": 2,
    "cacheconf": 2,
    "fleetconf": 2,
    "pubconf": 2,
    "recipes": 2,
    "config": 3,
    "core": 4,  # imports nothing below but errors and events: see test_the_core_could_be_used_alone
    "ui": 4,
    "archives": 5,
    "managers": 6,
    "artifact": 7,
    "checks": 7,
    "leftovers": 7,
    "changes": 8,
    "vz": 8,
    "stages": 9,
    "engine": 10,
    "publish": 11,
    "fleet": 11,
    "cli": 12,
    "__main__": 13,
}

# Each third-party package has one door; recipes/ is the one place that is all msgspec.
DOORS = {
    "cryptography": 1,
    "deflate": 1,
    "pysequoia": 1,
    "pyyaml": 1,
    "requests": 1,
    "rich": 1,
    "shtab": 1,
    "solv": 1,
    "tqdm": 1,
    "zstandard": 1,
    "msgspec": None,
}

# What `pip install tmplbuild[cluster]` brings; nothing outside of fleet/ knows of it.
CLUSTER = {"dask", "distributed", "fsspec", "paramiko"}

# What comes with a dependency goes through its door.
PART_OF = {"urllib3": "requests", "yaml": "pyyaml"}

# Who may start processes.
PROCESS_DOORS = {"core/process.py"}

LONGEST = 500


def modules() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


def name_of(path: Path) -> str:
    return path.relative_to(PACKAGE).as_posix()


def imported(path: Path) -> Iterator[tuple[str, set[str]]]:
    """The modules that one imports, anywhere in it, relative ones made absolute; each with the dotted names
    that are taken from it, if that is all."""
    package = ["tmplbuild", *path.relative_to(PACKAGE).parts[:-1]]
    for node in ast.walk(ast.parse(path.read_bytes())):
        if isinstance(node, ast.Import):
            yield from ((alias.name, set()) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            yield module, {f"{module}.{alias.name}" for alias in node.names}


def imports(path: Path) -> set[str]:
    """The dotted names that a module imports, anywhere in it; relative ones made absolute."""
    found: set[str] = set()
    for module, names in imported(path):
        found |= {module} | (names if module == "tmplbuild" else set())
    return found


def part(dotted: str) -> str:
    words = dotted.split(".")
    return words[1] if len(words) > 1 and words[1] in RANKS else "tmplbuild"


def own_part(path: Path) -> str:
    first = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
    return "tmplbuild" if first == "__init__" else first


@pytest.mark.parametrize("path", modules(), ids=name_of)
def test_imports_run_one_way(path: Path) -> None:
    here = own_part(path)
    assert here in RANKS, f"{here} has no rank: give it one here and in docs/architecture.md"
    for dotted in imports(path):
        if dotted.split(".")[0] != "tmplbuild":
            continue
        there = part(dotted)
        allowed = there == here or RANKS[there] < RANKS[here] or there == "tmplbuild"
        assert allowed, f"{name_of(path)} imports {dotted}: {here} stands below {there}"


@pytest.mark.parametrize("path", sorted((PACKAGE / "core").rglob("*.py")), ids=name_of)
def test_the_core_could_be_used_alone(path: Path) -> None:
    for dotted in imports(path):
        top = dotted.split(".")[0]
        ours = dotted.startswith("tmplbuild.core") or dotted in (
            "tmplbuild",
            "tmplbuild.errors",
            "tmplbuild.events",
        )
        assert ours or top in sys.stdlib_module_names, f"{name_of(path)} imports {dotted}"


def test_each_dependency_has_one_door() -> None:
    users: dict[str, set[str]] = {name: set() for name in DOORS}
    for path in modules():
        for dotted in imports(path):
            top = dotted.split(".")[0]
            top = PART_OF.get(top, top)
            optional = top in CLUSTER and name_of(path).startswith("fleet/")
            known = (
                top in DOORS
                or optional
                or top in ("tmplbuild", "_typeshed")
                or top in sys.stdlib_module_names
            )
            assert known, f"{name_of(path)} imports {top}, which is no dependency"
            if top in DOORS:
                users[top].add(name_of(path))
    for name, limit in DOORS.items():
        if limit is None:
            assert all(user.startswith("recipes/") for user in users[name]), users[name]
        else:
            assert len(users[name]) <= limit, f"{name} is imported by {sorted(users[name])}"


def test_dependencies_and_doors_are_the_same_list() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    names = {re.split(r"[<>=!~\[; ]", text)[0] for text in project["dependencies"]}
    assert names == set(DOORS)
    cluster = {re.split(r"[<>=!~\[; ]", text)[0] for text in project["optional-dependencies"]["cluster"]}
    assert cluster == CLUSTER


def test_only_the_fleet_needs_what_a_fleet_needs() -> None:
    code = "import sys, tmplbuild.engine.nightly, tmplbuild.cli.build; print(*sys.modules)"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert not {name.split(".")[0] for name in out.split()} & CLUSTER


def dotted_name(path: Path) -> str:
    words = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(words[:-1] if words[-1] == "__init__" else words)


def modules_used(path: Path, ours: set[str]) -> set[str]:
    """The modules of ours that one imports anywhere: at its top, within functions, for its types alone."""
    used: set[str] = set()
    for module, names in imported(path):
        used |= names & ours | ({module} if not names or names - ours else set())
    return used & ours - {dotted_name(path)}


def test_no_modules_import_each_other_in_a_circle() -> None:
    """None at all: what two modules need of each other belongs into one of them, or into a third below both.

    What is loaded by a name out of a table (verbs, package managers, makers of trees) is no import.
    """
    ours = {dotted_name(path) for path in modules()}
    graph = {dotted_name(path): modules_used(path, ours) for path in modules()}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(" is imported by ".join(error.args[1]))


def test_processes_are_started_through_one_door() -> None:
    for path in modules():
        if name_of(path) in PROCESS_DOORS:
            continue
        used = imports(path) & {"subprocess", "multiprocessing", "pty"}
        assert not used, f"{name_of(path)} imports {used}: use core/process.py"
        text = path.read_text()
        assert not re.search(r"\bos\.(system|popen|spawn\w+|posix_spawn\w*)\(", text), name_of(path)


@pytest.mark.parametrize("path", modules(), ids=name_of)
def test_modules_are_short(path: Path) -> None:
    count = len(path.read_text().splitlines())
    assert count <= LONGEST, f"{count} lines: which two things is it?"


def test_the_version_is_one() -> None:
    newest = re.search(r"^## \[(\d[^\]]*)\]", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert newest is not None
    assert newest[1] == tmplbuild.__version__


def tracked() -> list[Path]:
    if not (ROOT / ".git").exists():
        return [path for path in ROOT.rglob("*") if path.is_file() and ".venv" not in path.parts]
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True).stdout
    return [ROOT / os.fsdecode(name) for name in listed.split(b"\0") if name]


# Addresses that recipes and documents name on purpose.
PUBLIC = {
    "127.0.0.1",  # tests/frozen_archive.py; the true names lie beside it
    "deb.debian.org",
    "ftp.debian.org",
    "security.debian.org",
    "archive.debian.org",
    "snapshot.debian.org",
    "pypi.org",
}


def private_hosts() -> set[str]:
    """The registries and mirrors that this machine was told to use, but for the public ones."""
    texts = [
        path.read_text(errors="replace") for path in Path("/etc/apt").glob("sources.list*") if path.is_file()
    ]
    texts += [path.read_text(errors="replace") for path in Path("/etc/apt/sources.list.d").glob("*")]
    texts += [value for name, value in os.environ.items() if name.startswith(("PIP_", "UV_"))]
    for place in ("/etc/pip.conf", "~/.pip/pip.conf", "~/.config/pip/pip.conf"):
        path = Path(place).expanduser()
        if path.is_file():
            config = configparser.ConfigParser(interpolation=None)
            config.read(path)
            texts += [value for section in config.values() for value in section.values()]
    hosts = {
        urlsplit(url).hostname or "" for text in texts for url in re.findall(r"https?://[^\s\]\"']+", text)
    }
    return {
        host for host in hosts if "." in host and host not in PUBLIC and not host.endswith("pythonhosted.org")
    }


def test_no_address_of_this_machines_registries_is_in_the_tree() -> None:
    hosts = private_hosts()
    for path in tracked():
        if path.is_file():
            data = path.read_bytes()
            for host in hosts:
                # the name itself is kept out of the message too
                assert host.encode() not in data, f"{path.relative_to(ROOT)} names a private registry"
