"""A stand-in for ALT's archive: its true format, signed by throw-away keys, with a small system that boots.

    standin = AltStandin(tmp_path, cache)
    standin.publish("p11")
    with standin.serve() as server:
        f"altlinux={server.url}/altlinux"                  # for --mirror
    standin.recipes(folder)                                # recipes that pin its keys

The packages are Debian's binaries in RPM packages (`tests.alt_debs`), and packages of ours for what
is ALT's own: accounts, the file system's layout, etcnet, apt-get (`tests/alt_files`). rpm is real, so
what it does with scripts and configuration is too. `python -m tests.alt_standin DIR --serve PORT` publishes
all branches, says how to build from them, and serves them.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import stat
import sys
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

from tests import alt_packages
from tests.alt_debs import Deb, DebianBinaries
from tests.aptrpm_factory import Key, Repository, certificate, publish_key, throw_away_key
from tests.archive_server import ArchiveServer
from tests.gpg import OldKey
from tests.rpm_factory import WHEN, Rpm

BRANCHES = ("4.1", "5.0", "p10", "p11")
_DATES = {"4.1": 0, "5.0": 1, "p10": 2, "p11": 3}


EDITS = """
[configure]
add.edits = [
  { path = "/etc/confapp/edited.conf", match = '^third = .*', replace = "third = of the recipe" },
  { path = "/etc/confapp/kept.conf", match = '^third = .*', replace = "third = of the recipe" },
  { path = "/etc/oldname.conf", append = "more = of the recipe" },
]
"""


@dataclass
class AltStandin:
    """An archive below `place`/altlinux.

    Parameters:
        cache: a package cache for what comes from Debian.
    """

    place: Path
    cache: Path
    keys: dict[str, Key] = field(default_factory=dict)
    _writings: int = 0

    def __post_init__(self) -> None:
        self.root = self.place / "altlinux"
        # the old branches are signed as theirs were: by a DSA key of 1024 bits, over SHA-1
        old = OldKey.made(self.place / "gnupg")
        new = {name: throw_away_key(f"alt-{name}") for name in BRANCHES if name not in alt_packages.OLD}
        self.keys = {**dict.fromkeys(alt_packages.OLD, old), **new}
        self._debs: dict[str, list[Deb]] = {}

    def debs(self, arch: str) -> list[Deb]:
        """What the branches have of Debian's for an architecture, taken apart once."""
        if arch not in self._debs:
            debian = {"x86_64": "amd64", "i586": "i386"}[arch]
            most = DebianBinaries(self.cache, alt_packages.DEBIAN, alt_packages.NOT_TAKEN, debian)
            without = alt_packages.NOT_TAKEN | alt_packages.NOT_WITH_SYSVINIT
            other = DebianBinaries(self.cache, (alt_packages.SYSVINIT,), without, debian)
            self._debs[arch] = [*most.debs(), *other.debs((alt_packages.SYSVINIT,))]
        return self._debs[arch]

    def publish(
        self,
        branch: str,
        *,
        arch: str = "x86_64",
        change: Callable[[Rpm], Rpm | None] = lambda rpm: rpm,
        more: Iterable[Rpm] = (),
        signer: Key | None = None,
    ) -> None:
        """Write a branch, or write it anew at a later date.

        Parameters:
            arch: x86_64 (with x86_64-i586 beside it, where the branch is not old) or i586.
            change: makes another package of one, or None to leave it out.
            more: further packages.
            signer: signs instead of the branch's key.
        """
        self._writings += 1
        made = alt_packages.packages(branch, self.debs(arch), self.ring(branch), arch)
        rpms = [found for found in map(change, made) if found is not None] + list(more)
        repository = Repository(self.root, signer or self.keys[branch])
        old = branch in alt_packages.OLD
        suites = {arch: arch, "noarch": "noarch"}
        if arch == "x86_64" and not old:
            suites["x86_64-i586"] = "i586"
        for suite, of_arch in suites.items():
            repository.add(*(rpm for rpm in rpms if rpm.arch == of_arch))
            repository.write(
                f"{branch}/branch/{suite}",
                label=branch,
                suffixes=(".bz2",) if old else (".xz", ".bz2"),
                hashes=("md5",) if old else ("md5", "blake2b"),
                built=not old,
                date=WHEN + 86400 * _DATES[branch] + self._writings,
            )

    def ring(self, branch: str) -> bytes:
        """The keyring that a branch's packages bring: its own key alone."""
        return _binary(certificate(self.keys[branch])[1])

    def fingerprint(self, branch: str) -> str:
        """The fingerprint of a branch's key."""
        return certificate(self.keys[branch])[0]

    def serve(self, port: int = 0) -> ArchiveServer:
        """A server whose address with /altlinux is the archive's (a context manager)."""
        return ArchiveServer(self.place, port=port)

    def recipes(self, folder: Path, extra: dict[str, str] | None = None) -> Path:
        """Write recipes altlinux-BRANCH below `folder`: the shipped ones with the branches' keys (the
        published digests, where a branch is old), and edits of configuration that an upgrade brings new
        versions of.

        Parameters:
            extra: further lines by branch, beginning with a table.
        """
        place = folder / "altlinux"
        for branch, key in self.keys.items():
            publish_key(key, place / "keys")
            own = "own_keys = true\n" if branch in alt_packages.NEWER else ""
            name = "newname" if branch in alt_packages.NEWER else "oldname"
            (place / f"{branch}.toml").write_text(
                f'extends = "altlinux/{branch}"\n[archives.altlinux]\n'
                f'keys = ["{self.fingerprint(branch)}"]\n{own}{self._frozen(branch)}'
                f'[install]\nadd.packages = ["{name}"]\n{EDITS}{(extra or {}).get(branch, "")}\n'
            )
        return folder

    def _frozen(self, branch: str) -> str:
        if branch not in alt_packages.OLD:
            return ""
        suites = [f"{branch}/branch/{arch}" for arch in ("x86_64", "noarch")]
        rows = [f'"{suite}" = "{_sha256(self.root / suite / "base/release")}"' for suite in suites]
        return f"frozen = {{ {', '.join(rows)} }}\n"


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _binary(armoured: str) -> bytes:
    body = armoured.partition("-----BEGIN")[2].split("\n\n", 1)[1].partition("-----END")[0]
    return base64.b64decode("".join(row for row in body.split() if not row.startswith("=")))


