"""What real package managers leave when they are stopped in the middle: the build must not go on."""

from __future__ import annotations

import re
import resource
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.component.test_leftovers_rpm import AskedByRpm
from tests.deb_factory import package
from tests.real_rpm import install_words
from tests.rpm_factory import File, Rpm, build_rpm
from tests.unit.fake_bench import FakeBench
from tmplbuild.core.tree import Tree
from tmplbuild.errors import StageError
from tmplbuild.recipes.afterwards import Leftovers
from tmplbuild.recipes.model import Clean, Configure, Strip
from tmplbuild.stages import leftovers
from tmplbuild.stages.work import work_of

pytestmark = pytest.mark.root

_LIMIT = (16 << 20, 16 << 20)  # bytes a file may have: more than rpm's database needs


def decide(bench: FakeBench, manager: str) -> StageError:
    """The error of stage leftovers on the bench's tree."""
    past = leftovers.Past(
        pristine=lambda: Tree(bench.root), before=lambda: Tree(bench.root), ask=lambda argv: b""
    )
    options = Leftovers(managers=(manager,))  # type: ignore[arg-type]
    with pytest.raises(StageError, match="unfinished transaction") as caught:
        leftovers.run(bench, options, work_of(Configure(), Strip(), Clean()), past)
    return caught.value


@pytest.mark.skipif(not shutil.which("rpm"), reason="needs rpm: run `make test`, which installs it")
def test_rpm_that_did_not_finish_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))  # rpm looks for macros there
    root = tmp_path / "root"
    (root / "etc").mkdir(parents=True)
    big = Rpm("big", files=(File("/etc/big.conf", bytes(24 << 20)),), payload="gzip")
    path = tmp_path / "big.rpm"
    path.write_bytes(build_rpm(big))
    words = ("--root", str(root), "--dbpath", "/var/lib/rpm", "--nosignature", "--nodeps")
    done = subprocess.run(
        ["rpm", *words, "-i", *install_words(), str(path)],
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, _LIMIT),
        capture_output=True,
        check=False,
    )
    assert done.returncode != 0
    name = re.search(r"/etc/big\.conf;[0-9a-f]+", done.stderr.decode())
    assert name is not None, done.stderr.decode()
    left = root / name[0].lstrip("/")
    left.write_bytes(b"")  # rpm tidies up after an error of the disk; one that is killed does not
    assert name[0] in str(decide(AskedByRpm(root), "rpm"))
    assert left.exists(), "nothing is removed before somebody has looked"


@pytest.mark.skipif(not shutil.which("dpkg"), reason="needs dpkg")
def test_dpkg_that_did_not_configure(tmp_path: Path) -> None:
    root = tmp_path / "root"
    (root / "etc").mkdir(parents=True)
    (root / "var/lib/dpkg/info").mkdir(parents=True)
    for name in ("status", "available"):
        (root / "var/lib/dpkg" / name).touch()
    files, scripts = {"etc/app.conf": b"a = 1\n"}, {"conffiles": b"/etc/app.conf\n"}
    _, path = package(tmp_path, "app", files, scripts=scripts)
    words = ("--root", str(root), "--force-not-root", "--force-script-chrootless", "--unpack")
    done = subprocess.run(["dpkg", *words, str(path)], capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()
    assert [path.name for path in (root / "etc").iterdir()] == ["app.conf.dpkg-new"]
    assert "/etc/app.conf.dpkg-new" in str(decide(FakeBench(root), "dpkg"))
