"""Rules: modes, owners, links, devices and attributes of files."""

from __future__ import annotations

import re

from tmplbuild.checks.rule import Faults, rule
from tmplbuild.checks.subject import Subject
from tmplbuild.checks.view import Entry

# Programs that distributions install with setuid or setgid bits, wherever they put them.
SPECIAL_PROGRAMS = frozenset({
    # shadow, util-linux, pam, coreutils, sudo, polkit: every distribution
    "chage", "chfn", "chsh", "expiry", "gpasswd", "mount", "newgidmap", "newgrp", "newuidmap", "passwd", "su",
    "sudo", "sudo.ws", "sudoedit", "umount", "unix_chkpwd", "unix_update", "wall", "write", "pkexec",
    "polkit-agent-helper-1", "fusermount", "fusermount3", "ping", "ping6", "arping", "traceroute6", "vlock",
    "sg", "doas", "ksu",
    # Debian, Ubuntu
    "at", "atd", "batch", "bsd-write", "crontab", "dbus-daemon-launch-helper", "dotlockfile", "exim4",
    "mlocate", "mail-lock", "mail-touchlock", "mail-unlock", "locate", "plocate", "pam_extrausers_chkpwd",
    "screen", "ssh-agent", "ssh-keysign", "traceroute6.iputils", "mutt_dotlock", "procmail", "lockfile",
    "snap-confine", "mount.nfs", "mount.cifs", "mount.ntfs-3g", "ntfs-3g", "pppd", "chromium-sandbox",
    "Xorg.wrap", "utempter",
    # Fedora, EL, SUSE
    "grub2-set-bootflag", "lockdev", "netreport", "pam_timestamp_check", "staprun", "userhelper",
    "usernetctl", "ssh-keycat", "krb5_child", "ldap_child", "proxy_child", "selinux_child", "sssd_pam",
    "cockpit-session", "mgetty", "eject", "v4l-conf", "permissions",
    # ALT, Owl
    "tcb_chkpwd", "chkpwd", "pam_tcb", "control", "tcb_passwd", "hasher-priv", "chrootuid", "socklog-check",
    # Alpine, Arch, Slackware
    "bbsuid", "wicd-client", "suexec", "lppasswd", "rcp", "rlogin", "rsh", "fdmount", "cu", "uucp", "uux",
    # mailers and others found in many templates
    "postdrop", "postqueue", "sendmail", "sendmail.sendmail", "maildrop", "opiepasswd", "opiesu", "slocate",
    "virtlogd", "suexec2", "man", "mandb", "quota", "procmailrc", "local.mail",
})  # fmt: skip
PROGRAM_PLACES = re.compile(r"(/usr)?/(s?bin|lib(32|64|x32)?|libexec)/")
# Links that lead to something only while the system runs, or to what minimal systems leave out.
RUNTIME = re.compile(r"/(proc|run|dev|sys|var/run|tmp)(/|$)")
LEFT_OUT = re.compile(
    r"/usr/(share/(man|doc|info|locale|lintian|groff|gtk-doc|help|zoneinfo|javascript|icons|runit|sv)|lib/debug|src|include)/"
)
MANUAL = re.compile(r"\.[1-9n][a-z]*\.(gz|bz2|xz|zst)$")
LINKS_WITHOUT_TARGET = re.compile(
    r"/etc/(mtab|runit/|sv/[^/]+/(log/)?supervise$|alternatives/[^/]*\.[1-9][a-z]*\.gz$|ssl/certs/java/)|/dev/|/usr/lib/jvm/"
    r"|/etc/(vconsole\.conf|default/(locale|keyboard))$|/var/lib/wtmpdb/"
)
MODES = {
    # path: (bits that must be set, bits that must not be, what it should be)
    "/": (0o555, 0o022, "0755"),
    "/etc": (0o555, 0o022, "0755"),
    "/root": (0o500, 0o027, "0700"),
    "/tmp": (0o1777, 0, "1777"),
    "/usr": (0o555, 0o022, "0755"),
    "/var/tmp": (0o1777, 0, "1777"),
    "/var": (0o555, 0o022, "0755"),
}
SECRETS = {"/etc/shadow": 0o137, "/etc/gshadow": 0o137, "/etc/sudoers": 0o337}
BAD_ATTRIBUTES = ("security.selinux", "security.ima", "security.evm", "trusted.", "security.SMACK64")
CAPABILITY = "security.capability"


@rule(
    "setuid-unexpected",
    "Only known programs are setuid or setgid",
    why="Each such program is a way to more rights; one that no distribution ships so is an accident or "
    "worse.",
    fix="chmod u-s,g-s it, or waive the rule with the reason why it must be.",
)
def setuid_unexpected(subject: Subject) -> Faults:
    for path, entry in subject.view.entries.items():
        if entry.kind == "file" and entry.mode & 0o6000 and entry.mode & 0o111:
            known = entry.name in SPECIAL_PROGRAMS and PROGRAM_PLACES.match(path)
            if not known:
                yield path, f"its mode is {entry.mode:04o}"


@rule(
    "world-writable",
    "Only sticky directories are writable for all",
    why="Anybody could change the file, or remove others' files in the directory.",
    fix="chmod o-w, or +t for a directory that is meant for all.",
)
def world_writable(subject: Subject) -> Faults:
    for path, entry in subject.view.entries.items():
        if entry.mode & 0o002 and (entry.kind == "file" or (entry.kind == "dir" and not entry.mode & 0o1000)):
            yield path, f"a {entry.kind} of mode {entry.mode:04o}"


