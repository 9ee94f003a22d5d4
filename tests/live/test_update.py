"""The next night: an archive of our own moves, and the template follows by a live upgrade."""

from __future__ import annotations

import gzip
import json
import os
import pty
import select
import time
from pathlib import Path

import pytest

from tests.archive_factory import ArchiveFactory, Deb
from tests.conftest import Places
from tests.live.conftest import SMALL
from tests.workshop import Workshop
from tmplbuild.engine.steps import NAMES

pytestmark = [pytest.mark.root, pytest.mark.network, pytest.mark.live, pytest.mark.slow]

NAME = "small-12-x86_64"
MENDED = (
    ("1.3", "medium", "CVE-2026-1003: said four"),
    ("1.2", "high", "CVE-2026-1002: said three"),
    ("1.1", "high", "CVE-2026-1001: said two"),
    ("1.0", "low", "CVE-2020-9999: the first"),
)
"""What the changelog of our tool says of its versions, the newest first."""


def tool(version: str, answer: str) -> Deb:
    text = "".join(
        f"our-tool ({one}) stable-security; urgency={urgency}\n\n  * {what}\n\n -- A <a@example.org>  now\n\n"
        for one, urgency, what in MENDED
        if one <= version
    )
    return Deb(
        "our-tool",
        version=version,
        files={
            "/usr/bin/our-tool": f"#!/bin/sh\necho {answer}\n".encode(),
            "/etc/our.conf": answer.encode(),
            "/usr/share/doc/our-tool/changelog.gz": gzip.compress(text.encode(), mtime=0),
        },
        modes={"/usr/bin/our-tool": 0o755},
        scripts={"conffiles": "/etc/our.conf\n"},
    )


@pytest.fixture(scope="module")
def place(places: Places) -> Path:
    return places("update")


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
    assert done.summary["changed"] == "1 upgraded (1 security: CVE-2026-1001); /etc: 1 file"
    assert done.summary["breaking"] == []
    changes = json.loads((shop.templates / f"{NAME}.manifest.json").read_text())["changes"]
    assert changes["packages"] == [
        {
            "name": "our-tool",
            "change": "upgraded",
            "before": "1.0",
            "after": "1.1",
            "security": True,
            "cves": ["CVE-2026-1001"],
        }
    ]
    assert shop.first is not None
    assert changes["against_sha256"] == shop.first.summary["sha256"]


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
    done = shop.build(recipe_of(shop))
    assert "packages moved: our-tool 1.1 -> 1.3" in str(done.summary["stages"])
    assert done.summary["changed"] == "1 upgraded (1 security: CVE-2026-1002, CVE-2026-1003); /etc: 1 file"


def test_the_history_tells_of_each_run(shop: Workshop) -> None:
    builds = json.loads(shop.run("history", NAME, "--json").out)
    assert [row["result"] for row in builds] == ["good", "failed", "good", "good"]
    assert builds[1]["stage"] == "upgrade"
    assert "dist-upgrade" in builds[1]["error"]
    said = shop.run("log", f"{NAME}@-1", "upgrade").out
    assert "our-tool" in said
    assert "# failed: dist-upgrade: the command failed" in said
    assert shop.run("log", NAME, "upgrade").out != said
    found = json.loads(shop.run("diff", f"{NAME}@-2", NAME, "--json").out)
    assert found["packages"][0]["cves"] == ["CVE-2026-1001", "CVE-2026-1002", "CVE-2026-1003"]
    (file,) = found["files"]
    assert file["diff"].endswith("-edited\n+four\n")
    # the same, out of the files alone
    env = {"TMPLBUILD_STATE_DIR": str(shop.place / "nowhere")}
    same = shop.run("diff", str(shop.templates / f"{NAME}.tar.gz"), NAME, env=env)
    assert (same.status, same.out.endswith(": nothing\n")) == (0, True)
    assert not (shop.place / "nowhere").exists()


def test_a_build_that_a_crash_kept_out_of_the_history_gets_in(shop: Workshop) -> None:
    """As if power had failed between the template's rename and that of the history."""
    folder = shop.place / "state/builds" / NAME
    before = sorted(path.name for path in folder.iterdir())
    (folder / before[-1]).rename(folder / f".{before[-1]}")
    assert shop.build(recipe_of(shop)).unchanged
    assert sorted(path.name for path in folder.iterdir()) == before


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
