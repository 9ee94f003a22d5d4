"""The settings' table [nightly]: what runs each night, within which bounds, and who hears of it.

[nightly]
recipes = ["debian-*", "ubuntu-24.04"]
stale_after_days = 14
metrics = "/var/lib/prometheus/node-exporter/tmplbuild.prom"
command = ["mail", "-s", "templates", "root"]

[nightly.smtp]
host = "mail.example.org"
from = "templates@example.org"
to = ["admin@example.org"]
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tmplbuild.tomlfile import Fault, Kind, Node, number, shown, table

When = Literal["always", "changed", "failed"]


@dataclass(frozen=True, slots=True)
class Smtp:
    """A mail server that takes the report.

    host, port: where it listens; port 0: 25, with "tls" 465, with "starttls" 587.
    security: "tls" from the first byte, "starttls", or "none".
    user: log in with this name; the password is in the file password_file, or in the variable
        password_env of the environment: never in the settings themselves.
    sender ("from" in the file), to: addresses.
    """

    host: str
    sender: str
    to: tuple[str, ...]
    port: int = 0
    security: Literal["none", "starttls", "tls"] = "starttls"
    user: str = ""
    password_file: Path | None = None
    password_env: str = ""


@dataclass(frozen=True, slots=True)
class Nightly:
    """The table [nightly].

    recipes: patterns of the names of recipes (fnmatch(3)) that nightly, status and update know; all
        that can be built if none is given. skip: patterns of those that are left out.
    publish: patterns of the recipes or templates that are published at the end, as `tmplbuild publish`
        does it; none: nothing is.
    jobs: templates at once; 0: twice as many as `jobs` of all settings, which is that of the processors;
        one where that is 1.
    memory_mib: bound on the memory of all builds together, MiB; 0: what is available at the start.
    keep_free_mib: of the disk with the layers so much is kept free, MiB: a build that would take more
        waits for the others to end, or is not begun.
    nice: of the run and all that it starts, 0 to 19. ionice: its class for the disk.
    stale_after_days: a template that was built longer ago is an alarm; 0: never.
    timeout_s: longest time of one template's build, seconds; 0: none.
    command: is given the report on its standard input. when: on which nights it and the mail are sent.
    metrics: file for Prometheus' textfile collector.
    keep_reports: how many reports of earlier nights are kept.
    """

    recipes: tuple[str, ...] = ()
    skip: tuple[str, ...] = ()
    publish: tuple[str, ...] = ()
    jobs: int = 0
    memory_mib: int = 0
    keep_free_mib: int = 1024
    nice: int = 10
    ionice: Literal["idle", "best-effort", "none"] = "idle"
    stale_after_days: int = 30
    timeout_s: int = 0
    command: tuple[str, ...] = ()
    when: When = "changed"
    metrics: Path | None = None
    keep_reports: int = 30
    smtp: Smtp | None = None


def from_table(node: Node, faults: list[str]) -> Nightly:
    """The table [nightly]; what is wrong with it is added to `faults`, each with its line."""
    values = table(node, "nightly", {**_NIGHTLY, "smtp": None}, faults)
    assert isinstance(node.value, dict) or not values
    smtp = None
    if isinstance(node.value, dict) and "smtp" in node.value:
        smtp = _smtp(node.value["smtp"], faults)
    return Nightly(**values, smtp=smtp)  # type: ignore[arg-type]


def _smtp(node: Node, faults: list[str]) -> Smtp | None:
    found = len(faults)
    values = table(node, "nightly.smtp", _SMTP, faults)
    for key in ("host", "from", "to"):
        if not values.get(key) and len(faults) == found:
            faults.append(str(Fault(node.place, f"nightly.smtp.{key}", "is missing")))
    if values.get("user") and not (values.get("password_file") or values.get("password_env")):
        hint = "name the file that holds it: password_file"
        faults.append(str(Fault(node.place, "nightly.smtp.user", "has no password", hint)))
    if values.get("user") and values.get("security") == "none":
        hint = 'use security = "starttls" or "tls"'
        faults.append(
            str(Fault(node.place, "nightly.smtp.security", "a password would go unencrypted", hint))
        )
    if len(faults) > found:
        return None
    values["sender"] = values.pop("from")
    return Smtp(**values)  # type: ignore[arg-type]


def _text(value: object) -> object:
    if isinstance(value, str) and value and value.isprintable():
        return value
    raise ValueError(f"expected a text, found {shown(value)}")


def _texts(value: object) -> object:
    if isinstance(value, list) and all(isinstance(item, str) and item for item in value):
        return tuple(value)
    raise ValueError(f"expected a list of texts, found {shown(value)}")


def _file(value: object) -> object:
    if isinstance(value, str) and value.startswith("/") and "\0" not in value:
        return Path(value)
    raise ValueError(f"expected an absolute path, found {shown(value)}")


def _one_of(*words: str) -> Kind:
    def check(value: object) -> object:
        if value in words:
            return value
        raise ValueError(f"expected one of {', '.join(words)}, found {shown(value)}")

    return check


_NIGHTLY: dict[str, Kind | None] = {
    "recipes": _texts,
    "skip": _texts,
    "publish": _texts,
    "jobs": number(0, 1024),
    "memory_mib": number(0, 1 << 24),
    "keep_free_mib": number(0, 1 << 24),
    "nice": number(0, 19),
    "ionice": _one_of("idle", "best-effort", "none"),
    "stale_after_days": number(0, 3650),
    "timeout_s": number(0, 7 * 86400),
    "command": _texts,
    "when": _one_of("always", "changed", "failed"),
    "metrics": _file,
    "keep_reports": number(1, 10_000),
}
_SMTP: dict[str, Kind | None] = {
    "host": _text,
    "port": number(0, 65535),
    "security": _one_of("none", "starttls", "tls"),
    "user": _text,
    "password_file": _file,
    "password_env": _text,
    "from": _text,
    "to": _texts,
}
