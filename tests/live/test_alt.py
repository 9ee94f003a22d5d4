"""ALT Linux: its archive is not at hand here, so a stand-in in its true format is, with a real rpm."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import lzma
import tarfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests import alt_packages, beside
from tests.alt_standin import AltStandin, as_failing
from tests.aptrpm_factory import Key, Repository, publish_key, sign, throw_away_key
from tests.archive_server import ArchiveServer
from tests.conftest import Places
from tests.rpm_factory import WHEN, File, Rpm, build_rpm
from tests.workshop import Run, Workshop
from tmplbuild.archives.aptrpm import setversion
from tmplbuild.core import Tree
from tmplbuild.engine.steps import NAMES, RELEASE_NAMES

pytestmark = [pytest.mark.root, pytest.mark.network, pytest.mark.live, pytest.mark.slow]

P10, P11 = "altlinux-p10-x86_64", "altlinux-p11-x86_64"
UPGRADED = "altlinux-p11-from-p10-x86_64"


class Alt:
    """A workshop with the stand-in's address, and recipes that pin its keys."""

    def __init__(self, place: Path, packages: Path, standin: AltStandin, server: ArchiveServer) -> None:
        self.shop = Workshop(place / "shop", packages)
        self.standin = standin
        self.server = server
        self.recipes = standin.recipes(place / "recipes")
        self.options = (
            *("--recipes", str(self.recipes)),
            *("--mirror", f"altlinux={server.url}/altlinux"),
        )

    def build(self, name: str, *words: str, ok: bool = True) -> Run:
        return self.shop.build(name, *self.options, *words, ok=ok)

    def upgrade(self, name: str, to: str, ok: bool = True) -> Run:
        done = self.shop.run("upgrade", name, "--to", to, "--json", *self.options)
        assert not ok or done.status == 0, f"{done.err}\n{done.out[-2000:]}"
        return done

    def recipe(self, name: str, text: str) -> str:
        """A recipe like p11's, whose packed template is not booted; what `tmplbuild build` calls it."""
        path = self.recipes / "altlinux" / f"{name}.toml"
        path.write_text(f'extends = "altlinux/p11"\n[check]\nboot = false\n{text}\n')
        return f"altlinux-{name}"

    def file(self, template: str) -> Path:
        return self.shop.templates / f"{template}.tar.gz"


@pytest.fixture(scope="module")
def alt(places: Places, packages: Path) -> Iterator[Alt]:
    place = places("alt")
    standin = AltStandin(place, packages)
    for branch in ("p10", "p11", "4.1", "5.0"):
        standin.publish(branch)
    with standin.serve() as server:
        made = Alt(place, packages, standin, server)
        made.shop.first = made.build("altlinux-p11")
        yield made
    assert made.shop.remains() == {}


@pytest.fixture(scope="module")
def p10(alt: Alt) -> Run:
    return alt.build("altlinux-p10")


@pytest.fixture(scope="module")
def upgraded(alt: Alt, p10: Run) -> Run:
    return alt.upgrade("altlinux-p10", "altlinux-p11")


@pytest.fixture
def branch(alt: Alt) -> Iterator[Callable[..., None]]:
    """Publishes p11 otherwise for one test."""
    changed = False

    def publish(**options: object) -> None:
        nonlocal changed
        changed = True
        alt.standin.publish("p11", **options)  # type: ignore[arg-type]

    yield publish
    if changed:
        alt.standin.publish("p11")


# -- from packages ------------------------------------------------------------------------------------


def test_a_recipe_becomes_a_booted_template(alt: Alt) -> None:
    first = alt.shop.first
    assert first is not None
    assert first.ran == list(NAMES)
    assert first.summary["sha256"] == hashlib.sha256(alt.file(P11).read_bytes()).hexdigest()
    assert "chosen: gawk is provided by mawk" in [one.get("text") for one in first.events]
    done = alt.shop.run("check", str(alt.file(P11)), "--json")
    assert done.status == 0, done.out


