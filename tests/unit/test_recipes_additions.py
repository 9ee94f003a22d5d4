"""Overlays, users and hooks: what a recipe says of them, what lint says, and what layers depend on."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from tests.unit.fake_bench import FakeBench
from tests.unit.recipe_files import faults, tiny
from tmplbuild.archives.model import Package
from tmplbuild.core.tree import Tree
from tmplbuild.engine.pinning import request
from tmplbuild.engine.pins import Pinned, Pins
from tmplbuild.engine.steps import Step, names_of, steps
from tmplbuild.errors import HostError, StageError, VerifyError
from tmplbuild.recipes import LoadedRecipe, lint, with_local_digests
from tmplbuild.recipes.additions import Hook, User
from tmplbuild.recipes.show import show
from tmplbuild.secrets import Secret
from tmplbuild.stages import hook, users

HASH = "$6$saltsalt$" + "x" * 40


def put(path: Path, text: str = "", mode: int = 0o644) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(mode)
    return path


# -- overlays -----------------------------------------------------------------------------------------


def test_an_overlay_is_files(tmp_path: Path) -> None:
    over = tmp_path / "tiny/over"
    put(over / "etc/motd", "hello\n", 0o600)
    put(over / "usr/local/bin/tool", "#!/bin/sh\n", 0o700)
    (over / "srv/empty").mkdir(parents=True)
    os.symlink("motd", over / "etc/issue")
    found = tiny(
        tmp_path,
        "[configure.overlays]\nover = {}\n"
        '[configure.files]\n"/etc/motd" = { text = "mine", mode = "0640" }\n',
    )
    files = found.recipe.configure.files
    assert files["/usr/local/bin/tool"].source == "over/usr/local/bin/tool"
    assert files["/usr/local/bin/tool"].mode == "0755", "executable or not, whatever the checkout's umask"
    assert files["/etc/issue"].link == "motd"
    assert files["/srv/empty"].directory
    assert (files["/etc/motd"].text, files["/etc/motd"].source) == ("mine", None)
    assert found.origin['configure.files."/etc/issue"'].file == over / "etc/issue"
    assert found.digests(found.recipe.configure).keys() == {"over/usr/local/bin/tool"}
    assert 'source = "over/usr/local/bin/tool"' in show(found)
    assert lint(found) == lint(tiny(tmp_path))


def test_an_overlay_may_keep_owners_and_go_elsewhere(tmp_path: Path) -> None:
    put(tmp_path / "tiny/over/a", mode=0o604)
    found = tiny(tmp_path, '[configure.overlays.over]\nkept = true\nto = "/srv/"\n')
    file = found.recipe.configure.files["/srv/a"]
    assert (file.mode, file.uid, file.gid) == ("0604", os.getuid(), os.getgid())


def test_an_overlay_that_is_not_there_is_a_fault(tmp_path: Path) -> None:
    (row,) = faults(tmp_path, "[configure.overlays]\nover = {}\n")
    assert row.startswith('1.toml:7: configure.overlays.over: the directory "over" is not there')
    (row,) = faults(tmp_path, '[configure.overlays]\n"../tiny" = {}\n')
    assert "is not there" in row
    (tmp_path / "tiny/over").mkdir()
    os.mkfifo(tmp_path / "tiny/over/pipe")
    (row,) = faults(tmp_path, "[configure.overlays]\nover = {}\n")
    assert "is neither a file nor a directory nor a link" in row


# -- users --------------------------------------------------------------------------------------------

ACCOUNTS = {
    "etc/passwd": "root:x:0:0:root:/root:/bin/bash\nold:x:1000:1000::/home/old:/bin/sh\n",
    "etc/group": "root:x:0:\nold:x:1000:\nsudo:x:27:\n",
    "etc/shadow": "root:*:19000:0:99999:7:::\nold:!:19000::::::\n",
    "etc/gshadow": "root:*::\nsudo:*::\n",
    "etc/skel/.profile": "# profile\n",
}


@pytest.fixture
def bench(tmp_path: Path) -> FakeBench:
    for path, text in ACCOUNTS.items():
        put(tmp_path / "tree" / path, text)
    return FakeBench(tmp_path / "tree")


def made(bench: FakeBench, accounts: dict[str, User], value: str = HASH) -> list[str]:
    with bench.tree() as tree:
        return users.make(tree, accounts, lambda _: value)


def text(bench: FakeBench, path: str) -> str:
    return (bench.root / path).read_text()


def test_an_account_is_whole_and_locked(bench: FakeBench) -> None:
    deploy = User(groups=("sudo",), authorized_keys=("ssh-ed25519 AAAA me",), comment="Deploy")
    for _ in range(2):
        assert made(bench, {"deploy": deploy}) == ["deploy (1001:1001)"]
        assert text(bench, "etc/passwd").endswith("deploy:x:1001:1001:Deploy:/home/deploy:/bin/sh\n")
        assert text(bench, "etc/group").endswith("sudo:x:27:deploy\ndeploy:x:1001:\n")
        assert text(bench, "etc/shadow").endswith("deploy:*:::::::\n")
        assert "sudo:*::deploy\n" in text(bench, "etc/gshadow")
        assert text(bench, "home/deploy/.profile") == "# profile\n"
        keys = bench.root / "home/deploy/.ssh/authorized_keys"
        assert (keys.read_text(), keys.stat().st_mode & 0o777) == ("ssh-ed25519 AAAA me\n", 0o600)
        assert (bench.root / "home/deploy").stat().st_mode & 0o777 == 0o700


def test_an_account_of_a_service(bench: FakeBench) -> None:
    assert made(bench, {"svc": User(system=True)}) == ["svc (999:999)"]
    assert text(bench, "etc/passwd").endswith("svc:x:999:999::/nonexistent:/usr/sbin/nologin\n")
    assert not (bench.root / "nonexistent").exists()


def test_an_account_that_is_there_is_changed(bench: FakeBench) -> None:
    made(bench, {"root": User(password="secret:root", shell="/bin/sh"), "old": User(uid=1000)})
    assert text(bench, "etc/passwd").startswith("root:x:0:0:root:/root:/bin/sh\nold:x:1000:")
    assert text(bench, "etc/shadow").startswith(f"root:{HASH}:19000:0:99999:7:::\n")


def test_a_password_is_kept_where_tcb_has_it(bench: FakeBench) -> None:
    put(bench.root / "etc/tcb/old/shadow", "old:*:::::::\n")
    made(bench, {"old": User(password="secret:x")})
    assert text(bench, "etc/tcb/old/shadow") == f"old:{HASH}:::::::\n"


DEFS = "SUB_UID_MIN\t\t   100000\nSUB_UID_COUNT  1000\n# SUB_GID_COUNT 7\nUID_MIN 1000\n"


def test_people_get_subordinate_ids_as_useradd_gives_them(bench: FakeBench) -> None:
    """The first gap that is large enough; nothing where the distribution has no such file."""
    put(bench.root / "etc/login.defs", DEFS)
    put(bench.root / "etc/subuid", "old:100000:1000\nodd:101500:10\nbad:x:y\n")
    people = {"one": User(), "two": User(), "svc": User(system=True), "old": User(), "root": User()}
    for _ in range(2):
        made(bench, people)
        lines = text(bench, "etc/subuid").splitlines()
        assert lines[3:] == ["one:101510:1000", "two:102510:1000"]
        assert not (bench.root / "etc/subgid").exists()
    put(bench.root / "etc/subgid", "")
    made(bench, {"three": User()})
    assert text(bench, "etc/subgid") == "three:100000:65536\n"
    put(bench.root / "etc/login.defs", "SUB_GID_MAX 165536\nSUB_UID_COUNT 0\n")
    made(bench, {"four": User()})
    assert text(bench, "etc/subgid") == "three:100000:65536\n", "there is no room left"
    assert "four" not in text(bench, "etc/subuid")


@pytest.mark.parametrize(
    ("accounts", "words"),
    [
        ({"new": User(uid=1000)}, "the uid 1000 is old's"),
        ({"old": User(uid=1005)}, "its uid is 1000, not 1005"),
        ({"new": User(gid=27)}, "the gid 27 is the group sudo's"),
        ({"sudo": User(gid=1005)}, "there is a group sudo, and its gid is 27, not 1005"),
        ({"new": User(groups=("docker",))}, "there is no group docker"),
    ],
)
def test_an_account_that_cannot_be_made(bench: FakeBench, accounts: dict[str, User], words: str) -> None:
    with pytest.raises(StageError) as caught:
        made(bench, accounts)
    assert words in caught.value.why


def test_a_password_in_clear_is_refused(bench: FakeBench) -> None:
    with pytest.raises(HostError, match="secret:pw is no password hash") as caught:
        made(bench, {"new": User(password="secret:pw")}, "hunter2")
    assert "hunter2" not in str(caught.value)


# -- packages and archives of the build's ----------------------------------------------------------------

EXTRA = """
[archives.extra]
mirrors = ["host"]
public = "http://extra.example/extra"
suites = ["x"]
components = ["main"]
keys = ["1F89983E0081FDE018F3CC9673A4F27B8DD47936"]
build_only = true
"""


def test_an_archive_for_the_build_alone_is_lent_to_the_upgrade(tmp_path: Path) -> None:
    handed = {step.name: step.handed for step in made_steps(tiny(tmp_path, EXTRA))}
    assert list(handed["configure"]["sources_list"]) == ["tiny"]
    assert list(handed["upgrade"]["borrowed"]) == ["extra"]
    handed = {step.name: step.handed for step in made_steps(tiny(tmp_path, EXTRA.replace("true", "false")))}
    assert set(handed["configure"]["sources_list"]) == {"tiny", "extra"}
    assert "borrowed" not in handed["upgrade"]


def test_a_package_beside_the_recipe_is_asked_for_by_its_digest(tmp_path: Path) -> None:
    put(tmp_path / "tiny/my.deb", "one")
    line = '[install]\nfiles = ["my.deb"]\n'
    before = with_local_digests(tiny(tmp_path, line))
    assert before.local_packages() == {tmp_path / "tiny/my.deb": hashlib.sha256(b"one").hexdigest()}
    put(tmp_path / "tiny/my.deb", "two")
    after = with_local_digests(tiny(tmp_path, line))
    assert request(before.recipe, "amd64") != request(after.recipe, "amd64")
    pinned = f'[install.digests]\n"my.deb" = "{hashlib.sha256(b"one").hexdigest()}"\n'
    with pytest.raises(VerifyError, match="not the one that was meant"):
        with_local_digests(tiny(tmp_path, line + pinned))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('[install]\nfiles = ["gone.deb"]\n', "gone.deb is not there"),
        ('[install.digests]\n"my.deb" = "' + "0" * 64 + '"\n', "is none of install.files"),
        (EXTRA + '[upgrade]\nmanager = "apk"\n', "apk has to know what its key is called"),
        ("[archives.tiny]\nbuild_only = true\n", "no archive would be left in the template"),
    ],
)
def test_what_is_wrong_with_packages_and_archives(tmp_path: Path, text: str, words: str) -> None:
    assert any(words in str(row) for row in lint_errors(tiny(tmp_path, text)))


# -- hooks --------------------------------------------------------------------------------------------

HOOKS = """
[hooks.early]
run = "hooks/a"
after = "install"
[hooks.late]
run = "hooks/a"
before = "check"
args = ["{release}", "{x}"]
secrets = ["token"]
[hooks.last]
run = "hooks/a"
before = "check"
"""


def one_package(sha256: str = "a" * 64) -> Pins:
    package = Package("one", "1", "amd64", "tiny", "pool/one.deb", 1, sha256, False, "required")
    pinned = Pinned((package,), frozenset(), 1_700_000_000)
    return Pins("amd64", (), pinned, pinned, pinned, 1_700_000_000)


def made_steps(found: LoadedRecipe) -> tuple[Step, ...]:
    return steps(found.recipe, found.digests, one_package())


def keys(found: LoadedRecipe) -> dict[str, str]:
    return {step.name: step.key for step in made_steps(found)}


def changed(old: dict[str, str], new: dict[str, str]) -> list[str]:
    return [name for name in new if old.get(name) != new[name]]


def test_hooks_are_steps_where_they_belong(tmp_path: Path) -> None:
    put(tmp_path / "tiny/hooks/a", "#!/bin/sh\n", 0o755)
    found = tiny(tmp_path, HOOKS)
    names = names_of(found.recipe)
    assert names[:4] == ("bootstrap", "install", "hook-early", "configure")
    assert names[-6:] == ("clean-again", "hook-late", "hook-last", "check", "pack", "boot")
    assert found.recipe.hooks["late"].args == ("1", "{x}")
    assert [row for row in lint(found) if row.level == "error"] == lint_errors(tiny(tmp_path))


def lint_errors(found: LoadedRecipe) -> list[object]:
    return [row for row in lint(found) if row.level == "error"]


def test_a_change_runs_again_from_there_and_no_earlier(tmp_path: Path) -> None:
    put(tmp_path / "tiny/hooks/a", "#!/bin/sh\n", 0o755)
    put(tmp_path / "tiny/over/etc/motd", "hello\n")
    before = keys(tiny(tmp_path, HOOKS))
    names = list(before)
    slower = keys(tiny(tmp_path, HOOKS.replace('"late"', "") + "timeout_s = 9\n"))
    assert slower == before, "how long it may take changes nothing"
    more = keys(tiny(tmp_path, HOOKS.replace('["token"]', '["token", "other"]')))
    assert changed(before, more) == names[names.index("hook-late") :]
    put(tmp_path / "tiny/hooks/a", "#!/bin/sh\ntrue\n", 0o755)
    assert changed(before, keys(tiny(tmp_path, HOOKS))) == names[names.index("hook-early") :]
    put(tmp_path / "tiny/hooks/a", "#!/bin/sh\n", 0o755)
    over = "[configure.overlays]\nover = {}\n"
    laid = keys(tiny(tmp_path, HOOKS + over))
    assert changed(before, laid) == names[names.index("configure") :]
    put(tmp_path / "tiny/over/etc/motd", "hallo\n")
    assert changed(laid, keys(tiny(tmp_path, HOOKS + over))) == names[names.index("configure") :]


@pytest.mark.parametrize(
    ("more", "name"),
    [("", f"keys/{'A' * 40}.asc"), ('keyring = "ring.gpg"\ncertified_by = 1\n', "keys/ring.gpg")],
)
def test_a_renewed_certificate_reaches_the_tree(tmp_path: Path, more: str, name: str) -> None:
    text = f"""[archives.other]
