"""Nightly runs that do not come to a build: what is seen, said, kept and sent when archives, locks,
settings or mail servers are at fault. The tool is run as a whole; tests/live/test_nightly.py has those that
build."""

from __future__ import annotations

import json
import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.archive_factory import ArchiveFactory, Deb
from tests.archive_server import ArchiveServer
from tests.component.test_faults_archive import OLD, RECIPE
from tests.workshop import Run, Workshop
from tmplbuild.engine.locks import nightly_lock
from tmplbuild.engine.store import Store

pytestmark = pytest.mark.root


class Night:
    """Recipes of archives of their own, all in one workshop, each with a template of an earlier day."""

    def __init__(self, place: Path) -> None:
        self.shop = Workshop(place / "shop", place / "shop/packages")
        self.recipes = place / "recipes"
        self.settings = place / "settings.toml"
        self.table()
        self.archives: dict[str, ArchiveFactory] = {}

    def add(self, name: str, *, mirror: str = "", **suite: Any) -> ArchiveFactory:
        """A recipe toy-NAME."""
        made = self.archives[name] = ArchiveFactory(self.shop.place / "archives" / name)
        made.suite("stable", [Deb("base-files", essential=True)], **suite)
        self.point(name, mirror or made.root.as_uri())
        (self.shop.templates / f"{name}-1-x86_64.tar.gz").write_bytes(OLD)
        return made

    def point(self, name: str, mirror: str) -> None:
        """Write the recipe, with this mirror."""
        made = self.archives[name]
        text = RECIPE.format(mirror=mirror, key=made.key.fingerprint, packages="")
        path = self.recipes / "toy" / f"{name}.toml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text.replace('distro = "toy"', f'distro = "toy"\nname = "{name}-1-{{ve_arch}}"'))
        made.key.export(path.parent / "keys")

    def table(self, text: str = "") -> None:
        """The settings' [nightly]."""
        self.settings.write_text(f'[nightly]\nrecipes = ["toy-*"]\n{text}')

    def run(self, *words: str, env: dict[str, str] | None = None) -> Run:
        done = self.shop.run("--recipes", str(self.recipes), "--config", str(self.settings), *words, env=env)
        assert "Traceback" not in done.err, done.err
        return done

    def report(self, *words: str) -> dict[str, Any]:
        """The rows of `nightly --json`, which fails: nothing can be built of these archives."""
        done = self.run("nightly", "--json", *words)
        assert done.status == 1, done.err
        assert all(path.read_bytes() == OLD for path in self.shop.templates.iterdir())
        assert self.shop.remains() == {}
        return {row["recipe"]: row for row in done.events[-1]["report"]["templates"]}

    def status(self, *words: str) -> tuple[int, dict[str, dict[str, Any]]]:
        done = self.run("status", "--json", *words)
        return done.status, {row["recipe"]: row for row in json.loads(done.out)["templates"]}


@pytest.fixture
def night(tmp_path: Path) -> Night:
    return Night(tmp_path)


# -- archives -----------------------------------------------------------------------------------


def test_an_archive_that_is_replayed_fails_its_own_templates_only(night: Night) -> None:
    """After two days: until then it may be a mirror that lags behind, and the newest state seen is used."""
    night.add("one")
    old = night.add("two")
    code, rows = night.status()
    assert code == 2, rows
    old.suite("stable", [Deb("base-files", essential=True)], date=time.time() - 5 * 86400)
    code, rows = night.status()
    assert (code, rows["toy-two"]["state"]) == (2, "updates")
    night.shop.read_last(time.time() - 3 * 86400, "archives/two")
    code, rows = night.status()
    assert code == 1
    assert (rows["toy-one"]["state"], rows["toy-two"]["state"]) == ("updates", "failed")
    found = night.report("toy-two")["toy-two"]
    assert found["error"]["exit_code"] == 6
    assert "older than the one accepted before" in found["why"]
    assert found["failure"]["stage"] == "resolve"
    assert night.report("toy-two")["toy-two"]["failure"]["times"] == 2


