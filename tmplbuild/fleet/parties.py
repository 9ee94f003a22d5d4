"""What can be said of a fleet's parties without loading Dask: who may listen where, who is there."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from tmplbuild.errors import HostError, UsageError


@dataclass(frozen=True, slots=True)
class Tls:
    """A certificate authority's file, and one party's own certificate and key."""

    ca: Path
    cert: Path
    key: Path


def refuse_open(address: str, tls: Tls | None) -> None:
    """Raise UsageError for an address that others reach, when nobody would have to show who he is."""
    host = urlsplit(address if "://" in address else f"//{address}").hostname or ""
    try:
        local = ipaddress.ip_address(host).is_loopback
    except ValueError:
        local = host == "localhost"
    if not local and tls is None:
        raise UsageError(
            "a fleet on a network needs TLS: whoever reaches a scheduler without it runs commands as root",
            where=address,
            hint="--tls-ca, --tls-cert and --tls-key, on all machines; docs/fleet.md tells how to make them",
        )
    if tls is not None and address.startswith("tcp://"):
        raise UsageError("with TLS the address is tls://HOST:PORT", where=address)


@dataclass(frozen=True, slots=True)
class Member:
    """A worker as the scheduler sees it.

    Parameters:
        secrets: the names of those that it has, with underscores for dashes and dots.
        running: template and stage of each part that it does.
        offers: see `tmplbuild.fleet.grid.resources`.
    """

    name: str
    address: str
    version: str
    arches: tuple[str, ...]
    jobs: int
    memory_mib: int
    secrets: tuple[str, ...]
    running: tuple[str, ...]
    offers: Mapping[str, float]


class LostError(HostError):
    """The scheduler, or worker after worker, was lost, and a task with it."""

    def __init__(self, why: str) -> None:
        super().__init__(
            "the fleet was lost", why=why, hint="see that its scheduler runs: tmplbuild status --fleet"
        )
