"""Maintainer scripts in a real tree: what they see, what they may do, and how their failures are told."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.conftest import Places
from tests.deb_factory import package
from tests.deb_trees import Choice, Ground, Maker, open_source
from tmplbuild.archives.model import Package
from tmplbuild.core import Tree
from tmplbuild.errors import StageError
from tmplbuild.recipes.model import Install
from tmplbuild.stages import install

pytestmark = [pytest.mark.root, pytest.mark.network, pytest.mark.live, pytest.mark.slow]

FOLDERS: Mapping[str, None] = {"": None, "etc": None, "usr": None, "usr/bin": None, "usr/share": None}

TEMPLATE = "Template: NAME/word\nType: string\nDefault: NAME\nDescription: a word\n"


@dataclass
class Yard:
    """A base, and packages of our own to put on it."""

    maker: Maker
    choice: Choice
    debs: Path

    def install(
        self,
        *packages: tuple[Package, Path],
        auto: Sequence[str] = (),
        timeout_s: int = 60,
        background: tuple[str, ...] = (),
        idle: tuple[str, ...] = (),
        first: tuple[str, ...] = (),
        ready: tuple[str, ...] = (),
    ) -> None:
        """Stage install of these on the base, in a new layer."""
        self.maker.new_layer()
        files = {found.sha256: path for found, path in packages}
        ground = Ground(self.maker.core, self.maker.full_rootfs, "amd64", files)
        asked = Install(timeout_s=timeout_s, background=background, idle=idle, first=first, ready=ready)
        install.run(ground, asked, [found for found, _ in packages], frozenset(auto))

    def tree(self) -> Tree:
        """The changes, as they lie in the layer."""
        return Tree(self.maker.place / "top")

    def program(self, name: str, *lines: str) -> tuple[Package, Path]:
        """A package with a program of that name, a script."""
        path = f"usr/bin/{name}"
        return self.package(name, {path: script(*lines)}, modes={path: 0o755})

    def package(
        self, name: str, files: Mapping[str, object] | None = None, **options: object
    ) -> tuple[Package, Path]:
        """A package of our own."""
        return package(self.debs, name, {**FOLDERS, **(files or {})}, **options)  # type: ignore[arg-type]


def script(*lines: str) -> bytes:
    """A maintainer script."""
    return ("#!/bin/sh\nset -e\n" + "\n".join(lines) + "\n").encode()


@pytest.fixture(scope="module")
def base(places: Places, packages: Path) -> tuple[Maker, Choice]:
    """The base of Debian 12, made once."""
    choice = open_source("debian-12", packages).choose(packages=())
    maker = Maker(places("trees"))
    maker.make_base(choice)
    return maker, choice


@pytest.fixture
def yard(base: tuple[Maker, Choice], tmp_path: Path) -> Yard:
    """A new place for packages on the base."""
    return Yard(*base, tmp_path)


def test_dpkg_finds_nothing_amiss(yard: Yard) -> None:
    with yard.maker.core.start("check", yard.maker.base_rootfs, init=False) as ve:
        for argv in (["dpkg", "--audit"], ["dpkg", "--verify"], ["apt-get", "check", "-qq"]):
            result = ve.exec(argv)
            assert (result.rc, result.stdout) == (0, b""), argv


def test_scripts_see_what_dpkg_promises(yard: Yard) -> None:
    told = 'echo "$0 $* $DPKG_MAINTSCRIPT_NAME $DPKG_MAINTSCRIPT_PACKAGE $PWD" >> /etc/told'
    seen = 'test ! -e /usr/bin/app || echo "too late" >> /etc/told'
    app = yard.package(
        "app",
        {"usr/bin/app": b"x", "etc/app.conf": b"a\n"},
        scripts={
            "preinst": script(told, seen),
            "postinst": script(told, "test -e /usr/bin/app", "test -e /etc/app.conf"),
            "conffiles": b"/etc/app.conf\n",
        },
    )
    yard.install(app)
    with yard.tree() as tree:
        preinst, postinst = tree.read_text("/etc/told").splitlines()
        assert preinst == "/var/lib/dpkg/tmp.ci/preinst install preinst app /"
        assert postinst == "/var/lib/dpkg/info/app.postinst configure  postinst app /"
        assert not tree.exists("/var/lib/dpkg/tmp.ci")
        assert (
            "Status: install ok installed"
            in tree.read_text("/var/lib/dpkg/status").split("Package: app\n")[1]
        )


def test_no_service_starts_and_no_trace_stays(yard: Yard) -> None:
    init = script('echo "started $1" >> /etc/started')
    app = yard.package(
        "app",
        {"etc/init.d": None, "etc/init.d/app": init},
        modes={"etc/init.d/app": 0o755},
        scripts={"postinst": script("invoke-rc.d app start || true", "sleep 1000 &")},
    )
    yard.install(app)
    with yard.tree() as tree:
        assert not tree.exists("/etc/started")
        assert not tree.exists("/usr/sbin/policy-rc.d")
        assert not tree.exists("/var/log/dpkg.log")
    assert yard.maker.core.list() == []


def test_pre_depends_are_configured_before_the_script_that_needs_them(yard: Yard) -> None:
    tool = yard.package("tool", {"usr/bin/tool": b""}, scripts={"postinst": script("touch /etc/tool-ready")})
    app = yard.package("app", scripts={"preinst": script("test -e /etc/tool-ready")}, Pre_Depends="tool")
    yard.install(app, tool)


def test_a_diversion_made_by_a_preinst_is_obeyed(yard: Yard) -> None:
    divert = "dpkg-divert --package app --add --rename --divert /usr/bin/who.real /usr/bin/who"
    app = yard.package(
        "app",
        {"usr/bin/who": b"ours"},
        scripts={"preinst": script(divert)},
    )
    yard.install(app)
    with yard.maker.core.tree(yard.maker.full_rootfs, writable=False) as tree:
        assert tree.read_bytes("/usr/bin/who") == b"ours"
        assert tree.read_bytes("/usr/bin/who.real")[:4] == b"\x7fELF"


def test_triggers_of_the_base_and_of_new_packages_run(yard: Yard) -> None:
    watcher = yard.package(
        "watcher",
        scripts={
            "triggers": b"interest-noawait /usr/share/watched\n",
            "postinst": script('echo "$*" >> /etc/watcher'),
        },
    )
    library = yard.package(
        "library",
        {"usr/share/watched": None, "usr/share/watched/x": b""},
        scripts={"triggers": b"activate-noawait ldconfig\n"},
    )
    yard.install(watcher, library)
    with yard.tree() as tree:
        assert tree.read_text("/etc/watcher") == "configure \n", "it was configured after the file was there"
        assert tree.exists("/etc/ld.so.cache")
        assert "Triggers-Pending" not in tree.read_text("/var/lib/dpkg/status")


def test_wanted_and_automatic_packages(yard: Yard) -> None:
    yard.install(yard.package("app"), yard.package("library"), auto=["library", "gpgv"])
    with yard.tree() as tree:
        names = [
            line for line in tree.read_text("/var/lib/apt/extended_states").splitlines() if "Package" in line
        ]
    assert names == ["Package: gpgv", "Package: library"]


def test_a_program_goes_on_in_the_background_and_is_waited_for(yard: Yard) -> None:
    slow = yard.program("slow", "until test -e /etc/go; do sleep 0.01; done", 'echo "$*" >> /etc/told')
    # the first call would wait for ever if it were not left alone, and the second waits for the first
    postinst = script("slow one 3>&1", "test ! -e /etc/told", "touch /etc/go", "slow two")
    yard.install(slow, yard.package("app", scripts={"postinst": postinst}), background=("/usr/bin/slow",))
    with yard.tree() as tree:
        assert tree.read_text("/etc/told") == "one\ntwo\n"
        assert tree.read_text("/usr/bin/slow").endswith("/etc/told\n"), "the program is itself again"


def test_an_idle_program_does_nothing(yard: Yard) -> None:
    useless = yard.program("useless", "touch /etc/useless")
    app = yard.package("app", scripts={"postinst": script("useless", "touch /etc/app")})
    yard.install(useless, app, idle=("/usr/bin/useless", "/usr/bin/not-there"))
    with yard.tree() as tree:
        assert tree.exists("/etc/app")
        assert not tree.exists("/etc/useless")


def test_a_call_is_idle_by_its_first_words(yard: Yard) -> None:
    tool = yard.program("tool", 'echo "$*" >> /etc/told')
    postinst = script("tool --draft one", "tool --final two", "tool --draft-not", "tool")
    app = yard.package("app", scripts={"postinst": postinst})
    yard.install(tool, app, idle=("/usr/bin/tool --draft ", "/usr/bin/tool --nothing"))
    with yard.tree() as tree:
        assert tree.read_text("/etc/told") == "--final two\n--draft-not\n\n"


def test_a_packages_script_goes_on_in_the_background(yard: Yard) -> None:
    # each waits for the other: both end only if they run side by side
    slow = yard.package("slow", scripts={"postinst": script("until test -e /etc/fast; do sleep 0.01; done")})
    fast = yard.package(
        "z-fast", scripts={"postinst": script("test -e /var/lib/dpkg/info/slow.list", "touch /etc/fast")}
    )
    yard.install(fast, slow, background=("/var/lib/dpkg/info/slow.postinst",), first=("slow",))
    with yard.tree() as tree:
        assert tree.exists("/etc/fast")
        assert tree.read_text("/var/lib/dpkg/info/slow.postinst").startswith("#!/bin/sh\nset -e\nuntil")


@pytest.mark.parametrize("ready", [(), ("/usr/share/debconf/frontend",)])
def test_scripts_in_the_background_take_turns_at_debconf(yard: Yard, ready: tuple[str, ...]) -> None:
    """Also where what is kept ready does not answer, as before it is loaded: there is nobody at its door."""
    doors = "/run/tmplbuild/*.door"
    leave = [f"until ls {doors}; do sleep 0.01; done", f"rm {doors}"] if ready else ["true"]
    early = yard.package("early", scripts={"postinst": script(*leave)})
    ask, tell = ". /usr/share/debconf/confmodule", 'echo "$RET" >> "/etc/$DPKG_MAINTSCRIPT_PACKAGE"'
    apps = [
        yard.package(
            name,
            scripts={
                "templates": TEMPLATE.replace("NAME", name).encode(),
                "postinst": script(ask, f"db_get {name}/word", "sleep 0.1", tell),
            },
        )
        for name in ("app-one", "app-two", "app-three")
    ]
    scripts = tuple(f"/var/lib/dpkg/info/app-{name}.postinst" for name in ("one", "two"))
    yard.install(early, *apps, background=scripts, first=("early",), ready=ready)
    with yard.tree() as tree:
        assert [tree.read_text(f"/etc/app-{name}") for name in ("one", "two", "three")] == [
            "app-one\n",
            "app-two\n",
            "app-three\n",
        ]


ANSWERS = b"""#!/usr/bin/perl -w
use strict;
use File::Temp;
my $loaded = getppid == $ENV{CALLER} ? "by itself" : "ready";
open(my $told, ">>", "/etc/told");
print $told join(" ", $loaded, $0, @ARGV, scalar <STDIN>), <DATA>;
print $told "$ENV{WORD} ", `pwd`, sprintf("%04o", umask), "\\n";
open(my $third, ">&=", 3) or die;
print $third "third\\n";
print "out\\n";
print STDERR "err\\n";
$! = 0;
die "enough" if "@ARGV" eq "die";
kill 9, $$ if "@ARGV" eq "killed";
exit 7;
__DATA__
data
"""


def test_a_program_kept_ready_is_what_it_would_be_by_itself(yard: Yard) -> None:
    call = "echo in | WORD='a b' CALLER=$$ answer {} >> /etc/out 2>> /etc/err || echo $? >> /etc/status"
    lines = [
        "test ! -e /run/tmplbuild/Ready.pm || until test -S /run/tmplbuild/0.door; do sleep 0.01; done",
        "cd /usr/share; umask 077; exec 3>> /etc/third",
        *(call.format(words) for words in ("'x y' ''", "die", "killed")),
        "setpriv --reuid 1 --clear-groups answer < /dev/null || echo $? >> /etc/status",
    ]
    answer = yard.package("answer", {"usr/bin/answer": ANSWERS}, modes={"usr/bin/answer": 0o755})
    app = yard.package("app", scripts={"postinst": script(*lines)})
    told = {}
    for ready in ((), ("/usr/bin/answer", "/usr/bin/not-there", "/usr/bin/dpkg-query")):
        yard.install(answer, app, ready=ready)
        with yard.tree() as tree:
            names = ("told", "out", "err", "third", "status")
            told[bool(ready)] = {name: tree.read_text(f"/etc/{name}") for name in names}
    assert "by itself" in told[False]["told"]
    of_the_tree = "/run/tmplbuild/tree/usr/bin/answer line"  # only messages of Perl itself show it
    told[True]["err"] = told[True]["err"].replace(of_the_tree, "/usr/bin/answer line")
    told[False]["told"] = told[False]["told"].replace("by itself", "ready")
    assert told[True] == told[False]
    assert told[True]["status"] == "7\n255\n137\n7\n"


def test_what_comes_first_is_configured_first_with_what_it_needs(yard: Yard) -> None:
    told = 'echo "$DPKG_MAINTSCRIPT_PACKAGE" >> /etc/told'
    need = yard.package("y-need", scripts={"postinst": script(told)})
    last = yard.package("z-last", scripts={"postinst": script(told)}, Depends="y-need")
    app = yard.package("app", scripts={"postinst": script(told)})
    yard.install(app, last, need, first=("z-last", "not-there"))
    with yard.tree() as tree:
        assert tree.read_text("/etc/told") == "y-need\nz-last\napp\n"


# -- failures --------------------------------------------------------------------------------------


def test_a_failing_postinst_is_named_with_its_output(yard: Yard) -> None:
    app = yard.package("app", scripts={"postinst": script("echo the disk is on fire", "exit 7")})
    with pytest.raises(StageError) as caught:
        yard.install(app, yard.package("other"))
    assert caught.value.what == "the post-installation script of package app failed"
    assert "7" in caught.value.why
    assert any("the disk is on fire" in line for line in caught.value.tail)
    assert yard.maker.core.list() == []


def test_a_failing_preinst_is_named_with_its_output(yard: Yard) -> None:
    app = yard.package("app", scripts={"preinst": script("echo not on this day", "exit 3")})
    with pytest.raises(StageError) as caught:
        yard.install(app)
    assert caught.value.what == "the preinst script of package app failed"
    assert (caught.value.where, caught.value.why) == ("app", "exit status 3")
    assert any("not on this day" in line for line in caught.value.tail)


def test_a_failure_in_the_background_is_told_with_its_output(yard: Yard) -> None:
    slow = yard.program("slow", "echo no certificate is good", "exit 4")
    app = yard.package("app", scripts={"postinst": script("slow --fresh")})
    with pytest.raises(StageError) as caught:
        yard.install(slow, app, background=("/usr/bin/slow",))
    assert "in the background failed" in caught.value.what
    assert caught.value.why == "/usr/bin/slow --fresh: exit status 4"
    assert "no certificate is good" in caught.value.tail


def test_a_script_that_hangs_is_stopped(yard: Yard) -> None:
    app = yard.package("app", scripts={"postinst": script("echo waiting", "sleep 1000")})
    with pytest.raises(StageError) as caught:
        yard.install(app, timeout_s=3)
    assert "took longer than 3 s" in caught.value.what
    assert any("Setting up app" in line for line in caught.value.tail)
    assert yard.maker.core.list() == []


def test_an_unmet_dependency_is_named(yard: Yard) -> None:
    with pytest.raises(StageError) as caught:
        yard.install(yard.package("app", Depends="not-there"))
    assert "app" in caught.value.what
    assert any("not-there" in line for line in caught.value.tail)


def test_scripts_reach_only_the_tree(yard: Yard, tmp_path: Path) -> None:
    # Only probes that would do no harm if the fence were down: the test runs on somebody's machine.
    witness = tmp_path / "witness"
    witness.write_text("here")
    lines = [
        f"rm -f {witness}",
        f"chroot /proc/1/root rm -f {witness}",
        "! grep -q pytest /proc/[0-9]*/cmdline",  # other processes are not even seen
        "test $(cut -d: -f1 /proc/net/dev | tail -n +3 | tr -d ' ') = lo",
        "! awk '$1 == 0 && $2 == 0' /proc/self/uid_map | grep -q .",  # root here is not root there
    ]
    yard.install(yard.package("app", scripts={"preinst": script(*lines)}))
    assert witness.read_text() == "here"


def test_a_packages_script_that_fails_in_the_background_is_named(yard: Yard) -> None:
    app = yard.package("app", scripts={"postinst": script("echo the disk is on fire", "exit 7")})
    with pytest.raises(StageError) as caught:
        yard.install(app, background=("/var/lib/dpkg/info/app.postinst",))
    assert caught.value.why == "/var/lib/dpkg/info/app.postinst configure : exit status 7"
    assert "the disk is on fire" in caught.value.tail