def test_a_mirror_that_is_half_updated_is_refused_and_well_again_later(night: Night) -> None:
    archive = night.add("one", by_hash=False)
    assert night.status()[0] == 2
    before = {path: path.read_bytes() for path in archive.index("stable", "") if path.exists()}
    for suffix in (".xz", ".gz"):
        before |= {path: path.read_bytes() for path in archive.index("stable", suffix) if path.exists()}
    archive.suite("stable", [Deb("base-files", "2", essential=True)], by_hash=False, date=time.time() + 60)
    new = {path: path.read_bytes() for path in before}
    for path, data in before.items():  # InRelease is new, the indexes are not there yet
        path.write_bytes(data)
    found = night.report()["toy-one"]
    assert found["error"]["exit_code"] in (5, 6)
    assert "Packages" in json.dumps(found["error"])
    for path, data in new.items():
        path.write_bytes(data)
    code, rows = night.status()
    assert (code, rows["toy-one"]["state"]) == (1, "failed")  # until a build went well
    assert "would run" in night.run("why", "toy-one").out


def test_a_mirror_that_does_not_answer_is_tried_once_for_all_its_templates(night: Night) -> None:
    archive = night.add("one")
    with archive.serve() as server:
        night.point("one", server.url)
        night.archives["two"] = archive
        night.point("two", server.url)
        server.fail("InRelease|Release", "status", status=404)
        code, rows = night.status()
        assert code == 1
        assert {row["state"] for row in rows.values()} == {"failed"}
        assert len(server.asked("InRelease")) == 1


def test_each_archive_is_asked_once(night: Night) -> None:
    archive = night.add("one")
    with archive.serve() as server:
        for name in ("one", "two", "three"):
            night.archives[name] = archive
            night.point(name, server.url)
        assert night.status()[0] == 2
        assert len(server.asked("InRelease")) == 1
        night.status()
        assert [seen.path for seen in conditional(server)] == ["/dists/stable/InRelease"]


def conditional(server: ArchiveServer) -> list[Any]:
    return [seen for seen in server.asked(".") if "if-none-match" in seen.fields]


def test_a_clock_that_jumped_is_told_and_nothing_is_built_by_it(night: Night) -> None:
    night.add("one", date=time.time() + 10 * 86400)  # as for a clock that went back ten days
    night.add("two", date=time.time() - 10 * 86400, valid_for_s=86400)  # as for one that went on
    code, rows = night.status()
    assert code == 1
    assert "from the future" in rows["toy-one"]["why"]
    assert "has expired" in rows["toy-two"]["why"]


def test_offline_status_judges_by_what_was_seen(night: Night) -> None:
    night.add("one")
    assert night.status("--offline")[1]["toy-one"]["state"] == "failed"  # nothing is known yet
    assert night.status()[0] == 2
    night.point("one", "http://127.0.0.1:9/toy")
    assert night.status("--offline")[0] == 2


# -- which templates ----------------------------------------------------------------------------


def test_what_cannot_be_built_is_skipped_with_the_reason_and_is_no_failure(night: Night) -> None:
    night.add("one")
    path = night.recipes / "toy/one.toml"
    path.write_text(path.read_text().replace(night.archives["one"].key.fingerprint, "0" * 40))
    code, rows = night.status()
    assert (code, rows["toy-one"]["state"]) == (0, "skipped")
    assert "no signing key of toy is pinned" in rows["toy-one"]["why"]
    done = night.run("nightly")
    assert done.status == 0
    assert "no signing key" in done.out


def test_a_recipe_with_a_fault_is_a_failure(night: Night) -> None:
    night.add("one")
    path = night.recipes / "toy/one.toml"
    path.write_text(path.read_text() + "\n[strip]\nmaks = []\n")
    row = night.report()["toy-one"]
    assert row["error"]["exit_code"] == 3
    assert "maks" in json.dumps(row["error"])


def test_two_recipes_of_one_template(night: Night) -> None:
    night.add("one")
    text = (night.recipes / "toy/one.toml").read_text()
    (night.recipes / "toy/two.toml").write_text(text)
    row = night.status()[1]["toy-two"]
    assert (row["state"], row["why"]) == ("failed", "two recipes make the template one-1-x86_64")


def test_a_pattern_that_nothing_matches(night: Night) -> None:
    night.add("one")
    done = night.run("nightly", "toy-oen")
    assert done.status == 2
    assert "toy-one" in done.err
    assert night.run("update", "nothing").status == 2


def test_update_of_one_has_the_status_of_its_error(night: Night) -> None:
    night.add("one", date=time.time() + 10 * 86400)
    assert night.run("update", "toy-one").status == 6
    assert not (night.shop.place / "state/reports").exists()  # and sends nothing


# -- locks, bounds ------------------------------------------------------------------------------


def test_a_second_nightly_says_so_at_once(night: Night) -> None:
    night.add("one")
    (night.shop.place / "state").mkdir(parents=True)
    with nightly_lock(night.shop.place / "state"):
        done = night.run("nightly")
    assert done.status == 9
    assert "another nightly run is at work" in done.err
    assert f"process {os.getpid()} holds the lock since" in done.err


