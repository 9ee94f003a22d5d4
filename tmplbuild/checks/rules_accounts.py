"""Rules: nobody can log in to a template before its owner says so."""

from __future__ import annotations

from collections import defaultdict

from tmplbuild.checks.rule import Faults, rule
from tmplbuild.checks.subject import Subject

COPIES = ("/etc/passwd-", "/etc/shadow-", "/etc/group-", "/etc/gshadow-", "/etc/tcb/*/shadow-")
SHADOWED = ("/etc/passwd", "/etc/group", "/etc/gshadow")
NO_LOGIN = ("nologin", "false", "sync", "halt", "shutdown", "/dev/null")
KEY_FILES = ("/root/.ssh/authorized_keys*", "/home/*/.ssh/authorized_keys*", "/etc/ssh/authorized_keys*",
             "/etc/dropbear/authorized_keys")  # fmt: skip
MAX_ID = 65535


@rule(
    "root-password-set",
    "root has no password",
    why="A password in a template is one that everybody knows.",
    fix="Lock it: usermod -p '*' root.",
)
def root_password_set(subject: Subject) -> Faults:
    for path, name, field in subject.hashes:
        if name == "root" and _is_hash(field) and not _given(subject, name):
            yield path, "root's password is set"


@rule(
    "root-not-locked",
    "root is locked",
    why="Without a locked password in shadow, what root's password is depends on chance (pwconv, PAM).",
    fix="Give root a line in /etc/shadow with * or ! for the password.",
)
def root_not_locked(subject: Subject) -> Faults:
    fields = [field for _, name, field in subject.hashes if name == "root"]
    old = [account for account in subject.accounts if account.name == "root"]
    if not old:
        yield "/etc/passwd", "there is no root"
    elif not fields and old[0].password[:1] not in ("*", "!"):
        yield "/etc/shadow", "root has no line there"


@rule(
    "empty-password",
    "No account has an empty password",
    why="An empty password lets everybody in.",
    fix="Lock the account: passwd -l NAME.",
)
def empty_password(subject: Subject) -> Faults:
    for account in subject.accounts:
        if not account.password:
            yield "/etc/passwd", f"{account.name} has an empty password"
    for path, name, field in subject.hashes:
        if not field:
            yield path, f"{name} has an empty password"


@rule(
    "password-hash-anywhere",
    "No password hashes in account files and their copies",
    why="A hash is as good as the password to whoever has the time.",
    fix="Lock the account, and remove the copies that passwd's tools keep (*-).",
)
def password_hash_anywhere(subject: Subject) -> Faults:
    for path, name, field in subject.hashes:
        if name != "root" and _is_hash(field) and not _given(subject, name):
            yield path, f"a password of {name}"
    copies = [entry.path for entry in subject.view.glob(*COPIES)]
    for path in (*SHADOWED, *copies):
        for line in subject.view.lines(path):
            fields = line.split(":")
            if len(fields) > 2 and fields[1] != "x" and _is_hash(fields[1]):
                yield path, f"a password of {fields[0]}"


@rule(
    "extra-uid-0",
    "Only root has uid 0",
    why="Every account with uid 0 is root.",
    fix="Remove the account.",
)
def extra_uid_0(subject: Subject) -> Faults:
    for account in subject.accounts:
        if account.uid == 0 and account.name != "root":
            yield "/etc/passwd", f"{account.name} has uid 0"


@rule(
    "duplicate-uid",
    "No two accounts share a uid or a name",
    why="They own each other's files.",
    fix="Remove one of them; a package's maintainer script that ran twice is the usual cause.",
)
def duplicate_uid(subject: Subject) -> Faults:
    by_uid, by_name = defaultdict(list), defaultdict(list)
    for account in subject.accounts:
        by_uid[account.uid].append(account.name)
        by_name[account.name].append(account.line)
    for uid, names in sorted(by_uid.items()):
        if uid and len(set(names)) > 1:
            yield "/etc/passwd", f"uid {uid} is {', '.join(names)}"
    for name, lines in sorted(by_name.items()):
        if len(lines) > 1:
            yield "/etc/passwd", f"{name} is there {len(lines)} times"


