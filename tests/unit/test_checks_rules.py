"""Every rule speaks on a bad tree and is silent on good ones."""

# ruff: noqa: E501 (a table: one case a line)

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.unit.checks_trees import (
    PROGRAM,
    SHIPPED_CONF,
    STATUS_HEAD,
    SYSTEMD_UNITS,
    Node,
    Tree,
    alt,
    debian,
    device,
    file,
    folder,
    link,
    packed,
    sysvinit,
    unpacked,
    view_of,
)
from tmplbuild.checks import check_file, lint, rules
from tmplbuild.checks.run import MAX_FINDINGS
from tmplbuild.errors import UsageError


class Case(NamedTuple):
    """Changes to a clean tree; `path` is where the finding must be (none for a good tree)."""

    rule: str
    changes: Tree
    path: str = ""
    base: Callable[[Tree], dict[str, Node]] = debian
    options: dict[str, object] = {}  # noqa: RUF012 (never changed)


V3_CAPABILITY = bytes.fromhex("0100000300200000000000000000000000000000a0860100")
V2_CAPABILITY = bytes.fromhex("0100000200200000000000000000000000000000")
WANTS = "/etc/systemd/system"
HASH = "$y$j9T$abcdefgh$0123456789012345678901234567890123456789012"
SU_FACILITY = {
    "/etc/group": file("root:x:0:\nwheel:x:10:root\n"),
    "/etc/control.d/facilities/su": file(
        "#!/bin/sh\n. /etc/control.d/functions\nBINARY=/bin/su\nnew_fmode public 4711 root root\n"
        'new_fmode wheelonly 4710 root wheel\ncontrol_fmode "$BINARY" "$*" || exit 1\n',
        0o755,
    ),
}
KEY = "-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaA==\n-----END OPENSSH PRIVATE KEY-----\n"


def wanted(unit: str, by: str = "multi-user.target") -> Tree:
    """A unit that is enabled."""
    return {
        f"{SYSTEMD_UNITS}/{unit}": file("[Unit]\n"),
        f"{WANTS}/{by}.wants/{unit}": link(f"{SYSTEMD_UNITS}/{unit}"),
    }


def masked(unit: str) -> Tree:
    """The same unit, masked."""
    return {**wanted(unit), f"{WANTS}/{unit}": link("/dev/null")}


def shadow(text: str) -> Tree:
    return {"/etc/shadow": file(text, 0o640, gid=42)}


