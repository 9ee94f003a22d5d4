"""Copies of a mirror: by rsync to a directory, through a remote shell and to a daemon, and by rclone.

The remote shell is a script that runs what ssh would run there: rsync speaks its own protocol with itself
over it, and the script can break off where it is told to.
"""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.ports import await_port, free_port
from tests.publishing import NAME, Press, add_template, dangling, needs, snapshot
from tmplbuild.events import Command, Event, Progress, silent
from tmplbuild.publish import delivery
from tmplbuild.publish.mirror import Mirror

_SSH = """#!/bin/sh
# as ssh(1): options, a host, a command
while :; do case $1 in -o) shift 2;; -l) shift 2;; -*) shift;; *) break;; esac; done
host=$1; shift
case $host in
    unreachable) echo "ssh: connect to host unreachable port 22: No route to host" >&2; exit 255;;
    weak) if [ ! -e "$HOME/broke" ]; then
        mkfifo "$HOME/broke"; (eval "exec $*") <&0 >"$HOME/broke" & head -c 3000 "$HOME/broke"
        kill -9 $!; exit 255
    fi;;
esac
eval "exec $*"
"""


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    place = tmp_path / "tree"
    (place / "etc").mkdir(parents=True)
    (place / "etc/motd").write_text("one\n")
    (place / "etc/big").write_bytes(os.urandom(200_000))
    return place


@pytest.fixture
def press(tmp_path: Path, tree: Path, monkeypatch: pytest.MonkeyPatch) -> Press:
    needs("rsync", "rsync")
    made = Press(tmp_path / "press", formats=["tar.xz", "lxc", "incus"])
    add_template(made.cache, tree)
    made.publish()
    shims = tmp_path / "bin"
    shims.mkdir()
    (shims / "ssh").write_text(_SSH)
    (shims / "ssh").chmod(0o755)
    monkeypatch.setenv("PATH", f"{shims}:{os.environ['PATH']}")
    monkeypatch.setenv("HOME", str(tmp_path))
    return made


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[str]:
    """An rsync daemon with a writable module "mirror" at tmp_path/copy."""
    port = free_port()
    (tmp_path / "copy").mkdir()
    config = tmp_path / "rsyncd.conf"
    own = f"uid = {os.getuid()}\ngid = {os.getgid()}\n" if os.getuid() == 0 else ""
    config.write_text(
        f"use chroot = no\nmunge symlinks = no\n{own}[mirror]\npath = {tmp_path}/copy\nread only = no\n"
    )
    argv = ["rsync", "--daemon", "--no-detach", f"--port={port}", "--address=127.0.0.1", f"--config={config}"]
    process = subprocess.Popen(argv, stderr=subprocess.DEVNULL)
    await_port(process, port)
    yield f"rsync://127.0.0.1:{port}/mirror"
    process.terminate()
    process.wait()


def target(press: Press, address: str, **more: str) -> None:
    press.configure(formats=["tar.xz", "lxc", "incus"], targets={"it": address, **more})


def change(press: Press, tree: Path, text: str) -> None:
    (tree / "etc/motd").write_text(text)
    add_template(press.cache, tree)
    press.publish()


@pytest.mark.parametrize("way", ["directory", "ssh", "daemon", "rclone"])
def test_a_copy_is_a_mirror(
    press: Press, tree: Path, tmp_path: Path, way: str, request: pytest.FixtureRequest
) -> None:
    copy = tmp_path / "copy"
    addresses = {"directory": str(copy), "ssh": f"user@host:{copy}", "rclone": f"rclone:{copy}"}
    if way == "rclone":
        needs("rclone", "rclone")
    address = request.getfixturevalue("daemon") if way == "daemon" else addresses[way]
    target(press, address)
    for text in ("two", "three"):
        done = press.run("mirror", "push")
        assert done.returncode == 0, done.stderr
        assert dangling(copy) == []
        done = press.run("verify", str(copy))
        assert done.returncode == 0, done.stdout
        change(press, tree, text)
    assert (copy / ".current").is_symlink() == (way != "rclone")
    (copy / "robots.txt").write_text("somebody's")
    assert press.run("mirror", "push").returncode == 0
    assert (copy / "index.json").read_bytes() == (press.mirror / "index.json").read_bytes()
    assert (copy / "robots.txt").read_text() == "somebody's"