def test_the_manifest_tells_of_archives_keys_and_packages(alt: Alt) -> None:
    manifest = json.loads((alt.shop.templates / f"{P11}.manifest.json").read_text())
    suites = {row["suite"]: row["signed_by"] for row in manifest["pins"]["archives"]}
    key = alt.standin.fingerprint("p11")
    assert suites == {"p11/branch/x86_64": [key], "p11/branch/noarch": [key]}
    packages = {row["name"]: row for row in manifest["packages"]}
    assert {"rpm", "systemd", "etcnet", "apt-standin"} <= packages.keys()
    assert packages["setup"] == {"name": "setup", "version": "2.5-alt1", "arch": "noarch", "source": "setup"}


def test_rules_of_a_container_hold(alt: Alt) -> None:
    with alt.shop.tree(P11, "clean-again") as tree:
        assert tree.listdir("/etc/net/ifaces") == ["default", "lo", "unknown"]
        assert "HOSTNAME=\n" in tree.read_text("/etc/sysconfig/network")
        assert tree.read_text("/etc/sysconfig/i18n") == "LANG=C.UTF-8\n"
        assert "pts/0\n" in tree.read_text("/etc/securetty")
        assert tree.readlink("/etc/mtab") == "../proc/self/mounts"
        assert tree.read_text("/etc/tcb/root/shadow").startswith("root:*:")
        assert not tree.glob("/var/lib/apt/lists/*_*")
        assert not tree.exists("/.tmplbuild")
        sources = tree.read_text("/etc/apt/sources.list.d/altlinux.list").splitlines()
        assert sources == [
            f"rpm [p11] http://ftp.altlinux.org/pub/distributions/ALTLinux p11/branch/{arch} classic"
            for arch in ("x86_64", "noarch")
        ]
        assert tree.read_text("/etc/apt/sources.list.d/alt.list").startswith("#rpm [p11] ftp:")
        assert alt.standin.fingerprint("p11") in tree.read_text("/etc/apt/vendors.list.d/zz-p11.list")
        cache = tree.stat("/var/cache/apt/archives")
        assert cache is not None
        assert (cache.st_mode & 0o7777, cache.st_gid) == (0o2770, 103)


def test_control_has_the_recipe_s_state(alt: Alt) -> None:
    with alt.shop.tree(P11, "clean-again") as tree:
        assert _mode(tree, "/bin/su") == 0o4711
    assert alt.shop.first is not None
    log = (Path(alt.shop.first.summary["logs"]) / "03-configure.log").read_text()
    assert "su public" in log


def test_apt_knows_what_was_only_pulled_in(alt: Alt) -> None:
    with alt.shop.tree(P11, "install") as tree:
        auto = set(tree.read_text("/var/lib/apt/auto").split())
    assert {"libpopt0", "tcb", "bash", "coreutils"} - auto == {"bash", "coreutils"}
    assert not auto & {"basesystem", "etcnet", "systemd"}, "what the recipe names is wanted"


def test_nothing_changed_nothing_done(alt: Alt) -> None:
    again = alt.build("altlinux-p11")
    assert again.unchanged
    assert again.ran == []


def test_equal_pins_give_equal_bytes(alt: Alt, packages: Path, tmp_path: Path) -> None:
    other = Workshop(tmp_path / "other", packages)
    done = other.build("altlinux-p11", *alt.options, "--no-boot-test")
    assert alt.shop.first is not None
    assert done.summary["sha256"] == alt.shop.first.summary["sha256"]


