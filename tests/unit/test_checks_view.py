"""The view's own words: links, globs, bounded reading."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.unit.checks_trees import file, folder, link, unpacked, view_of
from tmplbuild.checks.view import View
from tmplbuild.core.tree import Tree
from tmplbuild.errors import HostError

NODES = {
    "/bin": link("usr/bin"),
    "/etc": folder(),
    "/etc/.hidden": file("h"),
    "/etc/a.conf": file("one\ntwo\n"),
    "/etc/rel": link("../usr/./bin/../bin/ls"),
    "/etc/abs": link("/bin/ls"),
    "/etc/up": link("../../../../etc/a.conf"),
    "/etc/dots": link(".."),
    "/etc/dangling": link("nowhere"),
    "/usr/bin/ls": file("ELF", 0o755),
    "/usr/lib/x/y/z.conf": file("deep"),
    "/usr/lib/x/w.conf": file("less deep"),
}


@pytest.fixture(params=["directory", "tarball"])
def view(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[View]:
    """The same tree, seen both ways."""
    if request.param == "tarball":
        with view_of(NODES, tmp_path) as found:
            yield found
    else:
        with Tree(unpacked(NODES, tmp_path / "tree")) as tree:
            yield View.of_tree(tree)


def paths(view: View, *patterns: str) -> list[str]:
    return [entry.path for entry in view.glob(*patterns)]


def test_links_are_followed_inside(view: View) -> None:
    for path in ("/etc/rel", "/etc/abs", "/bin/ls", "/etc/dots/bin/ls", "/etc/dots/etc/dots/usr/bin/ls"):
        assert view.read(path) == b"ELF", path
    assert view.read("/etc/up") == b"one\ntwo\n"
    assert not view.exists("/etc/dangling")
    assert view.is_link("/etc/dangling")
    assert view.readlink("/etc/abs") == "/bin/ls"
    assert view.real("/bin/ls") == "/usr/bin/ls"
    assert view.is_dir("/etc/dots")
    assert view.is_dir("/")


def test_readlink_of_no_link_is_an_os_error(view: View) -> None:
    with pytest.raises(OSError):
        view.readlink("/etc/a.conf")


def test_listing(view: View) -> None:
    assert view.listdir("/") == ["bin", "etc", "usr"]
    assert view.listdir("/bin") == ["ls"]
    assert view.listdir("/none") == []
    assert view.listdir("/etc/a.conf") == []
    assert [entry.path for entry in view.below("/usr/lib")] == [
        "/usr/lib/x",
        "/usr/lib/x/w.conf",
        "/usr/lib/x/y",
        "/usr/lib/x/y/z.conf",
    ]


def test_globs(view: View) -> None:
    assert paths(view, "/bin/*") == ["/usr/bin/ls"]
    assert paths(view, "/etc/*.conf", "/etc/a*") == ["/etc/a.conf", "/etc/abs"]
    assert paths(view, "/etc/.h*") == ["/etc/.hidden"]
    assert "/etc/.hidden" in paths(view, "/etc/*")
    assert paths(view, "/usr/**/*.conf") == ["/usr/lib/x/w.conf", "/usr/lib/x/y/z.conf"]
    assert paths(view, "/usr/lib/**") == [entry.path for entry in view.below("/usr/lib")]
    assert paths(view, "/etc/dangling") == ["/etc/dangling"]
    assert paths(view, "/none/*", "/etc/none") == []


def test_reading_is_bounded(view: View) -> None:
    assert view.read("/etc/a.conf", 3) == b"one"
    assert view.lines("/etc/a.conf") == ["one", "two"]
    assert view.read("/etc") == b""
    assert view.read("/none") == b""
    assert view.read_text("/etc/a.conf") == "one\ntwo\n"
    with pytest.raises(OSError):
        view.read_bytes("/none")


def test_a_directory_that_may_not_be_read_is_a_host_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    with Tree(tmp_path) as tree:
        monkeypatch.setattr(tree, "walk", refuse)
        with pytest.raises(HostError) as caught:
            View.of_tree(tree)
    assert "root" in caught.value.hint