@pytest.mark.parametrize("way", ["directory", "rclone"])
def test_a_copy_is_whole_after_every_pass(
    press: Press, tree: Path, tmp_path: Path, way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = tmp_path / "copy"
    if way == "rclone":
        needs("rclone", "rclone")
    target(press, str(copy) if way == "directory" else f"rclone:{copy}")
    assert press.run("mirror", "push").returncode == 0
    press.configure(formats=["tar.xz", "lxc", "incus"], keep=1, grace_hours=0)
    change(press, tree, "two")
    press.publish()
    target(press, str(copy) if way == "directory" else f"rclone:{copy}")
    seen = []
    once = delivery._run

    def and_look(one: delivery._Pass, *rest: object) -> list[str]:
        done = once(one, *rest)  # type: ignore[arg-type]
        seen.append((one.what, dangling(copy)))
        return done

    monkeypatch.setattr(delivery, "_run", and_look)
    assert press.run("mirror", "push").returncode == 0
    assert [what for what, _ in seen][-1] == "deletions"
    assert len(seen) >= 4
    assert [what for what, found in seen if found] == []
    builds = {build.build for build in press.state().builds}
    assert {path.name for path in copy.glob("images/*/*/*/*/*")} == builds  # the old one is deleted


def test_a_second_push_sends_nothing(press: Press, tmp_path: Path) -> None:
    target(press, str(tmp_path / "copy"))
    assert press.run("mirror", "push").returncode == 0
    before = snapshot(tmp_path / "copy")
    done = press.run("mirror", "push", "--dry-run", "--json")
    assert json.loads(done.stdout.splitlines()[-1])["targets"][0]["state"] == "done"
    assert press.run("mirror", "push").returncode == 0
    assert snapshot(tmp_path / "copy") == before


def test_a_dry_run_tells_what_would_change(press: Press, tree: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    target(press, str(copy))
    assert press.run("mirror", "push").returncode == 0
    change(press, tree, "two")
    before = snapshot(copy)
    done = press.run("mirror", "push", "--dry-run")
    assert done.returncode == 0
    assert "it: would change" in done.stdout
    new = press.state().listed(NAME)[0]
    assert f"{new.folder}/rootfs.tar.xz" in done.stdout
    assert ".current" in done.stdout
    assert snapshot(copy) == before


def test_publish_pushes_and_one_failing_target_does_not_stop_the_others(
    press: Press, tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(delivery, "_WAIT_S", 0.0)
    copy = tmp_path / "copy"
    target(press, "unreachable:/srv", good=str(copy))
    (tree / "etc/motd").write_text("two")
    add_template(press.cache, tree)
    done = press.run("publish", "--force")
    assert done.returncode == 5, done.stderr
    assert "the mirror did not reach it" in done.stderr
    assert "No route to host" in done.stderr
    assert "reached: good" in done.stderr
    assert (copy / "index.json").read_bytes() == (press.mirror / "index.json").read_bytes()
    assert press.run("mirror", "push", "good").returncode == 0
    assert press.run("mirror", "push", "bad").returncode == 2
    assert press.run("publish", "--force", "--no-push").returncode == 0


def test_what_broke_off_is_tried_again_and_resumed(press: Press, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    waits: list[float] = []
    target(press, f"weak:{copy}")
    results = delivery.push(Mirror(press.mirror), press.settings.publish, (), emit=silent, sleep=waits.append)
    assert [one.state for one in results] == ["done"]
    assert waits == [2.0]
    assert dangling(copy) == []


def test_an_address_is_never_an_option(press: Press) -> None:
    for address in ("-e sh:/x", "--rsh=x:/y", "host", "-host:/x"):
        press.configure(targets={"it": address})
        assert press.run("mirror", "push").returncode == 2, address


def test_progress_and_the_limit(press: Press, tmp_path: Path) -> None:
    press.configure(targets={"it": str(tmp_path / "copy")}, bandwidth="40M")
    seen: list[Event] = []
    delivery.push(Mirror(press.mirror), press.settings.publish, (), emit=seen.append)
    commands = [one.argv for one in seen if isinstance(one, Command)]
    assert len(commands) == 4
    assert all("--bwlimit=40M" in argv for argv in commands)
    shares = [one.share for one in seen if isinstance(one, Progress) and one.share is not None]
    assert shares
    assert max(shares) > 0.5


def test_a_target_whose_disk_is_full(press: Press, tmp_path: Path) -> None:
    """In a mount namespace of its own the target is a small disk: one error, and what it had is served on."""
    if os.getuid() != 0:
        pytest.skip("needs root")
    copy = tmp_path / "copy"
    copy.mkdir()
    target(press, str(copy))
    (press.place / "tree/etc").mkdir(parents=True)
    (press.place / "tree/etc/big").write_bytes(os.urandom(6 << 20))
    script = (
        'mount -t tmpfs -o size=4m none "$COPY" || exit 99; sh -c "$PUSH" || exit 98; '
        'cp "$COPY/index.json" "$OLD"; '
        'sh -c "$PUBLISH" || exit 97; sh -c "$PUSH"; status=$?; cmp "$COPY/index.json" "$OLD" || exit 96; '
        'test -e "$COPY/$(readlink "$COPY/.current")/index.json" || exit 95; exit $status'
    )
    add = f"{sys.executable} -c 'from pathlib import Path; from tests.publishing import add_template; "
    add += f'add_template(Path("{press.cache}"), Path("{press.place}/tree"))\''
    env = {
        **press.env(),
        "COPY": str(copy),
        "OLD": str(tmp_path / "old"),
        "PUSH": shlex.join(press.argv("mirror", "push")),
        "PUBLISH": f"{add} && {shlex.join(press.argv('publish', '--force', '--no-push'))}",
    }
    argv = ["unshare", "-m", "sh", "-c", script]
    done = subprocess.run(argv, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 5, (done.returncode, done.stderr)
    assert done.stderr.count("tmplbuild: error:") == 1
    assert "No space left on device" in done.stderr