def test_the_next_night_packages_moved(alt: Alt, branch: Callable[..., None]) -> None:
    name = alt.recipe(
        "nightly",
        '[image]\nname = "nightly"\n[archives.altlinux]\nadd.suites = ["p11/branch/x86_64-i586"]\n'
        '[install]\nadd.packages = ["i586-hello"]\n',
    )
    key = throw_away_key("lent")
    lent = Repository(alt.standin.place / "lent", key)

    def lend(version: str) -> None:
        lent.add(Rpm(beside.NEEDS, version, arch="noarch"), Rpm(beside.PACKAGE, "0.9"))
        lent.write("lent/x86_64", label="lent", date=WHEN + int(version))

    lend("1")
    tables = beside.LENT.format(url=alt.server.url) + 'suites = ["lent/x86_64"]\ncomponents = ["classic"]\n'
    tables += f'keys = ["{publish_key(key, alt.recipes / "altlinux/keys")}"]\n'
    one = Rpm(beside.PACKAGE, requires=(beside.NEEDS,), files=(File("/usr/share/beside", b"beside\n"),))
    beside.add(alt.recipes / "altlinux/nightly.toml", {"beside.rpm": build_rpm(one)}, tables)
    alt.build(name)
    packages = {row["name"]: row["arch"] for row in _manifest(alt, "nightly")["packages"]}
    assert (packages["i586-hello"], packages["rpm"]) == ("i586", "x86_64"), "two architectures in one tree"
    lend("2")

    def newer(rpm: Rpm) -> Rpm:
        return replace(rpm, release="alt9") if rpm.name == "tcb" else rpm

    branch(change=newer)
    again = alt.build(name)
    assert again.ran[0] == "upgrade"
    manifest = json.loads((alt.shop.templates / "nightly.manifest.json").read_text())
    versions = {row["name"]: row["version"] for row in manifest["packages"]}
    assert versions["tcb"] == "1.0-alt9"
    assert (versions[beside.PACKAGE], versions[beside.NEEDS]) == ("1.0-alt1", "2-alt1")
    with alt.shop.tree("nightly", "clean-again") as tree:
        assert tree.read_text("/usr/share/beside") == "beside\n"
        lists = [tree.read_text(path) for path in tree.glob("/etc/apt/sources.list.d/*")]
        assert not any(beside.ADDRESS in text for text in lists)


def test_a_template_for_i586(alt: Alt) -> None:
    alt.standin.publish("p11", arch="i586")
    done = alt.build("altlinux-p11", "--arch", "i586")
    assert done.ran == list(NAMES)
    packages = {row["name"]: row["arch"] for row in _manifest(alt, "altlinux-p11-x86")["packages"]}
    assert (packages["rpm"], packages["etcnet"]) == ("i586", "noarch")
    with alt.shop.tree("altlinux-p11-x86", "clean-again") as tree:
        assert tree.read_bytes("/usr/lib/rpm/bin/rpm")[4] == 1, "ELF of 32 bits"
        assert "p11/branch/i586 classic" in tree.read_text("/etc/apt/sources.list.d/altlinux.list")


# -- from the branch before ---------------------------------------------------------------------------


def test_p10_becomes_p11_in_a_live_ve(alt: Alt, upgraded: Run) -> None:
    assert upgraded.ran == list(RELEASE_NAMES)
    assert upgraded.summary["made_of"]["template"] == P10
    names = {row["name"]: row for row in _manifest(alt, UPGRADED)["packages"]}
    fresh = {row["name"]: row for row in _manifest(alt, P11)["packages"]}
    assert names.keys() == fresh.keys(), "usrmerge-hier-convert is not asked for: it went"
    assert {name for name in fresh if fresh[name]["version"] != names[name]["version"]} == set()


def test_the_upgrade_waited_for_what_goes_on_in_the_background(alt: Alt, upgraded: Run) -> None:
    log = (Path(upgraded.summary["logs"]) / "05-upgrade.log").read_text()
    assert "\nwait for p" in log
    with alt.shop.tree(UPGRADED, "upgrade") as tree:
        assert _mode(tree, "/bin/su") == 0o4711, "control's state outlives the update of its package"
        assert not tree.exists("/var/lib/rpm/delay-posttrans-filetriggers")
        assert not tree.exists("/var/lib/rpm/files-awaiting-filetriggers")


