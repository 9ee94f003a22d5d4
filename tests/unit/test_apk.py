"""Alpine's archives: versions, dependencies, signed lists, packages by their control member, choices."""

from __future__ import annotations

import base64
import hashlib
import itertools
import os
import random
import shutil
from pathlib import Path

import pytest

from tests import apk_real
from tests.apk_factory import Apk, ApkRepository, RsaKey
from tests.conftest import Places
from tests.rpm_factory import File
from tests.small_system import Part
from tests.unit.fake_bench import UserTree
from tests.unit.recipe_files import write
from tmplbuild.archives import digest, publickey, segments
from tmplbuild.archives.apk import depends, index, keys, solver, version
from tmplbuild.archives.apk.depends import Dep
from tmplbuild.errors import ResolveError, VerifyError
from tmplbuild.managers import apk as apk_manager
from tmplbuild.managers import apkdb, manager
from tmplbuild.recipes import lint, load
from tmplbuild.recipes.catalogue import shipped_root
from tmplbuild.recipes.model import Archive
from tmplbuild.stages import apksources

# oldest first: apk-tools' own test has the same pairs
ORDER = (
    *("0.8.21", "1.0_alpha", "1.0_alpha1", "1.0_beta", "1.0_pre2", "1.0_rc1-r3", "1.0", "1.0-r0", "1.0-r10"),
    *("1.0a", "1.0.1", "1.09", "1.1", "1.1_git20240101", "1.1_p1", "1.1.1-r0", "1.2", "1.10", "2"),
)


def test_versions_are_ordered() -> None:
    wanted = [name for name in ORDER if name not in ("1.0_pre2",)]
    for (left, one), (right, other) in itertools.product(enumerate(wanted), repeat=2):
        found = version.compare(one, other)
        if "1.0-r" in one + other or "1.0a" in (one, other) or "_git" in one + other:
            continue
        assert (found > 0) - (found < 0) == (left > right) - (left < right), (one, other)


@pytest.mark.parametrize(
    ("one", "sign", "other"),
    [
        ("1.0-r0", ">", "1.0"),
        ("1.0-r10", ">", "1.0-r9"),
        ("1.0_p1", ">", "1.0-r4"),
        ("1.0a", ">", "1.0"),
        ("1.0_rc1", "<", "1.0"),
        ("1.0_rc1", ">", "1.0_pre9"),
        ("0.12_beta4", ">", "0.10.0"),
        ("6.01", "<", "6.1"),
        ("3.6.9", "~", "3.6"),
        ("3.60", "<", "3.61"),
        ("1.2~1234abcd-r0", ">", "1.2"),
    ],
)
def test_conditions(one: str, sign: str, other: str) -> None:
    assert version.satisfies(one, sign, other)
    assert version.satisfies(one, f"{sign}=" if sign != "~" else "=~", other)


@pytest.mark.parametrize("text", ["", "a", "1.", "1.0-1", "1.0_foo", "1.0-r1_p1", "1..2", "1ab", "-r1"])
def test_what_is_no_version(text: str) -> None:
    assert not version.is_version(text)
    with pytest.raises(ValueError, match="not a version"):
        version.compare(text, "1")


def test_the_order_is_one_for_random_versions() -> None:
    draw = random.Random(7)

    def any_version() -> str:
        parts = ".".join(str(draw.choice([0, 1, 9, 10, "01"])) for _ in range(draw.randint(1, 3)))
        suffix = "".join(f"_{draw.choice(['alpha', 'rc', 'p', 'git'])}{draw.choice(['', 1, 2])}" for _ in "x")
        tail = draw.choice(["", suffix])
        return parts.lstrip("0") + tail + draw.choice(["", "-r0", "-r3"]) if parts[0] != "0" else f"0{tail}"

    for _ in range(2000):
        one, other = any_version(), any_version()
        assert version.compare(one, other) == -version.compare(other, one) or (
            version.compare(one, other) * version.compare(other, one) < 0
        )
        assert version.compare(one, one) == 0


def test_dependencies() -> None:
    found = depends.parse("busybox>=1.36 !uclibc so:libc.musl-x86_64.so.1 cmd:sh=1.2-r3 python3~3.12 a@edge")
    assert [str(one) for one in found[:2]] == ["busybox>=1.36", "!uclibc"]
    assert found[2] == Dep("so:libc.musl-x86_64.so.1")
    assert found[3].fits("1.2-r3")
    assert not found[3].fits("")
    assert found[4].fits("3.12.1-r0")
    assert not found[4].fits("3.13")
    assert found[1].fits("") is False
    for wrong in ("a>", "a>=x", "a<>1", "!"):
        with pytest.raises(ValueError, match="not a dependency"):
            depends.parse(wrong)


