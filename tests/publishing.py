"""A place to publish from: a template cache, a GnuPG home with a key, settings, a mirror."""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import io
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.gpg import end_daemons
from tests.pack_trees import EPOCH, packed
from tmplbuild import cli
from tmplbuild.artifact import manifest as forms
from tmplbuild.artifact.pack import Packed
from tmplbuild.config import Settings, load_settings
from tmplbuild.events import silent
from tmplbuild.publish.mirror import Mirror
from tmplbuild.publish.model import State
from tmplbuild.publish.publish import Published, publish

ROOT = Path(__file__).resolve().parent.parent
NAME = "debian-12-x86_64"
PACKAGES = (
    forms.PackageRef("bash", "5.2.15-2+b7", "amd64", "bash"),
    forms.PackageRef("libc6", "2:2.36-9~deb12u1", "amd64", "glibc"),
)


def add_template(
    cache: Path,
    tree: Path,
    name: str = NAME,
    *,
    recipe: str = "debian-12",
    epoch: int = EPOCH,
    owners: Mapping[str, str] | None = None,
    arch: str = "amd64",
    packages: tuple[forms.PackageRef, ...] = PACKAGES,
) -> forms.Manifest:
    """Pack a tree as a template of the cache, with a manifest as a build writes it."""
    cache.mkdir(exist_ok=True)
    done = packed(tree, cache / f"{name}.tar.gz", epoch=epoch, owners=owners or {})
    return _manifest(cache, name, recipe, epoch, done, arch, packages)


def add_packed(cache: Path, tar: bytes, name: str, *, recipe: str) -> forms.Manifest:
    """Put the bytes of a tar into the cache as a template with its manifest."""
    data = gzip.compress(tar, mtime=0)
    (cache / f"{name}.tar.gz").write_bytes(data)
    done = Packed(len(data), hashlib.sha256(data).hexdigest(), len(tar), members=1, reused=0, entries=1)
    return _manifest(cache, name, recipe, EPOCH, done)


def _manifest(
    cache: Path,
    name: str,
    recipe: str,
    epoch: int,
    done: Packed,
    arch: str = "amd64",
    packages: tuple[forms.PackageRef, ...] = PACKAGES,
) -> forms.Manifest:
    made = forms.Manifest(
        template=name,
        recipe=forms.RecipeRef(recipe, "0" * 64),
        tool="tmplbuild 0.1",
        arch=arch,
        epoch=epoch,
        pins=forms.Pins(
            archives=(forms.Pin("debian", "bookworm", epoch, "1" * 64, ("A" * 40,)),),
            base_closure="2" * 64,
            closure="3" * 64,
        ),
        packages=packages,
        stages=(forms.StageRef("pack", "4" * 64),),
        artifact=forms.Artifact(f"{name}.tar.gz", done.size, done.sha256, done.tar_size, done.entries),
    )
    forms.write_manifest(cache / f"{name}.manifest.json", made)
    return made


@dataclass(frozen=True)
class Ran:
    """How a command line ended."""

    returncode: int
    stdout: str
    stderr: str


class Gpg:
    """GnuPG with a home of its own and one key."""

    def __init__(self, home: Path, passphrase: str = "") -> None:
        self.home = home
        home.mkdir(mode=0o700)
        (home / "gpg-agent.conf").write_text("s2k-count 65536\n")  # measuring the machine takes seconds
        self._passphrase = passphrase
        self.run("--quick-generate-key", "mirror@example.org", "ed25519", "sign", "never")
        rows = self.run("--list-keys", "--with-colons").decode().splitlines()
        self.key = next(row.split(":")[9] for row in rows if row.startswith("fpr"))

    def run(self, *words: str) -> bytes:
        """Run gpg; its output."""
        argv = ["gpg", "--homedir", str(self.home), "--batch", "--yes", "--quiet", "--no-tty"]
        argv += ["--pinentry-mode=loopback", f"--passphrase={self._passphrase}", *words]
        done = subprocess.run(argv, capture_output=True, check=False)
        assert done.returncode == 0, done.stderr.decode()
        return done.stdout

    def forget(self) -> None:
        """End the agent, and with it what it remembers of passphrases."""
        end_daemons(self.home)