BAD = [
    Case("kernel-present", {"/boot/vmlinuz-6.1.0": file("MZ")}, "/boot/vmlinuz-6.1.0"),
    Case("kernel-present", {"/initrd.img": link("boot/initrd.img-6.1")}, "/initrd.img"),
    Case(
        "kernel-present",
        {"/var/lib/dpkg/status": file(STATUS_HEAD + "\n" + STATUS_HEAD.replace("demo", "linux-image-amd64"))},
        "/var/lib/dpkg/status",
    ),
    Case("modules-present", {"/usr/lib/modules/6.1.0/modules.dep": file("x")}, "/usr/lib/modules/6.1.0"),
    Case("boot-not-empty", {"/boot/config-6.1": file("x")}, "/boot/config-6.1"),
    Case("bootloader-present", {"/boot/grub/grub.cfg": file("x")}, "/boot/grub/grub.cfg"),
    Case("bootloader-present", {"/usr/sbin/grub-install": PROGRAM}, "/usr/sbin/grub-install"),
    Case("fstab-has-devices", {"/etc/fstab": file("UUID=12 /mnt ext4 defaults 0 1\n")}, "/etc/fstab"),
    Case("fstab-has-devices", {"/etc/fstab": file("overlay / overlay defaults 0 0\n")}, "/etc/fstab"),
    Case("modules-listed", {"/etc/modules": file("# no\nloop\n")}, "/etc/modules"),
    Case("missing-init", {"/usr/sbin/init": None}, "/sbin/init"),
    Case("missing-init", {"/usr/lib/systemd/systemd": file("x", 0o644)}, "/usr/lib/systemd/systemd"),
    Case("missing-directory", {"/proc": None}, "/proc"),
    Case("os-release-missing", {"/usr/lib/os-release": None}, "/etc/os-release"),
    Case("os-release-missing", {"/usr/lib/os-release": file("NAME=x\n")}, "/etc/os-release"),
    Case("udev-enabled", {"/etc/systemd/system/systemd-udevd.service": None}, f"{SYSTEMD_UNITS}/sysinit.target.wants/systemd-udevd.service"),
    Case("udev-enabled", {"/etc/rcS.d/S02udev": link("../init.d/udev")}, "/etc/rcS.d/S02udev", sysvinit),
    Case("udev-enabled", {"/etc/init/udevtrigger.conf": file("start on startup\n")}, "/etc/init/udevtrigger.conf", sysvinit),
    Case("udev-enabled", {"/etc/runlevels/sysinit/mdev": link("/etc/init.d/mdev")}, "/etc/runlevels/sysinit/mdev", sysvinit),
    Case("clock-service-enabled", wanted("chrony.service"), f"{WANTS}/multi-user.target.wants/chrony.service"),
    Case("clock-service-enabled", {"/etc/rcS.d/S01hwclock.sh": link("../init.d/hwclock.sh")}, "/etc/rcS.d/S01hwclock.sh", sysvinit),
    Case("console-service-enabled", wanted("console-setup.service"), f"{WANTS}/multi-user.target.wants/console-setup.service"),
    Case("kernel-service-enabled", wanted("fstrim.timer", "timers.target"), f"{WANTS}/timers.target.wants/fstrim.timer"),
    Case("getty-on-tty", wanted("getty@tty1.service", "getty.target"), f"{WANTS}/getty.target.wants/getty@tty1.service"),
    Case("getty-on-tty", {"/etc/inittab": file("1:2345:respawn:/sbin/mingetty tty1\n")}, "/etc/inittab", sysvinit),
    Case("getty-on-tty", {"/etc/init/tty1.conf": file("start on stopped rc\n")}, "/etc/init/tty1.conf", sysvinit),
    Case("getty-wants-missing", {f"{WANTS}/getty.target.wants": None}, f"{WANTS}/getty.target.wants"),
    Case("ctrlaltdel-set", {"/etc/inittab": file("ca:12345:ctrlaltdel:/sbin/shutdown -r now\n")}, "/etc/inittab", sysvinit),
    Case("syslog-to-tty", {"/etc/rsyslog.conf": file("*.* |/dev/xconsole\n")}, "/etc/rsyslog.conf"),
    Case("syslog-to-tty", {"/etc/syslog.conf": file("*.*\t/dev/tty12\n")}, "/etc/syslog.conf"),
    Case("machine-id-set", {"/etc/machine-id": file("0123456789abcdef0123456789abcdef\n")}, "/etc/machine-id"),
    Case("machine-id-set", {"/var/lib/dbus/machine-id": file("0123456789abcdef0123456789abcdef\n")}, "/var/lib/dbus/machine-id"),
    Case("machine-id-first-boot", {"/etc/machine-id": None}, "/etc/machine-id"),
    Case("machine-id-first-boot", {"/etc/machine-id": file("uninitialized\n")}, "/etc/machine-id"),
    Case("ssh-host-keys", {"/etc/ssh/ssh_host_rsa_key": file(KEY, 0o600)}, "/etc/ssh/ssh_host_rsa_key"),
    Case("ssh-host-keys", {"/etc/openssh/ssh_host_ed25519_key.pub": file("ssh-ed25519")}, "/etc/openssh/ssh_host_ed25519_key.pub"),
    Case("ssh-keys-not-made", {"/usr/sbin/sshd": file("\x7fELF", 0o755)}, "/usr/sbin/sshd"),
    Case("random-seed", {"/var/lib/systemd/random-seed": file(b"\0\1\2")}, "/var/lib/systemd/random-seed"),
    Case("random-seed", {"/var/lib/systemd/credential.secret": file("s")}, "/var/lib/systemd/credential.secret"),
    Case("private-key", {"/etc/ssl/private/ssl-cert-snakeoil.key": file(KEY, 0o600)}, "/etc/ssl/private/ssl-cert-snakeoil.key"),
    Case("private-key", {"/etc/pacman.d/gnupg/secring.gpg": file("x")}, "/etc/pacman.d/gnupg/secring.gpg"),
    Case("hostname-set", {"/etc/hostname": file("builder7\n")}, "/etc/hostname"),
    Case("hostname-set", {"/etc/sysconfig/network": file("NETWORKING=yes\nHOSTNAME=builder7\n")}, "/etc/sysconfig/network"),
    Case("lease-left", {"/var/lib/dhcp/dhclient.eth0.leases": file("lease {}")}, "/var/lib/dhcp/dhclient.eth0.leases"),
    Case("resolv-conf-set", {"/etc/resolv.conf": file("nameserver 192.0.2.1\n")}, "/etc/resolv.conf"),
    Case("resolv-conf-set", {"/var/spool/postfix/etc/resolv.conf": file("search example.org\n")}, "/var/spool/postfix/etc/resolv.conf"),
    Case("resolv-conf-dangling", {"/etc/resolv.conf": link("../run/systemd/resolve/stub-resolv.conf")}, "/etc/resolv.conf"),
    Case("hosts-polluted", {"/etc/hosts": file("127.0.1.1 builder7\n")}, "/etc/hosts"),
    Case("hosts-polluted", {"/etc/hosts": file("192.0.2.7 localhost\n")}, "/etc/hosts"),
    Case("network-config-present", {"/etc/network/interfaces": file("iface eth0 inet dhcp\n")}, "/etc/network/interfaces"),
    Case("network-config-present", {"/etc/netplan/50-cloud-init.yaml": file("network:\n")}, "/etc/netplan/50-cloud-init.yaml"),
    Case("network-config-present", {"/etc/net/ifaces/venet0/options": file("TYPE=lo\n")}, "/etc/net/ifaces/venet0", alt),
    Case("persistent-device-names", {"/etc/udev/rules.d/70-persistent-net.rules": file("SUBSYSTEM\n")}, "/etc/udev/rules.d/70-persistent-net.rules"),
    Case("ifupdown-missing", {"/usr/sbin/ifup": None}, "/sbin/ifup"),
    Case("root-password-set", shadow(f"root:{HASH}:19000::::::\n"), "/etc/shadow"),
    Case("root-password-set", {"/etc/tcb/root/shadow": file(f"root:{HASH}:1::::::\n")}, "/etc/tcb/root/shadow", alt),
    Case("root-not-locked", shadow("nobody:*:19000::::::\n"), "/etc/shadow"),
    Case("root-not-locked", {"/etc/passwd": file("x:x:0:0::/:/bin/sh\n")}, "/etc/passwd"),
    Case("empty-password", shadow("root:*:19000::::::\nuser::19000::::::\n"), "/etc/shadow"),
    Case("empty-password", {"/etc/passwd": file("root::0:0:root:/root:/bin/sh\n")}, "/etc/passwd"),
    Case("password-hash-anywhere", shadow(f"root:*:1::::::\nuser:!{HASH}:1::::::\n"), "/etc/shadow"),
    Case("password-hash-anywhere", {"/etc/shadow-": file(f"root:{HASH}:1::::::\n", 0o600)}, "/etc/shadow-"),
    Case("password-hash-anywhere", {"/etc/passwd": file("root:abcdefghijklm:0:0::/:/bin/sh\n")}, "/etc/passwd"),
    Case("extra-uid-0", {"/etc/passwd": file("root:x:0:0::/:/bin/sh\ntoor:x:0:0::/:/bin/sh\n")}, "/etc/passwd"),
    Case("duplicate-uid", {"/etc/passwd": file("root:x:0:0::/:/bin/sh\na:x:5:0::/:/\nb:x:5:0::/:/\n")}, "/etc/passwd"),
    Case("duplicate-uid", {"/etc/passwd": file("root:x:0:0::/:/bin/sh\na:x:5:0::/:/\na:x:6:0::/:/\n")}, "/etc/passwd"),
    Case("login-account", {"/etc/passwd": file("root:x:0:0::/:/bin/sh\njoe:x:1000:0::/home/joe:/bin/bash\n")}, "/etc/passwd"),
    Case("ssh-authorized-keys", {"/root/.ssh/authorized_keys": file("ssh-ed25519 AAAA joe\n")}, "/root/.ssh/authorized_keys"),
    Case("sudoers-nopasswd", {"/etc/sudoers.d/90-cloud": file("joe ALL=(ALL) NOPASSWD:ALL\n")}, "/etc/sudoers.d/90-cloud"),
    Case("sudoers-nopasswd", {"/etc/doas.conf": file("permit nopass joe\n")}, "/etc/doas.conf"),
    Case("uid-too-big", {"/var/log/wtmp": file(uid=100000)}, "/var/log/wtmp"),
    Case("unknown-owner", {"/var/log/wtmp": file(uid=1234)}, "/var/log/wtmp"),
    Case("unknown-owner", {"/var/log/wtmp": file(gid=1234)}, "/var/log/wtmp"),
    Case("setuid-unexpected", {"/usr/bin/helper": file("\x7fELF", 0o4755)}, "/usr/bin/helper"),
    Case("setuid-unexpected", {"/home/joe/su": file("\x7fELF", 0o4755)}, "/home/joe/su"),
    Case("world-writable", {"/etc/demo.conf": file("x", 0o666)}, "/etc/demo.conf"),
    Case("world-writable", {"/srv/all": folder(0o777)}, "/srv/all"),
    Case("broken-symlink", {"/etc/systemd/system/gone.service": link("/usr/lib/systemd/system/gone.service")}, "/etc/systemd/system/gone.service"),
    Case("broken-symlink", {"/usr/lib/a": link("b"), "/usr/lib/b": link("a")}, "/usr/lib/a"),
    Case("broken-symlink", {"/etc/rc2.d/S01gone": link("../init.d/gone")}, "/etc/rc2.d/S01gone", sysvinit),
    Case("device-node", {"/dev/null": device(1, 3)}, "/dev/null"),
    Case("device-node-unexpected", {"/dev/sda": device(8, 0, block=True)}, "/dev/sda"),
    Case("device-node-unexpected", {"/usr/share/mem": device(1, 1)}, "/usr/share/mem"),
    Case("directory-mode", {"/tmp": folder(0o755)}, "/tmp"),
    Case("directory-mode", {"/root": folder(0o755)}, "/root"),
    Case("directory-mode", {"/etc": folder(uid=65534)}, "/etc"),
    Case("directory-mode", {"/": folder(0o1775)}, "/"),
    Case("secret-readable", {"/etc/shadow": file("root:*:1::::::\n", 0o644)}, "/etc/shadow"),
    Case("xattr-of-host", {"/etc/demo.conf": file("x", xattrs={"security.selinux": b"system_u\0"})}, "/etc/demo.conf"),
    Case("capability-of-namespace", {"/etc/demo.conf": file("x", xattrs={"security.capability": V3_CAPABILITY})}, "/etc/demo.conf"),
    Case("timezone-missing", {"/etc/localtime": None}, "/etc/localtime"),
    Case("timezone-missing", {"/etc/localtime": link("/usr/share/zoneinfo/Mars/Base")}, "/etc/localtime"),
    Case("locale-missing", {"/etc/default/locale": None}, "/etc/locale.conf"),
    Case("log-not-empty", {"/var/log/syslog": file("Jan 1\n")}, "/var/log/syslog"),
    Case("log-not-empty", {"/var/log/apt/history.log": file("x")}, "/var/log/apt/history.log"),
    Case("journal-present", {"/var/log/journal/0123/system.journal": file("LPKSHHRH")}, "/var/log/journal/0123"),
    Case("spool-not-empty", {"/var/spool/postfix/maildrop/1A2B": file("x")}, "/var/spool/postfix/maildrop/1A2B"),
    Case("spool-not-empty", {"/var/spool/cron/crontabs/root": file("* * * * * x")}, "/var/spool/cron/crontabs/root"),
    Case("mail-left", {"/var/mail/root": file("From root")}, "/var/mail/root"),
    Case("mail-left", {"/root/dead.letter": file("x")}, "/root/dead.letter"),
    Case("apt-lists-present", {"/var/lib/apt/lists/deb_dists_x_InRelease": file("Origin")}, "/var/lib/apt/lists/deb_dists_x_InRelease"),
    Case("package-cache-present", {"/var/cache/apt/archives/a_1_amd64.deb": file("!<arch>")}, "/var/cache/apt/archives/a_1_amd64.deb"),
    Case("package-cache-present", {"/var/cache/dnf/x/repomd.xml": file("<x>")}, "/var/cache/dnf/x/repomd.xml"),
    Case("package-cache-present", {"/var/cache/pacman/pkg/a.pkg.tar.zst": file("x")}, "/var/cache/pacman/pkg/a.pkg.tar.zst"),
    Case("cache-present", {"/var/cache/debconf/config.dat-old": file("x")}, "/var/cache/debconf/config.dat-old"),
    Case("leftover-config", {"/etc/login.defs.dpkg-dist": file("x")}, "/etc/login.defs.dpkg-dist"),
    Case("leftover-config", {"/etc/passwd.rpmnew": file("x")}, "/etc/passwd.rpmnew", alt),
    Case("leftover-config", {"/etc/pacman.conf.pacsave.1": file("x")}, "/etc/pacman.conf.pacsave.1"),
    Case("leftover-config", {"/etc/._cfg0000_make.conf": file("x")}, "/etc/._cfg0000_make.conf"),
    Case("unfinished-transaction", {"/etc/login.defs.dpkg-new": file("x")}, "/etc/login.defs.dpkg-new"),
    Case("unfinished-transaction", {"/usr/bin/ls;5f3a1c0d": file("x")}, "/usr/bin/ls;5f3a1c0d", alt),
    Case("unfinished-transaction", {"/var/lib/dpkg/updates/0001": file("x")}, "/var/lib/dpkg/updates/0001"),
    Case("unfinished-transaction", {"/var/lib/pacman/db.lck": file()}, "/var/lib/pacman/db.lck"),
    Case("shell-history", {"/root/.bash_history": file("passwd\n")}, "/root/.bash_history"),
    Case("shell-history", {"/home/joe/.viminfo": file("x")}, "/home/joe/.viminfo"),
    Case("tmp-not-empty", {"/var/tmp/x": file()}, "/var/tmp/x"),
    Case("tmp-not-empty", {"/tmp/.hidden": folder()}, "/tmp/.hidden"),
    Case("run-not-empty", {"/run/sshd.pid": file("1")}, "/run/sshd.pid"),
    Case("trace-of-use", {"/var/lib/systemd/timers/stamp-fstrim.timer": file()}, "/var/lib/systemd/timers/stamp-fstrim.timer"),
    Case("trace-of-use", {"/etc/.pwd.lock": file()}, "/etc/.pwd.lock"),
    Case("backup-file", {"/etc/passwd-": file("x")}, "/etc/passwd-"),
    Case("backup-file", {"/etc/apt/sources.list~": file("x")}, "/etc/apt/sources.list~"),
    Case("dpkg-database-broken", {"/var/lib/dpkg/status": file("Package: x\nnonsense\n")}, "/var/lib/dpkg/status"),
    Case("dpkg-database-broken", {"/var/lib/dpkg/status": file()}, "/var/lib/dpkg/status"),
    Case("dpkg-database-broken", {"/var/lib/dpkg/info/demo.md5sums": file("zz  usr/x\n")}, "/var/lib/dpkg/info/demo.md5sums"),
    Case("package-not-configured", {"/var/lib/dpkg/status": file(STATUS_HEAD.replace("ok installed", "ok half-configured"))}, "/var/lib/dpkg/status"),
    Case("package-not-configured", {"/var/lib/dpkg/status": file(STATUS_HEAD.replace("ok installed", "reinstreq installed"))}, "/var/lib/dpkg/status"),
    Case("package-remains", {"/var/lib/dpkg/status": file(STATUS_HEAD.replace("install ok installed", "deinstall ok config-files"))}, "/var/lib/dpkg/status"),
    Case("package-held", {"/var/lib/dpkg/status": file(STATUS_HEAD.replace("install ok", "hold ok"))}, "/var/lib/dpkg/status"),
    Case("modified-package-file", {"/usr/sbin/ifup": file("evil", 0o755)}, "/usr/sbin/ifup"),
    Case("modified-package-file", {"/usr/sbin/ifup": link("ifconfig")}, "/usr/sbin/ifup"),
    Case("missing-package-file", {"/usr/sbin/ifup": None}, "/usr/sbin/ifup"),
    Case("unowned-file", {"/usr/bin/mine": PROGRAM}, "/usr/bin/mine"),
    Case("unowned-file", {"/lib32/libmine.so": file("\x7fELF")}, "/lib32/libmine.so"),
    Case("policy-rc-d-left", {"/usr/sbin/policy-rc.d": PROGRAM}, "/usr/sbin/policy-rc.d"),
    Case("diversion-left", {"/var/lib/dpkg/diversions": file("/sbin/init\n/sbin/init.real\n:\n")}, "/sbin/init"),
    Case("fake-program", {"/usr/sbin/start-stop-daemon": PROGRAM}, "/usr/sbin/start-stop-daemon"),
    Case("fake-program", {"/usr/sbin/start-stop-daemon.REAL": file("\x7fELF")}, "/usr/sbin/start-stop-daemon.REAL"),
    Case("builder-remains", {"/debootstrap": folder()}, "/debootstrap"),
    Case("builder-remains", {"/.dockerenv": file()}, "/.dockerenv"),
    Case("builder-remains", {"/.in": folder()}, "/.in", alt),
    Case("proxy-left", {"/etc/apt/apt.conf.d/01proxy": file('Acquire::http::Proxy "http://192.0.2.1:3142";\n')}, "/etc/apt/apt.conf.d/01proxy"),
    Case("proxy-left", {"/etc/apt/apt.conf": file('Acquire {\n http {\n  Proxy "http://192.0.2.1:3142";\n };\n};\n')}, "/etc/apt/apt.conf"),
    Case("proxy-left", {"/etc/environment": file("http_proxy=http://192.0.2.1:8080\n")}, "/etc/environment"),
    Case("proxy-left", {"/etc/profile.d/proxy.sh": file('export HTTPS_PROXY="http://192.0.2.1:8080"\n')}, "/etc/profile.d/proxy.sh"),
    Case("proxy-left", {"/etc/dnf/dnf.conf": file("[main]\nproxy = http://192.0.2.1:8080\n")}, "/etc/dnf/dnf.conf"),
    Case("source-of-build", {"/etc/apt/sources.list": file("deb http://localhost:9999/debian bookworm main\n")}, "/etc/apt/sources.list"),
    Case("source-of-build", {"/etc/apt/sources.list.d/a.list": file("deb [trusted=yes] file:/srv/repo ./\n")}, "/etc/apt/sources.list.d/a.list"),
    Case("source-of-build", {"/etc/yum.repos.d/a.repo": file("[a]\nbaseurl=http://10.1.2.3/repo\n")}, "/etc/yum.repos.d/a.repo"),
    Case("build-url-left", {"/etc/apt/sources.list": file("deb http://mirror.example.net/debian x main\n")}, "/etc/apt/sources.list", debian, {"build_urls": ["http://mirror.example.net/"]}),
    Case("build-host-name", {"/var/lib/demo/state": file("made on Forge17 today\n")}, "/var/lib/demo/state", debian, {"host_name": "forge17.example.net"}),
    Case("build-host-name", {"/etc/demo.conf": file("# fresh from the oven\n")}, "/etc/demo.conf", debian, {"host_name": "fresh"}),
    Case("rpm-lock-left", {"/var/lib/rpm/__db.001": file("x")}, "/var/lib/rpm/__db.001", alt),
    Case("rpm-database-missing", {"/var/lib/rpm/Packages": None, "/var/lib/rpm": folder()}, "/var/lib/rpm", alt),
    Case("rpm-rebuild-left", {"/var/lib/rpmrebuilddb.17": folder()}, "/var/lib/rpmrebuilddb.17", alt),
    Case("rpm-macro-of-build", {"/etc/rpm/macros": file("%_netsharedpath /proc\n")}, "/etc/rpm/macros", alt),
    Case("alt-firsttime-flag", {"/etc/firsttime.d/keys": PROGRAM}, "/etc/firsttime.flag", alt),
    Case("alt-firsttime-flag", {"/etc/firsttime.flag": file()}, "/etc/firsttime.flag", alt),
    Case("alt-tcb-missing", {"/etc/tcb": None}, "/etc/tcb/root/shadow", alt),
    Case("alt-sysconfig-clock", {"/etc/sysconfig/clock": file("HWCLOCK_ADJUST=true\n")}, "/etc/sysconfig/clock", alt),
    Case("rpm-filetriggers-waiting", {"/var/lib/rpm/files-awaiting-filetriggers": file("/x\n")}, "/var/lib/rpm/files-awaiting-filetriggers", alt),
    Case("rpm-filetriggers-waiting", {"/var/lib/rpm/delay-posttrans-filetriggers": file()}, "/var/lib/rpm/delay-posttrans-filetriggers", alt),
    Case("alt-tcb-user", {"/etc/passwd": file("root:x:0:0::/root:/bin/sh\nnew:x:7:7::/:/bin/bash\n")}, "/etc/tcb/new/shadow", alt),
    Case("alt-tcb-open", {"/etc/tcb": folder(0o755)}, "/etc/tcb", alt),
    Case("alt-tcb-open", {"/etc/tcb/root": folder(0o2714)}, "/etc/tcb/root", alt),
    Case("alt-tcb-open", {"/etc/tcb/root/shadow": file("root:!*:1::::::\n", 0o644)}, "/etc/tcb/root/shadow", alt),
    Case("alt-source-without-vendor", {"/etc/apt/sources.list": file("rpm http://a p11/branch/x86_64 classic\n")}, "/etc/apt/sources.list", alt),
    Case("alt-source-without-vendor", {"/etc/apt/sources.list.d/a.list": file("  rpm-src ftp://a b c\n")}, "/etc/apt/sources.list.d/a.list", alt),
    Case("alt-vendor-unknown", {"/etc/apt/sources.list": file("rpm [p11] http://a b classic\n")}, "/etc/apt/sources.list", alt),
    Case("alt-etcnet-default", {"/etc/net/ifaces/default": None}, "/etc/net/ifaces/default/options", alt),
    Case("alt-etcnet-default", {"/etc/net/ifaces/lo": None}, "/etc/net/ifaces/lo/options", alt),
    Case("alt-control-state", {**SU_FACILITY, "/usr/bin/su": file("x", 0o4755)}, "/usr/bin/su", alt),
    Case("alt-control-state", {**SU_FACILITY, "/usr/bin/su": file("x", 0o4710)}, "/usr/bin/su", alt),
    Case("alt-securetty", {"/etc/securetty": file("tty1\n")}, "/etc/securetty", alt),
    Case("getty-on-tty", {"/etc/inittab": file("1:2345:respawn:/sbin/mingetty tty1\n")}, "/etc/inittab", alt),
    Case("leftover-config", {"/etc/net/sysctl.conf.rpmsave": file("x")}, "/etc/net/sysctl.conf.rpmsave", alt),
]  # fmt: skip

