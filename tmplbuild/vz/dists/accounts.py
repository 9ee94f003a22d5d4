"""Passwords: hashed here, written into shadow(5) or ALT's tcb(5); the clear text goes nowhere."""

from __future__ import annotations

import ctypes
import functools
import secrets
import string
import time

from tmplbuild.errors import HostError, UsageError
from tmplbuild.vz.dists.draft import Draft

_ALPHABET = string.ascii_letters + string.digits + "./"
_ROUNDS = 100_000  # 5000 is the format's usual, of 2007
_DAY_S = 86_400


def hashed(password: str) -> str:
    """A salted SHA-512 hash in the form of crypt(5), which every system since glibc 2.7 (2007) can check.

    Raises HostError where this machine's libcrypt cannot make one.
    """
    salt = "".join(secrets.choice(_ALPHABET) for _ in range(16))
    setting = f"$6$rounds={_ROUNDS}${salt}$"
    found = _libcrypt().crypt(password.encode(), setting.encode())
    if not found or not found.startswith(b"$6$"):
        raise HostError("a password cannot be hashed", why="this machine's libcrypt knows no SHA-512")
    return str(found.decode("ascii"))


@functools.cache
def _libcrypt() -> ctypes.CDLL:
    # Python's own module for it was removed in 3.13 (PEP 594)
    for name in ("libcrypt.so.1", "libcrypt.so.2", "libc.so"):
        try:
            library = ctypes.CDLL(name)
            library.crypt.argtypes, library.crypt.restype = (
                (ctypes.c_char_p, ctypes.c_char_p),
                ctypes.c_char_p,
            )
        except (OSError, AttributeError):
            continue
        return library
    raise HostError(
        "a password cannot be hashed", why="there is no libcrypt", hint="apt-get install libcrypt1"
    )


def has_user(draft: Draft, user: str) -> bool:
    """Whether passwd(5) names a user."""
    return any(line.startswith(f"{user}:") for line in (draft.text("/etc/passwd") or "").splitlines())


def check(user: str, password: str) -> None:
    """Raises UsageError for what can be no user's name, or no password."""
    if not user or any(sign in user for sign in ":/\n\0 ") or user.startswith(("-", ".")):
        raise UsageError(f"{user!r} is no user's name")
    if not password or any(sign in password for sign in "\n\0"):
        raise UsageError("a password must have a character, and be one line")


def set_password(draft: Draft, user: str, hash_: str) -> None:
    """Give a user of the VE a password. Raises UsageError when there is no such user."""
    if not has_user(draft, user):
        raise UsageError(
            f"the VE has no user {user!r}", hint="make it there: tmplbuild ve exec ID useradd -m NAME"
        )
    places = (f"/etc/tcb/{user}/shadow", "/etc/shadow")
    shadow = next((path for path in places if draft.text(path) is not None), None)
    if shadow:
        draft.write(shadow, _with_hash(draft.text(shadow) or "", user, hash_))
    # without a shadow file the hash itself stands in passwd(5)
    draft.write("/etc/passwd", _with_field(draft.text("/etc/passwd") or "", user, "x" if shadow else hash_))


def _with_hash(shadow: str, user: str, hash_: str) -> str:
    today = str(int(time.time()) // _DAY_S)
    rows, found = [], False
    for line in shadow.splitlines():
        fields = line.split(":")
        if fields[0] == user and len(fields) >= 3:
            fields[1], fields[2] = hash_, today
            line, found = ":".join(fields), True
        rows.append(line)
    if not found:
        rows.append(f"{user}:{hash_}:{today}:0:99999:7:::")
    return "".join(f"{line}\n" for line in rows)


def _with_field(passwd: str, user: str, field: str) -> str:
    rows = []
    for line in passwd.splitlines():
        fields = line.split(":")
        if fields[0] == user and len(fields) >= 2:
            fields[1] = field
        rows.append(":".join(fields))
    return "".join(f"{line}\n" for line in rows)
