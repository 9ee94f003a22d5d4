"""Arch's archives: versions, databases, who may sign, choices."""

from __future__ import annotations

import gzip
import itertools
import random
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.alpm_factory import AlpmRepository, MasterKeys, Pkg
from tests.conftest import Places
from tests.rpm_factory import File
from tests.small_system import Part, tar_of
from tests.unit.fake_bench import UserTree
from tmplbuild.archives import certification, openpgp, publickey
from tmplbuild.archives.alpm import database, resolver, signature, version
from tmplbuild.archives.alpm.database import Dep
from tmplbuild.archives.alpm.pool import Pool
from tmplbuild.archives.model import Package
from tmplbuild.errors import ResolveError, VerifyError
from tmplbuild.managers import manager, pacmandb
from tmplbuild.managers import pacman as pacman_manager
from tmplbuild.recipes import lint, load
from tmplbuild.recipes.catalogue import shipped_root
from tmplbuild.recipes.model import Archive
from tmplbuild.stages import pacmansources

ORDER = ("1.0a", "1.0b", "1.0beta", "1.0p", "1.0pre", "1.0rc", "1.0", "1.0.a", "1.0.1")
NOW = time.time() + 3600  # after all that the tests sign


def test_versions_are_ordered_as_the_manual_says() -> None:
    for one, other in itertools.pairwise(ORDER):
        assert version.compare(one, other) < 0 < version.compare(other, one)
    assert version.compare("1:1.0-1", "2.0-9") > 0
    assert version.compare("1.0-1", "1.0") == 0
    assert version.compare("1.0-1", "1.0-2") < 0
    assert version.satisfies("1.5-1", ">=", "1.5")
    assert not version.satisfies("1.4", ">", "1.4")


@pytest.mark.skipif(shutil.which("vercmp") is None, reason="vercmp is missing: apt-get install makepkg")
def test_vercmp_agrees() -> None:
    draw = random.Random(4)
    words = ["1", "0", "09", "10", "rc", "a", "beta", ".", ".", "_", "+", "-1", "-2", "2:"]
    for _ in range(300):
        one, other = ("1" + "".join(draw.choices(words[:-1], k=draw.randint(0, 5))) for _ in "xy")
        said = subprocess.run(["vercmp", one, other], capture_output=True, text=True, check=True).stdout
        found = version.compare(one, other)
        assert (found > 0) - (found < 0) == int(said), (one, other)


# -- databases --------------------------------------------------------------------------------------


def desc(name: str, number: str = "1-1", **lists: str) -> File:
    rows = {"FILENAME": f"{name}-{number}.pkg.tar.zst", "NAME": name, "VERSION": number, "CSIZE": "10"}
    rows |= {"SHA256SUM": "0" * 64, "BUILDDATE": "100", "ARCH": "any"}
    rows |= {key.upper(): text.replace(" ", "\n") for key, text in lists.items()}
    text = "".join(f"%{key}%\n{value}\n\n" for key, value in rows.items())
    return File(f"/{name}-{number}/desc", text.encode())


def pool(*files: File) -> Pool:
    found = Pool((("archlinux", "core/os/x86_64"),))
    found.add(database.entries(gzip.compress(tar_of(files)), 0, "x"))
    return found


def chosen(found: Pool, *names: str, **options: tuple[str, ...]) -> set[str]:
    return {one.name for one in resolver.resolve(found, names, **options)[0]}  # type: ignore[arg-type]


def test_a_database_is_read() -> None:
    body = gzip.compress(tar_of([desc("a", depends="b>=2 c: for_fun", provides="x=1"), desc("b", "2-1")]))
    one, two = database.entries(body, 0, "x")
    assert (one.name, one.depends[0], two.version) == ("a", Dep("b", ">=", "2"), "2-1")
    assert database.head(body, "x").date == 100


