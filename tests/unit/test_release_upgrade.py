"""A template out of an earlier release's: the recipe, the source, the pins, the steps, the commands."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.unit.recipe_files import BASE, CHILD, tiny, write
from tests.unit.test_engine_plan import NOW, RECIPE, closure, no_files, plan, ran, states
from tmplbuild.archives.cache import PackageCache
from tmplbuild.archives.fetch import Fetcher
from tmplbuild.archives.model import Package
from tmplbuild.artifact import manifest
from tmplbuild.config import load_settings
from tmplbuild.engine import pinning, source
from tmplbuild.engine.pins import Pinned, Pins
from tmplbuild.engine.steps import NAMES, RELEASE_NAMES, steps
from tmplbuild.errors import StoreError, UsageError, VerifyError
from tmplbuild.managers import manager
from tmplbuild.recipes import LoadedRecipe, as_upgrade, lint, load, without_release_steps
from tmplbuild.recipes.catalogue import shipped_root
from tmplbuild.recipes.model import Install, Recipe, Upgrade
from tmplbuild.stages import release

# -- recipes ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("debian-11", "debian-12"),
        ("debian-12", "debian-13"),
        ("ubuntu-20.04", "ubuntu-22.04"),
        ("ubuntu-22.04", "ubuntu-24.04"),
        ("ubuntu-24.04", "ubuntu-26.04"),
    ],
)
def test_each_release_can_be_reached_from_the_one_before(old: str, new: str) -> None:
    roots = [shipped_root()]
    made = as_upgrade(load(new, roots=roots), load(old, roots=roots)).recipe
    distro, _, number = new.partition("-")
    assert made.image.name == f"{distro}-{number}-from-{old.partition('-')[2]}-x86_64"
    assert made.bootstrap.method == "template"
    assert made.upgrade.compare == new


def test_a_release_is_not_skipped() -> None:
    roots = [shipped_root()]
    with pytest.raises(UsageError, match="cannot be made out of"):
        as_upgrade(load("debian-13", roots=roots), load("debian-11", roots=roots))


def test_the_template_s_name_can_be_chosen() -> None:
    roots = [shipped_root()]
    made = as_upgrade(load("debian-13", roots=roots), load("debian-12", roots=roots), "thirteen")
    assert made.recipe.image.name == "thirteen"


def test_a_recipe_may_always_begin_with_a_template(tmp_path: Path) -> None:
    found = tiny(tmp_path, '[bootstrap]\nmethod = "template"\n[upgrade]\nfrom = "tiny-0"\n')
    assert found.recipe.bootstrap.method == "template"
    assert found.recipe.upgrade.from_ == "tiny-0"


def test_lint_of_upgrades(tmp_path: Path) -> None:
    text = '[bootstrap]\nmethod = "template"\n[upgrade]\nfirst = ["/x"]\nbefore = [[]]\nafter = [[""]]\n'
    found = [str(finding) for finding in lint(tiny(tmp_path, text))]
    for said in (
        'upgrade.from: missing, and bootstrap.method is "template"',
        'upgrade.first[0]: "/x" is no name of a package',
        "upgrade.before[0]: names no command",
        "upgrade.after[0]: names no command",
    ):
        assert any(said in row for row in found), (said, found)


URL = "https://mirror.example.org/images/tree.tar.xz"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('method = "tarball"', 'bootstrap.urls: missing, and bootstrap.method is "tarball"'),
        (f'urls = ["{URL}"]', "bootstrap.urls: has no effect"),
        (f'method = "tarball"\nurls = ["{URL}"]', "bootstrap.urls: nothing would vouch for the tarball"),
        (
            f'method = "tarball"\nurls = ["{URL}", "{URL}.old"]\nsha256 = "{"0" * 64}"',
            "bootstrap.urls: name different files",
        ),
        (
            f'method = "tarball"\nurls = ["{URL}"]\nkeys = ["{"A" * 40}"]',
            f"bootstrap.keys[0]: keys/{'A' * 40}.asc is not there",
        ),
    ],
)
def test_lint_of_tarballs(tmp_path: Path, text: str, said: str) -> None:
    found = [str(finding) for finding in lint(tiny(tmp_path, f"[bootstrap]\n{text}\n"))]
    assert any(said in row for row in found), found


def test_a_template_at_an_address_needs_no_recipe_of_the_earlier_release(tmp_path: Path) -> None:
    text = f'[bootstrap]\nmethod = "template"\nurls = ["{URL}"]\nsha256 = "{"0" * 64}"\n'
    assert [row for row in map(str, lint(tiny(tmp_path, text))) if "upgrade.from" in row] == []


def test_a_tree_of_the_release_itself_needs_no_steps_to_it(tmp_path: Path) -> None:
    text = f'[bootstrap]\nmethod = "tarball"\nurls = ["{URL}"]\nsha256 = "{"0" * 64}"\n'
    text += '[upgrade]\nfrom = "tiny-0"\nfirst = ["apt"]\n'
    text += 'before = [["true"]]\nafter = [["true"]]\nminimal = true\n'
    upgrade = without_release_steps(tiny(tmp_path, text)).recipe.upgrade
    assert (upgrade.from_, upgrade.first, upgrade.before, upgrade.after) == ("", (), (), ())
    assert not upgrade.minimal


def test_an_upgrade_does_not_begin_with_the_newer_release_s_tarball(tmp_path: Path) -> None:
    text = f'[bootstrap]\nmethod = "tarball"\nurls = ["{URL}"]\nsha256 = "{"0" * 64}"\n'
    bootstrap = pair(tmp_path, text).recipe.bootstrap
    assert (bootstrap.method, bootstrap.urls, bootstrap.sha256) == ("template", (), "")


# -- the source ---------------------------------------------------------------------------------------


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    place = tmp_path / "cache"
    place.mkdir()
    return place


def pair(root: Path, child: str = "") -> LoadedRecipe:
    write(root, "tiny/_base", BASE)
    write(root, "tiny/1", CHILD)
    write(root, "tiny/2", CHILD.replace('"1"', '"2"') + f'[upgrade]\nfrom = "tiny-1"\n{child}')
    return as_upgrade(load("tiny-2", roots=[root]), load("tiny-1", roots=[root]))


def find(loaded: LoadedRecipe, cache: Path) -> source.Source:
    settings = load_settings(flags={"template_cache": str(cache)}, environ={}, vz_conf=cache / "none")
    fetcher, packages = Fetcher({}, offline=True), PackageCache(cache / "packages")
    return source.find(loaded, settings, fetcher=fetcher, cache=packages, keys_dir=())


def put(cache: Path, data: bytes = b"a template", told: bytes | None = None) -> Path:
    """A template and a manifest that tells the digest of `told`."""
    file = cache / "tiny-1-x86_64.tar.gz"
    file.write_bytes(data)
    digest = hashlib.sha256(data if told is None else told).hexdigest()
    manifest.write_manifest(
        cache / "tiny-1-x86_64.manifest.json",
        manifest.Manifest(
            template="tiny-1-x86_64",
            recipe=manifest.RecipeRef("tiny-1", "0" * 64),
            tool="tmplbuild",
            arch="amd64",
            epoch=1234,
            pins=manifest.Pins((), "", ""),
            packages=(),
            stages=(),
            artifact=manifest.Artifact(file.name, len(data), digest, 1, 1),
        ),
    )
    return file


def test_the_manifest_vouches_for_the_source(tmp_path: Path, cache: Path) -> None:
    file = put(cache)
    found = find(pair(tmp_path), cache)
    assert (found.name, found.bring(), found.epoch) == ("tiny-1-x86_64", file, 1234)
    assert found.pinned("amd64").epoch == 1234


def test_a_source_that_is_not_what_its_manifest_says(tmp_path: Path, cache: Path) -> None:
    put(cache, told=b"another one")
    with pytest.raises(VerifyError, match="not the one that was built"):
        find(pair(tmp_path), cache)


def test_a_source_that_nothing_vouches_for(tmp_path: Path, cache: Path) -> None:
    put(cache).with_name("tiny-1-x86_64.manifest.json").unlink()
    with pytest.raises(VerifyError) as caught:
        find(pair(tmp_path), cache)
    digest = hashlib.sha256(b"a template").hexdigest()
    assert f'bootstrap.sha256 = "{digest}"' in caught.value.hint
    pinned = f'[bootstrap]\nsha256 = "{digest}"\n'
    assert find(pair(tmp_path, pinned), cache).sha256 == digest
    (cache / "tiny-1-x86_64.tar.gz").write_bytes(b"changed")
    with pytest.raises(VerifyError, match="not the one"):
        find(pair(tmp_path, pinned), cache)


def test_a_source_that_is_not_there(tmp_path: Path, cache: Path) -> None:
    with pytest.raises(StoreError) as caught:
        find(pair(tmp_path), cache)
    assert "tmplbuild build tiny-1" in caught.value.hint


# -- pins and steps -----------------------------------------------------------------------------------

UPGRADED = msgspec.structs.replace(
    RECIPE, bootstrap=msgspec.structs.replace(RECIPE.bootstrap, method="template")
)


def template(digest: str = "a" * 64) -> Pinned:
    one = Package("debian-11-x86_64", digest[:12], "amd64", source.ROLE, "x.tar.gz", 1, digest)
    return Pinned((one,), frozenset(), 1000)


def choose(
    begins: Pinned, last: dict[str, Any] | None = None, ssh: str = "1", recipe: Recipe = UPGRADED
) -> tuple[Pins, str]:
    full = closure("libc=1", "apt=1", f"ssh={ssh}")
    return pinning.choose_upgrade(recipe, "amd64", states(), begins, full, last=last, now=NOW)


def record(pins: Pins, recipe: Recipe = UPGRADED) -> dict[str, Any]:
    rows = [
        {"name": step.name, "key": step.key, "handed": step.handed} for step in steps(recipe, no_files, pins)
    ]
    return {"request": pinning.request(recipe, "amd64"), "pins": pins.to_json(), "steps": rows}


def test_the_steps_begin_with_the_template_and_apply_the_rules_again() -> None:
    pins, reason = choose(template())
    assert reason == "first build"
    assert Pins.from_json(pins.to_json()) == pins
    assert ran(plan(UPGRADED, pins)) == list(RELEASE_NAMES)
    assert "install" not in RELEASE_NAMES
    assert RELEASE_NAMES.index("strip-again") > RELEASE_NAMES.index("upgrade")


def test_nothing_moved_nothing_runs() -> None:
    pins, _ = choose(template())
    last = record(pins)
    again, reason = choose(template(), last)
    assert again == pins
    assert reason == "no package moved in the archives"
    assert plan(UPGRADED, again, last=last).unchanged


def test_packages_that_moved_rerun_the_upgrade() -> None:
    old, _ = choose(template())
    last = record(old)
    pins, reason = choose(template(), last, ssh="2")
    assert reason == "packages moved in the archives"
    assert ran(plan(UPGRADED, pins, last=last))[0] == "upgrade"


def test_another_source_reruns_all() -> None:
    old, _ = choose(template())
    last = record(old)
    pins, reason = choose(template("b" * 64), last)
    assert reason == "the template that it is made of is another one"
    assert ran(plan(UPGRADED, pins, last=last)) == list(RELEASE_NAMES)


@pytest.mark.parametrize("values", [{"minimal": True}, {"first": ("apt",)}, {"before": (("x",),)}])
def test_how_a_release_is_reached_concerns_only_upgrades(values: dict[str, Any]) -> None:
    def changed(recipe: Recipe) -> Recipe:
        return msgspec.structs.replace(recipe, upgrade=msgspec.structs.replace(recipe.upgrade, **values))

    pins, _ = choose(template())
    assert ran(plan(changed(UPGRADED), pins, last=record(pins)))[0] == "upgrade"
    ordinary = replace(pins, base=pins.target, full=pins.target)
    last = record(ordinary, RECIPE)
    assert [row["name"] for row in last["steps"]] == list(NAMES)
    assert plan(changed(RECIPE), ordinary, last=last).unchanged


def test_what_it_is_compared_with_reruns_nothing() -> None:
    pins, _ = choose(template())
    other = msgspec.structs.replace(
        UPGRADED, upgrade=msgspec.structs.replace(UPGRADED.upgrade, compare="debian-12")
    )
    assert plan(other, pins, last=record(pins)).unchanged


# -- commands -----------------------------------------------------------------------------------------


def test_the_order_of_an_upgrade() -> None:
    apt = manager("apt-deb")
    options = Upgrade(
        manager="apt-deb", before=(("b",),), first=("apt",), minimal=True, after=(("a",),), autoremove=True
    )
    wanted = Install(packages=("ssh",))
    said = [what for what, _ in release.upgrading(options, wanted, apt)]
    assert said == [
        "read the package lists",
        "before the upgrade: b",
        "upgrade what comes first",
        "upgrade what needs no new packages",
        "download the upgrades",
        "dist-upgrade",
        "install the recipe's packages",
    ]
    said = [what for what, _ in release.tidying(options, wanted, apt)]
    assert said == [
        "remove packages that nothing needs",
        "after the upgrade: a",
        "remove downloaded packages",
    ]


def test_recommended_packages_are_held_off_as_the_recipe_says() -> None:
    apt = manager("apt-deb")
    options = Upgrade(manager="apt-deb")
    for recommends in (False, True):
        found = dict(release.upgrading(options, Install(recommends=recommends), apt))
        assert ("--no-install-recommends" in found["dist-upgrade"]) is not recommends


class Asked:
    """A shell that knows what was asked for."""

    def __init__(self) -> None:
        self.ran: list[tuple[str, ...]] = []

    def run(self, argv: tuple[str, ...], **_: object) -> bytes:
        self.ran.append(tuple(argv))
        return b"libc6\nold\nssh\n"


def test_what_only_the_old_recipe_asked_for_may_go() -> None:
    ve = Asked()
    release.forget_wishes(ve, Upgrade(manager="apt-deb"), manager("apt-deb"), {"libc6", "ssh"})  # type: ignore[arg-type]
    assert ve.ran == [("apt-mark", "showmanual"), ("apt-mark", "auto", "old")]
    ve = Asked()
    keep = Upgrade(manager="apt-deb", autoremove=False)
    release.forget_wishes(ve, keep, manager("apt-deb"), set())  # type: ignore[arg-type]
    assert ve.ran == []