GOOD = [
    Case("kernel-present", {"/boot/README": file("x")}),
    Case("modules-present", {"/usr/lib/modules": folder(), "/usr/lib/modules-load.d/a.conf": file("x")}),
    Case("boot-not-empty", {"/boot": folder()}),
    Case("bootloader-present", {"/usr/share/doc/grub/README": file("x"), "/boot/grub": folder()}),
    Case("fstab-has-devices", {"/etc/fstab": file("#/dev/sda1 / ext4 x 0 1\nnone /dev/pts devpts rw 0 0\n")}),
    Case("modules-listed", {"/etc/modules": file("# none\n\n"), "/etc/modules-load.d/a.conf": file("; none\n")}),
    Case("missing-init", {"/usr/sbin/init": file("\x7fELF", 0o755)}),
    Case("missing-directory", {"/usr/sbin/x": PROGRAM}),
    Case("os-release-missing", {"/etc/os-release": file('ID="debian"\n')}),
    Case("udev-enabled", masked("systemd-udev-trigger.service")),
    Case("udev-enabled", {"/etc/rcS.d/K02udev": link("x"), "/etc/init/udev.conf": file("start on x\n"), "/etc/init/udev.override": file("manual\n")}, "", sysvinit),
    Case("udev-enabled", {"/etc/rcS.d/S02udev": link("../init.d/udev")}),
    Case("clock-service-enabled", masked("systemd-timesyncd.service")),
    Case("console-service-enabled", masked("plymouth-start.service")),
    Case("kernel-service-enabled", {**wanted("cron.service"), **masked("e2scrub_all.timer")}),
    Case("getty-on-tty", {**wanted("console-getty.service", "getty.target"), **wanted("container-getty@1.service", "getty.target")}),
    Case("getty-on-tty", {"/etc/inittab": file("#1:2345:respawn:/sbin/getty tty1\nco:23:respawn:/sbin/getty console\n")}, "", sysvinit),
    Case("getty-wants-missing", {"/etc/systemd/system/getty.target.wants": None}, "", sysvinit),
    Case("ctrlaltdel-set", {"/etc/inittab": file("#ca:12345:ctrlaltdel:/sbin/shutdown\n")}, "", sysvinit),
    Case("syslog-to-tty", {"/etc/rsyslog.conf": file("#*.* /dev/tty8\n*.* -/var/log/syslog\n")}),
    Case("machine-id-set", {"/etc/machine-id": file("\n"), "/var/lib/dbus/machine-id": link("/etc/machine-id")}),
    Case("machine-id-first-boot", {"/etc/machine-id": file()}),
    Case("machine-id-first-boot", {"/etc/machine-id": None}, "", sysvinit),
    Case("ssh-host-keys", {"/etc/ssh/ssh_config": file("x"), "/etc/ssh/moduli": file("x")}),
    Case("ssh-keys-not-made", {"/usr/sbin/sshd": PROGRAM, "/etc/systemd/system/keys.service": file("[Service]\nExecStart=/usr/bin/ssh-keygen -A\n")}),
    Case("random-seed", {"/var/lib/systemd": folder()}),
    Case("private-key", {"/etc/ssl/certs/a.pem": file("-----BEGIN CERTIFICATE-----\n"), "/usr/share/doc/x/key.pem": file(KEY)}),
    Case("hostname-set", {"/etc/hostname": file("localhost\n"), "/etc/sysconfig/network": file("HOSTNAME=localhost.localdomain\n")}),
    Case("lease-left", {"/var/lib/dhcp": folder(), "/var/lib/dhcp/dhclient.leases": file()}),
    Case("resolv-conf-set", {"/etc/resolv.conf": file("# nameserver 192.0.2.1\noptions edns0\n")}),
    Case("resolv-conf-dangling", {"/etc/resolv.conf": None}),
    Case("hosts-polluted", {"/etc/hosts": file("127.0.0.1 localhost.localdomain localhost4 # builder7\nfe00::0 ip6-localnet\n")}),
    Case("network-config-present", {"/etc/network/interfaces.d": folder(), "/etc/sysconfig/network-scripts/ifcfg-lo": file("x")}),
    Case("network-config-present", {"/etc/net/ifaces/unknown/options": file("x")}, "", alt),
    Case("persistent-device-names", {"/etc/udev/rules.d/70-persistent-net.rules": file()}),
    Case("ifupdown-missing", {"/usr/sbin/ifup": None}, "", sysvinit),
    Case("root-password-set", shadow("root:!:19000::::::\n")),
    Case("root-password-set", {"/etc/tcb/root/shadow": file("root:!*:1::::::\n")}, "", alt),
    Case("root-not-locked", {"/etc/shadow": None, "/etc/passwd": file("root:*:0:0::/:/bin/sh\n")}),
    Case("empty-password", shadow("root:!!:19000::::::\nuser:!:19000::::::\n")),
    Case("password-hash-anywhere", shadow("root:*:1::::::\nuser:*LK*:1::::::\nother:!!:1::::::\n")),
    Case("extra-uid-0", {"/etc/passwd": file("root:x:0:0::/:/bin/sh\nbin:x:1:1::/:/\n")}),
    Case("duplicate-uid", {"/etc/passwd": file("root:x:0:0::/:/bin/sh\n# comment\nbin:x:1:1::/:/\n")}),
    Case("login-account", {"/etc/passwd": file("root:x:0:0::/:/bin/sh\n_apt:x:1000:0::/:/usr/sbin/nologin\n")}),
    Case("ssh-authorized-keys", {"/root/.ssh/authorized_keys": file("# nobody\n"), "/root/.ssh": folder(0o700)}),
    Case("sudoers-nopasswd", {"/etc/sudoers": file("# %sudo ALL=NOPASSWD: ALL\n%sudo ALL=(ALL) ALL\n", 0o440)}),
    Case("uid-too-big", {"/var/log/wtmp": file(uid=65534)}),
    Case("unknown-owner", {"/var/log/wtmp": file(uid=65534, gid=43)}),
    Case("unknown-owner", {"/etc/passwd": None, "/var/log/wtmp": file(uid=77)}),
    Case("setuid-unexpected", {"/usr/lib/openssh/ssh-keysign": file("x", 0o4755), "/srv/shared": folder(0o2775)}),
    Case("world-writable", {"/srv/all": folder(0o1777), "/etc/a": link("demo.conf"), "/dev/null": device(1, 3)}),
    Case("broken-symlink", {"/etc/x": link("/run/x"), "/etc/alternatives/a.1.gz": link("/usr/share/man/man1/a.1.gz"), "/etc/y": link("../etc/demo.conf"), "/etc/z": link("/lib/os-release")}),
    Case("broken-symlink", {"/usr/lib/os-release": None, "/etc/os-release": file("ID=x\n"), "/etc/default/keyboard": link("../x")}),
    Case("device-node", {"/dev/pts": folder(), "/dev/fd": link("/proc/self/fd")}),
    Case("device-node-unexpected", {"/dev/null": device(1, 3)}),
    Case("directory-mode", {"/root": folder(0o550), "/": folder(0o555)}),
    Case("secret-readable", {"/etc/shadow": file("root:*:1::::::\n", 0o000), "/etc/gshadow": file("x", 0o640, gid=42)}),
    Case("xattr-of-host", {"/etc/demo.conf": file("x", xattrs={"user.note": b"x", "security.capability": V2_CAPABILITY})}),
    Case("capability-of-namespace", {"/etc/demo.conf": file("x", xattrs={"security.capability": V2_CAPABILITY})}),
    Case("timezone-missing", {"/etc/localtime": file("TZif2")}),
    Case("locale-missing", {"/etc/default/locale": None, "/etc/locale.conf": file("LANG=C.utf8\n")}),
    Case("locale-missing", {"/etc/default/locale": None}, "", sysvinit),
    Case("log-not-empty", {"/var/log/syslog": file(), "/var/log/README": link("../../usr/share/doc/x")}),
    Case("journal-present", {"/var/log/journal": folder()}),
    Case("spool-not-empty", {"/var/spool/cron/atjobs/.SEQ": file("2"), "/var/spool/postfix/etc/services": file("x"), "/var/spool/cron/crontabs": folder()}),
    Case("mail-left", {"/var/mail": folder(0o2775), "/var/mail/root": file()}),
    Case("apt-lists-present", {"/var/lib/apt/lists/lock": file(), "/var/lib/apt/lists/partial": folder(0o700)}),
    Case("package-cache-present", {"/var/cache/apt/archives/lock": file(), "/var/cache/apt/archives/partial": folder()}),
    Case("cache-present", {"/var/cache/debconf/config.dat": file("x"), "/var/cache/man": folder()}),
    Case("leftover-config", {"/usr/share/doc/x/a.conf.rpmnew": file("x"), "/etc/newer": file("x")}),
    Case("leftover-config", {"/etc/demo.conf": file("x")}, "", alt),
    Case("unfinished-transaction", {"/etc/new": file("x"), "/var/lib/dpkg/updates": folder(), "/etc/a;b": file()}),
    Case("shell-history", {"/root/.bashrc": file("x"), "/root/.bash_history": file()}),
    Case("tmp-not-empty", {"/tmp": folder(0o1777)}),
    Case("run-not-empty", {"/run/lock": folder(0o1777)}),
    Case("trace-of-use", {"/var/lib/systemd/timers": folder()}),
    Case("backup-file", {"/etc/passwd": file("root:x:0:0::/:/bin/sh\n"), "/var/backups": folder()}),
    Case("dpkg-database-broken", {"/var/lib/dpkg/diversions": None}),
    Case("package-not-configured", {"/var/lib/dpkg/status": file(STATUS_HEAD.replace("install ok", "hold ok"))}),
    Case("package-remains", {"/var/lib/dpkg/available": file()}),
    Case("package-held", {"/var/lib/dpkg/status-x": file()}),
    Case("modified-package-file", {"/etc/demo.conf": file("edited"), "/usr/sbin/ifup": None}),
    Case("missing-package-file", {"/etc/demo.conf": None}),
    Case("unowned-file", {"/usr/local/bin/mine": PROGRAM, "/usr/bin/vi": link("/etc/alternatives/vi"), "/usr/lib/python3/__pycache__/a.pyc": file("x"), "/usr/lib/locale/locale-archive": file("x")}),
    Case("policy-rc-d-left", {"/usr/sbin/invoke-rc.d": PROGRAM}),
    Case("diversion-left", {"/var/lib/dpkg/diversions": file("/bin/sh\n/bin/sh.distrib\ndash\n")}),
    Case("fake-program", {"/usr/sbin/invoke-rc.d": PROGRAM}),
    Case("builder-remains", {"/usr/share/debootstrap": folder()}),
    Case("proxy-left", {"/etc/apt/apt.conf": file('// Acquire::http::Proxy "http://x";\nAcquire::http::Proxy "DIRECT";\n'), "/etc/wgetrc": file("#http_proxy = http://proxy.yoyodyne.com:18023/\n"), "/etc/profile.d/a.sh": file("unset http_proxy\n")}),
    Case("source-of-build", {"/etc/yum.repos.d/a.repo": file("[a]\nbaseurl=http://ftp.example.org/\ngpgkey=file:///etc/pki/key\n"), "/etc/apt/sources.list": file("# deb file:/srv x\ndeb http://deb.debian.org/debian x main\n")}),
    Case("build-url-left", {}, "", debian, {"build_urls": ["http://mirror.example.net/", ""]}),
    Case("build-host-name", {"/var/lib/demo/state": file("made on reforge17 by forge17-b\n")}, "", debian, {"host_name": "forge17"}),
    Case("build-host-name", {"/etc/issue": file("Welcome to debian\n")}, "", debian, {"host_name": "debian"}),
    Case("build-host-name", {"/etc/demo.conf": file(SHIPPED_CONF), "/var/lib/dpkg/info/demo.postinst": file("# a fresh install\n")}, "", debian, {"host_name": "fresh"}),
    Case("rpm-lock-left", {"/var/lib/rpm/Name": file("x")}, "", alt),
    Case("rpm-database-missing", {"/var/lib/rpm/Packages": None, "/usr/lib/sysimage/rpm/rpmdb.sqlite": file("SQLite")}, "", alt),
    Case("rpm-rebuild-left", {"/var/lib/rpm/.dbenv.lock": file()}, "", alt),
    Case("rpm-macro-of-build", {"/etc/rpm/macros": file("# %_netsharedpath /proc\n%_install_langs C\n")}, "", alt),
    Case("alt-firsttime-flag", {"/etc/firsttime.d/keys": PROGRAM, "/etc/firsttime.flag": file()}, "", alt),
    Case("alt-tcb-missing", {"/etc/pam.d/system-auth-local": file("auth pam_unix.so\n"), "/etc/tcb": None}, "", alt),
    Case("alt-sysconfig-clock", {"/etc/sysconfig/clock": file("ZONE=UTC\nHWCLOCK_ADJUST=false\n")}, "", alt),
    Case("rpm-filetriggers-waiting", {"/var/lib/rpm/Packages": file("x")}, "", alt),
    Case("alt-tcb-user", {"/etc/passwd": file("root:x:0:0::/root:/bin/sh\nnobody:x:99:99::/:/dev/null\n")}, "", alt),
    Case("alt-tcb-open", {"/etc/tcb": folder(0o711), "/etc/tcb/root": folder(0o2710)}, "", alt),
    Case("alt-source-without-vendor", {"/etc/apt/sources.list": file("#rpm http://a b c\nrpm [p11] http://a b c\nrpm-src [p11] u d c\n")}, "", alt),
    Case("alt-vendor-unknown", {"/etc/apt/sources.list": file("rpm [p11] http://a b c\n"), "/etc/apt/vendors.list.d/p11.list": file('simple-key "p11" {\n};\n')}, "", alt),
    Case("alt-etcnet-default", {"/etc/net": None}, "", alt),
    Case("alt-control-state", {**SU_FACILITY, "/usr/bin/su": file("x", 0o4711)}, "", alt),
    Case("alt-control-state", {**SU_FACILITY, "/usr/bin/su": file("x", 0o4710, 0, 10)}, "", alt),
    Case("alt-control-state", {"/etc/control.d/facilities/sshd": file("#!/bin/sh\nsed -i s/a/b/ /etc/x\n")}, "", alt),
    Case("alt-securetty", {"/etc/securetty": file("tty1\npts/0\n")}, "", alt),
    Case("getty-on-tty", {"/etc/inittab": file("#1:2345:respawn:/sbin/mingetty tty1\n")}, "", alt),
]  # fmt: skip

