"""The packages of the stand-in's branches (`tests.alt_standin`).

What a branch has of Debian's binaries is named in DEBIAN; the functions below make the rest: small
packages of ours under ALT's names. Some of ALT's names stand for nothing here (EMPTY): a recipe asks
for them, and no test needs what they hold.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

from tests.alt_debs import Deb, as_rpm, merge
from tests.rpm_factory import File, Rpm
from tmplbuild.archives.aptrpm.rpmfile import CONFIG, GHOST, NOREPLACE

DEBIAN = (
    *(
        "bash",
        "bsdutils",
        "bzip2",
        "coreutils",
        "dash",
        "dbus",
        "findutils",
        "gpgv",
        "grep",
        "gzip",
        "hostname",
    ),
    *(
        "iproute2",
        "libc-bin",
        "login",
        "mawk",
        "mount",
        "ncurses-base",
        "passwd",
        "perl-base",
        "procps",
        "rpm",
    ),
    *("sed", "systemd", "systemd-sysv", "sysvinit-utils", "tar", "tree", "util-linux", "xz-utils"),
)
SYSVINIT = "sysvinit-core"
NOT_WITH_SYSVINIT = frozenset(("initscripts", "insserv", "orphan-sysvinit-scripts", "startpar", "sysv-rc"))
NOT_TAKEN = frozenset(
    (
        *("adduser", "apt", "base-files", "base-passwd", "debconf", "debianutils", "debian-archive-keyring"),
        *("debugedit", "diffutils", "dmsetup", "dpkg", "gcc-12-base", "init-system-helpers", "libarchive13"),
        *(
            "libdebconfclient0",
            "libdw1",
            "libfile-find-rule-perl",
            "libfsverity0",
            "libgdbm6",
            "libgdbm-compat4",
        ),
        *("libgomp1", "libicu72", "libmagic1", "libmagic-mgc", "libnumber-compare-perl", "libpam-runtime"),
        *("libperl5.36", "librpmbuild9", "librpmsign9", "libstdc++6", "libtext-glob-perl", "libxml2", "perl"),
        *("perl-modules-5.36", "rpm2cpio", "usrmerge", "util-linux-extra"),
    )
)
EMPTY = (
    *("bash-completion", "common-licenses", "curl", "etcskel", "getopt", "glibc-utils", "interactivesystem"),
    *(
        "iputils",
        "less",
        "logrotate",
        "net-tools",
        "openssh-clients",
        "openssh-server",
        "openssh-server-control",
    ),
    *(
        "psmisc",
        "rootfiles",
        "rsync",
        "rsyslog-classic",
        "sudo",
        "syslogd",
        "vim-console",
        "vitmp",
        "which",
    ),
)
OLD = ("4.1", "5.0")
NEWER = ("5.0", "p11")
"""Branches that another one is upgraded to."""

_FILES = Path(__file__).with_name("alt_files")
_RPM_LEFT_OUT = ("rpmbuild", "rpmspec", "rpmsign", "rpmgraph", "rpmlua", "gendiff", "rpmuncompress")
_PROVIDES = {
    "mawk": ("gawk", "awk"),
    "passwd": ("shadow-utils",),
    "xz-utils": ("xz",),
    "bash": ("/bin/bash",),
    "dash": ("/bin/sh",),
    "perl-base": ("perl",),
}
_BASE = (
    *("bash", "coreutils", "filesystem", "findutils", "gawk", "getopt", "grep", "gzip", "hostname", "login"),
    *(
        "mount",
        "ncurses-base",
        "passwd",
        "perl-base",
        "procps",
        "rootfiles",
        "rpm",
        "sed",
        "setup",
        "shadow-utils",
    ),
    *("tar", "tcb", "util-linux", "vitmp", "xz", "altlinux-release", "confapp", "daemon", "dash", "tzdata"),
)


def packages(branch: str, debs: Iterable[Deb], ring: bytes, arch: str = "x86_64") -> list[Rpm]:
    """All packages of a branch for an architecture; for x86_64 one of i586 beside it.

    Parameters:
        ring: the keyring that alt-gpgkeys brings.
    """
    made = [_with_shell(rpm) for rpm in (*_of_debian(branch, debs), *_of_ours(branch, ring))]
    if arch != "x86_64":
        return [replace(rpm, arch=arch) if rpm.arch == "x86_64" else rpm for rpm in made]
    return [*made, Rpm("i586-hello", arch="i586", files=(_file("/usr/lib/hello/about", b"32 bits\n"),))]


def _with_shell(rpm: Rpm) -> Rpm:
    """The package with what its scripts need, as rpmbuild would have found out."""
    if not rpm.scripts or "/bin/sh" in rpm.requires:
        return rpm
    return replace(rpm, requires=(*rpm.requires, "/bin/sh"))


def is_merged(branch: str) -> bool:
    """Whether /bin, /sbin and /lib are links into /usr in a branch."""
    return branch == "p11"


def fault_trigger() -> Rpm:
    """A package whose file trigger fails whenever something is installed."""
    return Rpm("broken-trigger", arch="noarch", files=(_script("/usr/lib/rpm/broken.filetrigger", "exit 1"),))


# -- Debian's ----------------------------------------------------------------------------------------


def _of_debian(branch: str, debs: Iterable[Deb]) -> Iterator[Rpm]:
    merged, old = is_merged(branch), branch in OLD
    for one in debs:
        if old and one.name in ("systemd-sysv", "dbus", "systemd"):
            continue
        rpm = as_rpm(
            one,
            merged=merged,
            payload="gzip" if old else "zstd",
            release="alt2" if branch == "p11" else "alt1",
            provides=_PROVIDES.get(one.name, ()),
            change=_without if one.name == "rpm" else lambda file: file,
            more=tuple(_more(one.name, branch)),
            scripts=_SCRIPTS.get(one.name),
            requires=("libc-bin",) if one.name == "libc6" else (),
        )
        if one.name == "systemd-sysv":
            rpm = replace(rpm, name="systemd-sysvinit")
        if one.name == SYSVINIT:
            rpm = replace(rpm, name="sysvinit", conflicts=("systemd-sysvinit",))
        if one.name == "rpm" and branch in NEWER:
            rpm = replace(rpm, release="alt2")
        yield rpm


_SCRIPTS = {
    # what goes on in the background after an upgrade of rpm itself; ALT's package does the same
    "rpm": {
        "post": '[ "$1" -lt 2 ] || [ -n "$DURING_INSTALL" ] || {\n'
        "touch /var/lib/rpm/delay-posttrans-filetriggers\n"
        "/usr/lib/rpm/pdeath_execute $PPID /usr/lib/rpm/postupdate > /dev/null 2>&1 &\n}\n"
    },
    "libc6": {"post": "/sbin/ldconfig -X\n"},
    # a state that control(8) was told outlives an update of the program
    "util-linux": {
        "pre": '[ "$1" -lt 2 ] || [ ! -x /etc/control.d/facilities/su ] || control-dump su\n',
        "post": '[ "$1" -lt 2 ] || [ ! -x /etc/control.d/facilities/su ] || control-restore su\n',
    },
}


def _more(name: str, branch: str) -> Iterator[File]:
    if name == "mawk":
        yield _link("/usr/bin/awk", "mawk")
    if name == "dash":
        yield _link("/bin/sh", "dash")
    if name == "rpm":
        yield _file("/usr/bin/rpm", _content("rpm"), 0o755)
        for tool in ("pdeath_execute", "postupdate", "posttrans-filetriggers", "ldconfig.filetrigger"):
            yield _file(f"/usr/lib/rpm/{tool}", _content(tool), 0o755)
        yield _link("/usr/lib/rpm/bin/rpmdb", "../../../bin/rpmdb")
        yield _config("/etc/rpm/macros", "%_dbpath /var/lib/rpm\n")
        yield _folder("/var/lib/rpm")


def _without(file: File) -> File | None:
    name = file.path.rpartition("/")[2]
    if name in _RPM_LEFT_OUT:
        return None
    if file.path == "/usr/bin/rpm":
        return File("/usr/lib/rpm/bin/rpm", file.data, file.mode)
    return file


# -- ours --------------------------------------------------------------------------------------------


def _of_ours(branch: str, ring: bytes) -> Iterator[Rpm]:
    for rpm in (
        _setup(branch),
        _filesystem(branch),
        _release(branch),
        _tcb(),
        *_services(branch),
        *_etcnet(branch),
        _apt(),
        _apt_conf(branch),
        Rpm("alt-gpgkeys", arch="noarch", files=(_file("/usr/lib/alt-gpgkeys/pubring.gpg", ring),)),
        Rpm("basesystem", arch="noarch", requires=_BASE),
        Rpm("tzdata", arch="noarch", files=(_file("/usr/share/zoneinfo/UTC", _UTC),)),
        *(Rpm(name, arch="noarch") for name in EMPTY),
        *_applications(branch),
    ):
        old = branch in OLD
        files = tuple(merge(file, is_merged(branch)) for file in rpm.files)
        yield Rpm(
            rpm.name,
            rpm.version,
            rpm.release,
            arch=rpm.arch,
            provides=rpm.provides,
            requires=rpm.requires,
            conflicts=rpm.conflicts,
            obsoletes=rpm.obsoletes,
            files=files,
            scripts=rpm.scripts,
            payload="gzip" if old else "xz",
        )


_UTC = b"TZif2" + bytes(15) + b"\0\0\0\1\0\0\0\1\0\0\0\0\0\0\0\0\0\0\0\1\0\0\0\4" + bytes(6) + b"UTC\0\0\0"
_UTC += (
    b"TZif2"
    + bytes(15)
    + b"\0\0\0\1\0\0\0\1\0\0\0\0\0\0\0\0\0\0\0\1\0\0\0\4"
    + bytes(6)
    + b"UTC\0\0\0\nUTC0\n"
)

_PASSWD = """\
root:x:0:0:System Administrator:/root:/bin/bash
bin:x:1:1:bin:/:/dev/null
daemon:x:2:2:daemon:/:/dev/null
adm:x:3:4:adm:/var/adm:/dev/null
mail:x:8:12:mail:/var/spool/mail:/dev/null
nobody:x:99:99:Nobody:/var/nobody:/dev/null
messagebus:x:101:101:D-Bus:/run/dbus:/dev/null
"""
_GROUP = """\
root:x:0:
bin:x:1:
daemon:x:2:
sys:x:3:
adm:x:4:
tty:x:5:
disk:x:6:
kmem:x:9:
wheel:x:10:root
mail:x:12:mail
utmp:x:22:
audio:x:81:
video:x:82:
input:x:83:
kvm:x:84:
lp:x:85:
dialout:x:86:
cdrom:x:87:
tape:x:88:
render:x:89:
sgx:x:90:
users:x:100:
messagebus:x:101:
systemd-journal:x:102:
rpm:x:103:
shadow:x:104:
auth:x:105:
nogroup:x:99:
"""


def _setup(branch: str) -> Rpm:
    newer = branch in NEWER
    extra = "_newdaemon:x:150:150:A user that only this branch has:/:/dev/null\n" if newer else ""
    group = "_newdaemon:x:150:\n" if newer else ""
    names = [row.partition(":")[0] for row in (_PASSWD + extra).splitlines()]
    return Rpm(
        "setup",
        version="2.5" if newer else "2.4",
        arch="noarch",
        files=(
            _config("/etc/passwd", _PASSWD + extra, noreplace=True),
            _config("/etc/group", _GROUP + group, noreplace=True),
            _config(
                "/etc/shadow", "".join(f"{name}:*:18000::::::\n" for name in names), 0o400, noreplace=True
            ),
            _config("/etc/gshadow", "", 0o400, noreplace=True),
            _config("/etc/fstab", "proc /proc proc nosuid,noexec,gid=proc 0 0\n", noreplace=True),
            _config("/etc/hosts", "127.0.0.1 localhost.localdomain localhost\n", noreplace=True),
            _config("/etc/host.conf", "order hosts,bind\n" + ("multi on\n" if newer else ""), noreplace=True),
            _config("/etc/profile", f"# of {branch}\numask 022\n"),
            _config("/etc/securetty", "tty1\ntty2\n", 0o600, noreplace=True),
            _config("/etc/shells", "/bin/sh\n/bin/bash\n", noreplace=True),
            _config("/etc/nsswitch.conf", "passwd: files\ngroup: files\nshadow: files\nhosts: files dns\n"),
            _config("/etc/pam.d/other", "".join(f"{kind} required pam_unix.so\n" for kind in _PAM)),
            _config("/etc/sysconfig/i18n", "LANG=ru_RU.UTF-8\n", noreplace=True),
            File("/etc/mtab", flags=GHOST, mode=0o100644),
        ),
    )


_PAM = ("auth", "account", "password", "session")
_FOLDERS = {
    0o755: "/boot /dev /etc /etc/firsttime.d /etc/init.d /etc/rc.d /etc/security /etc/security/limits.d "
    "/etc/sysconfig /home /media /mnt /opt /run /srv /usr /usr/bin /usr/lib /usr/lib64 /usr/libexec "
    "/usr/local /usr/local/bin /usr/sbin /usr/share /var /var/cache /var/empty /var/lib /var/log /var/spool",
    0o555: "/proc /sys",
    0o700: "/root",
    0o1777: "/tmp /var/tmp",
}


def _filesystem(branch: str) -> Rpm:
    merged = is_merged(branch)
    files = [_folder(path, mode) for mode, paths in _FOLDERS.items() for path in paths.split()]
    files.append(File("/var/spool/mail", mode=0o042775, group="mail"))
    files.append(_link("/var/mail", "spool/mail"))
    files += [_link("/var/run", "../run"), _link("/var/lock", "../run/lock")]
    scripts = {}
    for name in ("bin", "sbin", "lib", "lib64"):
        files.append(_link(f"/{name}", f"usr/{name}") if merged else _folder(f"/{name}"))
    if merged:
        scripts["pre"] = (
            "[ -L /bin ] || { echo 'run hier-convert of usrmerge-hier-convert first' >&2; exit 1; }\n"
        )
    return Rpm("filesystem", version="3.1" if merged else "2.3", files=tuple(files), scripts=scripts)


def _release(branch: str) -> Rpm:
    lines = f'NAME="ALT"\nVERSION="{branch}"\nID=altlinux\nVERSION_ID={branch}\nPRETTY_NAME="ALT {branch}"\n'
    return Rpm(
        f"altlinux-release-{branch}" if branch not in OLD else "altlinux-release-desktop",
        version="20260101" if branch in NEWER else "20200101",
        arch="noarch",
        provides=("altlinux-release",),
        obsoletes=("altlinux-release-p10",) if branch == "p11" else (),
        files=(
            _file("/etc/altlinux-release", f"ALT Linux {branch}\n".encode()),
            _file("/etc/os-release", lines.encode()),
        ),
    )


def _tcb() -> Rpm:
    convert = (
        "[ -d /etc/tcb/root ] || while IFS=: read -r name rest; do\n"
        "mkdir -p -m 0710 /etc/tcb && chgrp shadow /etc/tcb && mkdir -p -m 02710 /etc/tcb/$name &&\n"
        "chown $name:auth /etc/tcb/$name && chmod 02710 /etc/tcb/$name &&\n"
        'grep "^$name:" /etc/shadow > /etc/tcb/$name/shadow && chmod 0640 /etc/tcb/$name/shadow &&\n'
        "chown $name:auth /etc/tcb/$name/shadow || exit\ndone < /etc/passwd\n"
    )
    requires = ("setup", "coreutils", "grep", "/bin/sh")
    return Rpm("tcb", files=(_folder("/usr/share/tcb"),), requires=requires, scripts={"post": convert})


def _services(branch: str) -> Iterator[Rpm]:
    yield Rpm(
        "control",
        arch="noarch",
        requires=("coreutils", "/bin/sh"),
        files=(
            *(_file(f"/usr/sbin/{name}", _content("control"), 0o755) for name in _CONTROL),
            _file("/etc/control.d/functions", _content("control-functions")),
            _folder("/etc/control.d/facilities"),
        ),
    )
    yield Rpm(
        "su",
        arch="noarch",
        requires=("util-linux", "control"),
        files=(_script("/etc/control.d/facilities/su", _SU),),
    )
    yield Rpm("service", arch="noarch", files=(_script("/sbin/service", 'exec /etc/init.d/"$@"'),))
    on = (
        "case $2 in on) for level in 2 3 4 5; do mkdir -p /etc/rc$level.d\n"
        "ln -sf ../init.d/$1 /etc/rc$level.d/S50$1; done ;; esac"
    )
    yield Rpm("chkconfig", arch="noarch", files=(_script("/sbin/chkconfig", on),))
    yield Rpm(
        "startup",
        arch="noarch",
        requires=("sysvinit", "/bin/sh"),
        files=(
            _config("/etc/inittab", _INITTAB),
            _script("/etc/rc.d/rc.sysinit", _SYSINIT),
            _script("/etc/rc.d/rc", _RC),
        ),
    )
    yield Rpm("usrmerge-hier-convert", files=(_file(_HIER_CONVERT, _content("hier-convert"), 0o755),))


_SU = """\
. /etc/control.d/functions
BINARY=/bin/su
new_fmode public 4711 root root
new_fmode wheelonly 4710 root wheel
new_fmode restricted 700 root root
control_fmode "$BINARY" "$*"
"""
_CONTROL = ("control", "control-dump", "control-restore")
_INITTAB = (
    "id:3:initdefault:\nsi::sysinit:/etc/rc.d/rc.sysinit\n"
    + "".join(f"l{level}:{level}:wait:/etc/rc.d/rc {level}\n" for level in range(7))
    + "ca::ctrlaltdel:/sbin/shutdown -t3 -r now\n"
    + "".join(f"{number}:2345:respawn:/sbin/mingetty tty{number}\n" for number in range(1, 7))
)
_SYSINIT = (
    ': > /run/utmp\nmkdir -p /run/lock\n. /etc/sysconfig/network\n[ -z "$HOSTNAME" ] || hostname "$HOSTNAME"'
)
_RC = """\
for script in /etc/rc$1.d/S*; do
    [ ! -x "$script" ] || "$script" start
