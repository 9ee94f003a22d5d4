"""Repositories of dnf's and zypper's kind: what is believed, what a request comes to, what fails how.

dnf and zypper themselves are asked about the same repositories.
"""

from __future__ import annotations

import gzip
import hashlib
import random
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.aptrpm_factory import certificate, publish_key, throw_away_key
from tests.archive_server import ArchiveServer, Fault
from tests.module_lists import default, stream
from tests.rpm_factory import WHEN, File, Rpm
from tests.rpmmd_factory import PACKAGES, Layout, RpmMd
from tmplbuild.archives import rpmmd
from tmplbuild.archives.arrival import MoreWanted
from tmplbuild.archives.cache import PackageCache
from tmplbuild.archives.fetch import Fetcher
from tmplbuild.archives.model import Closure
from tmplbuild.archives.wishes import Wishes
from tmplbuild.core.tree import Tree
from tmplbuild.errors import FetchError, ResolveError, TmplbuildError, VerifyError
from tmplbuild.recipes.model import Archive
from tmplbuild.stages import repofiles

pytestmark = pytest.mark.skipif(
    shutil.which("createrepo_c") is None, reason="needs createrepo_c: apt-get install createrepo-c"
)

BASE, APPS = "9/BaseOS/x86_64/os", "9/AppStream/x86_64/os"