@pytest.mark.parametrize(
    "file",
    [
        desc("a", filename="../../etc/passwd"),
        desc("a", sha256sum="0"),
        desc("../a", filename="a.pkg"),
        desc("a", csize="ten"),
        desc("a", depends="<3"),
        File("/a-1/desc", b"%NAME%\n"),
    ],
)
def test_what_is_no_entry(file: File) -> None:
    with pytest.raises(VerifyError, match="database cannot be read"):
        list(database.entries(gzip.compress(tar_of([file])), 0, "x"))


def test_damaged_databases_end_in_one_clear_error() -> None:
    plain = tar_of([desc("a", depends="b"), desc("b"), desc("c", provides="b=1")])
    draw = random.Random(9)
    for turn in range(400):
        bad = bytearray(plain if turn % 2 else gzip.compress(plain))
        for _ in range(draw.randint(1, 5)):
            bad[draw.randrange(len(bad))] = draw.randrange(256)
        body = bytes(bad[: draw.randint(1, len(bad))])
        with suppress(VerifyError):
            list(database.entries(body, 0, "x"))


# -- choices ----------------------------------------------------------------------------------------


def test_choices_are_pacmans() -> None:
    found = pool(
        desc("a", depends="sh libx.so=1"),
        desc("bash", provides="sh"),
        desc("dash", provides="sh"),
        desc("libx", provides="libx.so=1"),
        desc("one", groups="tools"),
        desc("two", groups="tools"),
    )
    assert chosen(found, "a") == {"a", "bash", "libx"}
    assert chosen(found, "a", prefer=("dash",)) == {"a", "dash", "libx"}
    assert chosen(found, "dash", "a") == {"a", "dash", "libx"}
    assert chosen(found, "tools") == {"one", "two"}
    assert chosen(found, "tools", exclude=("two",)) == {"one"}


def test_what_cannot_be_is_told() -> None:
    found = pool(desc("a", depends="b>=2"), desc("b"), desc("c", conflicts="b"))
    with pytest.raises(ResolveError, match="no package for 'b>=2'") as caught:
        chosen(found, "a")
    assert "there is b 1-1" in caught.value.why
    with pytest.raises(ResolveError, match="cannot be installed together"):
        chosen(found, "b", "c")
    with pytest.raises(ResolveError, match="asked for and excluded"):
        chosen(found, "b", exclude=("b",))


@pytest.mark.skipif(shutil.which("pacman") is None, reason="pacman is missing")
def test_the_real_pacman_chooses_the_same(tmp_path: Path) -> None:
    draw = random.Random(5)
    for turn in range(30):
        names = [f"p{number}" for number in range(8)]
        files = [
            desc(
                name,
                depends=" ".join(
                    one for one in draw.sample([*names, "virt"], draw.randint(0, 3)) if one != name
                ),
                provides="virt" if draw.random() < 0.3 else "",
            )
            for name in names
        ]
        wanted = draw.sample(names, 2)
        theirs = _asked(tmp_path / str(turn), files, wanted)
        try:
            ours = chosen(pool(*files), *wanted)
        except ResolveError:
            ours = set()
        assert ours == theirs


def _asked(place: Path, files: list[File], names: list[str]) -> set[str]:
    (place / "db/sync").mkdir(parents=True)
    (place / "root").mkdir()
    (place / "db/sync/core.db").write_bytes(gzip.compress(tar_of(files)))
    conf = place / "pacman.conf"
    conf.write_text("[options]\nArchitecture = auto\nSigLevel = Never\n[core]\nServer = file:///nowhere\n")
    words = ["pacman", "--config", str(conf), "--root", str(place / "root"), "--dbpath", str(place / "db")]
    words += ["--noconfirm", "-Sp", "--print-format", "%n", *names]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    return set(done.stdout.split()) if done.returncode == 0 else set()


# -- signatures -------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def keys(places: Places) -> Iterator[MasterKeys]:
    made = MasterKeys(places("keys") / "gnupg")
    yield made
    made.end()


