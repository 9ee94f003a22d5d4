"""Recipes: inheritance, placeholders, and every fault at once with its place."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.recipe_files import BASE, CHILD, KEY, faults, tiny, write
from tmplbuild.errors import RecipeError, UsageError
from tmplbuild.recipes import load
from tmplbuild.recipes.merge import merge
from tmplbuild.tomlfile import Fault, Node, Place

# -- inheritance ----------------------------------------------------------------------------------


def test_tables_merge_and_scalars_and_lists_replace(tmp_path: Path) -> None:
    recipe = tiny(tmp_path, '[install]\npackages = ["four"]\nrecommends = true\n').recipe
    assert recipe.image.distro == "tiny"
    assert recipe.image.suite == "first"
    assert recipe.install.packages == ("four",)
    assert recipe.install.recommends


def test_add_and_drop_edit_the_inherited_list(tmp_path: Path) -> None:
    found = tiny(tmp_path, '[install]\nadd.packages = ["four", "five"]\ndrop.packages = ["two"]\n')
    assert found.recipe.install.packages == ("one", "three", "four", "five")
    assert str(found.origin["install.packages[0]"]) == f"{tmp_path}/tiny/_base.toml:16"
    assert str(found.origin["install.packages[2]"]) == f"{tmp_path}/tiny/1.toml:7"
    assert "image.name" not in found.origin  # a default


def test_edits_go_through_several_generations(tmp_path: Path) -> None:
    tiny(tmp_path, '[install]\nadd.packages = ["four"]\n')
    write(tmp_path, "tiny/2", 'extends = "tiny/1"\n[install]\ndrop.packages = ["four", "one"]\n')
    found = load("tiny-2", roots=[tmp_path])
    assert found.recipe.install.packages == ("two", "three")
    assert [path.name for path in found.chain] == ["_base.toml", "1.toml", "2.toml"]


def test_tables_of_files_and_lists_of_edits_can_be_edited(tmp_path: Path) -> None:
    base = """
[configure.files]
"/etc/a".text = "a"
"/etc/b".text = "b"
[[configure.edits]]
path = "/etc/c"
append = "c"
"""
    child = """
