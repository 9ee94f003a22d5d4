"""A bench for stages that needs no root: a plain directory as the tree, commands only recorded."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tmplbuild.archives.model import Package
from tmplbuild.core.tree import Tree
from tmplbuild.errors import RecipeError
from tmplbuild.events import Event
from tmplbuild.recipes.model import Upgrade
from tmplbuild.secrets import Secret


@dataclass
class FakeShell:
    """Records the commands; answers by the first word that `says` knows."""

    says: dict[str, bytes]
    ran: list[tuple[str, ...]] = field(default_factory=list)

    def run(
        self,
        argv: Sequence[str],
        *,
        what: str,
        env: Mapping[str, str] | None = None,
        stdin: bytes | None = None,
        timeout_s: float | None = None,
        ok: Sequence[int] = (0,),
        hidden: Sequence[Secret] = (),
    ) -> bytes:
        self.ran.append(tuple(argv))
        return self.says.get(argv[0], b"")


class UserTree(Tree):
    """A tree whose files belong to whoever runs the tests: only root may give files away."""

    def write(self, path: str, data: str | bytes, **kwargs: int | None) -> None:  # type: ignore[override]
        super().write(path, data, mode=kwargs.get("mode"), uid=-1, gid=-1)

    def chown(self, path: str, uid: int, gid: int) -> None:
        pass


@dataclass
class FakeBench:
    """What a stage is handed, on a directory."""

    root: Path
    says: dict[str, bytes] = field(default_factory=dict)
    arch: str = "amd64"
    epoch: int = 1_700_000_000
    recipe_dir: Path = Path("/nonexistent")
    events: list[Event] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.shell = FakeShell(self.says)

    def emit(self, event: Event) -> None:
        self.events.append(event)

    @contextmanager
    def tree(self) -> Iterator[Tree]:
        with UserTree(self.root) as tree:
            yield tree

    @contextmanager
    def entered(self) -> Iterator[FakeShell]:
        yield self.shell

    @contextmanager
    def live(self, options: Upgrade) -> Iterator[FakeShell]:
        yield self.shell

    def beside(self, name: str) -> bytes:
        try:
            return (self.recipe_dir / name).read_bytes()
        except OSError as error:
            raise RecipeError("a file beside the recipe cannot be read") from error

    def trial(self, tarball: Path) -> object:
        raise AssertionError("no trial in a unit test")

    def package_file(self, package: Package) -> Path:
        raise AssertionError("no packages in a unit test")


def make_tree(root: Path, files: Mapping[str, str | None]) -> Path:
    """Files by path; None makes a directory; "-> target" a link."""
    for path, content in files.items():
        place = root / path.lstrip("/")
        place.parent.mkdir(parents=True, exist_ok=True)
        if content is None:
            place.mkdir(exist_ok=True)
        elif content.startswith("-> "):
            place.symlink_to(content[3:])
        else:
            place.write_text(content)
    return root