# Told by the archive and not by the tree in it: tests/unit/test_checks_tarball.py has their cases.
OF_ARCHIVES = {"archive-unsafe-name", "archive-duplicate", "archive-link", "archive-prefix"}


def label(case: Case) -> str:
    return f"{case.rule}:{case.path or '+'.join(case.changes)}"


@pytest.mark.parametrize("case", BAD, ids=label)
def test_a_rule_speaks_on_a_bad_tree(case: Case, tmp_path: Path) -> None:
    with view_of(case.base(case.changes), tmp_path) as view:
        report = lint(view, **case.options)  # type: ignore[arg-type]
    assert (case.rule, case.path) in [(finding.rule, finding.path) for finding in report.findings]


@pytest.mark.parametrize("case", GOOD, ids=label)
def test_a_rule_is_silent_on_a_good_tree(case: Case, tmp_path: Path) -> None:
    with view_of(case.base(case.changes), tmp_path) as view:
        report = lint(view, **case.options)  # type: ignore[arg-type]
    assert [str(finding) for finding in report.findings if finding.rule == case.rule] == []


@pytest.mark.parametrize("base", [debian, alt, sysvinit])
def test_a_clean_tree_has_no_findings(base: Callable[[Tree], dict[str, Node]], tmp_path: Path) -> None:
    with view_of(base({}), tmp_path) as view:
        assert [str(finding) for finding in lint(view).findings] == []