[configure]
drop.files = ["/etc/a"]
files."/etc/d" = { link = "b" }
drop.edits = [{ path = "/etc/c", append = "c" }]
add.edits = [{ path = "/etc/e", append = "e" }]
"""
    configure = tiny(tmp_path, child, base).recipe.configure
    assert list(configure.files) == ["/etc/b", "/etc/d"]
    assert [edit.path for edit in configure.edits] == ["/etc/e"]


@pytest.mark.parametrize(
    ("child", "wanted"),
    [
        ('add.packages = ["one"]', '1.toml:7: install.add.packages[0]: "one" is in the list already, from'),
        ('add.packages = ["x", "x"]', '1.toml:7: install.add.packages[1]: "x" is in the list already'),
        (
            'drop.packages = ["thre"]',
            '1.toml:7: install.drop.packages[0]: "thre" is not in what is inherited; did you mean "three"?',
        ),
        ('drop.packages = ["one", "one"]', '"one" is not in what is inherited'),
        ('add.prefer = ["x"]', "install.add.prefer: no parent sets prefer; write prefer = [...]"),
        (
            'packages = ["x"]\nadd.packages = ["y"]',
            "1.toml:8: install.add.packages: packages is set in this file too; set it or edit it, not both",
        ),
        ('add.packages = "x"', "install.add.packages: expected a list of what to add"),
        ("drop.packages = [1]", "install.drop.packages[0]: 1 is not in what is inherited"),
    ],
)
def test_an_edit_that_cannot_be_is_a_fault(tmp_path: Path, child: str, wanted: str) -> None:
    (fault,) = faults(tmp_path, f"[install]\n{child}\n")
    assert wanted in fault


def test_only_lists_can_be_edited(tmp_path: Path) -> None:
    assert faults(tmp_path, '[bootstrap]\nadd.method = ["x"]\n')[0].endswith(
        "bootstrap.add.method: method is not a list; write method = ..."
    )
    assert (
        "archives is not a list; write its keys directly" in faults(tmp_path, '[add]\narchives = ["x"]\n')[0]
    )


NAMES = st.lists(st.sampled_from("abcdefghij"), unique=True)


@given(inherited=NAMES, dropped=NAMES, added=NAMES)
def test_any_edit_keeps_the_order(inherited: list[str], dropped: list[str], added: list[str]) -> None:
    place = Place(Path("x"), 1)

    def strings(items: list[str]) -> Node:
        return Node([Node(item, place) for item in items], place)

    def table(**entries: Node) -> Node:
        return Node(entries, place)

    wrong: list[Fault] = []
    child = table(drop=table(l=strings(dropped)), add=table(l=strings(added)))
    merged = merge(table(l=strings(inherited)), child, wrong).plain()
    kept = [item for item in inherited if item not in dropped]
    assert merged == {"l": kept + [item for item in added if item not in kept]}
    absent = [item for item in dropped if item not in inherited]
    present = [item for item in added if item in kept]
    assert len(wrong) == len(absent) + len(present)


# -- parents --------------------------------------------------------------------------------------


def test_a_circle_of_parents_is_told(tmp_path: Path) -> None:
    write(tmp_path, "tiny/a", 'extends = "tiny/b"\n')
    write(tmp_path, "tiny/b", 'extends = "tiny/a"\n')
    with pytest.raises(RecipeError) as caught:
        load("tiny-a", roots=[tmp_path])
    assert "b.toml:1: extends: goes in a circle: tiny/a -> tiny/b -> tiny/a" in caught.value.faults[0]


def test_a_recipe_cannot_extend_itself(tmp_path: Path) -> None:
    write(tmp_path, "tiny/a", 'extends = "tiny/a"\n')
    with pytest.raises(RecipeError, match="goes in a circle: tiny/a -> tiny/a"):
        load("tiny-a", roots=[tmp_path])


def test_a_missing_parent_is_told_with_the_nearest_name(tmp_path: Path) -> None:
    write(tmp_path, "tiny/_base", BASE)
    write(tmp_path, "tiny/1", CHILD.replace("_base", "_bas"))
    with pytest.raises(RecipeError) as caught:
        load("tiny-1", roots=[tmp_path])
    assert 'extends: there is no parent "tiny/_bas"; did you mean "tiny/_base"?' in caught.value.faults[0]


@pytest.mark.parametrize("name", ["3", '"/etc/passwd"', '"../tiny/_base"', '"tiny/_base.toml"', "[]"])
def test_extends_names_a_parent_below_the_roots(tmp_path: Path, name: str) -> None:
    write(tmp_path, "tiny/1", CHILD.replace('"tiny/_base"', name))
    with pytest.raises(RecipeError, match="extends: not the name of a parent"):
        load("tiny-1", roots=[tmp_path])


def test_a_recipe_of_an_earlier_root_may_extend_the_one_that_it_hides(tmp_path: Path) -> None:
    tiny(tmp_path / "shipped")
    write(tmp_path / "own", "tiny/1", 'extends = "tiny/1"\n[install]\nadd.packages = ["mine"]\n')
    found = load("tiny-1", roots=[tmp_path / "own", tmp_path / "shipped"])
    assert found.path == tmp_path / "own/tiny/1.toml"
    assert found.recipe.install.packages[-1] == "mine"


def test_a_parent_that_is_no_toml_is_told(tmp_path: Path) -> None:
    (fault,) = faults(tmp_path, base="oops\n")
    assert fault.startswith("_base.toml:20: not valid TOML: Expected '='")


# -- placeholders ---------------------------------------------------------------------------------


def test_placeholders_are_filled_everywhere(tmp_path: Path) -> None:
    child = """
