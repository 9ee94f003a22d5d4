"""Rules: what use and building leave behind."""

from __future__ import annotations

import re
from collections.abc import Iterator

from tmplbuild.checks.rule import Faults, rule
from tmplbuild.checks.subject import Subject
from tmplbuild.checks.view import Entry

PACKAGE_CACHES = (
    "/var/cache/apt/archives/*.deb", "/var/cache/apt/archives/*.rpm", "/var/cache/apt/archives/partial/*",
    "/var/cache/apt/*.bin", "/var/cache/yum/**", "/var/cache/dnf/**", "/var/cache/libdnf5/**",
    "/var/cache/zypp/packages/**", "/var/cache/zypp/raw/**", "/var/cache/zypp/solv/**",
    "/var/cache/PackageKit/**", "/var/cache/pacman/pkg/*", "/var/lib/pacman/sync/*.db*", "/var/cache/apk/*",
    "/etc/apk/cache/*", "/var/cache/xbps/*", "/var/cache/packages/**", "/var/cache/urpmi/rpms/*",
)  # fmt: skip
OTHER_CACHES = (
    "/var/cache/man/**", "/var/cache/ldconfig/aux-cache", "/var/cache/fontconfig/*",
    "/var/cache/debconf/*-old", "/var/cache/apparmor/**", "/var/lib/dpkg/*-old", "/var/cache/cracklib/*",
    "/root/.cache/**", "/home/*/.cache/**", "/var/cache/swcatalog/**", "/var/cache/app-info/**",
    "/var/lib/ucf/*.[0-9]",
)  # fmt: skip
TRACES = (
    "/var/lib/systemd/timers/stamp-*", "/var/spool/anacron/*", "/var/lib/apt/periodic/*", "/etc/.updated",
    "/var/.updated", "/var/lib/logrotate/*status", "/var/lib/logrotate.status", "/etc/.pwd.lock",
    "/etc/adjtime", "/var/lib/systemd/rfkill/*", "/var/lib/systemd/coredump/*",
    "/var/lib/systemd/backlight/*", "/var/lib/systemd/catalog/.#*", "/var/lib/sudo/lectured/*",
    "/var/lib/sudo/ts/*", "/var/lib/lastlog/*", "/var/lib/wtmpdb/*", "/var/lib/systemd/linger/*",
    "/fastboot", "/forcefsck", "/.autorelabel", "/aquota.*", "/core", "/root/core", "/var/crash/*",
    "/var/lib/fail2ban/*", "/var/lib/cloud/**", "/var/lib/plymouth/*",
)  # fmt: skip
HISTORIES = (".*_history", ".*history", ".viminfo", ".lesshst", ".wget-hsts", ".rediscli_history",
             ".mysql_history", ".python_history", ".sqlite_history", ".Xauthority", ".ICEauthority",
             ".recently-used")  # fmt: skip
BACKUPS = (
    "/etc/passwd-", "/etc/group-", "/etc/shadow-", "/etc/gshadow-", "/etc/subuid-", "/etc/subgid-",
    "/etc/passwd.lock", "/etc/group.lock", "/etc/shadow.lock", "/etc/gshadow.lock", "/etc/**/*~",
    "/etc/**/*.bak", "/etc/**/*.swp", "/etc/**/*.orig", "/etc/**/*.save", "/var/backups/**",
    "/etc/tcb/*/shadow-", "/etc/tcb/*/shadow.lock",
)  # fmt: skip
MAILBOXES = ("/var/mail/*", "/var/spool/mail/*", "/root/mbox", "/root/Mail/**", "/root/dead.letter*",
             "/home/*/mbox", "/home/*/dead.letter")  # fmt: skip