@rule(
    "login-account",
    "No person has an account",
    why="An account of the builder is one more way in, with its uid taken.",
    fix="userdel -r NAME.",
    severity="warning",
)
def login_account(subject: Subject) -> Faults:
    for account in subject.accounts:
        if account.name in subject.users:
            continue
        if 1000 <= account.uid < 60000 and not account.shell.endswith(NO_LOGIN):
            yield (
                "/etc/passwd",
                f"{account.name} (uid {account.uid}) can log in with {account.shell or '/bin/sh'}",
            )


@rule(
    "ssh-authorized-keys",
    "Nobody's ssh key is let in",
    why="Its owner can log in to every container made from the template.",
    fix="Remove authorized_keys.",
)
def ssh_authorized_keys(subject: Subject) -> Faults:
    keyed = [name for name, user in subject.users.items() if user.authorized_keys]
    homes = [account.home for account in subject.accounts if account.name in keyed]
    asked = {f"{home.rstrip('/')}/.ssh/authorized_keys" for home in homes}
    for entry in subject.view.glob(*KEY_FILES):
        if entry.path in asked:
            continue
        lines = [line.strip() for line in subject.view.lines(entry.path)] if entry.kind != "dir" else []
        if any(line and not line.startswith("#") for line in lines):
            yield entry.path, "keys that may log in"


@rule(
    "sudoers-nopasswd",
    "Nobody becomes root without a password",
    why="Such a line is a builder's convenience, and a hole in every container.",
    fix="Remove the line or the file in /etc/sudoers.d.",
)
def sudoers_nopasswd(subject: Subject) -> Faults:
    for entry in subject.view.glob(
        "/etc/sudoers", "/etc/sudoers.d/*", "/usr/local/etc/sudoers", "/etc/doas.conf"
    ):
        for number, line in enumerate(subject.view.lines(entry.path), 1):
            words = line.partition("#")[0]
            if "NOPASSWD" in words or ("nopass" in words.split() and "doas" in entry.path):
                yield entry.path, f"line {number} asks for no password"


@rule(
    "uid-too-big",
    "All owners fit into 65536 ids",
    why="An unprivileged container has 65536 ids; a file of a higher one cannot be unpacked there.",
    fix="Unpack or build with the tree's own ids; shifted ids of a running container must be shifted back.",
)
def uid_too_big(subject: Subject) -> Faults:
    for path, entry in subject.view.entries.items():
        if entry.uid > MAX_ID or entry.gid > MAX_ID:
            yield path, f"its owner is {entry.uid}:{entry.gid}"


@rule(
    "unknown-owner",
    "Every owner is an account of the tree",
    why="Files of unknown ids are the build machine's, or of a user that was removed; a later user "
    "inherits them.",
    fix="Give the files to root, or remove them with their user.",
    severity="warning",
)
def unknown_owner(subject: Subject) -> Faults:
    users = {account.uid for account in subject.accounts}
    fields = [line.split(":") for line in subject.view.lines("/etc/group")]
    groups = {int(field[2]) for field in fields if len(field) > 2 and field[2].isdecimal()}
    if not users or not groups:
        return
    for path, entry in subject.view.entries.items():
        if entry.uid not in users and entry.uid <= MAX_ID:
            yield path, f"uid {entry.uid} is nobody's"
        elif entry.gid not in groups and entry.gid <= MAX_ID:
            yield path, f"gid {entry.gid} is no group's"


def _given(subject: Subject, name: str) -> bool:
    """Whether the recipe gives that account a password."""
    return name in subject.users and bool(subject.users[name].password)


def _is_hash(field: str) -> bool:
    """A hash that is not locked, or one that a lock ("!$6$...") would only cover: crypt(5).

    Thirteen characters are DES; "x", "*", "!", "!!", "*LK*", "!*" are no hashes.
    """
    bare = field.lstrip("!*")
    return bare.startswith(("$", "_")) or len(bare) == 13