def test_the_upgrade_leaves_no_trace_and_loses_nothing(alt: Alt, upgraded: Run) -> None:
    with alt.shop.tree(UPGRADED, "clean-again") as tree:
        assert [p for kind in ("new", "save", "orig") for p in tree.glob(f"/**/*.rpm{kind}")] == []
        assert tree.readlink("/bin") == "usr/bin"
        assert _mode(tree, "/bin/su") == 0o4711
        passwd = tree.read_text("/etc/passwd")
        assert "\n_daemon:x:160:160:" in passwd  # made by a script before
        assert "\n_newdaemon:x:150:150:" in passwd  # only in passwd.rpmnew
        assert "third = of the recipe" in tree.read_text("/etc/confapp/edited.conf")
        assert "third = of the recipe" in tree.read_text("/etc/confapp/kept.conf")
        assert "second = new" in tree.read_text("/etc/confapp/edited.conf")
        assert "second = new" in tree.read_text("/etc/confapp/untouched.conf")
        assert "last = of the script" in tree.read_text("/etc/confapp/scripted.conf")
        assert not tree.exists("/etc/oldname.conf")
        assert tree.exists("/etc/newname.conf")
    rows = {row.split(" (")[0] for row in upgraded.summary["leftovers"]}
    assert {"/etc/passwd.rpmnew", "/etc/confapp/edited.conf.rpmsave", "/etc/oldname.conf.rpmsave"} <= rows


def test_a_file_trigger_that_fails_fails_the_upgrade(alt: Alt, p10: Run, branch: Callable[..., None]) -> None:
    branch(more=[alt_packages.fault_trigger()])
    alt.recipe("trigger", '[image]\nname = "trigger"\n[install]\nadd.packages = ["broken-trigger"]')
    done = alt.upgrade("altlinux-p10", "altlinux-trigger", ok=False)
    assert done.status == 7
    assert "tells of a failure" in done.out
    assert "broken.filetrigger" in done.out


# -- old branches, and sysvinit -----------------------------------------------------------------------


def test_4_1_becomes_5_0(alt: Alt) -> None:
    """Lists in bzip2 alone, vouched for by MD5; sysvinit; packages without build time."""
    old = alt.build("altlinux-4.1")
    assert old.ran == list(NAMES)
    notes = [event["text"] for event in old.events if event["event"] == "note"]
    assert any("by MD5 alone" in note for note in notes)
    assert any("not by a signature" in note for note in notes)
    done = alt.upgrade("altlinux-4.1", "altlinux-5.0")
    assert done.ran == list(RELEASE_NAMES)
    template = "altlinux-5.0-from-4.1-x86_64"
    versions = {row["name"]: row["version"] for row in _manifest(alt, template)["packages"]}
    assert (versions["setup"], versions["newname"]) == ("2.5-alt1", "2.0-alt1")
    assert "oldname" not in versions
    with alt.shop.tree(template, "clean-again") as tree:
        assert "\n_newdaemon:x:150:150:" in tree.read_text("/etc/passwd")
        inittab = tree.read_text("/etc/inittab")
        assert "\n#1:2345:respawn:/sbin/mingetty tty1\n" in inittab
        assert "\n#ca::ctrlaltdel:" in inittab
        assert alt.standin.fingerprint("5.0") in tree.read_text("/etc/apt/vendors.list.d/zz-updates.list")


# -- from a root file system that somebody has packed ------------------------------------------------


class Images:
    """A directory of images as ALT publishes them, beside the stand-in: p11's template is its tarball."""

    name = "alt-p11-rootfs-systemd-etcnet-x86_64.tar.xz"

    def __init__(self, alt: Alt) -> None:
        self.alt = alt
        self.folder = alt.standin.place / "images"
        self.folder.mkdir()
        self.key = throw_away_key("images")
        self.fingerprint = publish_key(self.key, alt.recipes / "altlinux/keys")
        packed = io.BytesIO(gzip.decompress(alt.file(P11).read_bytes()))
        with tarfile.open(fileobj=packed, mode="a:") as tar:  # what ALT's own builder leaves in a tree
            for name, mode in ((".", 0o1775), ("./.host", 0o755), ("./.in", 0o1775)):
                folder = tarfile.TarInfo(name)
                folder.type, folder.mode = tarfile.DIRTYPE, mode
                tar.addfile(folder)
            tar.addfile(tarfile.TarInfo("./.fakedata"))
        self.put(lzma.compress(packed.getvalue(), lzma.FORMAT_XZ, preset=0))

    def put(self, data: bytes, told: bytes | None = None, signer: Key | None = None) -> None:
        """The tarball, and a signed list that vouches for `told`."""
        (self.folder / self.name).write_bytes(data)
        digest = hashlib.sha256(data if told is None else told).hexdigest()
        text = f"{digest}  {self.name}\n".encode()
        (self.folder / "SHA256SUMS").write_bytes(text)
        (self.folder / "SHA256SUMS.gpg").write_bytes(sign(text, signer or self.key)[len(text) :])

    def build(self, name: str, more: str = "", ok: bool = True) -> Run:
        recipe = self.alt.recipe(
            name,
            f'[image]\nname = "{name}"\n[bootstrap]\nmethod = "tarball"\nkeys = ["{self.fingerprint}"]\n'
            f'urls = ["{self.alt.server.url}/images/{self.name}"]\n{more}',
        )
        return self.alt.build(recipe, ok=ok)


