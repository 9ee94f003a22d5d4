"""The rules of ALT's system containers, each by its number, where the recipes and the checks have them.

The numbers are those of the project's reference on ALT Linux (section 2.4, "strip/disable rule list").
"""

from __future__ import annotations

import re
from collections.abc import Callable
from fnmatch import fnmatch
from functools import cache

import pytest

from tmplbuild.checks.run import rules
from tmplbuild.recipes import LoadedRecipe, load
from tmplbuild.recipes.catalogue import shipped_root
from tmplbuild.recipes.model import Edit
from tmplbuild.stages import aptrpm
from tmplbuild.stages.files import edited

Holds = Callable[[LoadedRecipe], bool]


def removes(*paths: str) -> Holds:
    """strip or clean removes each path."""

    def holds(loaded: LoadedRecipe) -> bool:
        globs = (*loaded.recipe.strip.remove, *loaded.recipe.clean.remove)
        return all(any(fnmatch(path, glob) for glob in globs) for path in paths)

    return holds


def keeps(*paths: str) -> Holds:
    """Neither stage removes any of the paths."""
    gone = [removes(path) for path in paths]
    return lambda loaded: not any(one(loaded) for one in gone)


def writes(path: str, **wanted: str | bool) -> Holds:
    """A file is made, with these keys."""

    def holds(loaded: LoadedRecipe) -> bool:
        file = {**loaded.recipe.configure.files, **loaded.recipe.clean.files}.get(path)
        return file is not None and all(getattr(file, key) == value for key, value in wanted.items())

    return holds


def turns(path: str, before: str, after: str) -> Holds:
    """The edits of a file make this line into that one ("": it goes)."""

    def holds(loaded: LoadedRecipe) -> bool:
        edits: tuple[Edit, ...] = (*loaded.recipe.configure.edits, *loaded.recipe.strip.edits)
        text = f"{before}\n"
        for rule in edits:
            if rule.path == path:
                text = edited(text, rule)
        return text == (f"{after}\n" if after else "")

    return holds


def runs(pattern: str) -> Holds:
    """A command of configure."""
    return lambda loaded: any(
        re.search(pattern, " ".join(argv)) is not None for argv in loaded.recipe.configure.commands
    )


def masks(*units: str) -> Holds:
    return lambda loaded: set(units) <= set(loaded.recipe.strip.mask)


def turns_off(*services: str) -> Holds:
    return lambda loaded: set(services) <= set(loaded.recipe.strip.rc_disable)


def excludes(*packages: str) -> Holds:
    return lambda loaded: set(packages) <= set(loaded.recipe.install.exclude)


def installs(*packages: str) -> Holds:
    return lambda loaded: set(packages) <= set(loaded.recipe.install.packages)


def judged(*ids: str) -> Holds:
    """The finished tree is judged by these rules."""
    return lambda _: set(ids) <= {one.id for one in rules()}


def _vendors(loaded: LoadedRecipe) -> bool:
    return all(line.startswith("rpm [") for line in aptrpm.lines(loaded.recipe.archives).splitlines())


def _no_kernel(loaded: LoadedRecipe) -> bool:
    return any("kernel-image" in name for name in loaded.recipe.install.exclude)


INITTAB, SYSLOG, MACROS = "/etc/inittab", "/etc/syslog.conf", "/etc/rpm/macros"
MINGETTY = "1:2345:respawn:/sbin/mingetty tty1"