done
case $1 in
    0) exec /sbin/halt -d -f -p ;;
    6) exec /sbin/reboot -d -f ;;
esac"""
_NETWORK_SCRIPT = 'case $1 in start) ifup lo ;; stop) ;; *) echo "network: start or stop" >&2; exit 2 ;; esac'
_HIER_CONVERT = "/usr/libexec/usrmerge/hier-convert"
_NETWORK = """\
[Unit]
Description=etcnet (a stand-in)

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/sbin/ifup lo

[Install]
WantedBy=multi-user.target
"""


def _etcnet(branch: str) -> Iterator[Rpm]:
    wants = "/etc/systemd/system/multi-user.target.wants"
    enable = (
        f"mkdir -p {wants} && ln -sf /lib/systemd/system/network.service {wants}/ && chkconfig network on\n"
    )
    yield Rpm(
        "etcnet",
        arch="noarch",
        provides=("network-config-subsystem",),
        requires=("iproute2", "chkconfig", "/bin/sh"),
        files=(
            _script("/sbin/ifup", _content("ifup").decode().partition("\n")[2].rstrip()),
            _script("/sbin/ifdown", _content("ifdown").decode().partition("\n")[2].rstrip()),
            _config("/etc/net/ifaces/lo/options", "TYPE=lo\nONBOOT=yes\n"),
            _config("/etc/net/ifaces/lo/ipv4address", "127.0.0.1/8\n"),
            _config("/etc/net/ifaces/default/options", "TYPE=eth\nBOOTPROTO=static\n"),
            _config("/etc/net/ifaces/unknown/options", "TYPE=none\n"),
            _config("/etc/net/ifaces/eth0/options", "TYPE=eth\nBOOTPROTO=dhcp\n"),
            _config("/etc/sysconfig/network", "NETWORKING=yes\nHOSTNAME=builder\n", noreplace=True),
            _file("/lib/systemd/system/network.service", _NETWORK.encode()),
            _script("/etc/init.d/network", _NETWORK_SCRIPT),
        ),
        scripts={"post": enable},
    )
    yield Rpm(
        "systemd-networkd", arch="noarch", provides=("network-config-subsystem",), requires=("systemd",)
    )


def _apt() -> Rpm:
    return Rpm(
        "apt-standin",
        provides=("apt",),
        requires=("perl-base", "gpgv", "rpm", "xz", "bzip2", "coreutils"),
        files=(
            _file("/usr/bin/apt-get", _content("apt-get"), 0o755),
            _link("/usr/bin/apt-mark", "apt-get"),
            _folder("/etc/apt/sources.list.d"),
            _folder("/etc/apt/vendors.list.d"),
            File("/var/cache/apt/archives", mode=0o042770, group="rpm"),
            File("/var/cache/apt/archives/partial", mode=0o042770, group="rpm"),
            File("/var/lib/apt/lists", mode=0o042770, group="rpm"),
            File("/var/lib/apt/lists/partial", mode=0o042770, group="rpm"),
        ),
    )


def _apt_conf(branch: str) -> Rpm:
    source = "rpm [{0}] ftp://ftp.altlinux.org/pub/distributions/ALTLinux {0}/branch/x86_64 classic\n"
    return Rpm(
        "apt-conf-branch",
        version="11.0" if branch in NEWER else "10.0",
        arch="noarch",
        files=(_config("/etc/apt/sources.list.d/alt.list", source.format(branch), noreplace=True),),
    )


def _applications(branch: str) -> Iterator[Rpm]:
    """What an upgrade finds: configuration of each kind, users, a package that another one replaces."""
    newer = branch in NEWER
    word = "new" if newer else "old"
    text = f"# confapp\nfirst = 1\nsecond = {word}\nthird = 3\n"
    yield Rpm(
        "confapp",
        version="2.0" if newer else "1.0",
        files=(
            _config("/etc/confapp/untouched.conf", text),
            _config("/etc/confapp/edited.conf", text),
            _config("/etc/confapp/kept.conf", text, noreplace=True),
            _config("/etc/confapp/scripted.conf", text + "\nlast = 9\n", noreplace=True),
        ),
        requires=("/bin/sh", "sed"),
        scripts={"post": "sed -i 's/^last = .*/last = of the script/' /etc/confapp/scripted.conf\n"},
    )
    yield Rpm(
        "daemon",
        version="2.0" if newer else "1.0",
        requires=("shadow-utils", "setup", "/bin/sh"),
        files=(_file("/usr/share/daemon/about", b"A package whose script makes a user.\n"),),
        scripts={
            "pre": "getent group _daemon > /dev/null || groupadd -r -g 160 _daemon || exit\n"
            "getent passwd _daemon > /dev/null || useradd -r -u 160 -g 160 -d / -s /dev/null _daemon\n"
        },
    )
    name = "newname" if newer else "oldname"
    yield Rpm(
        name,
        version="2.0" if newer else "1.0",
        arch="noarch",
        provides=("oldname = 2.0-alt1",) if newer else (),
        obsoletes=("oldname < 2.0",) if newer else (),
        files=(_config(f"/etc/{name}.conf", f"name = {name}\n"),),
    )


# -- files -------------------------------------------------------------------------------------------


def _content(name: str) -> bytes:
    return (_FILES / name).read_bytes()


def _file(path: str, data: bytes, mode: int = 0o644) -> File:
    return File(path, data, mode=0o100000 | mode)


def _script(path: str, text: str) -> File:
    return _file(path, f"#!/bin/sh\n{text}\n".encode(), 0o755)


def _config(path: str, text: str, mode: int = 0o644, *, noreplace: bool = False) -> File:
    return File(path, text.encode(), mode=0o100000 | mode, flags=CONFIG | (NOREPLACE if noreplace else 0))


def _folder(path: str, mode: int = 0o755) -> File:
    return File(path, mode=0o040000 | mode)


def _link(path: str, target: str) -> File:
    return File(path, target.encode(), mode=0o120777)