# -- signatures ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def key(places: Places) -> RsaKey:
    return RsaKey.made(places("rsa"), "test")


@pytest.mark.parametrize("kind", ["sha1", "sha256", "sha512"])
def test_rsa_accepts_what_openssl_signed_and_nothing_else(key: RsaKey, kind: str) -> None:
    public = publickey.read_rsa(key.public)
    assert public.fingerprint == key.fingerprint
    good = key.sign(b"data", kind)
    assert public.verifies(good, b"data", kind)
    assert not public.verifies(good, b"Data", kind)
    assert not public.verifies(good, b"data", "sha256" if kind == "sha1" else "sha1")
    assert not public.verifies(b"\0" + good, b"data", kind)
    assert not public.verifies(b"", b"data", kind)
    draw = random.Random(kind)
    for _ in range(50):
        bad = bytearray(good)
        bad[draw.randrange(len(bad))] ^= 1 << draw.randrange(8)
        assert not public.verifies(bytes(bad), b"data", kind)


def test_key_files_that_are_none(key: RsaKey) -> None:
    draw = random.Random(3)
    with pytest.raises(ValueError, match="no public key"):
        publickey.read_rsa(b"-----BEGIN PGP PUBLIC KEY BLOCK-----")
    with pytest.raises(ValueError, match="bits is not accepted"):
        publickey.rsa_of((1 << 1023) + 1, 65537)
    with pytest.raises(ValueError, match="e must be"):
        publickey.rsa_of((1 << 2047) + 1, 1)
    body = bytearray(base64.b64decode(b"".join(key.public.split(b"\n")[1:-2])))
    for _ in range(300):
        bad = bytearray(body[: draw.randint(1, len(body))])
        bad[draw.randrange(min(40, len(bad)))] ^= 1 << draw.randrange(8)
        text = b"-----BEGIN PUBLIC KEY-----\n" + base64.b64encode(bad) + b"\n-----END PUBLIC KEY-----\n"
        try:
            found = publickey.read_rsa(text)
        except ValueError:
            continue
        assert found.fingerprint != key.fingerprint


