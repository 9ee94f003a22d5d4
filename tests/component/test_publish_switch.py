"""A mirror is whole at every instant: a reader beside publishers that are killed, and each fault alone."""

from __future__ import annotations

import contextlib
import json
import os
import random
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Places
from tests.publishing import (
    NAME,
    ROOT,
    Gpg,
    Press,
    add_packed,
    add_template,
    dangling,
    needs,
    snapshot,
)
from tests.unit import checks_trees
from tmplbuild.core.filelock import exclusive
from tmplbuild.engine.locks import template_lock
from tmplbuild.publish import building
from tmplbuild.publish.draft import Draft
from tmplbuild.publish.walk import Sink

PUBLISHES = int(os.environ.get("TMPLBUILD_TEST_PUBLISHES", "25"))
"""How many times the killed publisher gets through; by hand also 1000."""

_PUBLISHER = """
import sys, time
from pathlib import Path
from tests.publishing import Press, add_template
press = Press.__new__(Press)
press.place = Path(sys.argv[1]); press.cache = press.place / "cache"; press.gpg = None
press.config = press.place / "tmplbuild.toml"; press.mirror = press.place / "mirror"
tree = press.place / "tree"
for _ in range(int(sys.argv[2])):
    (tree / "etc/motd").write_text(str(time.time_ns()))
    add_template(press.cache, tree)
    press.publish()
    print("published", flush=True)
"""


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    place = tmp_path / "tree"
    (place / "etc").mkdir(parents=True)
    (place / "etc/motd").write_text("one\n")
    return place


@pytest.fixture
def press(tmp_path: Path, tree: Path) -> Press:
    made = Press(tmp_path / "press", formats=["tar.xz", "lxc", "incus"])
    add_template(made.cache, tree)
    return made


@pytest.fixture(scope="module")
def gpg(places: Places) -> Iterator[Gpg]:
    needs("gpg", "gpg")
    made = Gpg(places("keys") / "gnupg", passphrase="secret words")
    yield made
    made.forget()


def change(press: Press, tree: Path, text: str, name: str = NAME) -> None:
    """A new state of the template."""
    (tree / "etc/motd").write_text(text)
    add_template(press.cache, tree, name)


def test_a_reader_never_finds_a_dangling_name_while_publishers_are_killed(
    tmp_path: Path, tree: Path, record_property: Callable[[str, object], None]
) -> None:
    grace_s = 20.0
    press = Press(tmp_path / "press", formats=["tar.xz", "lxc", "incus"], keep=2, grace_hours=grace_s / 3600)
    os.rename(tree, press.place / "tree")
    add_template(press.cache, press.place / "tree")
    press.publish()
    chance = random.Random(7)

    def read() -> None:
        """Nothing that an index names is missing, unless the reader was slower than the grace time."""
        began = time.monotonic()
        assert dangling(press.mirror) == [] or time.monotonic() - began > grace_s

    argv = [sys.executable, "-c", _PUBLISHER, str(press.place), str(PUBLISHES)]
    done = reads = kills = 0
    while done < PUBLISHES:
        publisher = subprocess.Popen(argv, cwd=ROOT, stdout=subprocess.PIPE, env=press.env())
        assert publisher.stdout is not None
        os.set_blocking(publisher.stdout.fileno(), False)
        goal = done + chance.randrange(2, 8)
        while done < min(goal, PUBLISHES) and publisher.poll() is None:
            read()
            reads += 1
            done += (publisher.stdout.read() or b"").count(b"published")
        for _ in range(chance.randrange(30)):  # some way into the next one
            read()
            reads += 1
        assert publisher.poll() in (None, 0)
        publisher.send_signal(signal.SIGKILL)
        publisher.wait()
        publisher.stdout.close()
        kills += 1
        read()
    press.publish()  # cleans up after the last kill
    assert not [path for path in press.mirror.rglob("*") if "tmplbuild-part" in path.name]
    builds = {build.build for build in press.state().builds}
    assert {path.name for path in press.mirror.glob("images/*/*/*/*/*")} == builds
    assert len(press.state().listed(NAME)) == 2
    record_property("reader", f"{done} publishes, {kills} kills, {reads} reads, 0 dangling")


