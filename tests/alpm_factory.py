"""Packages and repositories of Arch's form: packages made here, databases by repo-add, signatures by gpg
with keys that throw-away master keys certify.

    web = MasterKeys(tmp_path / "gnupg")
    repository = AlpmRepository(path, web)
    repository.write("core/os/x86_64", [Part("hello")])
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.gpg import end_daemons
from tests.rpm_factory import WHEN, File
from tests.small_system import Part, tar_of
from tmplbuild.archives import zstd


class MasterKeys:
    """Throw-away keys in a directory of gpg's own: masters, and a packager whom they certify.

    Parameters:
        certified_by: how many of the masters certify the packager's key.
    """

    def __init__(self, home: Path, masters: int = 3, certified_by: int = 3) -> None:
        home.mkdir(mode=0o700, parents=True)
        self._home = home
        names = [f"master{number}" for number in range(masters)]
        self.masters = [self._made(name) for name in names]
        self.packager = self._made("packager")
        for name in self.masters[:certified_by]:
            self._gpg("--default-key", name, "--quick-sign-key", self.packager)

    @property
    def keyring(self) -> bytes:
        """All certificates, as archlinux.gpg has them."""
        return self._gpg("--export")

    def sign(self, data: bytes, by: str = "") -> bytes:
        """A detached signature, by the packager if nobody else is named."""
        return self._gpg("--local-user", by or self.packager, "--detach-sign", data=data)

    def _made(self, name: str) -> str:
        self._gpg("--quick-generate-key", f"{name} <{name}@example.org>", "ed25519", "sign,cert", "never")
        rows = self._gpg("--with-colons", "--list-keys", f"{name}@example.org").decode().splitlines()
        return next(row.split(":")[9] for row in rows if row.startswith("fpr:"))

    def _gpg(self, *words: str, data: bytes | None = None) -> bytes:
        options = ("--homedir", str(self._home), "--batch", "--yes", "--quiet", "--passphrase", "")
        argv = ["gpg", *options, "--pinentry-mode", "loopback", *words]
        return subprocess.run(argv, input=data, capture_output=True, check=True).stdout

    def end(self) -> None:
        """Stop the agent that gpg started."""
        end_daemons(self._home)


@dataclass(frozen=True)
class Pkg:
    """A package: `release` is the number behind the version; `conflicts` and `groups` as Arch has them."""

    part: Part
    release: int = 1
    arch: str = "x86_64"
    conflicts: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()

    @property
    def filename(self) -> str:
        """The file's name."""
        return f"{self.part.name}-{self.part.version}-{self.release}-{self.arch}.pkg.tar.zst"

    def build(self) -> bytes:
        """The package's file."""
        part = self.part
        rows = [f"pkgname = {part.name}", f"pkgbase = {part.name}", f"pkgver = {part.version}-{self.release}"]
        rows += ["pkgdesc = A package for tests", "url = https://example.org/", f"builddate = {WHEN}"]
        rows += ["packager = Nobody <nobody@example.org>", f"arch = {self.arch}", "license = none"]
        rows.append(f"size = {sum(len(file.data) for file in part.files)}")
        lists = {"depend": part.needs, "provides": part.provides, "conflict": self.conflicts}
        lists |= {"group": self.groups, "backup": tuple(path[1:] for path in part.config)}
        rows += [f"{key} = {value}" for key, values in lists.items() for value in values]
        files = [File("/.PKGINFO", "".join(f"{row}\n" for row in rows).encode())]
        if part.scripts:
            post = part.scripts["post"]
            text = f"post_install() {{\n{post}}}\npost_upgrade() {{\n{post}}}\n"
            files.append(File("/.INSTALL", text.encode()))
        return zstd.compress(tar_of([*files, *part.files]), level=1)


class AlpmRepository:
    """Repositories below one directory."""

    def __init__(self, root: Path, keys: MasterKeys) -> None:
        self.root = root
        self.keys = keys

    def write(self, suite: str, pkgs: Iterable[Pkg], *, signer: str = "", database: bool = True) -> Path:
        """Write a repository; its directory. A package whose file is there already is left alone.

        Parameters:
            signer: fingerprint of who signs new packages instead of the packager.
            database: whether the signatures are in the database too.
        """
        place = self.root / suite
        place.mkdir(parents=True, exist_ok=True)
        paths = []
        for pkg in pkgs:
            path = place / pkg.filename
            paths.append(path)
            if not path.exists():
                path.write_bytes(pkg.build())
                path.with_name(f"{path.name}.sig").write_bytes(self.keys.sign(path.read_bytes(), signer))
        self.index(place, paths, database=database)
        return place

    def index(self, place: Path, paths: Sequence[Path], *, database: bool = True) -> None:
        """Make the database of these packages, by repo-add."""
        name = place.relative_to(self.root).parts[0]
        for old in place.glob(f"{name}.*"):
            old.unlink()
        hidden = [] if database else [path.with_name(f"{path.name}.sig") for path in paths]
        for path in hidden:
            path.rename(path.with_suffix(".hidden"))
        program = shutil.which("repo-add")
        assert program, "repo-add is missing: apt-get install makepkg pacman-package-manager libarchive-tools"
        words = [program, "--quiet", "--nocolor", str(place / f"{name}.db.tar.gz"), *map(str, paths)]
        env = {**os.environ, "LC_ALL": "C.UTF-8", "SOURCE_DATE_EPOCH": str(WHEN)}
        done = subprocess.run(words, capture_output=True, check=False, env=env, cwd=place)
        assert done.returncode == 0, done.stderr.decode()
        for path in hidden:
            path.with_suffix(".hidden").rename(path)
