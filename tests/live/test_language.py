"""The recipe language on a real, small Debian: features, overlays, users, hooks, secrets."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import platform
import signal
import subprocess
import tarfile
from pathlib import Path

import pytest

from tests.conftest import Places
from tests.qemu import qemu
from tests.workshop import Workshop
from tmplbuild.core import foreign
from tmplbuild.engine.steps import NAMES
from tmplbuild.engine.store import Store
from tmplbuild.errors import HostError

pytestmark = [pytest.mark.root, pytest.mark.network, pytest.mark.live, pytest.mark.slow]

NAME = "lang-1-x86_64"
TOKEN = "correct-horse-battery-staple"
FILES = ("cmdline", "environ")
HASH = "$6$saltsaltsalt$" + "Ab1./" * 17

BASE = """
extends = "debian/12"
[image]
name = "lang-{stem}-{ve_arch}"
[install]
packages = ["systemd-sysv", "dbus", "ifupdown", "net-tools", "iproute2", "procps"]
files = ["debs/lang-hello.deb"]
[archives.contrib]
mirrors = ["host", "http://deb.debian.org/debian"]
public = "http://deb.debian.org/debian"
suites = ["{suite}"]
components = ["contrib"]
keys = ["B8B80B5B623EAB6AD8775C45B7C5D7D6350947F8", "4D64FEC119C2029067D6E791F8D2585B8783D481"]
build_only = true
[check]
install = []
boot = false
[drop]
variants = ["minimal", "ssh"]
[variants.keyed]
features = ["keyed"]
"""

RECIPE = """
extends = "test/_lang"
[configure.overlays]
overlay = {}
[configure.users.deploy]
uid = 1200
groups = ["sudo", "adm"]
shell = "/bin/bash"
authorized_keys = ["ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAAAA deploy@example.org"]
password = "secret:deploy"
[hooks.tune]
run = "hooks/tune"
after = "configure"
args = ["one", "two words"]
env = { COLOUR = "blue" }
secrets = ["token"]
[hooks.booted]
run = "hooks/booted"
before = "leftovers"
booted = true
"""

CONTROL = """\
Package: lang-hello
Version: {}
Architecture: all
Maintainer: nobody <nobody@example.org>
Depends: gcc-doc-base
Description: a package beside the recipe
"""

TUNE = """\
#!/bin/sh
set -eu
test "$(id -u)" = 0
test "$PWD" = /
test "$1/$2" = "one/two words"
test "$(stat -c %a "$TMPLBUILD_SECRETS/token")" = 400
# no network but loopback
test -z "$(ip -o link | grep -v ' lo:')"
echo "the token is $(cat "$TMPLBUILD_SECRETS/token"), which no log may tell"
echo "$TMPLBUILD_HOOK $TMPLBUILD_DISTRO $TMPLBUILD_RELEASE $TMPLBUILD_SUITE" > /etc/hooked
echo "$TMPLBUILD_ARCH $COLOUR" >> /etc/hooked
sha256sum < "$TMPLBUILD_SECRETS/token" | cut -c1-16 >> /etc/hooked
"""

BOOTED = """\
#!/bin/sh
set -eu
systemctl is-system-running --wait > /dev/null || true
systemctl show -p Version --value > /etc/booted
test -n "$http_proxy"
"""


class Lang:
    """A workshop with the recipe test/1.toml, its overlay, hooks and secrets."""

    def __init__(self, shop: Workshop) -> None:
        self.shop = shop
        self.folder = Path(shop.recipe("1", RECIPE)).parent
        self.put("_lang.toml", BASE.replace("{stem}", "1"))
        self.put("overlay/etc/motd", "from an overlay\n")
        self.put("overlay/usr/local/bin/tool", "#!/bin/sh\n", 0o700)
        self.put("hooks/tune", TUNE, 0o755)
        self.put("hooks/booted", BOOTED, 0o755)
        self.put("_features/keyed.toml", '[strip]\nadd.mask = ["rescue.service"]\n')
        self.put("../../secrets/token", TOKEN + "\n", 0o600)
        self.put("../../secrets/deploy", HASH + "\n", 0o600)
        self.digest = self.deb("1.0")
        self.env = {"TMPLBUILD_SECRETS": str(shop.place / "secrets")}
        self.options = ("--recipes", str(shop.place / "recipes"))

    def deb(self, version: str) -> str:
        """A package beside the recipe that needs one of the archive which only the build has; its digest."""
        root = self.shop.place / "deb"
        self.put(f"{root}/DEBIAN/control", CONTROL.format(version))
        self.put(f"{root}/usr/share/lang-hello", f"{version}\n")
        path = self.folder / "debs/lang-hello.deb"
        path.parent.mkdir(exist_ok=True)
        argv = ["dpkg-deb", "--root-owner-group", "--build", str(root), str(path)]
        env = {**os.environ, "SOURCE_DATE_EPOCH": "1700000000"}  # the same version, the same bytes
        subprocess.run(argv, check=True, stdout=subprocess.DEVNULL, env=env)
        return hashlib.sha256(path.read_bytes()).hexdigest()

    def put(self, name: str, text: str, mode: int = 0o644) -> None:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        path.chmod(mode)


@pytest.fixture(scope="module")
def lang(places: Places, packages: Path) -> Lang:
    made = Lang(Workshop(places("language"), packages))
    made.shop.first = made.shop.build("test-1", *made.options, env=made.env)
    return made


def test_hooks_are_stages_of_their_own(lang: Lang) -> None:
    assert lang.shop.first is not None
    ran = list(NAMES[:-1])
    ran.insert(ran.index("configure") + 1, "hook-tune")
    ran.insert(ran.index("leftovers"), "hook-booted")
    assert lang.shop.first.ran == ran
    done = lang.shop.run("plan", "test-1", *lang.options, env=lang.env)
    assert done.status == 0, done.err
    assert "hook-tune" in done.out
    manifest = json.loads((lang.shop.templates / f"{NAME}.manifest.json").read_text())
    assert [row["name"] for row in manifest["stages"]] == ran


def test_the_tree_has_what_the_recipe_asks_for(lang: Lang) -> None:
    with tarfile.open(lang.shop.templates / f"{NAME}.tar.gz") as tar:
        members = {member.name: member for member in tar}

        def text(name: str) -> str:
            file = tar.extractfile(f"./{name}")
            assert file is not None
            return file.read().decode()

        assert text("etc/motd") == "from an overlay\n"
        assert members["./usr/local/bin/tool"].mode == 0o755
        assert "deploy:x:1200:1200::/home/deploy:/bin/bash\n" in text("etc/passwd")
        assert f"deploy:{HASH}:" in text("etc/shadow")
        assert "adm:x:4:deploy\n" in text("etc/group")
        assert text("etc/subuid") == text("etc/subgid") == "deploy:100000:65536\n"
        keys = members["./home/deploy/.ssh/authorized_keys"]
        assert (keys.mode, keys.uid, keys.gid) == (0o600, 1200, 1200)
        assert text("etc/hooked").startswith("tune debian 12 bookworm\namd64 blue\n")
        assert text("etc/booted").startswith("252")


def test_packages_beside_the_recipe_and_archives_for_the_build_alone(lang: Lang) -> None:
    manifest = json.loads((lang.shop.templates / f"{NAME}.manifest.json").read_text())
    packages = {row["name"]: row for row in manifest["packages"]}
    assert packages["lang-hello"]["version"] == "1.0"
    assert "gcc-doc-base" in packages
    record = Store(lang.shop.place / "state").read_record(NAME)
    assert record is not None
    pinned = {row[0]: row[6] for row in record["pins"]["full"]["packages"]}
    assert pinned["lang-hello"] == lang.digest
    with lang.shop.tree(NAME, "clean-again") as tree:
        assert tree.read_text("/usr/share/lang-hello") == "1.0\n"
        assert "contrib" not in tree.read_text("/etc/apt/sources.list")
        assert tree.listdir("/etc/apt/sources.list.d") == []
        assert not tree.exists("/etc/apt/keyrings/contrib-B8B80B5B623EAB6AD8775C45B7C5D7D6350947F8.asc")
    log = next((lang.shop.place / "state/logs" / NAME).glob("*-upgrade.log")).read_text()
    assert "contrib" in log, "the booted tree had it"


def test_a_secret_is_nowhere(lang: Lang) -> None:
    """Not in the tree, the layers, the records, the logs, the manifest, the plan or what was printed."""
    first = lang.shop.first
    assert first is not None
    plan = lang.shop.run("plan", "test-1", "--json", *lang.options, env=lang.env)
    for said in (first.out, first.err, plan.out, plan.err):
        assert TOKEN not in said
    log = next((lang.shop.place / "state/logs" / NAME).glob("*hook-tune.log")).read_text()
    assert "the token is ***, which no log may tell" in log
    places = [lang.shop.place / "state", lang.shop.templates, lang.shop.run_dir]
    holders = [
        path
        for place in places
        for path in place.rglob("*")
        if path.is_file() and not path.is_symlink() and TOKEN.encode() in path.read_bytes()
    ]
    assert holders == []
    with tarfile.open(lang.shop.templates / f"{NAME}.tar.gz") as tar:
        for member in tar:
            if member.isreg():
                file = tar.extractfile(member)
                assert file is not None
                assert TOKEN.encode() not in file.read(), member.name


def test_no_process_has_a_secret_in_its_words(lang: Lang) -> None:
    """While the hook runs, every command line and environment of the machine is looked at."""
    lang.put("hooks/tune", TUNE + "exec sleep 86399\n", 0o755)
    found: list[str] = []

    def look(event: dict[str, object]) -> bool:
        if event["event"] != "progress" or event.get("text") != "hook tune":
            return False
        words = ""
        while "sleep\0" + "86399" not in words:
            found.clear()
            words = ""
            for path in (
                f"/proc/{pid}/{name}" for pid in os.listdir("/proc") if pid.isdigit() for name in FILES
            ):
                with contextlib.suppress(OSError):
                    data = Path(path).read_bytes().decode("utf-8", "replace")
                    words += data
                    found.extend([path] if TOKEN in data else [])
        return True

    stopped = lang.shop.stopped("test-1", look, signal.SIGTERM, words=lang.options, env=lang.env)
    lang.put("hooks/tune", TUNE, 0o755)
    assert stopped.status != 0
    assert found == []
    assert lang.shop.remains() == {}


def test_a_hook_that_leaves_a_secret_in_the_tree_fails(lang: Lang) -> None:
    lang.put("hooks/tune", TUNE + 'cp "$TMPLBUILD_SECRETS/token" /etc/app.key\n', 0o755)
    done = lang.shop.build("test-1", *lang.options, ok=False, env=lang.env)
    lang.put("hooks/tune", TUNE, 0o755)
    assert done.status == 7
    assert "hook tune left the secret token in the tree" in done.out
    assert "/etc/app.key" in done.out
    assert TOKEN not in done.out + done.err


def test_a_hook_that_fails_or_hangs_is_told(lang: Lang) -> None:
    lang.put(
        "hooks/tune", '#!/bin/sh\necho "no such thing: $(cat $TMPLBUILD_SECRETS/token)" >&2\nexit 3\n', 0o755
    )
    done = lang.shop.build("test-1", *lang.options, ok=False, env=lang.env)
    assert done.status == 7
    assert "stage hook-tune: hook tune: the command failed" in done.out
    assert "exit status 3" in done.out
    assert "no such thing: ***" in done.out
    lang.put("hooks/tune", "#!/bin/sh\nsleep 600\n", 0o755)
    lang.put("1.toml", RECIPE.replace('after = "configure"', 'after = "configure"\ntimeout_s = 1'))
    done = lang.shop.build("test-1", *lang.options, ok=False, env=lang.env)
    lang.put("1.toml", RECIPE)
    lang.put("hooks/tune", TUNE, 0o755)
    assert done.status == 7
    assert "took longer than 1 s and was stopped" in done.out
    assert lang.shop.remains() == {}


def test_a_secret_that_is_not_there_stops_before_any_work(lang: Lang) -> None:
    lang.put("hooks/tune", TUNE + "true\n", 0o755)
    os.rename(lang.shop.place / "secrets/token", lang.shop.place / "secrets/away")
    done = lang.shop.build("test-1", *lang.options, ok=False, env=lang.env)
    os.rename(lang.shop.place / "secrets/away", lang.shop.place / "secrets/token")
    lang.put("hooks/tune", TUNE, 0o755)
    assert done.status == 4
    assert "there is no secret token" in done.out
    assert done.ran == []


def test_a_variant_shares_all_that_lies_below_what_it_changes(lang: Lang) -> None:
    done = lang.shop.build("test-1-keyed", *lang.options, env=lang.env)
    assert done.summary["template"] == "lang-1-keyed-x86_64"
    assert done.ran[0] == "strip"
    featured = lang.shop.build("test-1", "--feature", "keyed", *lang.options, env=lang.env)
    assert featured.summary["template"] == "lang-1-keyed-x86_64"
    assert featured.unchanged, "it is the same template"
    manifest = json.loads((lang.shop.templates / "lang-1-keyed-x86_64.manifest.json").read_text())
    assert manifest["recipe"]["features"] == ["keyed"]


def test_another_package_beside_the_recipe_makes_the_tree_anew(lang: Lang) -> None:
    lang.deb("1.1")
    done = lang.shop.run("plan", "test-1", "--json", *lang.options, env=lang.env)
    assert done.status == 0, done.err
    steps = {row["stage"]: row for row in json.loads(done.out)["steps"]}
    assert steps["bootstrap"]["action"] == "cached"
    assert steps["install"]["action"] == "run"
    assert "lang-hello 1.0 -> 1.1" in steps["install"]["reason"]
    lang.put("1.toml", RECIPE + f'[install.digests]\n"debs/lang-hello.deb" = "{lang.digest}"\n')
    done = lang.shop.build("test-1", *lang.options, ok=False, env=lang.env)
    assert done.status == 6
    assert "a local package is not the one that was meant" in done.out
    lang.put("1.toml", RECIPE)
    lang.deb("1.0")


def test_an_unchanged_recipe_does_nothing(lang: Lang) -> None:
    assert lang.shop.build("test-1", *lang.options, env=lang.env).unchanged


# -- several at once ----------------------------------------------------------------------------------


def test_one_failure_does_not_keep_the_others_from_being_built(lang: Lang) -> None:
    lang.put("2.toml", RECIPE.replace("[hooks.tune]", '[install]\nadd.packages = ["no-such"]\n[hooks.tune]'))
    words = (
        "build",
        "test-[12]",
        "test-1-keyed",
        *lang.options,
        "--arch",
        "amd64,x86_64,riscv64",
        "--jobs",
        "2",
    )
    done = lang.shop.run(*words, "--json", env=lang.env)
    (lang.folder / "2.toml").unlink()
    assert done.status == 1, done.err
    report = next(event for event in done.events if event["event"] == "night_done")["report"]
    rows = {(row["recipe"], row["template"]): row["outcome"] for row in report["templates"]}
    assert rows.pop(("test-1", NAME)) == "unchanged"
    assert rows.pop(("test-1-keyed", "lang-1-keyed-x86_64")) == "unchanged"
    assert "failed" in [outcome for (name, _), outcome in rows.items() if name == "test-2"]
    assert {outcome for (_, template), outcome in rows.items() if "riscv64" in template} == {"skipped"}


def test_several_that_are_all_well_say_so_in_a_table(lang: Lang) -> None:
    done = lang.shop.run("build", "test-1", "test-1-keyed", *lang.options, env=lang.env)
    assert done.status == 0, done.err
    assert NAME in done.out + done.err
    assert "lang-1-keyed-x86_64" in done.out + done.err
    nothing = lang.shop.run("build", "nothing-*", "test-1", *lang.options, env=lang.env)
    assert nothing.status == 2
    assert 'no recipe matches "nothing-*"' in nothing.err


# -- another processor --------------------------------------------------------------------------------

ARM = """
extends = "debian/12"
[image]
name = "arm-1-{ve_arch}"
[install]
packages = ["systemd-sysv", "ifupdown", "net-tools", "iproute2"]
[check]
install = []
"""


@pytest.fixture(scope="module")
def emulated(lang: Lang, packages: Path) -> dict[str, str]:
    """The environment of a machine with QEMU for arm64."""
    if platform.machine() != "x86_64":
        pytest.skip("QEMU is taken for this processor alone: x86_64")
    path = f"{qemu(lang.shop.place / 'qemu', 'aarch64', packages)}:/usr/sbin:/usr/bin:/sbin:/bin"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", path)
        try:
            foreign.emulator("aarch64")
        except HostError as error:
            pytest.skip(f"{error.why}; {error.hint}")
    return {"PATH": path}


def test_a_template_for_another_processor(lang: Lang, emulated: dict[str, str]) -> None:
    recipe = lang.shop.recipe("arm", ARM)
    words = (recipe, "--arch", "arm64")
    without = lang.shop.build(*words, ok=False, env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"})
    assert without.status == 4
    assert "programs of aarch64 cannot be run on this machine" in without.out
    assert "apt-get install qemu-user-static" in without.out
    done = lang.shop.build(*words, env=emulated)
    assert done.ran == list(NAMES[:-1]), "all stages but the boot test"
    manifest = json.loads((lang.shop.templates / "arm-1-aarch64.manifest.json").read_text())
    assert manifest["arch"] == "arm64"
    assert manifest["emulator"] == "qemu-aarch64-static"
    assert manifest["boot_test"] == "skipped: an emulated init does not come up"
    with lang.shop.tree("arm-1-aarch64", "clean-again") as tree:
        assert tree.read_bytes("/usr/bin/dash")[18] == 183, "e_machine, elf(5)"
        assert not tree.exists("/usr/sbin/policy-rc.d")
        assert "installed" in tree.read_text("/var/lib/dpkg/status")
    assert lang.shop.build(*words, env=emulated).unchanged
    assert lang.shop.remains() == {}
