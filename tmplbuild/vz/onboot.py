"""Which VEs go up and down with the host, and in which order (vzctl(8), --bootorder)."""

from __future__ import annotations

from tmplbuild.vz.conf import Conf
from tmplbuild.vz.manage import Manager


def to_start(manager: Manager) -> list[Conf]:
    """Those with ONBOOT=yes that do not run: the highest BOOTORDER first, those without one last."""
    return [of for of in _ordered(manager) if of.yes("ONBOOT") and not _runs(manager, of)]


def to_stop(manager: Manager) -> list[Conf]:
    """All that run, in the reverse order."""
    return [of for of in reversed(_ordered(manager)) if _runs(manager, of)]


def _ordered(manager: Manager) -> list[Conf]:
    return sorted(manager.confs(), key=lambda of: (-_order(of), int(of.veid)))


def _order(of: Conf) -> int:
    text = of.get("BOOTORDER")
    return int(text) if text.isascii() and text.isdigit() else -1


def _runs(manager: Manager, of: Conf) -> bool:
    return manager.running(of.veid) is not None
