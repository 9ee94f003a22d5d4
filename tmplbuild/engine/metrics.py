"""A report as metrics for Prometheus' textfile collector (node_exporter).

https://prometheus.io/docs/instrumenting/exposition_formats/: text format 0.0.4.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tmplbuild.artifact.atomic import write_atomic
from tmplbuild.ui.night import unpublished

Row = Mapping[str, Any]
_Value = Callable[[Row], float | int | None]

_OUTCOMES = ("built", "updated", "unchanged", "failed", "busy", "skipped")

_GAUGES: tuple[tuple[str, str, _Value], ...] = (
    ("built_timestamp_seconds", "When the last good build was made.", lambda row: row["built"]),
    ("failed", "1 when the last build failed.", lambda row: int(row["outcome"] == "failed")),
    (
        "failed_since_timestamp_seconds",
        "When it first failed, while it fails.",
        lambda row: (row["failure"] or {}).get("since"),
    ),
    ("stale", "1 when the last good build is older than stale_after_days.", lambda row: int(row["stale"])),
    ("size_bytes", "Size of the template.", lambda row: row["size"]),
    ("packages", "Packages in the template.", lambda row: row["packages"]),
    ("build_seconds", "How long the last run worked on it.", lambda row: row["seconds"]),
)


def write_metrics(path: Path, report: Mapping[str, Any]) -> None:
    """Replace the file at once: a collector sees the old or the new. Raises StoreError."""
    write_atomic(path, metrics(report).encode())


def metrics(report: Mapping[str, Any]) -> str:
    """The text. A template that is skipped has no metrics."""
    rows = [row for row in report["templates"] if row["outcome"] != "skipped"]
    ended = report["began"] + report["seconds"]
    lines: list[str] = []
    for name, text, value in _GAUGES:
        samples = [(_label("template", row["template"]), value(row)) for row in rows]
        lines += _gauge(f"tmplbuild_template_{name}", text, samples)
    counts = [(_label("outcome", name), report["counts"].get(name, 0)) for name in _OUTCOMES]
    lines += _gauge("tmplbuild_nightly_templates", "Templates of the last run by outcome.", counts)
    lines += _gauge("tmplbuild_nightly_end_timestamp_seconds", "When the last run ended.", [("", ended)])
    lines += _gauge(
        "tmplbuild_nightly_duration_seconds", "How long the last run took.", [("", report["seconds"])]
    )
    if "published" in report:
        lost = [("", len(unpublished(report)))]
        lines += _gauge("tmplbuild_nightly_unpublished", "What could not be published, and targets.", lost)
    status = [("", report["status"])]
    lines += _gauge("tmplbuild_nightly_status", "0 all is well, 1 something failed or is stale.", status)
    return "".join(f"{line}\n" for line in lines)


def _gauge(name: str, text: str, samples: Sequence[tuple[str, float | int | None]]) -> list[str]:
    rows = [f"{name}{label} {_number(value)}" for label, value in samples if value is not None]
    return [f"# HELP {name} {text}", f"# TYPE {name} gauge", *rows] if rows else []


def _label(key: str, value: str) -> str:
    escaped = value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'{{{key}="{escaped}"}}'


def _number(value: float | int) -> str:
    return f"{value:.3f}".rstrip("0").rstrip(".") if isinstance(value, float) else str(value)