def web(place: Path, keys: MasterKeys, needed: int = 3) -> signature.Web:
    (place / "ring.gpg").write_bytes(keys.keyring)
    archive = Archive(
        mirrors=("https://x.example",),
        public="http://x.example",
        suites=("core/os/x86_64",),
        keys=tuple(keys.masters),
        signed="packages",
        keyring="ring.gpg",
        certified_by=needed,
    )
    return signature.Web(archive, place, NOW)


def test_who_is_vouched_for_is_believed(tmp_path: Path, keys: MasterKeys) -> None:
    found = web(tmp_path, keys).keyring(keys.packager, "x")
    signed = found.verify_detached(b"data", keys.sign(b"data"), now=NOW, where="x")
    assert signed.signers == (keys.packager,)
    with pytest.raises(VerifyError, match="does not fit"):
        found.verify_detached(b"Data", keys.sign(b"data"), now=NOW, where="x")


def test_who_is_not_vouched_for_enough_is_refused(tmp_path: Path, keys: MasterKeys) -> None:
    with pytest.raises(VerifyError, match="too few master keys") as caught:
        web(tmp_path, keys, 4).keyring(keys.packager, "x")
    assert all(key in caught.value.why for key in keys.masters)
    with pytest.raises(VerifyError, match="too few master keys"):
        web(tmp_path, keys).keyring(keys.masters[0], "x")
    with pytest.raises(VerifyError, match="not in the archive's keyring"):
        web(tmp_path, keys).keyring("A" * 40, "x")


def test_a_forged_certification_does_not_count(tmp_path: Path, keys: MasterKeys) -> None:
    certs = {one.fingerprint: one.packets for one in openpgp.certificates(keys.keyring, "x")}
    masters = [certs[key] for key in keys.masters]
    packets = certs[keys.packager]
    assert certification.certifiers(packets, masters, NOW) == set(keys.masters)
    assert certification.certifiers(packets, masters, 1) == set()
    draw = random.Random(8)
    for _ in range(60):
        at = draw.randrange(1, len(packets))
        body = bytearray(packets[at][1])
        body[draw.randrange(len(body))] ^= 1 << draw.randrange(8)
        bad = [*packets[:at], (packets[at][0], bytes(body)), *packets[at + 1 :]]
        assert certification.certifiers(bad, masters, NOW) <= set(keys.masters)
    renamed = [(13, b"somebody else") if tag == 13 else (tag, body) for tag, body in packets]
    assert certification.certifiers(renamed, masters, NOW) == set()


def test_ed25519_is_rfc_8032s() -> None:
    public = bytes.fromhex("3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c")
    good = bytes.fromhex(
        "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da"
        "085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00"
    )
    assert publickey.ed25519_verifies(public, good, b"\x72")
    assert not publickey.ed25519_verifies(public, good, b"\x73")
    assert not publickey.ed25519_verifies(public, good[:32] + b"\xff" * 32, b"\x72")
    assert not publickey.ed25519_verifies(b"\xff" * 32, good, b"\x72")
    assert not publickey.ed25519_verifies(public, good[:-1], b"\x72")


RING = Path("/usr/share/keyrings/archlinux.gpg")


@pytest.mark.skipif(not RING.exists(), reason="the package archlinux-keyring is not installed")
def test_arch_s_own_keyring_is_understood_as_gpg_does(tmp_path: Path) -> None:
    masters = load("archlinux-rolling", roots=[shipped_root()]).recipe.archives["archlinux"].keys
    certs = openpgp.certificates(RING.read_bytes(), str(RING))
    known = [one.packets for one in certs if one.fingerprint in masters]
    then = 1_700_000_000
    home = ["gpg", "--homedir", str(tmp_path), "--batch", "--no-autostart", "--faked-system-time", str(then)]
    subprocess.run([*home, "--import", str(RING)], capture_output=True, check=False)
    some = [one for one in certs if certification.certifiers(one.packets, known, then)][:12]
    for one in some:
        words = [*home, "--with-colons", "--check-sigs", one.fingerprint]
        said = subprocess.run(words, capture_output=True, check=True).stdout.decode("utf-8", "replace")
        theirs = {key for key in masters if f":{key[-16:]}:" in _good(said, then)}
        assert certification.certifiers(one.packets, known, then) == theirs, one.fingerprint
    assert len(some) == 12


