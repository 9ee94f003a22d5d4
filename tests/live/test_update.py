"""The next night: an archive of our own moves, and the template follows by a live upgrade."""

from __future__ import annotations

import os
import pty
import select
import time
from pathlib import Path

import pytest

from tests.archive_factory import ArchiveFactory, Deb
from tests.live.conftest import SMALL
from tests.workshop import Workshop
from tmplbuild.engine.steps import NAMES

pytestmark = [pytest.mark.root, pytest.mark.network, pytest.mark.live, pytest.mark.slow]

NAME = "small-12-x86_64"


def tool(version: str, answer: str) -> Deb:
    return Deb(
        "our-tool",
        version=version,
        files={"/usr/bin/our-tool": f"#!/bin/sh\necho {answer}\n".encode(), "/etc/our.conf": answer.encode()},
        modes={"/usr/bin/our-tool": 0o755},
        scripts={"conffiles": "/etc/our.conf\n"},
    )


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("update")


@pytest.fixture(scope="module")
def archive(place: Path) -> ArchiveFactory:
    made = ArchiveFactory(place / "archive")
    made.suite("stable", [tool("1.0", "one")], date=time.time() - 3600)
    return made


@pytest.fixture(scope="module")
def shop(place: Path, packages: Path, archive: ArchiveFactory) -> Workshop:
    made = Workshop(place / "shop", packages)
    recipe = made.recipe(
        "small",
        SMALL.replace('"procps"]', '"procps", "our-tool"]')
        + f'[configure]\nadd.edits = [{{ path = "/etc/our.conf", match = "one", replace = "edited" }}]\n'
        f'[archives.local]\nmirrors = ["{archive.root.as_uri()}"]\npublic = "http://archive.invalid/local"\n'
        f'suites = ["stable"]\ncomponents = ["main"]\nown_keys = true\n'
        f'keys = ["{archive.key.fingerprint}"]\n',
    )
    archive.key.export(Path(recipe).parent / "keys")
    made.first = made.build(recipe)
    return made


def recipe_of(shop: Workshop) -> str:
    return str(shop.place / "recipes/test/small.toml")


def test_moved_packages_are_upgraded_in_the_booted_tree(shop: Workshop, archive: ArchiveFactory) -> None:
    archive.suite("stable", [tool("1.1", "two")], date=time.time() - 3000)
    done = shop.build(recipe_of(shop))
    assert done.ran == list(NAMES[NAMES.index("upgrade") :])
    reasons = {row["name"]: row["reason"] for row in done.summary["stages"]}
    assert reasons["upgrade"] == "packages moved: our-tool 1.0 -> 1.1"
    with shop.tree(NAME, "clean-again") as tree:
        assert "echo two" in tree.read_text("/usr/bin/our-tool")
        assert tree.glob("/etc/our.conf.*") == []  # what dpkg left beside the edited file is gone
    assert any("/etc/our.conf.dpkg-dist" in row for row in done.summary["leftovers"])
    assert shop.remains() == {}


def test_then_it_is_unchanged_again(shop: Workshop) -> None:
    assert shop.build(recipe_of(shop)).unchanged


def test_an_archive_signed_anew_with_the_same_packages_changes_nothing(
    shop: Workshop, archive: ArchiveFactory
) -> None:
    archive.suite("stable", [tool("1.1", "two")], date=time.time() - 2400)
    again = shop.build(recipe_of(shop))
    assert again.unchanged
    assert "no package moved" in again.summary["why"]


def test_a_bad_night_keeps_the_last_good_template(shop: Workshop, archive: ArchiveFactory) -> None:
    file = shop.templates / f"{NAME}.tar.gz"
    before = (file.stat().st_ino, file.stat().st_mtime_ns)
    broken = tool("1.2", "three")
    archive.suite(
        "stable",
        [Deb("our-tool", version="1.2", files=broken.files, scripts={"postinst": "#!/bin/sh\nexit 1\n"})],
        date=time.time() - 1800,
    )
    failed = shop.run("build", recipe_of(shop))
    assert failed.status == 7, failed.err
    assert "our-tool" in failed.err
    assert (file.stat().st_ino, file.stat().st_mtime_ns) == before
    # the failure does not make the next run say that nothing changed
    again = shop.run("plan", recipe_of(shop))
    assert "failed or was interrupted in the last run" in again.out
    archive.suite("stable", [tool("1.3", "four")], date=time.time() - 1200)
    assert "packages moved: our-tool 1.1 -> 1.3" in str(shop.build(recipe_of(shop)).summary["stages"])


def test_offline_the_last_state_is_used(shop: Workshop) -> None:
    env = {"http_proxy": "http://127.0.0.1:9"}
    assert shop.run("build", recipe_of(shop), env=env).status == 5
    assert shop.build(recipe_of(shop), "--offline", env=env).unchanged


@pytest.mark.parametrize("options", [("--at", "configure"), ("--live",)])
def test_a_shell_in_the_tree(options: tuple[str, ...], shop: Workshop) -> None:
    """On a terminal; what is changed there is thrown away."""
    script = "touch /etc/changed; cat /proc/1/comm; our-tool; exit 5\n"
    status, said = on_a_terminal([*shop.argv("shell", recipe_of(shop), *options)], shop, script)
    assert status == 5, said
    assert ("one" in said) if "--at" in options else ("four" in said)
    assert ("systemd" in said) == ("--live" in options)
    with shop.tree(NAME, "clean-again") as tree:
        assert not tree.exists("/etc/changed")
    assert shop.remains() == {}


def on_a_terminal(argv: list[str], shop: Workshop, typed: str) -> tuple[int, str]:
    """Run a command on a terminal of its own, type when it prompts; its status and what it showed."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(shop.place)
        os.execve(argv[0], argv, {**shop.env, "TERM": "linux"})
    said = b""
    while True:
        ready, _, _ = select.select([terminal], [], [], 120)
        try:
            piece = os.read(terminal, 4096) if ready else b""
        except OSError:  # the other end is closed
            piece = b""
        if not piece:
            break
        said += piece
        if typed and said.rstrip().endswith(b"#"):
            os.write(terminal, typed.encode())
            typed = ""
    os.close(terminal)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), said.decode("utf-8", "replace")