def test_every_rule_has_a_bad_and_a_good_tree() -> None:
    ids = {rule.id for rule in rules()} - OF_ARCHIVES
    assert {case.rule for case in BAD} == ids
    assert {case.rule for case in GOOD} == ids


def test_rules_are_named_and_explained() -> None:
    ids = [rule.id for rule in rules()]
    assert len(ids) == len(set(ids)) >= 35
    for rule in rules():
        assert rule.id == rule.id.lower().replace("_", "-")
        assert rule.text, rule.id
        assert rule.why.endswith("."), rule.id
        assert rule.fix.endswith("."), rule.id


def test_a_waived_rule_does_not_count_but_is_told(tmp_path: Path) -> None:
    with view_of(debian({"/boot/x": file(), "/tmp/y": file()}), tmp_path) as view:
        report = lint(view, waive={"boot-not-empty": "a test of boot loaders"})
    assert [finding.rule for finding in report.findings] == ["tmp-not-empty"]
    assert [finding.rule for finding in report.waived] == ["boot-not-empty"]
    assert report.to_json()["waived"][0]["reason"] == "a test of boot loaders"


def test_a_waiver_of_no_rule_is_an_error_with_a_suggestion(tmp_path: Path) -> None:
    with view_of(debian(), tmp_path) as view, pytest.raises(UsageError) as caught:
        lint(view, waive={"boot-not-emty": "why"})
    assert "boot-not-empty" in caught.value.hint


