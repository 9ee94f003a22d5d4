"""What rpm and apt-rpm print, and what it means."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tmplbuild.core.tree import Tree
from tmplbuild.errors import StageError
from tmplbuild.managers import Installed, apt_rpm, manager, rpm


@dataclass
class Place:
    """A tree whose commands answer what they are told to."""

    root: Path
    answers: list[bytes]
    asked: list[tuple[str, ...]] = field(default_factory=list)

    @contextmanager
    def tree(self) -> Iterator[Tree]:
        with Tree(self.root) as tree:
            yield tree

    @contextmanager
    def entered(self) -> Iterator[Place]:
        yield self

    def run(
        self, argv: Sequence[str], *, what: str, timeout_s: float | None = None, ok: Sequence[int] = (0,)
    ) -> bytes:
        self.asked.append(tuple(argv))
        return self.answers.pop(0)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "var/lib/rpm").mkdir(parents=True)
    (tmp_path / "usr/bin").mkdir(parents=True)
    (tmp_path / "bin").symlink_to("usr/bin")
    return tmp_path


def test_packages_as_the_reader_of_archives_spells_them(root: Path) -> None:
    said = (
        b"setup\t2.4-alt1\tnoarch\tsetup-2.4-alt1.src.rpm\n"
        b"libperl\t2:5.34-alt1\tx86_64\tperl-5.34-alt1.src.rpm\n"
        b"gpg-pubkey\t1-2\t(none)\t(none)\n"
    )
    place = Place(root, [said])
    assert rpm.installed(place) == [
        Installed("libperl", "2:5.34-alt1", "x86_64", "perl"),
        Installed("setup", "2.4-alt1", "noarch", "setup"),
    ]
    assert "_dbpath}')/.\" /run/" in place.asked[0][2], "the tree's own database is not opened"


def test_owners_by_real_path(root: Path) -> None:
    place = Place(root, [b"zsh\t/bin/sh\nbash\t/bin/sh\nbash\t/usr/bin/bash\nempty\t\n"])
    assert rpm.owners(place) == {"/usr/bin/sh": "bash", "/usr/bin/bash": "bash"}


def test_a_tree_without_a_database_has_no_packages(tmp_path: Path) -> None:
    assert rpm.installed(Place(tmp_path, [])) == []
    assert rpm.owners(Place(tmp_path, [])) == {}


def test_only_configuration_may_differ(root: Path) -> None:
    fine = b"S.5....T.  c /etc/passwd\nmissing   c /etc/mtab\n.M.......  g /var/log/wtmp\n"
    rpm.verify(Place(root, [b"", fine]), "after")
    with pytest.raises(StageError, match="after: 3 files") as caught:
        rpm.verify(
            Place(
                root, [b"", fine + b"......G..    /usr/bin/wall\nmissing     /bin/x\n.......T.  d /usr/a\n"]
            ),
            "after",
        )
    assert "......G.. /usr/bin/wall" in caught.value.why
    assert "missing /bin/x" in caught.value.why


@pytest.mark.parametrize(
    "line",
    [
        "warning: %post(etcnet-1.0-alt1.noarch) scriptlet failed, exit status 3",
        "warning: posttrans filetriggers scriptlet failed, exit status 1",
        "error: %pre(a-1-1.noarch) scriptlet failed, signal 9",
    ],
)
def test_a_failure_that_the_exit_status_hides(line: str) -> None:
    said = f"Preparing...  ####\n a-1-1  ####\n{line}\n b-1-1 ####\n".encode()
    assert apt_rpm.failure(said) == line


def test_progress_in_the_middle_of_a_line_hides_no_failure() -> None:
    said = b"a-1-alt1      ################warning: %post(a-1-alt1.noarch) scriptlet failed, exit status 1\n"
    assert "%post(a-1-alt1.noarch) scriptlet failed" in apt_rpm.failure(said)


@pytest.mark.parametrize(
    "said",
    [
        b"",
        b"warning: /etc/passwd created as /etc/passwd.rpmnew\n",
        b"Running /usr/lib/rpm/posttrans-filetriggers\n",
        b"failed-1.0-alt1 ########\n",
    ],
)
def test_what_is_no_failure(said: bytes) -> None:
    assert apt_rpm.failure(said) == ""


def test_progress() -> None:
    read = manager("apt-rpm").progress
    assert read(b"   3: bash-5.2-alt1        ########## [ 45%]") == ("install bash-5.2-alt1", 0.45)
    assert read(b"Get: http://example.org") is None