@pytest.fixture(scope="module")
def images(alt: Alt) -> Images:
    return Images(alt)


def test_a_signed_tarball_becomes_a_template(alt: Alt, images: Images, branch: Callable[..., None]) -> None:
    """ALT's root file systems are made now and then: packages have moved since."""
    extra = Rpm("tar-extra", arch="noarch")
    branch(change=lambda rpm: replace(rpm, release="alt7") if rpm.name == "tcb" else rpm, more=[extra])
    more = '[install]\nadd.packages = ["tar-extra"]\n[upgrade]\ncompare = "altlinux-p11"\n'
    done = images.build("rootfs", more)
    assert done.ran == [stage for stage in RELEASE_NAMES if stage != "boot"]
    made_of = done.summary["made_of"]
    assert (made_of["template"], made_of["signed_by"]) == (images.name, [images.fingerprint])
    versions = {row["name"]: row["version"] for row in _manifest(alt, "rootfs")["packages"]}
    assert versions["tcb"] == "1.0-alt7"
    assert "tar-extra" in versions, "what the recipe asks for and the tarball lacks"
    assert any("tar-extra" in row for row in done.summary["differences"])
    with alt.shop.tree("rootfs", "bootstrap") as tree:
        assert (_mode(tree, "/"), tree.exists("/.host"), tree.exists("/.fakedata")) == (0o1775, True, True)
    with alt.shop.tree("rootfs", "clean-again") as tree:
        assert _mode(tree, "/") == 0o755
        assert not any(tree.exists(f"/{name}") for name in (".host", ".in", ".fakedata"))
    log = (Path(done.summary["logs"]) / "05-upgrade.log").read_text()
    assert "hier-convert" not in log, "a tree of p11 needs no steps from p10"
    assert images.build("rootfs", more).unchanged


def test_a_template_at_an_address_becomes_the_next_branch_s(alt: Alt, images: Images, upgraded: Run) -> None:
    """p10's template, which another machine has published: the digest that the recipe pins vouches for it."""
    data = alt.file(P10).read_bytes()
    digest = hashlib.sha256(data).hexdigest()
    (images.folder / "p10.tar.gz").write_bytes(data)

    def recipe(name: str, sha256: str) -> str:
        begin = f'method = "template"\nurls = ["{alt.server.url}/images/p10.tar.gz"]\nsha256 = "{sha256}"\n'
        return alt.recipe(name, f'[image]\nname = "{name}"\n[bootstrap]\n{begin}')

    done = alt.build(recipe("fetched", digest))
    assert done.ran == [stage for stage in RELEASE_NAMES if stage != "boot"]
    assert done.summary["made_of"]["sha256"] == digest
    versions = {row["name"]: row["version"] for row in _manifest(alt, "fetched")["packages"]}
    assert versions == {row["name"]: row["version"] for row in _manifest(alt, UPGRADED)["packages"]}
    _fails(alt, recipe("forged", "0" * 64), 6, "p10.tar.gz")


def test_a_tarball_signed_by_another_key(images: Images) -> None:
    data = (images.folder / images.name).read_bytes()
    images.put(data, signer=throw_away_key("somebody else"))
    _refused(images, "otherkey", "by none of the recipe's keys")