mirrors = ["http://other.example"]
public = "http://other.example"
suites = ["stable"]
components = ["main"]
own_keys = true
keys = ["{"A" * 40}"]
{more}"""
    put(tmp_path / "tiny" / name, "one")
    before = keys(tiny(tmp_path, text))
    put(tmp_path / "tiny" / name, "other")
    names = list(before)
    assert changed(before, keys(tiny(tmp_path, text))) == names[names.index("configure") :]
    text = text.replace("own_keys = true\n", "")
    before = keys(tiny(tmp_path, text))
    put(tmp_path / "tiny" / name, "one")
    assert keys(tiny(tmp_path, text)) == before, "what the tree is not given changes nothing in it"


def test_a_new_password_hash_makes_the_account_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    user = '[configure.users.me]\npassword = "secret:me"\n'
    monkeypatch.setenv("TMPLBUILD_SECRET_ME", HASH)
    before = keys(tiny(tmp_path, user))
    monkeypatch.setenv("TMPLBUILD_SECRET_ME", HASH + "y")
    assert changed(before, keys(tiny(tmp_path, user)))[0] == "configure"
    assert HASH not in str(made_steps(tiny(tmp_path, user)))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('run = "hooks/a"\n', "says nothing of when it runs"),
        ('run = "hooks/a"\nafter = "strip"\nbefore = "clean"\n', "after and before are given"),
        ('run = "hooks/a"\nbefore = "bootstrap"\n', "there is no tree before bootstrap"),
        ('run = "hooks/a"\nafter = "check"\n', "what was checked is not changed any more"),
        ('run = "hooks/a"\nbooted = true\nafter = "bootstrap"\n', "nothing boots yet"),
        ('run = "hooks/b"\nafter = "strip"\n', "hooks/b is not there"),
        ('run = "hooks/plain"\nafter = "strip"\n', "is not executable"),
        ('run = "hooks/text"\nafter = "strip"\n', "is no program"),
        ('run = "hooks/a"\nafter = "strip"\nenv = { TMPLBUILD_X = "1" }\n', "is set by tmplbuild"),
    ],
)
def test_what_is_wrong_with_a_hook(tmp_path: Path, text: str, words: str) -> None:
    put(tmp_path / "tiny/hooks/a", "#!/bin/sh\n", 0o755)
    put(tmp_path / "tiny/hooks/plain", "#!/bin/sh\n")
    put(tmp_path / "tiny/hooks/text", "hello\n", 0o755)
    found = tiny(tmp_path, "[hooks.x]\n" + text)
    assert any(words in str(row) for row in lint_errors(found)), lint_errors(found)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('a = { authorized_keys = ["hello"] }', "is no line of authorized_keys"),
        ('a = { authorized_keys = ["-----BEGIN OPENSSH PRIVATE KEY-----"] }', "is a private key"),
        ("a = { uid = 0 }", "0 is root's"),
        ("a = { uid = 5 }\nb = { uid = 5 }", "two users have the uid 5"),
        ('a = { system = true, authorized_keys = ["ssh-rsa AA"] }', "has no home"),
    ],
)
def test_what_is_wrong_with_a_user(tmp_path: Path, text: str, words: str) -> None:
    found = tiny(tmp_path, "[configure.users]\n" + text + "\n")
    assert any(words in str(row) for row in lint_errors(found))


def test_types_of_users_and_hooks_are_told(tmp_path: Path) -> None:
    rows = faults(
        tmp_path,
        '[configure.users]\nBob = {}\nme = { password = "hunter2", uid = 70000 }\n'
        '[hooks.x]\nrun = "a"\nafter = "stirp"\n',
    )
    assert any("configure.users.Bob: expected an account's name" in row for row in rows)
    assert any("expected the name of a secret" in row for row in rows)
    assert any("uid: expected a" in row and "65533" in row for row in rows)
    assert any("hooks.x.after: expected one of" in row for row in rows)


def test_a_secret_that_a_hook_leaves_is_found(tmp_path: Path) -> None:
    secret = [Secret("token", "", b"correct horse")]
    with Tree(tmp_path) as tree:
        put(tmp_path / "etc/fine", "horse")
        hook.refuse_leaks(tree, "x", secret, 0)
        put(tmp_path / "etc/app.conf", "x" * ((1 << 20) - 6) + "correct horse" + "y" * 100)
        with pytest.raises(StageError, match="hook x left the secret token in the tree") as caught:
            hook.refuse_leaks(tree, "x", secret, 0)
        assert caught.value.where == "/etc/app.conf"
        (tmp_path / "etc/app.conf").unlink()
        os.symlink("/correct horse", tmp_path / "etc/link")
        with pytest.raises(StageError):
            hook.refuse_leaks(tree, "x", secret, 0)
        hook.refuse_leaks(tree, "x", secret, 1e11)


def test_a_hook_is_given_its_environment_and_no_secret_in_words(tmp_path: Path) -> None:
    put(tmp_path / "hooks/a", "#!/bin/sh\n", 0o755)
    bench = FakeBench(tmp_path / "tree", recipe_dir=tmp_path)
    (tmp_path / "tree").mkdir()
    options = Hook(run="hooks/a", after="strip", args=("one",), secrets=("token",))
    hook.run(bench, options, None, "x", {}, [Secret("token", "", b"correct horse")])  # type: ignore[arg-type]
    assert bench.shell.ran[-1] == ("/run/tmplbuild-hook/x", "one")
    assert "correct horse" not in str(bench.shell.ran)