# Below /var/spool: chroots of daemons, states that packages make, mail (which has its own rule).
SPOOL_STATE = re.compile(
    r"/var/(spool/(mail/|anacron/|postfix/(etc|lib|usr|dev|pid)/|cron/(atjobs|lastrun)/\.SEQ|plymouth/)|mail/)"
)
# "Old side" and "new side" of a package manager's choice; see the managers' own pages.
LEFTOVERS = re.compile(
    r".+(\.(rpmnew|rpmsave|rpmorig|dpkg-(dist|old|bak|backup|remove)|ucf-(dist|old)|merge-error"
    r"|pacnew|pacsave(\.\d+)?|pacorig|apk-new)|-opkg)"
)
PORTAGE_LEFTOVER = re.compile(r"\._cfg\d{4}_.+")
# What a transaction renames at its end; rpm's F;5f3a1c0d, apk's .apk.HEX, pacman's .part.
UNFINISHED = re.compile(r".+(\.(dpkg-(new|tmp)|ucf-new)|;[0-9a-f]{8}|\.tmplbuild-new)|\.apk\.[0-9a-f]{20,}")
JOURNALS = ("/var/lib/dpkg/updates/[0-9]*", "/var/lib/pacman/db.lck", "/var/cache/pacman/pkg/*.part",
            "/var/lib/rpm/files-awaiting-filetriggers",
            "/var/lib/rpm/delay-posttrans-filetriggers")  # fmt: skip
SHIPPED = re.compile(r"/usr/share/(doc|man|info|licenses|locale)/")


@rule(
    "log-not-empty",
    "Logs are empty",
    why="Logs of the build tell about the builder and not about the container.",
    fix="Truncate them (owner and mode stay), or remove those that their writers make anew.",
)
def log_not_empty(subject: Subject) -> Faults:
    for entry in _files(subject, "/var/log/**"):
        if not entry.path.startswith("/var/log/journal/") and not _is_shipped(subject, entry):
            yield entry.path, f"{entry.size} bytes of log"


@rule(
    "journal-present",
    "No journal in the tree",
    why="It is large, it is the build's, and its directory carries the build's machine id.",
    fix="Empty /var/log/journal and /run/log/journal.",
)
def journal_present(subject: Subject) -> Faults:
    for entry in subject.view.glob("/var/log/journal/*", "/run/log/journal/*"):
        yield entry.path, "a journal"


@rule(
    "spool-not-empty",
    "Spools are empty",
    why="A job or message that waits would be run or sent by every container.",
    fix="Empty the directories below /var/spool.",
)
def spool_not_empty(subject: Subject) -> Faults:
    for entry in _files(subject, "/var/spool/**"):
        if not SPOOL_STATE.match(entry.path) and not _is_shipped(subject, entry):
            yield entry.path, "it waits in a spool"


@rule(
    "mail-left",
    "No mail in the tree",
    why="It is the builder's.",
    fix="Remove the mailboxes.",
)
def mail_left(subject: Subject) -> Faults:
    for entry in _files(subject, *MAILBOXES):
        yield entry.path, f"{entry.size} bytes of mail"


@rule(
    "apt-lists-present",
    "No package lists of apt",
    why="They are tens of megabytes, and out of date the next day.",
    fix="Remove the files below /var/lib/apt/lists.",
)
def apt_lists_present(subject: Subject) -> Faults:
    for entry in _files(subject, "/var/lib/apt/lists/**", "/var/lib/apt/mirrors/**"):
        yield entry.path, f"{entry.size} bytes of package lists"


@rule(
    "package-cache-present",
    "No cache of a package manager",
    why="Downloaded packages and indexes are dead weight.",
    fix="apt-get clean, dnf clean all, zypper clean -a, pacman -Scc, apk cache purge; remove "
    "/var/cache/apt/*.bin.",
)
def package_cache_present(subject: Subject) -> Faults:
    for entry in _files(subject, *PACKAGE_CACHES):
        if not _is_shipped(subject, entry):
            yield entry.path, f"{entry.size >> 10} KiB of cache"