def test_one_generation_is_one_state(press: Press, tree: Path) -> None:
    press.publish()
    old = os.open(press.mirror / ".current", os.O_RDONLY | os.O_DIRECTORY)
    try:
        change(press, tree, "two")
        press.publish()

        def read(name: str, at: int | None) -> dict[str, object]:
            with open(os.open(name, os.O_RDONLY, dir_fd=at), "rb") as file:
                found: dict[str, object] = json.loads(file.read())
                return found

        assert read("index.json", old)["serial"] == read("state.json", old)["serial"] == 1
    finally:
        os.close(old)
    assert json.loads((press.mirror / "index.json").read_bytes())["serial"] == 2


# -- faults: one error each, and the mirror as it was ------------------------------------------------


def refused(press: Press, status: int, *told: str, words: tuple[str, ...] = ("--force",)) -> None:
    """`tmplbuild publish` fails with this status and says so; nothing of the mirror changes."""
    before = snapshot(press.mirror)
    done = press.run("publish", *words)
    assert done.returncode == status, done.stderr
    assert done.stderr.count("tmplbuild: error:") == 1
    for text in told:
        assert text in done.stderr
    assert "Traceback" not in done.stderr
    assert snapshot(press.mirror) == before


def test_a_template_that_fails_its_check(press: Press, tree: Path) -> None:
    press.publish()
    change(press, tree, "two")
    current = press.state().listed(NAME)[0].build
    refused(press, 7, "the check refuses", "missing-init", f"still served: {NAME} {current}", words=())
    done = press.run("publish", "--force")
    assert done.returncode == 0, done.stderr
    assert "although the check refuses it" in done.stderr
    assert "missing-init" in press.state().listed(NAME)[0].forced
    assert "missing-init" in (press.mirror / "index.json").read_text()


def test_the_others_are_published_where_one_is_refused(press: Press, tree: Path) -> None:
    add_packed(
        press.cache, checks_trees.packed(checks_trees.debian()), "debian-13-x86_64", recipe="debian-13"
    )
    done = press.run("publish")
    assert done.returncode == 7
    assert "published: debian-13-x86_64" in done.stderr
    assert press.state().templates() == ("debian-13-x86_64",)


def test_a_missing_key(press: Press, tree: Path) -> None:
    press.publish()
    change(press, tree, "two")
    home = press.place / "gnupg"
    home.mkdir(mode=0o700)
    press.configure(key="AB" * 20, gnupghome=str(home))
    refused(press, 4, "the signing key is not there", "ABABAB")


def test_a_locked_key_and_its_passphrase_file(press: Press, tree: Path, gpg: Gpg) -> None:
    press.publish()
    change(press, tree, "two")
    conf = {"key": gpg.key, "gnupghome": str(gpg.home)}
    gpg.forget()
    press.configure(**conf)
    refused(press, 4, "nothing can be signed with the key", "passphrase_file")
    (press.place / "passphrase").write_text("secret words\n")
    press.configure(**conf, passphrase_file=str(press.place / "passphrase"))
    done = press.run("publish", "--force")
    assert done.returncode == 0, done.stderr
    assert press.state().listed(NAME)[0].key == gpg.key
    (press.place / "passphrase").write_text("others\n")
    gpg.forget()
    change(press, tree, "three")
    refused(press, 4, "nothing can be signed with the key")


@pytest.mark.root
def test_a_full_disk(press: Press, tree: Path) -> None:
    (tree / "etc/big").write_bytes(os.urandom(3 << 20))
    add_template(press.cache, tree)
    press.mirror.mkdir()
    second = press.place / "second"
    (second / "etc").mkdir(parents=True)
    (second / "etc/big").write_bytes(os.urandom(3 << 20))
    add_template(press.cache, second, "debian-13-x86_64", recipe="debian-13")
    # in a mount namespace of its own the mirror is a small disk: the second template does not fit
    script = (
        'mount -t tmpfs -o size=10m none "$MIRROR" || exit 99; sh -c "$FIRST" || exit 98; '
        'find "$MIRROR" | sort >"$PLACE/before"; sh -c "$SECOND"; status=$?; '
        'find "$MIRROR" | sort >"$PLACE/after"; exit $status'
    )
    env = {
        **press.env(),
        "MIRROR": str(press.mirror),
        "PLACE": str(press.place),
        "FIRST": shlex.join(press.argv("publish", "--force", NAME)),
        "SECOND": shlex.join(press.argv("publish", "--force")),
    }
    done = subprocess.run(
        ["unshare", "-m", "sh", "-c", script], env=env, capture_output=True, text=True, check=False
    )
    assert done.returncode == 8, done.stderr
    assert "the mirror cannot be written" in done.stderr
    assert "No space left on device" in done.stderr
    assert "MB are free there" in done.stderr
    assert (press.place / "before").read_text() == (press.place / "after").read_text()