def test_a_tarball_with_a_changed_byte(images: Images) -> None:
    images.put(b"another tarbalL", told=b"another tarball")
    _refused(images, "changed", "not those that the archive vouches for")


def test_a_list_that_lacks_the_tarball(images: Images) -> None:
    images.name, name = "another.tar.xz", images.name
    images.put(b"another")
    images.name = name
    _refused(images, "missing", "does not name the tarball")


def test_a_hostile_tarball_though_it_is_signed(images: Images) -> None:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:xz") as tar:
        link = tarfile.TarInfo("etc")
        link.type, link.linkname = tarfile.SYMTYPE, "/tmp/../../.."
        tar.addfile(link)
        tar.addfile(tarfile.TarInfo("../../outside"))
    images.put(packed.getvalue())
    _refused(images, "hostile", "outside")


def _refused(images: Images, name: str, words: str) -> None:
    done = images.build(name, ok=False)
    assert (done.status, words in done.out) == (6, True), done.out[-2000:] + done.err
    assert "Traceback" not in done.out + done.err
    assert not images.alt.file(name).exists()


@pytest.mark.parametrize("flavour", ["sysvinit", "networkd"])
def test_flavours_of_p11(alt: Alt, flavour: str) -> None:
    name = f"altlinux-p11-{flavour}"
    done = alt.build(name)
    assert (done.ran[0], done.ran[-1]) == ("install", "boot"), "the base is p11's"
    packages = {row["name"] for row in _manifest(alt, f"{name}-x86_64")["packages"]}
    assert ("systemd" in packages) == (flavour == "networkd")
    assert ("etcnet" in packages) == (flavour == "sysvinit")


# -- faults -------------------------------------------------------------------------------------------


def test_a_branch_whose_key_is_not_known_is_not_built(alt: Alt) -> None:
    done = alt.shop.build("altlinux-p11", ok=False)
    assert done.status == 3
    assert "the fingerprint of p11's signing key is not known" in done.out
    done = alt.shop.build("altlinux-p10", ok=False)
    assert done.status == 3
    assert "keys/357BE37422F73D9CB3A0C8D142F343A2C7EB80F9.asc is not there" in done.out


def test_an_old_branch_is_built_only_as_it_was_frozen(alt: Alt) -> None:
    """Its signature is over SHA-1: what it would take is told, with the digest to compare.

    Both suites are as old and are read at once: of which it is told first is left open.
    """
    frozen = {
        suite: hashlib.sha256((alt.standin.root / suite / "base/release").read_bytes()).hexdigest()
        for suite in ("4.1/branch/x86_64", "4.1/branch/noarch")
    }
    path = alt.recipes / "altlinux/notfrozen.toml"
    text = (
        'extends = "altlinux/_legacy"\n[image]\nrelease = "4.1"\nsuite = "4.1"\nname = "notfrozen"\n'
        f'[archives.altlinux]\nkeys = ["{alt.standin.fingerprint("4.1")}"]\n'
    )
    path.write_text(text)
    done = _fails(alt, "altlinux-notfrozen", 6, "not accepted any more")
    hint = json.loads(done.out.splitlines()[-1])["hint"]
    told = [suite for suite, digest in frozen.items() if f'frozen = {{ "{suite}" = "{digest}" }}' in hint]
    assert len(told) == 1, hint
    # what the hint says is enough for that suite: then it is told of the other one
    first, other = told[0], next(suite for suite in frozen if suite not in told)
    path.write_text(f'{text}frozen = {{ "{first}" = "{frozen[first]}" }}\n')
    done = _fails(alt, "altlinux-notfrozen", 6, "not accepted any more")
    assert f'"{other}" = "{frozen[other]}"' in json.loads(done.out.splitlines()[-1])["hint"]
    pins = f'"{first}" = "{frozen[first]}", "{other}" = "{"0" * 64}"'
    path.write_text(f"{text}frozen = {{ {pins} }}\n")
    _fails(alt, "altlinux-notfrozen", 6, "is not as it was frozen")