class Bed:
    """A served archive with two repositories, and a cache of its own."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self.key = throw_away_key("rpmmd")
        self.repository = RpmMd(place / "www", self.key)
        publish_key(self.key, place / "keys")
        self.cache = PackageCache(place / "cache")
        self.server = ArchiveServer(place / "www")
        self.suites: tuple[str, ...] = (BASE, APPS)
        self.streams: tuple[str, ...] = ()  # that the recipe enables
        self.now: float = WHEN + 86400

    def write(self, base: list[Rpm], apps: list[Rpm], **options: Any) -> None:
        for suite, rpms in zip(self.suites, (base, apps), strict=True):
            self.repository.add(*rpms)
            self.repository.write(suite, **options)

    def modules(self, place: Path, *documents: str) -> None:
        """Give a repository a list of modules."""
        self.repository.say_modules(str(place.relative_to(self.repository.root)), "".join(documents))

    @property
    def archives(self) -> dict[str, Archive]:
        return {
            "el": Archive(
                mirrors=(self.server.url,),
                public="http://el.example",
                suites=self.suites,
                components=(),
                keys=(certificate(self.key)[0],),
                modules=self.streams,
            )
        }

    @property
    def fetcher(self) -> Fetcher:
        return Fetcher({"el": (self.server.url,)})

    def read(self, **options: Any) -> Any:
        options = {"now": self.now, **options}
        return rpmmd.read_archives(
            self.archives,
            "x86_64",
            fetcher=self.fetcher,
            cache=self.cache,
            keys_dir=self.place / "keys",
            **options,
        )

    def closure(self, *packages: str, include: tuple[str, ...] = ("base",), **options: Any) -> Closure:
        return rpmmd.closure(
            rpmmd.open_pool(self.read(), "x86_64"), Wishes(include=include, packages=packages, **options)
        )


@pytest.fixture
def bed(tmp_path: Path) -> Iterator[Bed]:
    made = Bed(tmp_path)
    with made.server:
        yield made


def rpm(name: str, version: str = "1", **options: Any) -> Rpm:
    return Rpm(name, version=version, release=options.pop("release", "1.el9"), **options)


SMALL = [
    rpm("base", requires=("libc >= 2",)),
    rpm("libc", "2.5"),
    rpm("libc", "2.4"),
    rpm("libc", "2.6", arch="aarch64"),
]
MORE = [
    rpm("app", requires=("tool", "/usr/bin/run")),
    rpm("tool", provides=("helper = 3",)),
    rpm("runner", files=(File("/usr/bin/run", b"#!/bin/sh\n", mode=0o100755),)),
    rpm("tool-new", "2", provides=("other = 2",), obsoletes=("ghost < 2",)),
]


def names(closure: Closure) -> list[str]:
    return [f"{one.name}-{one.version}.{one.arch}" for one in closure.packages]


def test_the_closure_and_its_files(bed: Bed) -> None:
    bed.write(SMALL, MORE)
    found = bed.closure("app")
    assert names(found) == [
        "app-1-1.el9.x86_64",
        "base-1-1.el9.x86_64",
        "libc-2.5-1.el9.x86_64",
        "runner-1-1.el9.x86_64",
        "tool-1-1.el9.x86_64",
    ]
    assert found.auto == {"libc", "runner", "tool"}
    rpmmd.download(found.packages, fetcher=bed.fetcher, cache=bed.cache)
    for package in found.packages:
        file = bed.cache.path(package.sha256)
        assert file.read_bytes() == (bed.place / "www" / package.filename).read_bytes()
    assert [state.suite for state in bed.read()[0].suites] == [BASE, APPS]


def test_only_the_base_without_packages(bed: Bed) -> None:
    bed.write(SMALL, MORE)
    assert names(bed.closure()) == ["base-1-1.el9.x86_64", "libc-2.5-1.el9.x86_64"]


def test_what_is_provided_is_told_and_not_automatic(bed: Bed) -> None:
    bed.write(SMALL, MORE)
    found = bed.closure("helper")
    assert "helper is provided by tool" in found.choices
    assert found.auto == {"libc"}


def test_the_recipe_prefers(bed: Bed) -> None:
    bed.write(
        SMALL, [rpm("one", provides=("mta",)), rpm("two", provides=("mta",)), rpm("app", requires=("mta",))]
    )
    for name in ("one", "two"):
        assert name in {one.name for one in bed.closure("app", prefer=(name,)).packages}
    assert "two" in {one.name for one in bed.closure("app", exclude=("one",)).packages}


@pytest.mark.parametrize("kind", ["gz", "xz", "bz2", "zstd"])
def test_every_compression(bed: Bed, kind: str) -> None:
    try:
        bed.write(SMALL, MORE, options=(f"--general-compress-type={kind}", "--no-database"))
    except subprocess.CalledProcessError:
        pytest.skip(f"this createrepo_c cannot write {kind}")
    assert bed.closure("app").packages


def test_module_streams_are_left_out(bed: Bed) -> None:
    bed.repository.add(*SMALL)
    bed.repository.write(BASE)
    bed.repository.add(rpm("node", "18"), rpm("node", "20", release="1.module_el9"))
    place = bed.repository.write(APPS)
    bed.modules(place, stream("node:20", ["node-0:20-1.module_el9.x86_64"]))
    assert "node-18-1.el9.x86_64" in names(bed.closure("node"))


@pytest.mark.parametrize("layout", [PACKAGES, Layout(folder=""), Layout(folder="", tail="-omv2690")])
def test_a_package_is_found_by_its_file_however_that_is_called(bed: Bed, layout: Layout) -> None:
    bed.repository.layout = layout
    bed.write(SMALL, MORE)
    pool = rpmmd.open_pool(bed.read(), "x86_64")
    for package in bed.closure("app").packages:
        assert pool.at(package.filename) == package
        assert pool.at(package.filename.replace(".rpm", ".drpm")) is None
    assert pool.at(f"{APPS}/") is None


# -- what is not believed ---------------------------------------------------------------------------


def refused(bed: Bed, kind: type[TmplbuildError], says: str, **options: Any) -> None:
    with pytest.raises(kind, match=re.escape(says)):
        bed.read(**options)


def test_another_key(bed: Bed) -> None:
    bed.write(SMALL, MORE, signer=throw_away_key("somebody"))
    with pytest.raises(VerifyError):
        bed.read()


def test_no_signature(bed: Bed) -> None:
    bed.write(SMALL, MORE)
    (bed.place / "www" / BASE / "repodata/repomd.xml.asc").unlink()
    with pytest.raises(FetchError):
        bed.read()


@pytest.mark.parametrize("which", ["repomd.xml", "*-primary.xml.gz"])
def test_a_changed_byte(bed: Bed, which: str) -> None:
    bed.write(SMALL, MORE, options=("--general-compress-type=gz",))
    (path,) = (bed.place / "www" / BASE / "repodata").glob(which)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    with pytest.raises((VerifyError, FetchError)):
        bed.read()


def test_a_package_that_was_changed(bed: Bed) -> None:
    bed.write(SMALL, MORE)
    found = bed.closure("app")
    bed.server.faults.append(
        Fault("app-1", "body", body=b"x" * next(p.size for p in found.packages if p.name == "app"))
    )
    with pytest.raises((VerifyError, FetchError)):
        rpmmd.download(found.packages, fetcher=bed.fetcher, cache=bed.cache)
    assert not bed.cache.path(next(p.sha256 for p in found.packages if p.name == "app")).exists()


def test_no_way_back_in_time_but_with_leave(bed: Bed) -> None:
    bed.write(SMALL, MORE, date=WHEN + 1000)
    before = bed.read()
    bed.write(SMALL, MORE, date=WHEN)
    assert bed.read() == before
    bed.now += 3 * 86400
    refused(bed, VerifyError, "older than the one accepted before")
    assert bed.read(allow_older=True)


def test_the_future(bed: Bed) -> None:
    bed.write(SMALL, MORE, date=WHEN + 90 * 86400)
    refused(bed, VerifyError, "from the future")


def test_offline_is_what_was_verified_last(bed: Bed) -> None:
    with pytest.raises(FetchError, match="nothing is known"):
        bed.read(offline=True)
    bed.write(SMALL, MORE)
    first = bed.read()
    shutil.rmtree(bed.place / "www")
    assert bed.read(offline=True) == first


def repomd(checksum: str = "sha256", href: str = "a.gz", size: str = "1") -> bytes:
    digits = "a" * (64 if checksum == "sha256" else 32)
    return (
        '<repomd xmlns="http://linux.duke.edu/metadata/repo"><data type="primary">'
        f'<checksum type="{checksum}">{digits}</checksum>'
        f'<location href="{href}"/><size>{size}</size></data></repomd>'
    ).encode()


MALFORMED = [
    b"",
    b"<repomd",
    b"<other/>",
    b'<!DOCTYPE x [<!ENTITY a "b">]>' + repomd(size="&a;"),
    b'<repomd xmlns="http://linux.duke.edu/metadata/repo"/>',
    repomd(href="../../etc/passwd"),
    repomd(size="-1"),
    repomd(size="nan"),
    repomd(checksum="md5"),
]


@pytest.mark.parametrize("content", MALFORMED)
def test_a_signed_file_that_is_no_repomd(bed: Bed, content: bytes) -> None:
    bed.write(SMALL, MORE)
    place = bed.place / "www" / BASE
    (place / "repodata/repomd.xml").write_bytes(content)
    bed.repository.resign(place)
    refused(bed, VerifyError, "repomd.xml cannot be read")


def test_a_list_that_is_larger_than_any(bed: Bed) -> None:
    bed.write(SMALL, MORE, options=("--general-compress-type=gz",))
    path = bed.place / "www" / BASE / "repodata/repomd.xml"
    text = path.read_text()
    start = text.index('<data type="primary">')
    path.write_text(text[:start] + re.sub(r"<size>\d+<", f"<size>{1 << 35}<", text[start:], count=1))
    bed.repository.resign(path.parent.parent)
    refused(bed, VerifyError, "larger than any")
    assert not bed.server.asked("primary")


def test_a_list_that_grows_without_end(bed: Bed, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tmplbuild.archives.rpmmd.reader._LIST_LIMIT", 1 << 20)
    bed.write(SMALL, MORE, options=("--general-compress-type=gz",))
    place = bed.place / "www" / BASE / "repodata"
    bomb = gzip.compress(bytes(1 << 24))
    (place / "bomb.gz").write_bytes(bomb)
    entry = (
        f'<data type="primary"><checksum type="sha256">{hashlib.sha256(bomb).hexdigest()}</checksum>'
        f'<location href="repodata/bomb.gz"/><size>{len(bomb)}</size></data>'
    )
    (place / "repomd.xml").write_text(f'<repomd xmlns="http://linux.duke.edu/metadata/repo">{entry}</repomd>')
    bed.repository.resign(place.parent)
    with pytest.raises(VerifyError):
        bed.read()
    assert max(path.stat().st_size for path in bed.cache.files(bed.cache.indexes)) <= 1 << 20


# -- requests that cannot be met ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("packages", "options", "says"),
    [
        (("ap",), {}, "did you mean app"),
        (("app",), {"exclude": ("app",)}, "asked for and excluded"),
        (("app",), {"exclude": ("libc",)}, "the base needs it"),
        (("app",), {"exclude": ("tool", "tool-new")}, "cannot be installed together"),
        (("broken",), {}, "nothing-there"),
        (("app", "foe"), {}, "foe"),
    ],
)
def test_requests_that_cannot_be_met(bed: Bed, packages: tuple[str, ...], options: Any, says: str) -> None:
    bed.write(SMALL, [*MORE, rpm("broken", requires=("nothing-there",)), rpm("foe", conflicts=("app",))])
    with pytest.raises(ResolveError) as caught:
        bed.closure(*packages, **options)
    error = caught.value
    assert says in " ".join(map(str, (error.what, error.why, error.hint)))
    assert error.exit_code == 10


# -- files that no list of packages names ---------------------------------------------------------------

HIDDEN = "/usr/share/x/y"
FILES = [
    rpm("needs", requires=(HIDDEN,)),
    rpm("has", files=(File(HIDDEN, b"here\n"),)),
    rpm("either", requires=(f"({HIDDEN} or nothing-there)", "far")),
    rpm("far", requires=("farther",)),
    rpm("farther", requires=(HIDDEN,)),
    rpm("never", requires=("/usr/share/x/nowhere",)),
    rpm("run", files=(File("/usr/bin/run", b"", mode=0o100755),)),
]


def wide(bed: Bed, *packages: str) -> Closure:
    """The closure as a build works it out: what it lacks is fetched, once."""
    pool = rpmmd.open_pool(bed.read(), "x86_64")
    wishes = Wishes(include=("base",), packages=packages)
    with pytest.raises(MoreWanted, match="no list of packages names") as caught:
        rpmmd.closure(pool, wishes)
    assert not bed.server.asked("filelists")
    bed.fetcher.download(caught.value.wanted, bed.cache, "indexes")
    return rpmmd.closure(pool, wishes)


@pytest.mark.parametrize("packages", [("needs",), ("either",), (HIDDEN,)])
def test_a_file_that_no_list_of_packages_names(bed: Bed, packages: tuple[str, ...]) -> None:
    bed.write(SMALL, FILES)
    found = {one.name for one in wide(bed, *packages).packages}
    more = {"needs": {"needs"}, "either": {"either", "far", "farther"}, HIDDEN: set()}
    assert found == {"base", "libc", "has", *more[packages[0]]}
    if shutil.which("dnf"):
        assert {name.rsplit("-", 2)[0] for name in by_dnf(bed, ["base", *packages])} == found


def test_the_lists_of_files_are_read_for_nothing_else(bed: Bed) -> None:
    bed.write(SMALL, [*FILES, *MORE])
    bed.closure("app")
    assert "run" in {one.name for one in bed.closure("/usr/bin/run", exclude=("runner",)).packages}
    bed.write(SMALL, [*FILES, rpm("broken", requires=("nothing-there",))], date=WHEN + 5)
    with pytest.raises(ResolveError, match="nothing-there") as caught:
        bed.closure("broken")
    assert not isinstance(caught.value, MoreWanted)
    assert not bed.server.asked("filelists")


@pytest.mark.parametrize("name", ["never", "/usr/share/x/nowhere"])
def test_a_file_that_nothing_has(bed: Bed, name: str) -> None:
    bed.write(SMALL, FILES)
    with pytest.raises(ResolveError, match="/usr/share/x/nowhere") as caught:
        wide(bed, name)
    assert not isinstance(caught.value, MoreWanted)


def test_a_list_of_files_that_was_changed(bed: Bed) -> None:
    bed.write(SMALL, FILES, options=("--general-compress-type=gz",))
    (path,) = (bed.place / "www" / APPS / "repodata").glob("*filelists.xml*")
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    with pytest.raises((VerifyError, FetchError)):
        wide(bed, "needs")


# -- the family's own programs ------------------------------------------------------------------------


def by_dnf(bed: Bed, wanted: list[str]) -> set[str]:
    """What dnf would install."""
    repos = [
        f"--repofrompath={number},file://{bed.place}/www/{suite}" for number, suite in enumerate(bed.suites)
    ]
    words = ["dnf", f"--installroot={bed.place}/root", "--releasever=9", "--forcearch=x86_64"]
    words += [
        *repos,
        "--repo=0",
        "--repo=1",
        "--setopt=install_weak_deps=False",
        "--setopt=optional_metadata_types=filelists",  # since dnf 4.22 only on demand
        "--setopt=module_platform_id=platform:el9",
        "--nogpgcheck",
        "--assumeno",
    ]
    done = subprocess.run([*words, "install", *wanted], capture_output=True, text=True, check=False)
    rows = re.findall(r"^ (\S+) +(?:x86_64|noarch) +(\S+) +[01] ", done.stdout, re.MULTILINE)
    assert rows, done.stdout + done.stderr
    return {f"{name}-{version}" for name, version in rows}


def by_zypper(bed: Bed, wanted: list[str]) -> set[str]:
    """What zypper would install."""
    root = bed.place / "zypp"
    head = ["zypper", f"--root={root}", "--non-interactive", "--no-gpg-checks", "--quiet"]
    for number, suite in enumerate(bed.suites):
        url = f"dir:{bed.place}/www/{suite}"
        subprocess.run([*head, "addrepo", "--no-check", url, str(number)], check=True, capture_output=True)
    words = [*head, "--xmlout", "install", "--dry-run", "--no-recommends", "--auto-agree-with-licenses"]
    done = subprocess.run([*words, *wanted], capture_output=True, text=True, check=False)
    solvables = re.findall(r"<solvable [^>]*>", done.stdout)
    found = {(re.search(r' name="([^"]*)"', one), re.search(r' edition="([^"]*)"', one)) for one in solvables}
    assert found, done.stdout + done.stderr
    return {f"{name[1]}-{edition[1]}" for name, edition in found if name and edition}


def ways(one: Rpm) -> list[str]:
    """How a package may be asked for."""
    if one.name == "base":
        return ["base"]
    return [one.name, f"{one.name} >= {one.version}", f"cap-{one.name}", f"/usr/bin/{one.name}"]


def maze(seed: int) -> tuple[list[Rpm], list[Rpm]]:
    """Packages that need each other at random, by name, version, file and what is provided, such that
    there is one answer: every capability has one provider."""
    chance = random.Random(seed)
    made: list[Rpm] = [rpm("base")]
    for number in range(40):
        earlier = chance.sample(made, min(len(made), chance.randrange(4)))
        needs = [chance.choice(ways(one)) for one in earlier]
        name, version = f"p{number}", f"{chance.randrange(3)}.{chance.randrange(12)}"
        files = (File(f"/usr/bin/p{number}", b"", mode=0o100755),)
        made.append(rpm(name, version, requires=tuple(needs), provides=(f"cap-{name}",), files=files))
        if chance.random() < 0.3:
            made.append(rpm(name, f"{version}~rc1", requires=tuple(needs), files=files))
    cut = chance.randrange(1, len(made))
    return made[:cut], made[cut:]


def agree(bed: Bed, program: Any, wanted: list[str]) -> set[str]:
    """What we and the program would install, which is the same."""
    tool = program.__name__.removeprefix("by_")
    if shutil.which(tool) is None:
        pytest.skip(f"needs {tool}: apt-get install {tool}")
    ours = {f"{one.name}-{one.version}" for one in bed.closure(*wanted).packages}
    assert ours == program(bed, ["base", *wanted])
    return ours


SHAPES = {
    "el": (BASE, APPS),
    "fedora": ("releases/44/Everything/x86_64/os", "updates/44/Everything/x86_64"),
    "opensuse": ("distribution/leap/15.6/repo/oss", "update/leap/15.6/oss"),
}
"""The repositories of a distribution; of the latter two the second one updates the first."""


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("program", [by_dnf, by_zypper])
def test_the_familys_own_programs_agree(bed: Bed, seed: int, shape: str, program: Any) -> None:
    bed.suites = SHAPES[shape]
    first, second = maze(seed)
    if shape != "el":
        chance = random.Random(seed)
        # an update may need more than what it replaces
        newer = [
            replace(one, version=f"9.{one.version}", requires=(*one.requires, "added"))
            for one in first
            if one.name != "base" and "~" not in one.version and chance.random() < 0.4
        ]
        first, second = [*first, *second], [*newer, rpm("added")]
    bed.write(first, second)
    agree(bed, program, [f"p{number}" for number in random.Random(-seed).sample(range(40), 5)])


def test_of_the_same_version_the_first_repository_has_it(bed: Bed) -> None:
    for suites in ((BASE, APPS), (APPS, BASE)):
        bed.suites = suites
        bed.write([rpm("base"), rpm("app", "2")], [rpm("app", "2"), rpm("app", "1")])
        (app,) = (one for one in bed.closure("app").packages if one.name == "app")
        assert app.version == "2-1.el9"
        assert app.filename.startswith(suites[0])


RICH = [
    rpm("app", requires=("(lib-new or lib-old)", "(lang if desktop)", "(tool and helper)")),
    rpm("lib-old"),
    rpm("lang"),
    rpm("desktop"),
    rpm("tool"),
    rpm("helper"),
]


@pytest.mark.parametrize("program", [by_dnf, by_zypper])
@pytest.mark.parametrize(
    ("wanted", "more"), [(["app"], set()), (["app", "desktop"], {"lang-1-1.el9", "desktop-1-1.el9"})]
)
def test_conditions_of_fedora_and_suse(bed: Bed, wanted: list[str], more: set[str], program: Any) -> None:
    bed.write([rpm("base")], RICH)
    always = {f"{name}-1-1.el9" for name in ("base", "app", "lib-old", "tool", "helper")}
    assert agree(bed, program, wanted) == always | more


def test_dnf_leaves_the_same_modules_out(bed: Bed) -> None:
    bed.repository.add(rpm("base"))
    bed.repository.write(BASE)
    bed.repository.add(rpm("node", "18"), rpm("node", "20", release="1.module_el9"))
    bed.modules(bed.repository.write(APPS), stream("node:20", ["node-0:20-1.module_el9.x86_64"]))
    assert agree(bed, by_dnf, ["node"]) == {"base-1-1.el9", "node-18-1.el9"}


def with_modules(seed: int) -> tuple[list[Rpm], list[Rpm], list[str], tuple[str, ...]]:
    """Packages without and with modules, what the list of modules says, and the streams to enable: modules
    need others, streams have several builds and default ones, packages stand both outside and in a stream."""
    chance = random.Random(seed)
    outside, inside, texts, wanted = [rpm("base"), rpm("plain")], list[Rpm](), list[str](), list[str]()
    known = dict[str, list[str]]()
    for module in (f"m{number}" for number in range(8)):
        if chance.random() < 0.6:
            outside.append(rpm(module, str(chance.randrange(60)), provides=(f"cap-{module}",)))
        streams = chance.sample(["1", "1.10", "rhel", "3"], chance.randrange(1, 4))
        for at, name in enumerate(streams):
            # what is active needs what can be; one of several streams would be libsolv's choice
            others = chance.sample(sorted(known), min(len(known), chance.randrange(2)))
            needs = {other: [known[other][0] if at == 0 else chance.choice(known[other])] for other in others}
            for version in range(1, chance.randrange(2, 4)):
                release = f"{version}.module_{at}"
                made = [
                    rpm(module, str(10 * at + 5), release=release, requires=(f"{module}-libs",)),
                    rpm(f"{module}-libs", "1", release=release, provides=(f"cap-{module}",)),
                ]
                inside += made
                listed = [f"{one.name}-0:{one.version}-{one.release}.x86_64" for one in made]
                texts.append(stream(f"{module}:{name}", listed, version=version, needs=needs))
        known[module] = streams
        if chance.random() < 0.4:
            texts.append(default(f"{module}:{streams[0]}"))
        elif chance.random() < 0.5:
            wanted.append(f"{module}:{streams[0]}")
    return outside, inside, texts, tuple(wanted)


@pytest.mark.parametrize("seed", range(5))
def test_dnf_sees_the_same_of_module_streams(bed: Bed, seed: int) -> None:
    outside, inside, texts, bed.streams = with_modules(seed)
    bed.repository.add(*outside)
    bed.repository.write(BASE)
    bed.repository.add(*inside)
    bed.modules(bed.repository.write(APPS), *texts)
    enable(bed)
    pool = rpmmd.open_pool(bed.read(), "x86_64")
    asked = [f"m{number}" for number in range(8) if pool.repositories.named(f"m{number}")]
    assert agree(bed, by_dnf, ["plain", *asked])


def enable(bed: Bed) -> None:
    """Give dnf's tree what a recipe's streams come to, as a template has it."""
    (bed.place / "root").mkdir(exist_ok=True)
    with Tree(bed.place / "root") as tree:
        repofiles.enable(tree, bed.archives)


def test_a_package_of_a_stream_that_is_not_enabled(bed: Bed) -> None:
    bed.repository.add(rpm("base"))
    bed.repository.write(BASE)
    bed.repository.add(rpm("node", "20"))
    bed.modules(bed.repository.write(APPS), stream("node:20", ["node-0:20-1.el9.x86_64"]))
    with pytest.raises(ResolveError, match="of a module stream that is not enabled") as caught:
        bed.closure("node")
    assert "node:20" in str(caught.value.hint)
    bed.streams = ("node:20",)
    found = bed.closure("node")
    assert "node-20-1.el9.x86_64" in names(found)
    assert found.choices == ("the module stream node:20 has some of the packages",)
    bed.streams = ("node:19",)
    with pytest.raises(ResolveError, match="no module stream 'node:19'"):
        bed.closure("node")