def as_failing(rpm: Rpm, script: str = "post") -> Rpm:
    """The package with a script that fails."""
    return replace(rpm, scripts={**rpm.scripts, script: "echo this script fails >&2\nexit 3\n"})


def is_file(mode: int) -> bool:
    """Whether a mode is that of a regular file."""
    return stat.S_ISREG(mode)


SAY = """\
The stand-in for ALT's archive is served at {url} until Ctrl-C. In another terminal, as root:

    export TMPLBUILD_RECIPES={recipes} MIRROR={url}
    make template DIST=altlinux-p11
    make template DIST=altlinux-p10
    .venv/bin/tmplbuild upgrade altlinux-p10 --to altlinux-p11 --mirror $MIRROR
    make template DIST=altlinux-4.1
    .venv/bin/tmplbuild upgrade altlinux-4.1 --to altlinux-5.0 --mirror $MIRROR

The recipes there pin the throw-away keys; templates go where they always do (CACHE=DIR for another place).
"""


def main(words: Sequence[str] | None = None) -> None:
    """Publish all branches, say how to build from them, and serve them until Ctrl-C."""
    parser = argparse.ArgumentParser(prog="python -m tests.alt_standin", description=main.__doc__)
    parser.add_argument("folder", type=Path, metavar="DIR", help="where the archive and the recipes go")
    parser.add_argument("--serve", type=int, default=0, metavar="PORT", help="port (one that is free)")
    args = parser.parse_args(words)
    standin = AltStandin(args.folder, args.folder / "cache")
    for branch in BRANCHES:
        standin.publish(branch)
    recipes = standin.recipes(args.folder / "recipes")
    with standin.serve(args.serve) as server, suppress(KeyboardInterrupt):
        sys.stdout.write(SAY.format(url=f"{server.url}/altlinux", recipes=recipes.resolve()))
        sys.stdout.flush()
        server.released.wait()


if __name__ == "__main__":
    main()