def test_a_release_signed_by_another_key(alt: Alt, branch: Callable[..., None]) -> None:
    branch(signer=throw_away_key("somebody else"))
    _fails(alt, "altlinux-p11", 6, "p11/branch/")


def test_a_list_that_is_damaged(alt: Alt, branch: Callable[..., None]) -> None:
    branch(change=lambda rpm: replace(rpm, release="alt8") if rpm.name == "tcb" else rpm)
    path = alt.standin.root / "p11/branch/x86_64/base/pkglist.classic.xz"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    _fails(alt, "altlinux-p11", 6, "pkglist.classic.xz")


def test_a_vendor_that_the_tree_does_not_know(alt: Alt) -> None:
    text = '[configure]\nadd.commands = [["rm", "/etc/apt/vendors.list.d/zz-p11.list"]]'
    done = _fails(alt, alt.recipe("vendor", f'[image]\nname = "vendor"\n{text}'), 7, "read the package lists")
    assert "Unknown vendor ID 'p11'" in done.out


def test_an_archive_without_a_vendor(alt: Alt) -> None:
    name = alt.recipe("novendor", '[image]\nname = "novendor"\n[archives.altlinux]\nvendor = ""')
    _fails(alt, name, 3, "apt-rpm would not check its signature")


def test_a_dependency_that_nothing_meets(alt: Alt, branch: Callable[..., None]) -> None:
    branch(change=lambda rpm: None if rpm.name == "libpopt0" else rpm)
    done = _fails(alt, "altlinux-p11", 10, "libpopt0")
    assert "rpm" in done.out


def test_a_library_that_lacks_symbols(alt: Alt, branch: Callable[..., None]) -> None:
    offered, wanted = (setversion.of_symbols(list(symbols), 20) for symbols in ("abc", "abcd"))
    branch(
        more=[
            Rpm("libset", provides=(f"libset.so.1()(64bit) = {offered}",)),
            Rpm("needsset", requires=(f"libset.so.1()(64bit) >= {wanted}",)),
        ]
    )
    text = '[image]\nname = "sets"\n[install]\nadd.packages = ["needsset"]'
    done = _fails(alt, alt.recipe("sets", text), 10, "libset.so.1()(64bit)")
    assert "needsset" in done.out


def test_a_script_that_fails(alt: Alt, branch: Callable[..., None]) -> None:
    branch(change=lambda rpm: as_failing(rpm) if rpm.name == "etcnet" else rpm)
    done = _fails(alt, alt.recipe("script", '[image]\nname = "script"'), 7, "rpm tells of a failure")
    assert "%post(etcnet-" in done.out


def test_rpm_is_killed_in_the_middle(alt: Alt, branch: Callable[..., None]) -> None:
    def deadly(rpm: Rpm) -> Rpm:
        return replace(rpm, scripts={"post": "kill -9 $PPID\n"}) if rpm.name == "etcnet" else rpm

    branch(change=deadly)
    name = alt.recipe("killed", '[image]\nname = "killed"')
    _fails(alt, name, 7, "the command failed")
    alt.standin.publish("p11")
    # the install layer may be p11's, which has the same packages
    assert alt.build(name).ran[0] in ("install", "upgrade")


def _fails(alt: Alt, name: str, status: int, words: str) -> Run:
    """A build that fails so, and leaves the template of p11 as it was."""
    assert alt.shop.first is not None
    done = alt.build(name, ok=False)
    assert (done.status, words in done.out) == (status, True), done.out[-3000:] + done.err
    assert "Traceback" not in done.out + done.err
    assert hashlib.sha256(alt.file(P11).read_bytes()).hexdigest() == alt.shop.first.summary["sha256"]
    return done


def _mode(tree: Tree, path: str) -> int:
    state = tree.stat(path)
    assert state is not None
    return state.st_mode & 0o7777


def _manifest(alt: Alt, template: str) -> dict[str, list[dict[str, str]]]:
    found: dict[str, list[dict[str, str]]] = json.loads(
        (alt.shop.templates / f"{template}.manifest.json").read_text()
    )
    return found
