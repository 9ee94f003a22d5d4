"""Trees made by the stages bootstrap and install, and the same made by mmdebstrap and debootstrap
from the same package files. Used by the tests of the two stages and by their benchmark."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import msgspec

from tmplbuild import recipes
from tmplbuild.archives import deb, mirrors
from tmplbuild.archives.cache import PackageCache
from tmplbuild.archives.deb.prepared import prepare
from tmplbuild.archives.fetch import Fetcher
from tmplbuild.archives.model import ArchiveState, Closure, Package
from tmplbuild.archives.wishes import Wishes
from tmplbuild.core import Core, Rootfs, Tree
from tmplbuild.core.linux import spread
from tmplbuild.engine.bench import VeShell
from tmplbuild.events import Emit, silent
from tmplbuild.managers import manager
from tmplbuild.recipes.load import LoadedRecipe
from tmplbuild.stages import bootstrap, install

EPOCH = 1_700_000_000


@dataclass
class Choice:
    """A recipe's two closures and where their files come from."""

    loaded: LoadedRecipe
    base: Closure
    full: Closure
    cache: PackageCache

    @property
    def new(self) -> tuple[Package, ...]:
        """The packages that the base does not have."""
        names = {package.name for package in self.base.packages}
        return tuple(package for package in self.full.packages if package.name not in names)

    def file(self, package: Package) -> Path:
        """A package's file in the cache."""
        return self.cache.path(package.sha256)


@dataclass
class Source:
    """The archives of a recipe, read once; closures as often as they are asked for."""

    loaded: LoadedRecipe
    cache: PackageCache
    fetcher: Fetcher
    states: tuple[ArchiveState, ...]

    def choose(self, packages: Sequence[str] | None = None) -> Choice:
        """The closures with the recipe's packages, or with these; every file is in the cache then."""
        recipe, arch = self.loaded.recipe, self.loaded.arch
        pool = deb.open_pool(self.states, arch)
        base = deb.closure(pool, Wishes.of_base(recipe))
        wishes = Wishes.of(recipe)
        full = deb.closure(pool, wishes if packages is None else replace(wishes, packages=packages))
        deb.download(full.packages, fetcher=self.fetcher, cache=self.cache)
        return Choice(self.loaded, base, full, self.cache)


def open_source(name: str, cache: Path, arch: str | None = None, *, offline: bool = False) -> Source:
    """Read the archives of a recipe, verified; `offline` takes what the cache has."""
    loaded = recipes.load(name, arch=arch, roots=recipes.recipe_roots())
    archives = loaded.recipe.archives
    package_cache = PackageCache(cache)
    fetcher = Fetcher(mirrors.table(archives), emit=silent)
    keys_dir = loaded.key_files()[0].parent
    states = deb.read_archives(
        archives, loaded.arch, fetcher=fetcher, cache=package_cache, keys_dir=keys_dir, offline=offline
    )
    return Source(loaded, package_cache, fetcher, states)


@dataclass
class Ground:
    """What a stage is handed (`tmplbuild.stages.context.Ctx`), on one tree."""

    core: Core
    rootfs: Rootfs
    arch: str
    files: Mapping[str, Path]
    emit: Emit = silent
    epoch: int = EPOCH

    @contextmanager
    def tree(self) -> Iterator[Tree]:
        with self.core.tree(self.rootfs) as tree:
            yield tree

    @contextmanager
    def entered(self) -> Iterator[VeShell]:
        with self.core.start("deb-trees", self.rootfs, init=False, suppress_sync=True) as ve:
            env = {"LC_ALL": "C.UTF-8", "SOURCE_DATE_EPOCH": str(self.epoch)}
            yield VeShell(ve, env, self.emit, manager("apt-deb").progress)

    def package_file(self, package: Package) -> Path:
        return self.files[package.sha256]

    def beside(self, name: str) -> bytes:
        raise AssertionError("these stages read no file beside the recipe")

    live = trial = beside  # type: ignore[assignment]


@dataclass
class Maker:
    """Makes trees below `place`: the base as a whole one, the rest as a layer on top, named `layer`."""

    place: Path
    emit: Emit = silent
    layer: str = "top"
    core: Core = field(init=False)

    def __post_init__(self) -> None:
        self.place.mkdir(parents=True, exist_ok=True)
        spread(self.place)  # as the layer store does
        self.core = Core(self.place / "run")

    @property
    def base_rootfs(self) -> Rootfs:
        return Rootfs.plain(self.place / "base")

    @property
    def full_rootfs(self) -> Rootfs:
        return Rootfs.overlay(
            (self.place / "base",),
            self.place / self.layer,
            self.place / f"{self.layer}.work",
            volatile=True,
        )

    def make_base(self, choice: Choice) -> None:
        """Stage bootstrap, in an empty tree."""
        _empty(self.place / "base")
        bootstrap.run(
            self.ground(self.base_rootfs, choice),
            choice.loaded.recipe.bootstrap,
            choice.base.packages,
            choice.base.auto,
        )

    def make_rest(self, choice: Choice) -> None:
        """Stage install, in a new layer on the base."""
        self.new_layer()
        install.run(
            self.ground(self.full_rootfs, choice),
            choice.loaded.recipe.install,
            choice.new,
            choice.full.auto,
        )

    def new_layer(self) -> None:
        """Throw away what lies on the base."""
        _empty(self.place / self.layer)
        shutil.rmtree(self.place / f"{self.layer}.work", ignore_errors=True)

    def ground(self, rootfs: Rootfs, choice: Choice) -> Ground:
        files = {package.sha256: choice.file(package) for package in choice.full.packages}
        return Ground(self.core, rootfs, choice.loaded.arch, files, self.emit)