def test_foreign_files_are_named_and_left_alone(press: Press, tree: Path) -> None:
    press.publish()
    build = press.state().listed(NAME)[0]
    strangers = [press.mirror / "robots.txt", press.mirror / "images/logo.png"]
    strangers.append(press.mirror / build.folder / "note.txt")
    for path in strangers:
        path.write_text("mine")
    change(press, tree, "two")
    done = press.run("publish", "--force")
    assert done.returncode == 0
    assert "left alone, not of this mirror:" in done.stderr
    for path in strangers:
        assert str(path.relative_to(press.mirror)) in done.stderr
        assert path.read_text() == "mine"


def test_a_foreign_file_where_an_index_belongs(press: Press, tree: Path) -> None:
    press.mirror.mkdir()
    (press.mirror / "index.json").write_text("somebody's")
    refused(press, 8, "something else has a name that the mirror needs", "index.json")
    assert (press.mirror / "index.json").read_text() == "somebody's"


def test_a_first_page_of_somebody_elses(press: Press, tree: Path) -> None:
    press.mirror.mkdir()
    (press.mirror / "index.html").write_text("somebody's")
    refused(press, 8, "something else has a name that the mirror needs", "index.html")
    press.configure(formats=["tar.xz", "lxc", "incus"], page=False)
    assert press.run("publish", "--force").returncode == 0
    assert (press.mirror / "index.html").read_text() == "somebody's"
    assert not (press.mirror / "templates").exists()
    assert press.run("verify", str(press.mirror)).returncode == 0


def test_two_publishers_at_once(press: Press, tree: Path) -> None:
    press.publish()
    change(press, tree, "two")
    with exclusive(press.mirror / ".tmplbuild.lock", "it is mine"):
        refused(press, 9, "another run is publishing to this mirror", str(os.getpid()))
    assert press.run("publish", "--force").returncode == 0


def test_two_publishers_begin_a_mirror_at_once(press: Press, monkeypatch: pytest.MonkeyPatch) -> None:
    really = Path.mkdir

    def late(path: Path, *rest: Any, **more: Any) -> None:
        if path == press.mirror and not path.exists():
            os.mkdir(path)  # the other one was here first
        really(path, *rest, **more)

    monkeypatch.setattr(Path, "mkdir", late)
    assert [one.state for one in press.publish().outcomes] == ["published"]


