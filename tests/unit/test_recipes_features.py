"""Features and variants: named deltas, laid in a known order, and the names of what they make."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.recipe_files import BASE, CHILD, faults, tiny, write
from tmplbuild.errors import RecipeError, UsageError
from tmplbuild.recipes import entries, lint, load, offered
from tmplbuild.recipes.catalogue import find, shipped_root, split_name, with_features
from tmplbuild.recipes.merge import merge
from tmplbuild.recipes.show import show
from tmplbuild.tomlfile import Fault, read

WEB = """\
[feature]
title = "a web server"

[install]
add.packages = ["nginx", "one"]
drop.packages = ["two", "absent"]

[configure]
add.commands = [["true"]]
"""


def feature(root: Path, name: str, text: str, distro: str = "tiny") -> Path:
    return write(root, f"{distro}/_features/{name}", text)


def test_a_feature_is_laid_on_a_recipe_by_name(tmp_path: Path) -> None:
    feature(tmp_path, "web", WEB)
    tiny(tmp_path)
    found = load("tiny-1+web", roots=[tmp_path])
    assert found.name == "tiny-1+web"
    assert found.features == ("web",)
    assert found.recipe.install.packages == ("one", "three", "nginx")
    assert found.recipe.configure.commands == (("true",),)
    assert found.recipe.image.name == "tiny-1-web-x86_64"
    assert found.recipe.image.title == "a web server"
    assert found.origin["install.packages[2]"].file == tmp_path / "tiny/_features/web.toml"
    assert "features: web" in show(found)
    assert '"nginx",  # tiny/_features/web.toml:5' in show(found, origin=True)


def test_what_the_recipe_names_lies_below_it(tmp_path: Path) -> None:
    feature(tmp_path, "web", WEB)
    write(tmp_path, "tiny/_base", BASE)
    write(tmp_path, "tiny/1", 'features = ["web"]\n' + CHILD + '[install]\ndrop.packages = ["nginx"]\n')
    found = load("tiny-1", roots=[tmp_path])
    assert found.recipe.install.packages == ("one", "three")
    assert found.recipe.image.name == "tiny-1-x86_64", "its own name is its own"
    assert found.features == ("web",)
    assert load("tiny-1+web", roots=[tmp_path]).recipe.install == found.recipe.install, "laid once"


def test_a_variant_is_declared_once_for_all_releases(tmp_path: Path) -> None:
    feature(tmp_path, "web", WEB)
    feature(tmp_path, "tls", '[feature]\nneeds = ["web"]\n[install]\nadd.packages = ["certbot"]\n')
    write(tmp_path, "tiny/_base", BASE + '[variants.site]\nfeatures = ["tls"]\ntitle = "a site"\n')
    write(tmp_path, "tiny/1", CHILD)
    write(tmp_path, "tiny/2", CHILD.replace('"1"', '"2"'))
    write(tmp_path, "tiny/3", CHILD.replace('"1"', '"3"') + '[drop]\nvariants = ["site"]\n')
    names = [entry.name for entry in entries([tmp_path], variants=True)]
    assert names == ["tiny-1", "tiny-1-site", "tiny-2", "tiny-2-site", "tiny-3"]
    assert [entry.name for entry in entries([tmp_path])] == ["tiny-1", "tiny-2", "tiny-3"]
    found = load("tiny-2-site", roots=[tmp_path])
    assert (found.variant, found.features) == ("site", ("web", "tls"))
    assert found.recipe.image.name == "tiny-2-site-x86_64"
    assert found.recipe.image.title == "a site"
    assert "certbot" in found.recipe.install.packages
    both = load("tiny-2-site+web", roots=[tmp_path])
    assert both.recipe.image.name == "tiny-2-site-web-x86_64"
    with pytest.raises(UsageError, match='no recipe "tiny-3-site"'):
        load("tiny-3-site", roots=[tmp_path])


def test_a_variant_is_made_out_of_the_same_variant(tmp_path: Path) -> None:
    feature(tmp_path, "web", WEB)
    write(tmp_path, "tiny/_base", BASE + '[variants.site]\nfeatures = ["web"]\n')
    write(tmp_path, "tiny/1", CHILD)
    write(tmp_path, "tiny/2", CHILD.replace('"1"', '"2"') + '[upgrade]\nfrom = "tiny-1"\n')
    assert load("tiny-2", roots=[tmp_path]).recipe.upgrade.from_ == "tiny-1"
    assert load("tiny-2-site", roots=[tmp_path]).recipe.upgrade.from_ == "tiny-1-site"
    write(tmp_path, "tiny/1", CHILD + '[drop]\nvariants = ["site"]\n')
    assert load("tiny-2-site", roots=[tmp_path]).recipe.upgrade.from_ == "tiny-1"


def test_a_file_of_that_name_comes_before_a_variant(tmp_path: Path) -> None:
    write(tmp_path, "tiny/_base", BASE + '[variants.site]\nfeatures = ["web"]\n')
    write(tmp_path, "tiny/1", CHILD)
    write(tmp_path, "tiny/1-site", CHILD)
    assert find("tiny-1-site", [tmp_path]).path == tmp_path / "tiny/1-site.toml"


def test_a_derivative_and_an_own_directory_have_the_nearer_word(tmp_path: Path) -> None:
    shipped, own = tmp_path / "shipped", tmp_path / "own"
    feature(shipped, "web", WEB)
    write(shipped, "tiny/_base", BASE)
    write(shipped, "tiny/1", CHILD)
    write(shipped, "less/1", 'extends = "tiny/_base"\n' + CHILD.partition("\n")[2])
    roots = [own, shipped]
    own.mkdir()
    assert "nginx" in load("less-1+web", roots=roots).recipe.install.packages
    feature(shipped, "web", '[install]\nadd.packages = ["lighttpd"]\n', "less")
    assert "lighttpd" in load("less-1+web", roots=roots).recipe.install.packages
    assert "nginx" in load("tiny-1+web", roots=roots).recipe.install.packages
    feature(own, "web", '[install]\nadd.packages = ["apache2"]\n')
    assert "apache2" in load("tiny-1+web", roots=roots).recipe.install.packages
    assert [row.name for row in offered(shipped / "less/1.toml", roots)] == ["web"]


def test_files_beside_a_feature_are_found(tmp_path: Path) -> None:
    feature(tmp_path, "web", '[configure.files]\n"/etc/motd".source = "files/motd"\n')
    (tmp_path / "tiny/_features/files").mkdir()
    (tmp_path / "tiny/_features/files/motd").write_text("hello\n")
    tiny(tmp_path)
    found = load("tiny-1+web", roots=[tmp_path])
    assert found.find("files/motd") == tmp_path / "tiny/_features/files/motd"
    assert found.digests(found.recipe.configure).keys() == {"files/motd"}


def test_a_recipe_by_its_path_takes_features(tmp_path: Path) -> None:
    feature(tmp_path, "web", WEB)
    tiny(tmp_path)
    found = load(f"{tmp_path}/tiny/1.toml+web", roots=[tmp_path])
    assert (found.name, found.features) == ("tiny-1+web", ("web",))


def test_names_are_split_and_put_together() -> None:
    assert split_name("debian-12") == ("debian-12", ())
    assert split_name("debian-12+ssh+web") == ("debian-12", ("ssh", "web"))
    assert split_name("/a+b/mine.toml") == ("/a+b/mine.toml", ())
    assert split_name("/a+b/mine.toml+ssh") == ("/a+b/mine.toml", ("ssh",))
    assert with_features("debian-12+ssh", ["web", "ssh"]) == "debian-12+ssh+web"
    for wrong in ("+ssh", "debian-12+", "debian-12++ssh", ""):
        with pytest.raises(UsageError):
            split_name(wrong)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('[feature]\nneeds = ["web"]\n', "goes in a circle: web -> web"),
        ('[feature]\nneed = ["x"]\n', "_features/web.toml:2: feature.need: unknown key"),
        ('[feature]\nneeds = ["tsl"]\n', 'there is no feature "tsl"; did you mean "tls"?'),
        ('[feature]\nneeds = "tls"\n', "expected a list of names of features"),
        ('[feature]\nneeds = ["tls"]\nconflicts = ["tls"]\n', '"web" does not go with "tls"'),
        ('extends = "tiny/_base"\n', "is for recipes; this is a feature"),
        ('[image]\nname = "x"\n', "a feature names no template"),
        ("[install]\npackages = 3\n", "_features/web.toml:2: install.packages: expected a list"),
        ('[instal]\nadd.packages = ["x"]\n', "_features/web.toml:1: instal: unknown key"),
        ("[install\n", "not valid TOML"),
    ],
)
def test_what_is_wrong_with_a_feature_is_told(tmp_path: Path, text: str, words: str) -> None:
    feature(tmp_path, "web", text)
    feature(tmp_path, "tls", "")
    tiny(tmp_path)
    with pytest.raises(RecipeError) as caught:
        load("tiny-1+web", roots=[tmp_path])
    assert words in "\n".join(caught.value.faults)


def test_what_is_wrong_with_a_variant_is_told(tmp_path: Path) -> None:
    unknown, missing = faults(tmp_path, base='[variants.x]\nfeature = ["y"]\n')
    assert unknown == '_base.toml:21: variants.x.feature: unknown key; did you mean "features"?'
    assert missing.startswith("_base.toml:20: variants.x.features: missing; expected a list; each a name")
    (row,) = faults(tmp_path, base="[variants.X]\nfeatures = ['y']\n")
    assert "expected a name: lower case" in row


def test_a_feature_drops_and_adds_as_it_finds_things(tmp_path: Path) -> None:
    path = write(tmp_path, "a/a", '[x]\nlist = ["a", "b"]\n[x.table]\nk = 1\n')
    lax = write(
        tmp_path,
        "a/b",
        '[x]\nadd.list = ["b", "c"]\ndrop.list = ["a", "z"]\nadd.new = ["n"]\ndrop.gone = ["q"]\n'
        'drop.table = ["k", "l"]\n',
    )
    found: list[Fault] = []
    whole = merge(read(path), read(lax), found, lax=True)
    assert found == []
    assert whole.plain() == {"x": {"list": ["b", "c"], "table": {}, "new": ["n"]}}
    merge(read(path), read(lax), found)
    assert len(found) == 5


SHIPPED = [entry.name for entry in entries([shipped_root()], variants=True) if entry.variant]


@pytest.mark.parametrize("name", SHIPPED)
def test_the_shipped_variants_are_whole(name: str) -> None:
    found = load(name, roots=[shipped_root()])
    assert found.recipe.image.name.endswith(f"-{found.variant}-{found.ve_arch}")
    missing_keys = [row for row in lint(found) if row.level == "error" and "key" in str(row.fault)]
    assert [row for row in lint(found) if row.level == "error"] == missing_keys


@pytest.mark.parametrize("name", ["debian-12-minimal", "ubuntu-24.04-minimal", "devuan-5-minimal"])
def test_minimal_keeps_an_init_and_a_network(name: str) -> None:
    found = load(name, roots=[shipped_root()])
    packages = set(found.recipe.install.packages)
    assert {"ifupdown", "iproute2", "net-tools", "ca-certificates", "procps"} <= packages
    assert packages & {"systemd-sysv", "sysvinit-core"}
    assert not packages & {"openssh-server", "vim-tiny", "man-db"}
