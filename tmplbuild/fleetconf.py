"""The settings' table [fleet]: where a fleet's scheduler and store are, so that no command need name them.

[fleet]
scheduler = "tls://10.0.0.1:8786"
store = "sftp://fleet@10.0.0.1/srv/fleet"
tls_ca = "/etc/tmplbuild/tls/ca.crt"
tls_cert = "/etc/tmplbuild/tls/own.crt"
tls_key = "/etc/tmplbuild/tls/own.key"
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tmplbuild.tomlfile import Fault, Node, shown, table

_TLS = ("tls_ca", "tls_cert", "tls_key")


@dataclass(frozen=True, slots=True)
class FleetSettings:
    """The table [fleet].

    scheduler: its address; builds are then done by its workers. store: what the fleet shares.
    tls_ca, tls_cert, tls_key: the authority's certificate, this machine's own, and its private key.
    """

    scheduler: str = ""
    store: str = ""
    tls_ca: Path | None = None
    tls_cert: Path | None = None
    tls_key: Path | None = None


def from_table(node: Node, faults: list[str]) -> FleetSettings:
    """The table [fleet]; what is wrong with it is added to `faults`, each with its line."""
    found = len(faults)
    kinds = {"scheduler": _scheduler, "store": _store, **dict.fromkeys(_TLS, _file)}
    values = table(node, "fleet", kinds, faults)
    missing = [name for name in _TLS if name not in values]
    if len(faults) == found and 0 < len(missing) < len(_TLS):
        faults.append(str(Fault(node.place, f"fleet.{missing[0]}", "is missing: TLS takes all three files")))
    return FleetSettings(**values)  # type: ignore[arg-type]


def _scheduler(value: object) -> object:
    if isinstance(value, str) and value.startswith(("tcp://", "tls://")) and value.isprintable():
        return value
    raise ValueError(f"expected tls://HOST:PORT (or tcp://127.0.0.1:PORT), found {shown(value)}")


def _store(value: object) -> object:
    if isinstance(value, str) and value.isprintable() and (value.startswith("/") or "://" in value):
        return value
    raise ValueError(f"expected an absolute path or an address (sftp://..., s3://...), found {shown(value)}")


def _file(value: object) -> object:
    if isinstance(value, str) and value.startswith("/") and "\0" not in value:
        return Path(value)
    raise ValueError(f"expected an absolute path, found {shown(value)}")