@rule(
    "broken-symlink",
    "Links lead somewhere",
    why="A link to nothing is what removing half of something leaves: a unit or program that fails.",
    fix="Remove the link too, or keep what it leads to.",
    severity="warning",
)
def broken_symlink(subject: Subject) -> Faults:
    for path, entry in subject.view.entries.items():
        if entry.kind == "link" and not subject.view.exists(path) and not _may_dangle(subject, entry):
            yield path, f"it leads to {entry.target}, which is not there"


@rule(
    "device-node",
    "No device nodes in /dev",
    why="Managers make /dev at start, and cannot unpack nodes without privileges. Only OpenVZ 6 wants them.",
    fix="Leave /dev empty but for pts and shm.",
    severity="warning",
)
def device_node(subject: Subject) -> Faults:
    for path, entry in subject.view.entries.items():
        if entry.kind == "char" and path.startswith("/dev/"):
            yield path, f"character device {entry.rdev[0]}:{entry.rdev[1]}"


@rule(
    "device-node-unexpected",
    "No disks among the device nodes, and none outside /dev",
    why="A node outside /dev is a hidden door, and a disk's node opens the host's disk where rights allow "
    "it.",
    fix="Remove the node.",
)
def device_node_unexpected(subject: Subject) -> Faults:
    for path, entry in subject.view.entries.items():
        inside = path.startswith(("/dev/", "/lib/udev/devices/", "/etc/udev/devices/"))
        if entry.kind == "block" or (entry.kind == "char" and not inside):
            yield path, f"{entry.kind} device {entry.rdev[0]}:{entry.rdev[1]}"


@rule(
    "directory-mode",
    "The top directories have safe owners and modes",
    why="/tmp must be 1777, and the others root's alone; a builder's umask or a careless unpack changes "
    "them.",
    fix="chown root:root and chmod as the finding says.",
)
def directory_mode(subject: Subject) -> Faults:
    for path, (wanted, unwanted, text) in MODES.items():
        entry = subject.view.stat(path)
        if entry is None or entry.implied or entry.kind != "dir":
            continue
        if entry.mode & wanted != wanted or entry.mode & unwanted:
            yield path, f"its mode is {entry.mode:04o}, and should be {text}"
        if entry.uid:
            yield path, f"its owner is uid {entry.uid}, and should be root"


@rule(
    "secret-readable",
    "Files with secrets are not readable for all",
    why="Password hashes that anybody reads are passwords that anybody guesses.",
    fix="chmod 0640 /etc/shadow /etc/gshadow; chmod 0440 /etc/sudoers.",
)
def secret_readable(subject: Subject) -> Faults:
    for path, unwanted in SECRETS.items():
        entry = subject.view.stat(path)
        if entry and (entry.mode & unwanted or entry.uid):
            yield path, f"its mode is {entry.mode:04o} and its owner uid {entry.uid}"


@rule(
    "xattr-of-host",
    "No labels of the build machine",
    why="SELinux, IMA and Smack labels are the build machine's: elsewhere they are refused or misread.",
    fix="Pack without them (ours are: only capabilities, ACLs and user.* are packed).",
    severity="warning",
)
def xattr_of_host(subject: Subject) -> Faults:
    for path, entry in subject.view.entries.items():
        for name in subject.view.xattrs(entry):
            if name.startswith(BAD_ATTRIBUTES):
                yield path, f"it carries {name}"


@rule(
    "capability-of-namespace",
    "File capabilities are not tied to a user namespace",
    why="A version 3 capability names the build's root id and is void in any other container "
    "(capabilities(7)).",
    fix="Write it as version 2: setcap outside of the user namespace, or pack with this tool.",
)
def capability_of_namespace(subject: Subject) -> Faults:
    for path, entry in subject.view.entries.items():
        if entry.kind == "file" and CAPABILITY in (found := subject.view.xattrs(entry)):
            value = found[CAPABILITY]
            if value[3:4] == b"\x03":
                yield path, f"its capability is for root id {int.from_bytes(value[20:24], 'little')}"


@rule(
    "timezone-missing",
    "/etc/localtime leads to a time zone",
    why="Without it programs fall back to UTC, each in its own way, and some managers fail to set another.",
    fix="Link it to /usr/share/zoneinfo/Etc/UTC and have tzdata installed.",
    severity="warning",
)
def timezone_missing(subject: Subject) -> Faults:
    if not subject.view.is_file("/etc/localtime"):
        yield "/etc/localtime", "the time zone is missing"


@rule(
    "locale-missing",
    "A default locale is set",
    why="Without one, programs talk ASCII, and systemd's first boot may ask on the console.",
    fix="Write LANG=C.UTF-8 into /etc/default/locale (Debian) or /etc/locale.conf.",
    severity="warning",
    families=("systemd",),
)
def locale_missing(subject: Subject) -> Faults:
    files = ("/etc/locale.conf", "/etc/default/locale", "/etc/sysconfig/i18n", "/etc/environment")
    lines = [line for path in files for line in subject.view.lines(path)]
    if not any(re.match(r"\s*(export\s+)?(LANG|LC_ALL|LC_CTYPE)=\S", line) for line in lines):
        yield "/etc/locale.conf", "no file sets LANG"


def _may_dangle(subject: Subject, link: Entry) -> bool:
    if link.path in subject.shipped:  # packages ship links to what another, optional one brings
        return True
    target = link.target if link.target.startswith("/") else f"{link.path.rpartition('/')[0]}/{link.target}"
    if RUNTIME.match(subject.view.real(target)) or LINKS_WITHOUT_TARGET.match(link.path):
        return True
    return bool(
        LEFT_OUT.match(link.path) or LEFT_OUT.match(subject.view.real(target)) or MANUAL.search(link.name)
    )