@rule(
    "cache-present",
    "No other caches and old copies of databases",
    why="They are made again when needed, and differ from build to build.",
    fix="Remove them.",
    severity="warning",
)
def cache_present(subject: Subject) -> Faults:
    for entry in _files(subject, *OTHER_CACHES):
        if entry.name != "CACHEDIR.TAG" and not _is_shipped(subject, entry):
            yield entry.path, f"{entry.size >> 10} KiB of cache"


@rule(
    "leftover-config",
    "No configuration that a package manager put aside",
    why="Each such file is a decision that nobody made: the old configuration or the new one.",
    fix="Decide (the stage leftovers does, and reports), then remove the file.",
)
def leftover_config(subject: Subject) -> Faults:
    for path, entry in subject.view.entries.items():
        if entry.kind == "dir" or SHIPPED.match(path) or _is_shipped(subject, entry):
            continue
        if LEFTOVERS.fullmatch(entry.name) or PORTAGE_LEFTOVER.fullmatch(entry.name):
            yield path, "left by a package manager beside the file in use"


@rule(
    "unfinished-transaction",
    "No package transaction is half done",
    why="A temporary name that is still there means that the package manager died in between.",
    fix="Finish it in the tree (dpkg --configure -a), or build anew.",
)
def unfinished_transaction(subject: Subject) -> Faults:
    for path, entry in subject.view.entries.items():
        if entry.kind != "dir" and UNFINISHED.fullmatch(entry.name) and not _is_shipped(subject, entry):
            yield path, "a temporary name of a transaction"
    for entry in subject.view.glob(*JOURNALS):
        yield entry.path, "the journal or lock of a transaction"


@rule(
    "shell-history",
    "No histories of shells and programs",
    why="They tell what the builder did, passwords that were typed included.",
    fix="Remove them from /root and /home.",
)
def shell_history(subject: Subject) -> Faults:
    patterns = [f"{home}/{name}" for home in ("/root", "/home/*", "/") for name in HISTORIES]
    for entry in _files(subject, *patterns):
        yield entry.path, "a history"


@rule(
    "tmp-not-empty",
    "/tmp and /var/tmp are empty",
    why="What is in them was meant for the build.",
    fix="Empty them.",
)
def tmp_not_empty(subject: Subject) -> Faults:
    for entry in subject.view.glob("/tmp/*", "/var/tmp/*"):
        yield entry.path, "left in a directory for temporary files"


@rule(
    "run-not-empty",
    "/run holds no files",
    why="It is hidden by a tmpfs, or else stale pid files and sockets stop services from starting.",
    fix="Empty /run.",
    severity="warning",
)
def run_not_empty(subject: Subject) -> Faults:
    for entry in subject.view.below("/run"):
        if entry.kind != "dir":
            yield entry.path, "left in /run"


@rule(
    "trace-of-use",
    "No traces of a boot or of time",
    why="Stamps, locks and states of a running system make containers start with another one's past.",
    fix="Remove them.",
    severity="warning",
)
def trace_of_use(subject: Subject) -> Faults:
    for entry in subject.view.glob(*TRACES):
        if entry.kind == "file" and not _is_shipped(subject, entry):
            yield entry.path, "it was written by a running system"


@rule(
    "backup-file",
    "No old copies of configuration",
    why="Copies of account files keep what was removed from the files themselves.",
    fix="Remove them.",
    severity="warning",
)
def backup_file(subject: Subject) -> Faults:
    for entry in subject.view.glob(*BACKUPS):
        if entry.kind != "dir" and not _is_shipped(subject, entry):
            yield entry.path, "an old copy"


def _files(subject: Subject, *patterns: str) -> Iterator[Entry]:
    return (entry for entry in subject.view.glob(*patterns) if entry.kind == "file" and entry.size)


def _is_shipped(subject: Subject, entry: Entry) -> bool:
    """True for a file that a package brought."""
    return entry.path in subject.shipped