def _good(said: str, then: int) -> str:
    """The rows of certifications that hold, without those taken back and those of a later day."""
    rows = [row.split(":") for row in said.partition("\nsub:")[0].splitlines()]
    gone = {row[4] for row in rows if row[0] == "rev" and row[1] == "!"}
    good = [row for row in rows if row[:2] == ["sig", "!"] and row[4] not in gone and int(row[5]) <= then]
    return "".join(f":{row[4]}:" for row in good)


@pytest.mark.skipif(
    shutil.which("repo-add") is None,
    reason="repo-add is missing: apt-get install makepkg pacman-package-manager libarchive-tools",
)
def test_a_package_is_verified_by_its_own_signature(tmp_path: Path, keys: MasterKeys) -> None:
    place = AlpmRepository(tmp_path / "archive", keys).write("core/os/x86_64", [Pkg(Part("hello"))])
    (entry,) = database.entries((place / "core.db").read_bytes(), 0, "x")
    found = Pool((("archlinux", "core/os/x86_64"),)).package(entry)
    (tmp_path / "ring.gpg").write_bytes(keys.keyring)
    archive = web(tmp_path, keys)._archive
    vouch = signature.vouchers({"archlinux": archive}, tmp_path, NOW)["archlinux"]
    with (place / entry.filename).open("rb") as file:
        kept = (place / f"{entry.filename}.sig").read_bytes()
        vouch(found, file.fileno(), lambda suffix, known: known or kept)  # pacman 7's databases name none
        bare = Package(found.name, found.version, found.arch, "archlinux", found.filename, 1, found.sha256)
        vouch(bare, file.fileno(), lambda suffix, known: kept)
        with pytest.raises(VerifyError):
            vouch(bare, file.fileno(), lambda suffix, known: b"")


# -- the manager, the recipe ------------------------------------------------------------------------


def test_progress_and_failures() -> None:
    assert manager("pacman").progress(b"upgrading bash...") == ("upgrading bash", 0.0)
    assert manager("pacman").progress(b":: Proceed with installation?") is None
    assert "command failed" in pacman_manager.failure(b"a\nerror: command failed to execute correctly\n")
    assert pacman_manager.failure(b"there is nothing to do\n") == ""


def test_the_database_of_a_tree(tmp_path: Path) -> None:
    folder = tmp_path / "var/lib/pacman/local/a-b-1:2.0-3"
    folder.mkdir(parents=True)
    (folder / "desc").write_text("%NAME%\na-b\n\n%BASE%\nsrc\n\n%ARCH%\nany\n\n%REASON%\n1\n\n")
    (folder / "files").write_text(f"%FILES%\netc/\netc/x\n\n%BACKUP%\netc/x\t{'0' * 32}\n\n")
    with UserTree(tmp_path) as tree:
        (one,) = pacmandb.packages(tree)
    assert (one.name, one.version, one.source, one.auto) == ("a-b", "1:2.0-3", "src", True)
    assert (one.files, one.backup) == (("/etc/x",), {"/etc/x": "0" * 32})


def test_the_recipe_and_its_sources(tmp_path: Path) -> None:
    found = load("archlinux-rolling", roots=[shipped_root()])
    (error,) = [str(row.fault) for row in lint(found) if row.level == "error"]
    assert "keys/archlinux.gpg is not there" in error
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/pacman.conf").write_text("[options]\n\n[core]\nInclude = /etc/pacman.d/mirrorlist\n")
    with UserTree(tmp_path) as tree:
        pacmansources.write(tree, found.recipe.archives, lambda name: b"")
    text = (tmp_path / "etc/pacman.d/mirrorlist").read_text()
    assert text == "Server = http://mirrors.kernel.org/archlinux/$repo/os/x86_64\n"
    conf = (tmp_path / "etc/pacman.conf").read_text()
    assert conf.count("[core]") == conf.count("[extra]") == 1
