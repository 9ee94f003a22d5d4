"""Every shipped recipe of rpm-md against an archive in its own shape: the repositories where it says, signed
as it says, with packages of the names that it asks for. And a new distribution, which no Python knows.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.archive_server import ArchiveServer
from tests.conftest import Places
from tests.rpm_factory import Rpm
from tests.rpm_signing import NEEDS, RpmSigner
from tests.rpmmd_factory import RpmMd
from tests.workshop import Workshop
from tmplbuild.recipes import LoadedRecipe, load
from tmplbuild.recipes.catalogue import entries, shipped_root

pytestmark = pytest.mark.skipif(
    any(shutil.which(tool) is None for tool in (*NEEDS, "createrepo_c")),
    reason="needs createrepo_c, rpmsign and gpg: apt-get install createrepo-c rpm gpg gpg-agent",
)


def shipped() -> list[str]:
    """The recipes that read rpm-md."""
    names = [entry.name for entry in entries([shipped_root()])]
    return [name for name in names if _loaded(name).recipe.bootstrap.method == "rpm-md"]


def _loaded(name: str) -> LoadedRecipe:
    return load(name, roots=[shipped_root()])


@dataclass
class Family:
    """A key that stands for all pinned ones, and a place where archives are served."""

    place: Path
    signer: RpmSigner
    server: ArchiveServer

    def write(self, loaded: LoadedRecipe) -> list[str]:
        """Archives for a recipe; the words that name them as mirrors."""
        wanted = [*loaded.recipe.bootstrap.include, *loaded.recipe.install.packages]
        words = []
        for role, archive in loaded.recipe.archives.items():
            root = self.place / "www" / loaded.name / role
            repository = RpmMd(
                root,
                None if archive.signed == "packages" else self.signer,
                None if archive.signed == "index" else self.signer,
            )
            for suite in archive.suites:
                if not words:  # all packages in the first one
                    repository.add(*(Rpm(name, release="1", arch="noarch") for name in dict.fromkeys(wanted)))
                repository.write(suite)
                words.append(f"{role}={self.server.url}/{loaded.name}/{role}")
        return words

    def recipes(self, folder: Path, loaded: LoadedRecipe) -> Path:
        """The recipe with our key in the place of the pinned ones."""
        distro, _, release = loaded.name.rpartition("-")
        place = folder / distro
        self.signer.export(place / "keys")
        tables = [
            f'[archives.{role}]\nkeys = ["{self.signer.fingerprint}"]\n' for role in loaded.recipe.archives
        ]
        (place / f"{release}.toml").write_text(f'extends = "{distro}/{release}"\n{"".join(tables)}')
        (place / "redhat-uep.pem").touch()
        return folder


@pytest.fixture(scope="module")
def family(places: Places) -> Iterator[Family]:
    place = places("family")
    (place / "www").mkdir()
    with ArchiveServer(place / "www") as server:
        yield Family(place, RpmSigner(place / "home"), server)


def plan(shop: Workshop, name: str, recipes: Path, mirrors: list[str]) -> str:
    secrets = {f"TMPLBUILD_SECRET_{word}": "word" for word in ("SUSE_USER", "SUSE_PASSWORD")}
    done = shop.run(
        "plan", name, "--recipes", str(recipes), "--mirror", " ".join(mirrors), "--json", env=secrets
    )
    assert done.status == 0, done.out + done.err
    return done.out


# RHEL's speak TLS with a certificate: tests/live/test_rhel.py
@pytest.mark.parametrize("name", [name for name in shipped() if not name.startswith("rhel")])
def test_a_shipped_recipe_reads_its_archive(family: Family, name: str, tmp_path: Path) -> None:
    loaded = _loaded(name)
    shop = Workshop(tmp_path / "shop", tmp_path / "cache")
    said = plan(shop, name, family.recipes(tmp_path / "recipes", loaded), family.write(loaded))
    assert '"pack"' in said


@pytest.mark.parametrize("name", shipped())
def test_a_release_is_a_few_lines(name: str) -> None:
    path = _loaded(name).path
    lines = [line for line in path.read_text().splitlines() if line.strip() and not line.startswith("#")]
    assert len(lines) < 15 or name in ("opensuse-15.6",)  # which has the archives of three distributions


NEW = """\
extends = "el/_base"
[image]
distro = "oracle"
release = "9"
suite = "OL9"
eol = 2032-06-30
[archives.oracle]
mirrors = ["https://yum.oracle.example/repo/OracleLinux"]
public = "http://yum.oracle.example/repo/OracleLinux"
suites = ["{suite}/baseos/latest/{arch}", "{suite}/appstream/{arch}"]
keys = ["FINGERPRINT"]
"""


def test_a_new_distribution_of_the_family_is_one_short_file(family: Family, tmp_path: Path) -> None:
    assert len(NEW.splitlines()) < 15
    place = tmp_path / "recipes/oracle"
    family.signer.export(place / "keys")
    (place / "9.toml").write_text(NEW.replace("FINGERPRINT", family.signer.fingerprint))
    loaded = load("oracle-9", roots=[tmp_path / "recipes", shipped_root()])
    shop = Workshop(tmp_path / "shop", tmp_path / "cache")
    said = plan(shop, "oracle-9", tmp_path / "recipes", family.write(loaded))
    assert '"boot"' in said
    assert shop.run("recipe", "lint", "oracle-9", "--recipes", str(tmp_path / "recipes")).status == 0