@pytest.mark.parametrize("whole", [True, False], ids=["delivered", "half delivered"])
def test_a_build_that_replaces_a_template_meanwhile(
    press: Press, tree: Path, whole: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is left for the next run, which is told; the others are published."""
    other = "debian-13-x86_64"
    add_template(press.cache, tree, other, recipe="debian-13")
    really = building.walk
    manifest = press.cache / f"{NAME}.manifest.json"

    def late(draft: Draft, sinks: Sequence[Sink]) -> None:
        if draft.source.template == NAME:
            old = manifest.read_bytes()
            change(press, tree, "two")
            if not whole:
                manifest.write_bytes(old)
        really(draft, sinks)

    with monkeypatch.context() as patch:
        patch.setattr(building, "walk", late)
        with contextlib.nullcontext() if whole else template_lock(press.settings.state_dir, NAME):
            done = press.run("publish", "--force")
    assert done.returncode == 9, done.stderr
    assert f"a build was replacing {NAME}" in done.stderr
    assert f"published: {other}" in done.stderr
    assert press.state().templates() == (other,)
    assert not list(press.mirror.glob("images/debian/12/*"))
    change(press, tree, "two")
    assert press.run("publish", "--force").returncode == 0
    assert press.state().templates() == (NAME, other)


def test_a_clock_that_is_behind(press: Press, tree: Path) -> None:
    press.publish(now=time.time() + 7200)
    change(press, tree, "two")
    refused(press, 4, "the clock of this machine is behind", "the mirror was last changed")
    add_template(press.cache, tree, epoch=int(time.time()) + 9 * 86400)
    press.mirror = press.place / "other"
    press.configure(formats=["lxc"])
    done = press.run("publish", "--force")
    assert done.returncode == 4
    assert f"the archives of {NAME} were signed" in done.stderr


def test_a_template_that_is_not_its_manifests(press: Press, tree: Path) -> None:
    press.publish()
    change(press, tree, "two")
    with (press.cache / f"{NAME}.tar.gz").open("r+b") as file:
        file.seek(30)
        file.write(b"\xff\xff\xff")
    refused(press, 6, words=())
    refused(press, 6)


def test_a_mirror_whose_parent_is_not_there(press: Press) -> None:
    done = press.run("publish", "--force", "--to", str(press.place / "no/mirror"))
    assert done.returncode == 8
    assert "mkdir -p" in done.stderr


def test_ctrl_c_leaves_nothing(press: Press, tree: Path) -> None:
    press.publish()
    (tree / "etc/big").write_bytes(os.urandom(8 << 20))
    change(press, tree, "two")
    press.configure(xz_level=9)
    before = snapshot(press.mirror)
    process = subprocess.Popen(
        press.argv("publish", "--force", "--json"), env=press.env(), stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert any('"bytes"' in line for line in process.stdout)  # it is at work
    process.send_signal(signal.SIGINT)
    process.stdout.read()
    assert process.wait() == 130
    process.stdout.close()
    assert snapshot(press.mirror) == before


# -- what is served ----------------------------------------------------------------------------------


def test_unchanged_templates_are_left_alone(press: Press) -> None:
    assert [one.state for one in press.publish().outcomes] == ["published"]
    before = snapshot(press.mirror)
    assert [one.state for one in press.publish().outcomes] == ["unchanged"]
    assert snapshot(press.mirror) == before
    press.configure(formats=["tar.xz", "lxc", "incus", "oci"])
    assert [one.state for one in press.publish().outcomes] == ["published"]
    press.configure(formats=["tar.xz", "lxc", "incus", "oci"], title="Another name")
    result = press.publish()
    assert [one.state for one in result.outcomes] == ["unchanged"]
    assert json.loads((press.mirror / "index.json").read_bytes())["title"] == "Another name"


def test_a_dry_run_changes_nothing(press: Press, tree: Path) -> None:
    press.publish()
    change(press, tree, "two")
    before = snapshot(press.mirror)
    done = press.run("publish", "--dry-run", "--force", "--json")
    assert done.returncode == 0
    last = json.loads(done.stdout.splitlines()[-1])
    assert [one["state"] for one in last["templates"]] == ["would publish"]
    assert snapshot(press.mirror) == before


def test_rollback_pin_and_back(press: Press, tree: Path) -> None:
    for text in ("one", "two", "three"):
        change(press, tree, text)
        press.publish()
    newest, middle, oldest = (build.build for build in press.state().listed(NAME))
    assert press.run("mirror", "rollback", NAME).returncode == 0
    assert [build.build for build in press.state().listed(NAME)] == [middle, oldest]
    assert (press.mirror / f"{NAME}.tar.gz").resolve().parent.name == middle
    assert newest not in (press.mirror / "streams/v1/images.json").read_text()
    # the template that was taken back is still in the cache: it does not come back by itself
    assert [one.state for one in press.publish(force=False).outcomes] == ["withdrawn"]
    assert press.run("mirror", "rollback", NAME, newest).returncode == 0
    assert [build.build for build in press.state().listed(NAME)] == [newest, middle, oldest]
    assert press.run("mirror", "pin", NAME, oldest).returncode == 0
    press.configure(formats=["tar.xz", "lxc", "incus"], keep=1, grace_hours=0)
    done = press.run("mirror", "prune", "--json")
    assert json.loads(done.stdout.splitlines()[-1])["removed"] == [f"{NAME} {middle}"]
    assert [build.build for build in press.state().listed(NAME)] == [newest, oldest]
    assert {path.name for path in press.mirror.glob("images/*/*/*/*/*")} == {newest, oldest}
    rows = json.loads(press.run("mirror", "list", "--json").stdout)["builds"]
    assert [(row["build"], row["state"]) for row in rows] == [
        (newest, ["current", "forced"]),
        (oldest, ["listed", "pinned", "forced"]),
    ]
    done = press.run("mirror", "rollback", "debian-12-x86_65")
    assert done.returncode == 2
    assert f"did you mean {NAME}" in done.stderr.replace('"', "")