[configure.files]
"/etc/{distro}".text = "{suite} {arch} {ve_arch} ${HOME} {print} {{release}}"
[[configure.edits]]
path = "/x"
match = 'a{2}{release}'
delete = true
"""
    recipe = tiny(tmp_path, child).recipe
    assert recipe.image.name == "tiny-1-x86_64"
    assert recipe.archives["tiny"].suites == ("first", "first-updates")
    assert recipe.configure.files["/etc/tiny"].text == "first amd64 x86_64 ${HOME} {print} {1}"
    assert recipe.configure.edits[0].match == "a{2}1"


def test_an_unknown_placeholder_is_a_fault_but_in_free_text(tmp_path: Path) -> None:
    (fault,) = faults(tmp_path, '[install]\npackages = ["x-{relase}"]\n')
    assert fault == '1.toml:7: install.packages[0]: unknown placeholder {relase}; did you mean "release"?'


def test_the_sources_of_placeholders_hold_none(tmp_path: Path) -> None:
    write(tmp_path, "tiny/_base", BASE)
    write(tmp_path, "tiny/1", CHILD.replace('"first"', '"{release}"'))
    with pytest.raises(RecipeError, match=r"image\.suite: may not hold a placeholder"):
        load("tiny-1", roots=[tmp_path])


def test_two_keys_that_become_one_are_a_fault(tmp_path: Path) -> None:
    child = '[configure.files]\n"/etc/{suite}".text = ""\n"/etc/first".text = ""\n'
    assert '"/etc/first" is given twice' in faults(tmp_path, child)[0]


@pytest.mark.parametrize("arch", ["i386", "x86", "i686"])
def test_the_architecture_may_be_given_in_either_word(tmp_path: Path, arch: str) -> None:
    found = tiny(tmp_path, arch=arch)
    assert (found.arch, found.ve_arch, found.recipe.image.name) == ("i386", "x86", "tiny-1-x86")


def test_an_architecture_that_the_recipe_has_not_is_a_usage_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="riscv64") as caught:
        tiny(tmp_path, arch="riscv64")
    assert caught.value.hint == "it has amd64 (x86_64), i386 (x86)"


def test_an_unknown_architecture_in_a_recipe_is_a_fault(tmp_path: Path) -> None:
    write(tmp_path, "tiny/_base", BASE.replace('"i386"', '"amd46"'))
    write(tmp_path, "tiny/1", CHILD)
    with pytest.raises(RecipeError, match=r'image\.arches\[1\]: unknown architecture; did you mean "amd64"'):
        load("tiny-1", roots=[tmp_path])


# -- types ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("child", "wanted"),
    [
        ("[install]\npackages = 'x'", '1.toml:7: install.packages: expected a list of strings, found "x"'),
        ("[install]\npackages = ['x', 3]", "install.packages[1]: expected a string, found 3"),
        ("[install]\nrecommends = 1", "install.recommends: expected true or false, found 1"),
        ("[install]\npackges = []", '1.toml:7: install.packges: unknown key; did you mean "packages"?'),
        ("[instal]\n", '1.toml:6: instal: unknown key; did you mean "install"?'),
        ("[bootstrap]\ntimeout_s = 0", "timeout_s: expected a whole number of at least 1, found 0"),
        ("[pack]\nlevel = 13", "pack.level: expected a whole number of at least 1 and at most 12, found 13"),
        (
            "[upgrade]\nmanager = 'apt'",
            'upgrade.manager: expected one of "apt-deb", "apt-rpm"',
        ),
        (
            "[configure]\nsources = 'x'",
            'configure.sources: expected one of "deb822", "list", "apt-rpm"',
        ),
        ("[archives.tiny]\nkeys = ['x']", "archives.tiny.keys[0]: expected an OpenPGP fingerprint"),
        ("[archives.tiny]\nkeys = ['AB']", "keys[0]: expected an OpenPGP fingerprint, 40 hex digits"),
        ("[archives.tiny]\npublic = 'x'", 'public: expected a string that matches ^http://, found "x"'),
        ("[archives.other]\n", "archives.other.mirrors: missing; expected a list of strings"),
        ("[archives.'../x']\n", 'archives."../x": expected an archive\'s role'),
        ("[strip]\nremove = ['boot']", "strip.remove[0]: expected an absolute path in the tree; *, ?,"),
        (
            "[configure.files]\netc = {}",
            "configure.files.etc: expected an absolute path in the tree, found etc",
        ),
        ("[configure.files.'/a']\nmode = 644", "mode: expected permission bits, octal, found 644"),
        ("[image]\neol = '2030'", 'image.eol: expected a date such as 2028-06-30, found "2030"'),
        ("[image]\nname = '../x'", "image.name: expected a file name of letters, digits, dots"),
        ("[limits]\ncpus = 0.0", "limits.cpus: expected a number above 0, found 0.0"),
        ("[[configure.edits]]\nappend = ''", "configure.edits[0].path: missing"),
        ("[configure]\ncommands = ['ls']", 'configure.commands[0]: expected a list of strings, found "ls"'),
        ("[check]\nwaive = []", "check.waive: expected a table, found a list"),
    ],
)
def test_a_wrong_value_is_told_in_words(tmp_path: Path, child: str, wanted: str) -> None:
    child = child.removeprefix("[image]\n")  # the child's last table is [image]
    assert any(wanted in fault for fault in faults(tmp_path, child + "\n"))


def test_a_value_in_place_of_a_table_is_told(tmp_path: Path) -> None:
    write(tmp_path, "tiny/_base", BASE)
    write(tmp_path, "tiny/1", CHILD.replace("[image]", "install = 3\n[image]"))
    with pytest.raises(RecipeError, match=r"1\.toml:3: install: expected a table, found 3"):
        load("tiny-1", roots=[tmp_path])


def test_every_fault_of_all_files_is_told_at_once(tmp_path: Path) -> None:
    child = """