def test_a_list_is_believed_by_a_pinned_key_alone(tmp_path: Path, key: RsaKey) -> None:
    repository = ApkRepository(tmp_path / "archive", key)
    body = repository.write("v1/main/x86_64", [Apk(Part("hello"))]).read_bytes()
    key.publish(tmp_path / "keys")
    signed = keys.verify(body, [key.fingerprint], tmp_path / "keys", where="x")
    assert signed.signers == (key.fingerprint,)
    (entry,) = index.entries(index.listed(signed.content, "x"), 0, "x")
    assert (entry.name, entry.version) == ("hello", "1.0-r0")
    other = RsaKey.made(tmp_path / "secret", "other")
    foreign = repository.write("v1/main/x86_64", [Apk(Part("hello"))], signer=other).read_bytes()
    for bad in (
        foreign,
        body[:-30],
        body[:300] + b"x" + body[301:],
        body[len(body) // 2 :],
        b"",
        b"\x1f\x8b",
    ):
        with pytest.raises(VerifyError):
            keys.verify(bad, [key.fingerprint], tmp_path / "keys", where="x")
    with pytest.raises(VerifyError, match="cannot be read"):
        keys.verify(body, [other.fingerprint], tmp_path / "keys", where="x")
    (tmp_path / "keys" / f"{other.fingerprint}.pub").write_bytes(key.public)
    with pytest.raises(VerifyError, match="another key than its name says"):
        keys.verify(body, [other.fingerprint], tmp_path / "keys", where="x")


def test_damaged_lists_end_in_one_clear_error(tmp_path: Path, key: RsaKey) -> None:
    body = ApkRepository(tmp_path, key).write("m", [Apk(Part("a")), Apk(Part("b"))]).read_bytes()
    draw = random.Random(1)
    for _ in range(300):
        bad = bytearray(body)
        for _ in range(draw.randint(1, 4)):
            bad[draw.randrange(len(bad))] = draw.randrange(256)
        try:
            _, signed = index.taken_apart(bytes(bad[: draw.randint(1, len(bad))]), "x")
            list(index.entries(index.listed(signed, "x"), 0, "x"))
        except VerifyError:
            pass


def test_damaged_text_of_a_list() -> None:
    good = Apk(Part("a", provides=("so:a=1",)), depends=("b>=1",), install_if="c d").stanza(10)
    draw = random.Random(2)
    for _ in range(500):
        bad = bytearray(good.encode() * 3)
        for _ in range(draw.randint(1, 6)):
            bad[draw.randrange(len(bad))] = draw.choice(b"\n:=<>~!. a1\xff")
        try:
            for entry in index.entries(bytes(bad), 0, "x"):
                assert version.is_version(entry.version)
        except VerifyError:
            pass


# -- packages ---------------------------------------------------------------------------------------


def hashed(data: bytes, step: int) -> str:
    engine = segments.SegmentHash()
    for at in range(0, len(data), step):
        engine.update(data[at : at + step])
    return engine.hexdigest()


def test_a_package_is_known_by_its_control_member(key: RsaKey) -> None:
    apk = Apk(Part("hello", files=(File("/usr/bin/hello", os.urandom(50_000)),), scripts={"post": "true\n"}))
    data = apk.build(key)
    stanza = apk.stanza(len(data))
    (entry,) = index.entries(stanza.encode(), 0, "x")
    checksum = entry.digest.removeprefix("apk:")
    assert {hashed(data, step) for step in (1000, 777, 1 << 20)} == {checksum}
    assert digest.of(data, f"apk:{'0' * 40}") == entry.digest
    draw = random.Random(5)
    first = data.index(b"\x1f\x8b", 10)
    for _ in range(60):
        bad = bytearray(data)
        at = draw.randrange(first, len(bad))
        bad[at] ^= 1 << draw.randrange(8)
        assert hashed(bytes(bad), 4096) != checksum, at
    assert hashed(data[:-1], 4096) != checksum
    assert hashed(data + data[first:], 4096) != checksum
    assert hashed(data + b"x", 4096) != checksum


# -- choices ----------------------------------------------------------------------------------------


def universe(*rows: str) -> solver.Universe:
    """Packages written "NAME VERSION D:... p:... i:... k:..."."""
    stanzas = []
    for row in rows:
        name, number, *more = row.split("|")
        checksum = base64.b64encode(hashlib.sha1(row.encode()).digest()).decode()
        lines = [f"C:Q1{checksum}", f"P:{name}", f"V:{number}", "A:x86_64", "S:1", *more]
        stanzas.append("\n".join(lines))
    return solver.Universe(index.entries("\n\n".join(stanzas).encode(), 0, "x"))


def chosen(pool: solver.Universe, *names: str, prefer: tuple[str, ...] = ()) -> set[str]:
    return {f"{one.name}-{one.version}" for one in solver.solve(pool, names, prefer=prefer)}


def test_the_newest_that_fits_is_taken() -> None:
    pool = universe("a|1|D:b<2", "b|1", "b|2", "b|1.5")
    assert chosen(pool, "a") == {"a-1", "b-1.5"}
    assert chosen(pool, "b") == {"b-2"}


def test_a_choice_is_made_anew_when_something_comes_in_its_way() -> None:
    pool = universe("a|1|D:b c", "b|1", "b|2", "c|1|D:b<2")
    assert chosen(pool, "a") == {"a-1", "b-1", "c-1"}


def test_providers() -> None:
    pool = universe(
        "a|1|D:cmd:x", "x1|1|p:cmd:x=1|k:10", "x2|1|p:cmd:x=1|k:20", "v|1|p:virt", "needs|1|D:virt"
    )
    assert chosen(pool, "a") == {"a-1", "x2-1"}
    assert chosen(pool, "a", prefer=("x1",)) == {"a-1", "x1-1"}
    with pytest.raises(ResolveError, match="nothing that provides 'virt'"):
        chosen(pool, "needs")
    assert chosen(pool, "needs", "v") == {"needs-1", "v-1"}


def test_what_others_bring_along() -> None:
    pool = universe("a|1", "b|1", "both|1|i:a b", "other|1|i:a nowhere")
    assert chosen(pool, "a", "b") == {"a-1", "b-1", "both-1"}
    assert chosen(pool, "a") == {"a-1"}


def test_what_cannot_be_is_told() -> None:
    pool = universe("a|1|D:b !c", "b|1|D:c", "c|1", "d|1|D:missing")
    with pytest.raises(ResolveError):
        chosen(pool, "a")
    with pytest.raises(ResolveError, match="nothing that provides 'd'") as caught:
        chosen(pool, "d")
    assert "d 1 needs missing" in caught.value.why
    with pytest.raises(ResolveError, match="no package 'bb'") as caught:
        chosen(pool, "bb")
    assert "did you mean" in caught.value.hint


@pytest.mark.skipif(not apk_real.APK, reason="TMPLBUILD_APK names no real apk, which is not in Debian")
def test_the_real_apk_chooses_the_same(tmp_path: Path) -> None:
    draw = random.Random(11)
    names = [f"p{number}" for number in range(10)]
    agreed = 0
    for turn in range(200):
        stanzas = [
            Apk(Part(name, version=number), depends=depends_of(draw, names, name)).stanza(1)
            for name in names
            for number in draw.sample(["1.0", "1.1", "2.0"], draw.choice([1, 2]))
        ]
        wanted = draw.sample(names, 2)
        theirs = apk_real.chosen(tmp_path / str(turn), [text.rstrip("\n") for text in stanzas], wanted)
        shutil.rmtree(tmp_path / str(turn))
        try:
            pool = solver.Universe(index.entries("\n".join(stanzas).encode(), 0, "x"))
            ours = chosen(pool, *wanted)
        except ResolveError:
            continue
        if theirs is not None:
            assert ours == theirs
            agreed += 1
    assert agreed > 100


def depends_of(draw: random.Random, names: list[str], own: str) -> tuple[str, ...]:
    some = [name for name in draw.sample(names, draw.choice([0, 1, 2])) if name != own]
    return tuple(name + draw.choice(["", "", ">=1.1", "<2", "~1"]) for name in some)


# -- the manager, the recipes ------------------------------------------------------------------------


def test_progress_and_failures() -> None:
    assert manager("apk").progress(b"(3/12) Installing busybox (1.37.0-r5)") == ("installing busybox", 0.25)
    assert manager("apk").progress(b"OK: 12 MiB in 24 packages") is None
    assert "script exited" in apk_manager.failure(
        b"ok\nERROR: x-1.post-install: script exited with error 3\n"
    )
    assert apk_manager.failure(b"OK: 3 packages\n") == ""


def test_the_database_is_read(tmp_path: Path) -> None:
    folder = tmp_path / "lib/apk/db"
    folder.mkdir(parents=True)
    zero = base64.b64encode(bytes(20)).decode()
    (folder / "installed").write_text(
        f"C:Q1x=\nP:a\nV:1-r0\nA:x86_64\no:src\nF:etc\nR:a.conf\nZ:Q1{zero}\n\nP:b\nV:2\n\n"
    )
    (tmp_path / "etc/apk").mkdir(parents=True)
    (tmp_path / "etc/apk/world").write_text("a>=1\nb@edge\n!c\n")
    with UserTree(tmp_path) as tree:
        one, two = apkdb.packages(tree)
        assert (one.name, one.version, one.source, one.files) == (
            "a",
            "1-r0",
            "src",
            {"/etc/a.conf": "0" * 40},
        )
        assert two.name == "b"
        assert apkdb.asked_for(tree) == {"a", "b"}


def test_the_sources_that_apk_reads(tmp_path: Path) -> None:
    archive = Archive(
        mirrors=("http://x.example/alpine",),
        public="http://x.example/alpine",
        suites=("v3.22/main/x86_64", "v3.22/community/x86_64"),
        keys=("a" * 64,),
    )
    with UserTree(tmp_path) as tree:
        made = apksources.write(tree, {"alpine": archive}, lambda name: name.encode())
    assert made == ["/etc/apk/repositories"]
    text = (tmp_path / "etc/apk/repositories").read_text()
    assert text == "http://x.example/alpine/v3.22/main\nhttp://x.example/alpine/v3.22/community\n"


def test_a_key_is_given_to_the_tree_under_the_name_that_apk_looks_for(tmp_path: Path) -> None:
    write(tmp_path, "heir/1", 'extends = "alpine/3.22"\n[archives.alpine]\nown_keys = true\n')
    errors = [str(row.fault) for row in lint(load("heir-1", roots=[tmp_path, shipped_root()]))]
    assert any("vendor: apk has to know what its key is called" in error for error in errors)
    archive = Archive(
        mirrors=("http://x.example",),
        public="http://x.example/repo/",
        suites=("x86_64",),
        keys=("a" * 64,),
        own_keys=True,
        vendor="me@x.example-1.rsa.pub",
    )
    (tmp_path / "tree").mkdir()
    with UserTree(tmp_path / "tree") as tree:
        made = apksources.write(tree, {"mine": archive}, lambda name: name.encode())
    assert made == ["/etc/apk/repositories", "/etc/apk/keys/me@x.example-1.rsa.pub"]
    assert (tmp_path / "tree/etc/apk/repositories").read_text() == "http://x.example/repo\n"
    assert (tmp_path / "tree" / made[1][1:]).read_text() == f"keys/{'a' * 64}.pub"


@pytest.mark.parametrize("name", ["alpine-3.22", "alpine-3.23", "alpine-edge"])
def test_the_recipes(name: str) -> None:
    found = load(name, roots=[shipped_root()])
    errors = [str(row.fault) for row in lint(found) if row.level == "error"]
    assert errors
    assert all(".pub is not there" in error for error in errors)
    assert list(found.recipe.archives) == ["alpine"]
    assert found.recipe.archives["alpine"].suites[0].endswith("/main/x86_64")
    other = load(name, arch="aarch64", roots=[shipped_root()])
    assert list(other.recipe.archives) == ["alpine-arm"]