def _empty(path: Path) -> None:
    shutil.rmtree(path, ignore_errors=True)
    path.mkdir(mode=0o755, parents=True)


# -- the same packages for other tools ----------------------------------------------------------------


def local_archive(place: Path, choice: Choice) -> str:
    """An unsigned archive below `place` with just the packages of a choice; the path for copy: and file:.

    Its index says of priority and essential what the real one says.
    """
    recipe, arch = choice.loaded.recipe, choice.loaded.arch
    pool, suite = place / "pool", place / "dists" / recipe.image.suite
    pool.mkdir(parents=True)
    (suite / f"main/binary-{arch}").mkdir(parents=True)
    stanzas = []
    for package in choice.full.packages:
        name = f"{package.name}_{package.version.replace(':', '%3a')}_{package.arch}.deb"
        shutil.copyfile(choice.file(package), pool / name)
        control = prepare(choice.file(package), package.sha256).control["control"].content.decode()
        lines = [line for line in control.split("\n") if line.strip() and not line.startswith("Priority:")]
        lines += [f"Priority: {package.priority}", f"Filename: pool/{name}"]
        lines += [f"Size: {package.size}", f"SHA256: {package.sha256}"]
        stanzas.append("\n".join(lines) + "\n\n")
    index = "".join(stanzas).encode()
    (suite / f"main/binary-{arch}/Packages").write_bytes(index)
    digest = hashlib.sha256(index).hexdigest()
    (suite / "Release").write_text(
        f"Origin: Debian\nLabel: Debian\nSuite: {recipe.image.suite}\nCodename: {recipe.image.suite}\n"
        f"Architectures: {arch}\nComponents: main\nDate: Thu, 01 Jan 2026 00:00:00 UTC\n"
        f"SHA256:\n {digest} {len(index)} main/binary-{arch}/Packages\n"
    )
    return str(place)


def asked_for(choice: Choice) -> list[str]:
    """The names that a user of another tool would give to get the same tree."""
    wanted = [package.name for package in choice.full.packages if package.name not in choice.full.auto]
    return [name for name in wanted if not _comes_by_itself(choice, name)]


def _comes_by_itself(choice: Choice, name: str) -> bool:
    package = next(package for package in choice.full.packages if package.name == name)
    return package.essential or package.priority == "required"


# mmdebstrap merges nothing by itself; its own hook for it needs a package that Debian 11 does not have
_MERGE = 'for d in bin sbin lib lib64; do mkdir -p "$1/usr/$d"; ln -s "usr/$d" "$1/$d"; done'


def mmdebstrap(choice: Choice, archive: str, target: Path) -> None:
    """The same packages by mmdebstrap in root mode."""
    recipe = choice.loaded.recipe
    subprocess.run(
        [
            "mmdebstrap",
            "--quiet",
            "--mode=root",
            "--variant=required",
            f"--architectures={choice.loaded.arch}",
            f"--include={','.join(asked_for(choice))}",
            f"--setup-hook={_MERGE}",
            recipe.image.suite,
            str(target),
            f"deb [trusted=yes] copy:{archive} {recipe.image.suite} main",
        ],
        check=True,
        capture_output=True,
        stdin=subprocess.DEVNULL,
        env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "SOURCE_DATE_EPOCH": str(EPOCH), "LC_ALL": "C.UTF-8"},
    )


def for_mkosi(source: Source) -> Choice:
    """The recipe's packages, and systemd-resolved: mkosi 14 (Debian 12's) turns it on whatever it is told."""
    recipe = source.loaded.recipe
    others = tuple(name for name in recipe.install.exclude if name != "systemd-resolved")
    install = msgspec.structs.replace(recipe.install, exclude=others)
    loaded = replace(source.loaded, recipe=msgspec.structs.replace(recipe, install=install))
    return replace(source, loaded=loaded).choose([*install.packages, "systemd-resolved"])


def mkosi(choice: Choice, archive: str, target: Path) -> None:
    """The same packages by mkosi, as a tar that is not compressed."""
    work = target.with_name(f"{target.name}.mkosi")
    work.mkdir(exist_ok=True)
    # it mounts over the host's /etc/apt: in a namespace of its own
    argv = ["unshare", "--mount", "mkosi", "--force", "--distribution=debian", "--format=tar"]
    argv += [f"--release={choice.loaded.recipe.image.suite}", "--compress-output=no", "--with-docs=yes"]
    argv += [f"--mirror=file:{archive}", f"--local-mirror=file:{archive}", "--repository-key-check=no"]
    argv += ["--checksum=no", "--manifest-format=", f"--cache={work}/cache", f"--output={target}"]
    subprocess.run(
        [*argv, *(f"--package={name}" for name in asked_for(choice)), "build"],
        check=True,
        capture_output=True,
        stdin=subprocess.DEVNULL,
        cwd=work,
        env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8", "HOME": "/root"},
    )


def debootstrap(choice: Choice, archive: str, target: Path) -> None:
    """The same packages by debootstrap."""
    recipe = choice.loaded.recipe
    subprocess.run(
        [
            "debootstrap",
            "--no-check-gpg",
            "--variant=minbase",
            f"--arch={choice.loaded.arch}",
            f"--include={','.join(asked_for(choice))}",
            recipe.image.suite,
            str(target),
            f"file://{archive}",
        ],
        check=True,
        capture_output=True,
        stdin=subprocess.DEVNULL,
        env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "SOURCE_DATE_EPOCH": str(EPOCH), "LC_ALL": "C.UTF-8"},
    )