def test_rules_for_other_families_are_not_asked(tmp_path: Path) -> None:
    with view_of(debian(), tmp_path) as view:
        report = lint(view)
    assert "rpm-lock-left" in report.skipped
    assert "unowned-file" in report.rules_run
    assert len(report.rules_run) + len(report.skipped) == len(rules())


def test_many_findings_of_one_rule_are_counted(tmp_path: Path) -> None:
    many = {f"/tmp/{number}": file() for number in range(MAX_FINDINGS + 7)}
    with view_of(debian(many), tmp_path) as view:
        found = lint(view).findings
    assert len(found) == MAX_FINDINGS + 1
    assert found[-1].text == "and 7 more"


def test_a_broken_database_is_one_finding_and_the_rest_is_still_checked(tmp_path: Path) -> None:
    changes = {"/var/lib/dpkg/status": file("Package: x\nnonsense\n"), "/boot/x": file()}
    with view_of(debian(changes), tmp_path) as view:
        found = [finding.rule for finding in lint(view).findings]
    assert found == ["boot-not-empty", "dpkg-database-broken"]


def test_json_holds_names_that_are_no_text(tmp_path: Path) -> None:
    with view_of(debian({"/tmp/\x1b[31m\udcff\n": file()}), tmp_path) as view:
        report = lint(view)
    text = json.dumps(report.to_json(), ensure_ascii=False)
    assert text.encode("utf-8")
    assert "\x1b" not in text
    assert "\x1b" not in str(report.findings[0])


def test_a_directory_gives_what_its_tarball_gives(tmp_path: Path) -> None:
    nodes = debian(
        {
            "/boot/vmlinuz": file("x"),
            "/etc/systemd/system/a.wants/b.service": link("/nowhere"),
            "/tmp/x": file(),
        }
    )
    (tmp_path / "tree.tar").write_bytes(packed(nodes))
    tarball = check_file(tmp_path / "tree.tar")
    folder_report = check_file(unpacked(nodes, tmp_path / "tree"))
    # An ordinary user's files are that user's.
    of_owners = {"directory-mode", "unknown-owner", "secret-readable", "uid-too-big"}
    assert [str(one) for one in folder_report.findings if one.rule not in of_owners] == [
        str(one) for one in tarball.findings if one.rule not in of_owners
    ]
