"""Credentials for the mirrors of archives that want to know who asks.

They are read when the first request is made, kept in memory, and given to the mirrors of their archive only.
"""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, partial
from pathlib import Path
from urllib.parse import urlsplit

from tmplbuild import secrets
from tmplbuild.errors import RecipeError, UsageError
from tmplbuild.recipes.credentials import Credentials
from tmplbuild.recipes.model import Archive


@dataclass(frozen=True, slots=True)
class Login:
    """What is told to a mirror: name and password; paths of the client's certificate and its key; the file
    of who vouches for the server ("": whom this machine trusts)."""

    auth: tuple[bytes, bytes] | None = field(default=None, repr=False)
    certificate: tuple[str, str] | None = None
    authority: str = ""


def logins(
    archives: Mapping[str, Archive],
    mirrors: Mapping[str, Sequence[str]],
    beside: Callable[[str], Path | None],
) -> dict[str, Callable[[], Login]]:
    """By a mirror's address, what gives its login.

    Parameters:
        mirrors: addresses by role.
        beside: finds a file beside the recipe.

    Raises UsageError for a mirror that would be told over an open line, RecipeError for an authority that
    is not there; what is given raises HostError where a secret is missing.
    """
    found: dict[str, Callable[[], Login]] = {}
    for role, archive in archives.items():
        credentials = archive.credentials
        if credentials.used:
            authority = _authority(role, credentials, beside)
            login = cache(partial(_read, credentials, authority))
            for address in mirrors.get(role, ()):
                _refuse_open(role, address, credentials)
                found[address] = login
    return found


def _authority(role: str, credentials: Credentials, beside: Callable[[str], Path | None]) -> str:
    if not credentials.authority:
        return ""
    path = beside(credentials.authority)
    if path is None:
        raise RecipeError(
            f"{credentials.authority} is not there",
            where=f"archives.{role}.credentials.authority",
            hint="its path is relative to the recipe's directory",
        )
    return str(path)


def _refuse_open(role: str, address: str, credentials: Credentials) -> None:
    parts = urlsplit(address)
    if parts.scheme == "http" and not _is_here(parts.hostname or ""):
        raise UsageError(
            f"the credentials of the archive {role} would cross the network in the open",
            where=address,
            hint="use an address that begins with https://; for a mirror that wants none: "
            f"drop.credentials = [...] in [archives.{role}] of a recipe of your own",
        )


def _is_here(host: str) -> bool:
    """Whether a host is this machine itself."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _read(credentials: Credentials, authority: str) -> Login:
    user, password = _value(credentials.user), _value(credentials.password)
    certificate, key = _value(credentials.certificate), _value(credentials.key)
    return Login(
        (user, password) if user or password else None,
        (_in_memory("certificate", certificate), _in_memory("key", key)) if certificate else None,
        authority,
    )


def _value(reference: str) -> bytes:
    name = secrets.name_of(reference)
    return secrets.find(name).data if name else b""


def _in_memory(name: str, data: bytes) -> str:
    """A path of a file that has no name anywhere: OpenSSL reads certificates and keys from paths only."""
    fd = os.memfd_create(name, os.MFD_CLOEXEC)
    with open(fd, "wb", closefd=False) as file:
        file.write(data + b"\n")
    return f"/proc/self/fd/{fd}"
