"""Real rpm's leftovers: every row of its table that leaves something, made by it and decided about."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.real_rpm import install_words
from tests.rpm_factory import File, Rpm, build_rpm
from tests.unit.fake_bench import FakeBench, FakeShell
from tmplbuild.archives.aptrpm.rpmfile import CONFIG, NOREPLACE
from tmplbuild.core.tree import Tree
from tmplbuild.recipes.afterwards import Leftovers
from tmplbuild.recipes.model import Clean, Configure, Edit, Strip
from tmplbuild.recipes.model import File as RecipeFile
from tmplbuild.stages import files, leftovers
from tmplbuild.stages.work import work_of

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(not shutil.which("rpm"), reason="needs rpm: run `make test`, which installs it"),
]

OLD = "a = 1\nb = 1\nc = 1\nd = 1\ne = 1\n"
NEW = OLD.replace("a = 1", "a = 2")


def rpm(root: Path, *argv: str) -> bytes:
    common = ("--root", str(root), "--dbpath", "/var/lib/rpm", "--nosignature")
    done = subprocess.run(["rpm", *common, *argv], capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout


def package(folder: Path, name: str, version: str, **texts: tuple[int, str]) -> str:
    """The path of a package with configuration files: flags and text by name."""
    rows = tuple(
        File(f"/etc/{stem}.conf", text.encode(), flags=flags) for stem, (flags, text) in texts.items()
    )
    path = folder / f"{name}-{version}.rpm"
    path.write_bytes(build_rpm(Rpm(name, version=version, files=rows)))
    return str(path)


@dataclass
class AskedByRpm(FakeBench):
    """A bench whose commands are rpm's own."""

    asked: FakeShell = field(init=False)

    @contextmanager
    def tree(self) -> Iterator[Tree]:
        with Tree(self.root) as tree:
            yield tree

    @contextmanager
    def entered(self) -> Iterator[FakeShell]:
        yield FakeShell({"rpm": rpm(self.root, *leftovers.facts.RPM_QUERY[1:])})


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """rpm looks for macros in the home directory: it gets one of its own."""
    monkeypatch.setenv("HOME", str(tmp_path))


def test_what_rpm_leaves(tmp_path: Path) -> None:
    installed, before, root = (tmp_path / name for name in ("installed", "before", "root"))
    first = {
        "edited": (CONFIG | NOREPLACE, OLD),
        "script": (CONFIG | NOREPLACE, OLD),
        "saved": (CONFIG, OLD),
        "whole": (CONFIG, OLD),
        "gone": (CONFIG, OLD),
        "same": (CONFIG, OLD),
    }
    second = {name: (flags, NEW) for name, (flags, _) in first.items() if name not in ("gone", "same")}
    second |= {"same": (CONFIG, OLD), "early": (CONFIG | NOREPLACE, NEW), "orig": (CONFIG, NEW)}
    (installed / "etc").mkdir(parents=True)
    rpm(installed, "-i", *install_words(), "--nodeps", package(tmp_path, "app", "1.0", **first))
    (installed / "etc/early.conf").write_text("before its package\n")
    (installed / "etc/orig.conf").write_text("before its package\n")

    shutil.copytree(installed, before, symlinks=True)
    configure = Configure(
        files={"/etc/whole.conf": RecipeFile(text="the recipe's\n")},
        edits=tuple(
            Edit(path=f"/etc/{name}.conf", match="^c = .*", replace="c = recipe")
            for name in ("edited", "saved", "same")
        ),
    )
    with Tree(before) as tree:
        files.put(tree, configure.files, lambda name: b"")
        files.edit(tree, configure.edits)
        for name in ("script", "gone"):
            tree.write(f"/etc/{name}.conf", OLD.replace("e = 1", "e = script"))

    shutil.copytree(before, root, symlinks=True)
    rpm(root, "-U", *install_words(), "--nodeps", package(tmp_path, "app", "2.0", **second))
    left = sorted(path.name for path in (root / "etc").iterdir() if ".rpm" in path.name)
    assert left == [
        "early.conf.rpmnew",
        "edited.conf.rpmnew",
        "gone.conf.rpmsave",
        "orig.conf.rpmorig",
        "saved.conf.rpmsave",
        "script.conf.rpmnew",
        "whole.conf.rpmsave",
    ]

    past = leftovers.Past(
        pristine=lambda: Tree(installed),
        before=lambda: Tree(before),
        ask=lambda argv: rpm(installed, *argv[1:]),
    )
    bench = AskedByRpm(root)
    work = work_of(configure, Strip(), Clean())
    rows = leftovers.run(bench, Leftovers(managers=("rpm",)), work, past)["leftovers"]
    assert sorted(path.name for path in (root / "etc").iterdir()) == [
        f"{name}.conf" for name in ("early", "edited", "orig", "same", "saved", "script", "whole")
    ]
    texts = {path.stem: path.read_text() for path in (root / "etc").glob("*.conf")}
    both = NEW.replace("c = 1", "c = recipe")
    assert texts == {
        "early": "before its package\n",
        "edited": both,
        "orig": NEW,
        "same": OLD.replace("c = 1", "c = recipe"),
        "saved": both,
        "script": NEW.replace("e = 1", "e = script"),
        "whole": "the recipe's\n",
    }
    known = {row["path"]: row for row in rows}["/etc/edited.conf.rpmnew"]
    assert (known["package"], known["from_version"], known["to_version"]) == ("app", "1.0-alt1", "2.0-alt1")
    assert set(known["sha256"]) == {"old", "disk", "new", "result"}
    assert {row["path"]: row["cause"] for row in rows if row["cause"] in ("recipe", "script")} == {
        "/etc/edited.conf.rpmnew": "recipe",
        "/etc/saved.conf.rpmsave": "recipe",
        "/etc/whole.conf.rpmsave": "recipe",
        "/etc/script.conf.rpmnew": "script",
        "/etc/gone.conf.rpmsave": "script",
    }