[install]
packges = ["x"]
recommends = "yes"
drop.packages = ["nine"]
[strip]
mask = "x"
"""
    found = faults(tmp_path, child, base="[limits]\nmemory_mib = 'much'\n[chek]\n")
    assert {tuple(fault.split(": ")[:2]) for fault in found} == {
        ("1.toml:10", "install.drop.packages[0]"),
        ("1.toml:9", "install.recommends"),
        ("1.toml:8", "install.packges"),
        ("_base.toml:21", "limits.memory_mib"),
        ("_base.toml:22", "chek"),
        ("1.toml:12", "strip.mask"),
    }


def test_the_error_reads_as_a_whole(tmp_path: Path) -> None:
    with pytest.raises(RecipeError) as caught:
        tiny(tmp_path, "[install]\npackges = 1\nrecommends = 1\n")
    assert caught.value.what == "the recipe tiny-1 has 2 faults"
    assert caught.value.where == str(tmp_path / "tiny/1.toml")
    assert caught.value.why.count("\n") == 1


# -- files beside the recipe ----------------------------------------------------------------------


def test_keys_lie_beside_the_recipe_or_its_parent(tmp_path: Path) -> None:
    tiny(tmp_path / "shipped")
    (tmp_path / "shipped/tiny/keys").mkdir()
    (tmp_path / f"shipped/tiny/keys/{KEY}.asc").write_text("x")
    write(tmp_path / "own", "mine/1", 'extends = "tiny/1"\n')
    found = load("mine-1", roots=[tmp_path / "own", tmp_path / "shipped"])
    assert found.key_files() == (tmp_path / f"shipped/tiny/keys/{KEY}.asc",)


def test_a_missing_key_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(RecipeError) as caught:
        tiny(tmp_path).key_files()
    assert caught.value.why == f"keys/{KEY}.asc is not there"
    assert caught.value.where == f"{tmp_path}/tiny/_base.toml:10"


def test_files_do_not_lead_out_of_the_directories_of_the_recipe(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("x")
    found = tiny(tmp_path)
    assert found.find("../secret") is None
    (tmp_path / "tiny/link").symlink_to(tmp_path / "secret")
    assert found.find("link") is None


def test_the_digest_of_a_source_follows_its_content(tmp_path: Path) -> None:
    found = tiny(tmp_path, '[configure.files]\n"/etc/motd".source = "files/motd"\n')
    (tmp_path / "tiny/files").mkdir()
    (tmp_path / "tiny/files/motd").write_text("one")
    before = found.digests(found.recipe.configure)
    (tmp_path / "tiny/files/motd").write_text("two")
    after = found.digests(found.recipe.configure)
    assert before.keys() == after.keys() == {"files/motd"}
    assert before != after
    (tmp_path / "tiny/files/motd").unlink()
    with pytest.raises(RecipeError, match="files/motd is not there"):
        found.digests(found.recipe.configure)