def test_no_room_is_known_before_anything_is_begun(night: Night) -> None:
    night.add("one")
    night.table("keep_free_mib = 16000000\n")
    row = night.report()["toy-one"]
    assert row["error"]["exit_code"] == 8
    assert "MiB are missing" in row["error"]["why"]
    assert row["seconds"] == 0


# -- who is told --------------------------------------------------------------------------------


class Mailbox(threading.Thread):
    """A mail server that takes one message (RFC 5321, without extensions)."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.said: list[str] = []

    def run(self) -> None:
        connection, _ = self.listener.accept()
        with connection, connection.makefile("rw", encoding="utf-8", newline="\r\n") as file:

            def answer(text: str) -> None:
                file.write(f"{text}\r\n")
                file.flush()

            answer("220 here")
            body = False
            for line in file:
                self.said.append(line.rstrip("\r\n"))
                if body:
                    body = line != ".\r\n"
                    if not body:
                        answer("250 taken")
                elif line.upper().startswith("DATA"):
                    body = True
                    answer("354 go on")
                elif line.upper().startswith("QUIT"):
                    answer("221 bye")
                    return
                else:
                    answer("250 well")


@contextmanager
def mailbox() -> Iterator[Mailbox]:
    box = Mailbox()
    box.start()
    try:
        yield box
        box.join(30)
    finally:
        box.listener.close()


def test_the_report_is_mailed_and_kept_and_counted(night: Night) -> None:
    night.add("one", date=time.time() + 10 * 86400)
    metrics = night.shop.place / "x.prom"
    with mailbox() as box:
        night.table(
            f'metrics = "{metrics}"\n[nightly.smtp]\nhost = "127.0.0.1"\nport = {box.port}\n'
            'security = "none"\n'
            'from = "tmplbuild@example.org"\nto = ["a@example.org", "b@example.org"]\n'
        )
        done = night.run("nightly", "--quiet-unchanged")
    assert done.status == 1
    text = "\n".join(box.said)
    for words in (
        "rcpt to:<b@example.org>",
        "Subject: tmplbuild: 1 failed",
        "Auto-Submitted: auto-generated",
        "the Release of stable is from the future",
    ):
        assert words.casefold() in text.casefold()  # Python 3.13 writes its commands small
    assert 'tmplbuild_template_failed{template="one-1-x86_64"} 1' in metrics.read_text()
    assert metrics.stat().st_mode & 0o777 == 0o644
    kept = list((night.shop.place / "state/reports").iterdir())
    assert json.loads(kept[0].read_text())["counts"] == {"failed": 1}
    assert "the Release of stable is from the future" in done.out


def test_who_cannot_be_told_is_no_secret_and_the_password_is(night: Night) -> None:
    night.add("one", date=time.time() + 10 * 86400)
    secret = night.shop.place / "secret"
    secret.write_text("pa55w0rd\n")
    night.table(
        'command = ["sh", "-c", "echo no such luck >&2; exit 3"]\n'
        '[nightly.smtp]\nhost = "127.0.0.1"\nport = 9\nuser = "me"\n'
        f'password_file = "{secret}"\nfrom = "a@example.org"\nto = ["b@example.org"]\n'
    )
    done = night.run("nightly")
    assert done.status == 1
    assert "no such luck" in done.err or "exit status 3" in done.err
    assert "127.0.0.1:9" in done.err
    assert "pa55w0rd" not in done.out + done.err
    assert list((night.shop.place / "state/reports").iterdir())
    kept = [path for path in night.shop.place.rglob("*") if path.is_file() and path != secret]
    assert not [path for path in kept if b"pa55w0rd" in path.read_bytes()]


def test_only_so_many_reports_are_kept(night: Night) -> None:
    night.add("one", date=time.time() + 10 * 86400)
    night.table("keep_reports = 2\n")
    place = night.shop.place / "state/reports"
    place.mkdir(parents=True)
    for day in (1, 2, 3):
        (place / f"2020-01-0{day}T000000Z.json").write_text("{}")
    night.report()
    assert len(list(place.iterdir())) == 2
    assert (place / "2020-01-03T000000Z.json").exists()


def test_a_failure_is_on_record_for_the_next_run(night: Night) -> None:
    night.add("one", date=time.time() + 10 * 86400)
    night.report()
    record = Store(night.shop.place / "state").read_record("one-1-x86_64", "failed")
    assert record is not None
    assert (record["stage"], record["class"]) == ("resolve", "VerifyError")