class Press:
    """A cache, settings and a mirror below one directory.

    Parameters:
        gpg: what signs; None: nothing is signed.
        publish: further keys of the [publish] table; and `recipes`, a directory of recipes.
    """

    def __init__(self, place: Path, gpg: Gpg | None = None, **conf: object) -> None:
        self.place = place
        self.cache = place / "cache"
        self.mirror = place / "mirror"
        self.cache.mkdir(parents=True)
        self.config = place / "tmplbuild.toml"
        self.gpg = gpg
        self.configure(**conf)

    def configure(self, **conf: object) -> None:
        """Write the settings."""
        targets = conf.pop("targets", None)
        recipes = conf.pop("recipes", None)
        table: dict[str, object] = {"to": str(self.mirror), "url": "https://mirror.example/t", **conf}
        if self.gpg is not None:
            table = {"key": self.gpg.key, "gnupghome": str(self.gpg.home), **table}
        lines = [f"{key} = {json.dumps(value)}" for key, value in table.items() if value is not None]
        if isinstance(targets, dict):
            lines += ["[publish.targets]", *(f"{name} = {json.dumps(at)}" for name, at in targets.items())]
        own = [f'template_cache = "{self.cache}"', f'state_dir = "{self.place}/state"', "jobs = 2"]
        own += [f'recipes = ["{recipes}"]'] if recipes else []
        self.config.write_text("\n".join([*own, "[publish]", *lines, ""]))

    @property
    def settings(self) -> Settings:
        """The settings as the tool reads them."""
        return load_settings(self.config, environ={"HOME": str(self.place)}, vz_conf=self.place / "none")

    def publish(self, *names: str, force: bool = True, **options: Any) -> Published:
        """Publish in this process; small trees are no whole systems, so the check is overruled."""
        options = {"to": None, "emit": silent, **options}
        return publish(names, settings=self.settings, force=force, **options)

    def state(self) -> State:
        """What the mirror serves."""
        return Mirror(self.mirror).state()

    def run(self, *words: str) -> Ran:
        """A command line, in this process."""
        out, err = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            status = cli.main(["--config", str(self.config), *words])
        return Ran(status, out.getvalue(), err.getvalue())

    def argv(self, *words: str) -> list[str]:
        """The command line of the tool, for a process of its own."""
        return [sys.executable, "-m", "tmplbuild", "--config", str(self.config), *words]

    def env(self) -> dict[str, str]:
        """The environment of the tool."""
        return {"PATH": os.environ["PATH"], "HOME": str(self.place), "PYTHONPATH": str(ROOT)}


def snapshot(root: Path) -> dict[str, str]:
    """Every path below a mirror with its link, or its size and time: what must not change on an error."""
    found = {}
    for path in sorted(root.rglob("*")):
        state = path.lstat()
        told = os.readlink(path) if path.is_symlink() else f"{state.st_size} {state.st_mtime_ns}"
        found[str(path.relative_to(root))] = told if not path.is_dir() or path.is_symlink() else "directory"
    found.pop(".tmplbuild.lock", None)
    return found


def named(root: Path) -> Iterator[tuple[str, Path, int | None]]:
    """Every file that an index of the mirror names: the index, the file, and the size that is told."""
    images = json.loads((root / "streams/v1/images.json").read_bytes())
    for product in images["products"].values():
        for version in product["versions"].values():
            for item in version["items"].values():
                yield "images.json", root / item["path"], item["size"]
    for template in json.loads((root / "index.json").read_bytes())["templates"]:
        for build in template["builds"]:
            for file in build["files"]:
                yield "index.json", root / file["path"], file["size"]
    for line in (root / "meta/1.0/index-system").read_text().splitlines():
        folder = root / line.split(";")[5].strip("/")
        yield "index-system", folder / "rootfs.tar.xz", None
        yield "index-system", folder / "meta.tar.xz", None
    for name in (root / ".listing").read_text().split():
        yield ".listing", root / f"{name}.tar.gz", None
    for line in (root / "SHA256SUMS").read_text().splitlines():
        yield "SHA256SUMS", root / line.split("  ")[1], None
    for line in (root / "aplinfo.dat").read_text().splitlines():
        if line.startswith("Location: "):
            yield "aplinfo.dat", root / line.removeprefix("Location: "), None


def dangling(root: Path) -> list[str]:
    """What indexes name and is not there, or has another size."""
    found = []
    for index, path, size in named(root):
        try:
            there = path.stat().st_size
        except FileNotFoundError:
            found.append(f"{index}: {path} is not there")
            continue
        if size is not None and there != size:
            found.append(f"{index}: {path} has {there} bytes, not {size}")
    return found


def needs(program: str, package: str) -> str:
    """The path of a program; the test skips where it is missing."""
    import pytest

    found = shutil.which(program, path=f"{os.environ['PATH']}:/usr/lib/systemd:/lib/systemd:/usr/sbin")
    if found is None:
        pytest.skip(f"{program} is missing: apt-get install {package}")
    return found
