"""Reading dpkg's database: what is installed, and whose a file is."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tmplbuild.core.tree import Tree
from tmplbuild.errors import StageError
from tmplbuild.managers import dpkg

A = "0" * 31 + "a"
B = "0" * 31 + "b"
C = "0" * 31 + "c"

STATUS = f"""\
Package: zlib1g
Status: install ok installed
Priority: optional
Installed-Size: 168
Architecture: amd64
Multi-Arch: same
Source: zlib (1:1.2.13.dfsg-1)
Version: 1:1.2.13.dfsg-1+b1
Description: library
 with a long text
 .
 over lines

Package: bash
Essential: yes
Status: hold ok half-configured
Priority: required
Architecture: amd64
Version: 5.2-2
Conffiles:
 /etc/bash.bashrc {A}
 /etc/old file {B} obsolete
 /etc/new newconffile
Installed-Size: 7000

Package: gone
Status: deinstall ok config-files
Architecture: all
Version: 1
"""


def make(top: Path, files: dict[str, str], links: dict[str, str] | None = None) -> Tree:
    """A tree of text files below `top`, links first."""
    for path, target in (links or {}).items():
        (top / path).parent.mkdir(parents=True, exist_ok=True)
        (top / path).symlink_to(target)
    for path, text in files.items():
        (top / path).parent.mkdir(parents=True, exist_ok=True)
        (top / path).write_text(text)
    return Tree(top)


def test_packages_are_read_and_sorted(tmp_path: Path) -> None:
    with make(tmp_path, {"var/lib/dpkg/status": STATUS}) as tree:
        bash, gone, zlib = dpkg.packages(tree)
        assert [one.name for one in dpkg.installed(tree)] == ["bash", "zlib1g"]
    assert (bash.essential, bash.priority, bash.installed_size_kib) == (True, "required", 7000)
    assert (bash.wanted, bash.error, bash.state) == ("hold", "ok", "half-configured")
    assert (bash.source, bash.source_version) == ("bash", "5.2-2")
    assert gone.state == "config-files"
    assert (zlib.source, zlib.source_version, zlib.multi_arch) == ("zlib", "1:1.2.13.dfsg-1", "same")


def test_conffiles_keep_their_flags(tmp_path: Path) -> None:
    with make(tmp_path, {"var/lib/dpkg/status": STATUS}) as tree:
        assert dpkg.packages(tree)[0].conffiles == (
            dpkg.Conffile("/etc/bash.bashrc", A),
            dpkg.Conffile("/etc/old file", B, obsolete=True),
            dpkg.Conffile("/etc/new", ""),
        )


def test_a_tree_without_a_database_has_no_packages(tmp_path: Path) -> None:
    with Tree(tmp_path) as tree:
        assert dpkg.packages(tree) == []
        assert dpkg.owned_files(tree) == {}
        assert dpkg.diversions(tree) == []


def test_owned_files_leave_directories_out(tmp_path: Path) -> None:
    files = {
        "var/lib/dpkg/status": STATUS,
        "var/lib/dpkg/info/bash.list": "/.\n/etc\n/etc/bash.bashrc\n/bin\n/bin/bash\n/bin/rbash\n"
        "/bin/gone\n/bin/lost\n",
        "var/lib/dpkg/info/bash.md5sums": f"{B}  bin/bash\n{C}  bin/gone\n",
        "bin/bash": "x",
        "etc/bash.bashrc": "x",
    }
    with make(tmp_path, files, {"bin/rbash": "bash"}) as tree:
        assert dpkg.owned_files(tree) == {
            "/bin/bash": dpkg.Owned("bash", B),
            "/bin/gone": dpkg.Owned("bash", C),
            "/bin/rbash": dpkg.Owned("bash", None),
            "/etc/bash.bashrc": dpkg.Owned("bash", A, conffile=True),
        }


def test_paths_are_the_real_ones_on_a_merged_tree(tmp_path: Path) -> None:
    files = {
        "var/lib/dpkg/status": STATUS,
        "var/lib/dpkg/info/bash.list": "/bin\n/bin/bash\n/usr/bin/bash2\n/var/run\n/var/run/x\n",
        "var/lib/dpkg/info/bash.md5sums": f"{B}  bin/bash\n{C}  usr/bin/bash2\n{A}  var/run/x\n",
        "usr/bin/bash": "x",
    }
    with make(tmp_path, files, {"bin": "usr/bin", "var/run": "../run"}) as tree:
        assert sorted(dpkg.owned_files(tree)) == ["/run/x", "/usr/bin/bash", "/usr/bin/bash2"]


def test_a_diverted_file_lies_where_the_diversion_says(tmp_path: Path) -> None:
    files = {
        "var/lib/dpkg/status": STATUS,
        "var/lib/dpkg/diversions": "/bin/sh\n/bin/sh.distrib\ndash\n/sbin/init\n/sbin/init.real\n:\n",
        "var/lib/dpkg/info/bash.list": "/bin/sh\n/sbin/init\n",
        "var/lib/dpkg/info/bash.md5sums": f"{A}  bin/sh\n{C}  sbin/init\n",
        "var/lib/dpkg/info/dash.list": "/bin/sh\n",
        "var/lib/dpkg/info/dash.md5sums": f"{B}  bin/sh\n",
    }
    with make(tmp_path, files) as tree:
        assert dpkg.diversions(tree)[1] == dpkg.Diversion("/sbin/init", "/sbin/init.real", "")
        assert dpkg.owned_files(tree) == {
            "/bin/sh": dpkg.Owned("dash", B),
            "/bin/sh.distrib": dpkg.Owned("bash", A),
            "/sbin/init.real": dpkg.Owned("bash", C),
        }


def test_of_packages_that_share_a_file_the_first_owns_it(tmp_path: Path) -> None:
    files = {
        "var/lib/dpkg/info/zlib1g:i386.list": "/usr/share/x\n",
        "var/lib/dpkg/info/zlib1g:i386.md5sums": f"{A}  usr/share/x\n",
        "var/lib/dpkg/info/zlib1g:amd64.list": "/usr/share/x\n",
        "usr/share/x": "x",
    }
    with make(tmp_path, files) as tree:
        assert dpkg.owned_files(tree) == {"/usr/share/x": dpkg.Owned("zlib1g", A)}


def test_names_that_md5sum_escaped(tmp_path: Path) -> None:
    files = {
        "var/lib/dpkg/info/a.list": "/usr/a\\x2db\n/usr/c\n",
        "var/lib/dpkg/info/a.md5sums": f"\\{A}  usr/a\\\\x2db\n{B}  ./usr/c\n",
    }
    with make(tmp_path, files) as tree:
        assert {path: one.md5 for path, one in dpkg.owned_files(tree).items()} == {
            "/usr/a\\x2db": A,
            "/usr/c": B,
        }


def test_links_in_circles_and_absurd_names_do_no_harm(tmp_path: Path) -> None:
    deep = "/a" * 3000
    files = {"var/lib/dpkg/info/a.list": f"/loop/x\n/self/y\n{deep}\n/{'n' * 300}/z\n/usr/{'m' * 4000}\n"}
    with make(tmp_path, files, {"loop": "pool", "pool": "loop", "self": "self/self"}) as tree:
        assert dpkg.owned_files(tree) == {}


@pytest.mark.parametrize(
    ("path", "text", "line"),
    [
        ("status", "Package: a\nStatus: install ok installed\nnonsense\n", 3),
        ("status", " continuation\n", 1),
        ("status", "\n\nPackage: a\nVersion: 1\n", 3),
        ("status", "Package: a\nStatus: install ok\n", 1),
        ("status", "Package: a\nStatus: install ok installed\nConffiles:\n relative 00\n", 1),
        ("info/a.list", "/.\nusr/bin\n", 2),
        ("info/a.md5sums", f"{A}  usr/a\n{A} usr/b\n", 2),
        ("diversions", "/a\n/b\n", 2),
    ],
)
def test_a_damaged_database_names_file_and_line(path: str, text: str, line: int, tmp_path: Path) -> None:
    files = {"var/lib/dpkg/status": STATUS, "var/lib/dpkg/info/a.list": "/.\n", f"var/lib/dpkg/{path}": text}
    with make(tmp_path, files) as tree, pytest.raises(StageError) as caught:
        _ = dpkg.packages(tree), dpkg.owned_files(tree)
    assert caught.value.where == f"/var/lib/dpkg/{path}:{line}"
    assert caught.value.why


VALUES = st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Cs", "Zl", "Zp")), max_size=20).map(
    str.strip
)


@given(st.lists(st.dictionaries(st.sampled_from(["A", "B-c", "X9"]), VALUES, min_size=1), max_size=5))
def test_stanzas_come_back_as_they_were_written(wanted: list[dict[str, str]]) -> None:
    text = "\n".join("".join(f"{name}: {value}\n" for name, value in stanza.items()) for stanza in wanted)
    found = [stanza for _, stanza in dpkg.stanzas(text, "x")]
    assert found == [{name.lower(): value for name, value in stanza.items()} for stanza in wanted]


@given(st.text(max_size=200))
def test_any_text_is_stanzas_or_one_error(text: str) -> None:
    try:
        lines = [line for line, _ in dpkg.stanzas(text, "/x")]
    except StageError as error:
        lines = [int(error.where.removeprefix("/x:"))]
    assert all(1 <= line <= text.count("\n") + 1 for line in lines)