CONTAINER: dict[int, tuple[Holds, ...]] = {
    1: (
        writes("/", directory=True, mode="0755"),
        removes("/.empty", "/.host", "/.in", "/.out", "/.fakedata", "/.install-log"),
        judged("directory-mode", "builder-remains"),
    ),
    2: (turns(INITTAB, MINGETTY, f"#{MINGETTY}"), judged("getty-on-tty")),
    3: (
        turns(SYSLOG, "*.* /dev/tty12", ""),
        turns(SYSLOG, "*.* /var/log/syslog/console", "#*.* /var/log/syslog/console"),
        turns(SYSLOG, "mail.* /var/log/maillog", "mail.* -/var/log/maillog"),
        judged("syslog-to-tty"),
    ),
    4: (
        runs(r"syslogd network random.*chkconfig \$name on"),
        turns_off("fbsetfont", "netfs", "rawdevices", "keytable", "udevd", "clock", "hwclock"),
        judged("clock-service-enabled", "console-service-enabled"),
    ),
    5: (
        writes("/etc/mtab", link="../proc/self/mounts"),
        writes("/etc/fstab"),
        judged("fstab-has-devices"),
    ),
    6: (runs(r"ln -sfn \.\./run /var/run"), runs(r"ln -sfn \.\./run/lock /var/lock")),
    7: (
        writes("/etc/machine-id", text="", mode="0444"),
        removes("/var/lib/dbus/machine-id"),
        judged("machine-id-set"),
    ),
    8: (
        writes("/etc/hosts", text="127.0.0.1\tlocalhost.localdomain localhost\n"),
        writes("/etc/resolv.conf", text=""),
        removes("/var/resolv/etc/resolv.conf", "/var/resolv/etc/nsswitch.conf"),
        writes("/etc/hostname", text=""),
        turns("/etc/sysconfig/network", "HOSTNAME=builder", "HOSTNAME="),
        judged("hosts-polluted", "resolv-conf-set", "hostname-set"),
    ),
    9: (
        removes("/etc/tcb/root/shadow-", "/etc/tcb/root/shadow.lock"),
        keeps("/etc/tcb/root/shadow"),
        runs(r"^usermod -p \* root$"),
        judged("alt-tcb-missing", "alt-tcb-user", "alt-tcb-open", "root-not-locked"),
    ),
    10: (
        keeps("/etc/net/ifaces/lo", "/etc/net/ifaces/default", "/etc/net/ifaces/unknown"),
        removes("/etc/net/ifaces/eth0", "/etc/net/ifaces/venet0", "/etc/net/ifaces/default/hwaddr"),
        removes("/etc/udev/rules.d/70-persistent-net.rules"),
        judged("alt-etcnet-default", "persistent-device-names"),
    ),
    11: (
        runs(r"for name in su sudo.*control .* public"),
        runs(r"\|\| control$"),
        judged("alt-control-state"),
    ),
    12: (removes("/etc/openssh/ssh_host_rsa_key", "/etc/ssh/ssh_host_rsa_key"), judged("ssh-host-keys")),
    13: (
        writes("/etc/security/limits.d/50-defaults.conf", text=""),
        turns("/etc/securetty", "tty1", "tty1\npts/0"),
        judged("alt-securetty"),
    ),
    14: (
        masks("systemd-udevd.service", "systemd-udevd-control.socket", "systemd-udevd-kernel.socket"),
        masks("systemd-modules-load.service", "systemd-journald-audit.socket", "dev-hugepages.mount"),
        masks("systemd-pstore.service", "vconsole-setup-kludge@tty1.service"),
        writes("/etc/locale.conf", text="LANG=C.UTF-8\n"),
        judged("udev-enabled", "kernel-service-enabled"),
    ),
    15: (
        writes("/etc/locale.conf", text="LANG=C.UTF-8\n"),
        turns("/etc/sysconfig/i18n", "LANG=ru_RU.UTF-8", "LANG=C.UTF-8"),
        turns(MACROS, "%_install_langs C", "%_install_langs C"),  # what the package says of languages stays
    ),
    16: (runs(r"firsttime\.d.*touch /etc/firsttime\.flag.*rm -f"), judged("alt-firsttime-flag")),
    17: (
        runs("ldconfig -X"),
        runs("systemd-update-done"),
        removes("/var/lib/random/random-seed", "/var/lib/systemd/random-seed"),
        judged("random-seed"),
    ),
    18: (
        removes("/var/cache/apt/pkgcache.bin", "/var/cache/apt/archives/a-1-alt1.noarch.rpm"),
        removes("/var/lib/apt/lists/ftp.altlinux.org_pub_base_pkglist.classic"),
        keeps("/var/cache/apt/archives", "/var/lib/apt/lists"),
        _vendors,
        judged("apt-lists-present", "source-of-build", "alt-source-without-vendor", "alt-vendor-unknown"),
    ),
    19: (
        removes("/var/lib/rpm/__db.001", "/var/lib/rpm/.dbenv.lock", "/var/lib/rpm/.rpm.lock"),
        turns(MACROS, "%_rpmscript_werror 1", ""),
        turns(MACROS, "%_netsharedpath /proc", ""),
        turns(MACROS, "%_httpproxy proxy", ""),
        judged("rpm-lock-left", "rpm-filetriggers-waiting", "rpm-macro-of-build"),
    ),
    20: (
        excludes("make-initrd", "grub", "udev-rule-generator-net", "alsa-utils", "lvm2", "mdadm"),
        excludes("smartmontools", "acpid", "ntpd", "chrony", "gpm", "kbd-data", "ifplugd", "hdparm"),
        excludes("osec-cron", "anacron"),
        _no_kernel,
        removes("/root/.bash_history", "/root/tmp/x"),
        lambda loaded: "/var/log/**" in loaded.recipe.clean.truncate,
        judged("log-not-empty", "shell-history", "kernel-present"),
    ),
}
LEGACY: tuple[Holds, ...] = (  # 21: branches 4.x and 5.x
    turns("/etc/sysconfig/clock", "HWCLOCK_ADJUST=true", "#HWCLOCK_ADJUST=true"),
    removes("/etc/modprobe.conf"),
    installs("etcnet"),  # in place of net-scripts
    lambda loaded: not runs("/var/run")(loaded),  # they know no /run
    judged("alt-sysconfig-clock"),
)


@cache
def recipe(branch: str) -> LoadedRecipe:
    return load(f"altlinux-{branch}", roots=[shipped_root()])


@pytest.mark.parametrize("number", CONTAINER)
@pytest.mark.parametrize("branch", ["p10", "p11", "p11-sysvinit", "sisyphus"])
def test_a_container_s_rule_is_recipe_data(number: int, branch: str) -> None:
    loaded = recipe(branch)
    assert [at for at, holds in enumerate(CONTAINER[number]) if not holds(loaded)] == []


@pytest.mark.parametrize("branch", ["4.1", "5.0"])
def test_what_old_branches_need_is_recipe_data(branch: str) -> None:
    loaded = recipe(branch)
    assert [at for at, holds in enumerate(LEGACY) if not holds(loaded)] == []
    changed = {6}  # no /run
    same = [number for number, all_ in CONTAINER.items() if all(holds(loaded) for holds in all_)]
    assert set(CONTAINER) - set(same) == changed


def test_no_rule_is_left_out() -> None:
    assert [*CONTAINER, 21] == list(range(1, 22))
