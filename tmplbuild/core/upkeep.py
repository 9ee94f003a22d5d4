"""What can be asked of a VE and changed about it while it runs: its use, its limits, its addresses."""

from __future__ import annotations

import errno
from collections.abc import Mapping

from tmplbuild.core import boot, cgroup, resources, wire
from tmplbuild.core.diskuse import Measured
from tmplbuild.core.images import Held
from tmplbuild.core.quota import Project
from tmplbuild.core.watchdog import Watchdog


class Upkeep:
    """The limits and addresses of one VE that runs."""

    def __init__(self, config: wire.Message, born: boot.Born) -> None:
        owner, veid = str(config["owner"]), str(config["veid"])
        self.limits: dict[str, float] = dict(boot.numbers(config["limits"]))
        self.line = born.line
        self._groups = cgroup.groups(owner, veid)
        self._unified = cgroup.unified(owner, veid)
        self._disk = _disk(config, born, self._unified)
        self.watchdog = Watchdog(self._unified, self.limits, self._disk)

    def about(self) -> wire.Message:
        """What `VE` shows as its attributes."""
        return {"limits": self.limits, "addresses": self.line.addresses if self.line else []}

    def failures(self) -> dict[str, int]:
        """How often the kernel refused something to the VE, of what it has a limit on."""
        wanted = {holder for name, holder in resources.HOLDERS.items() if name in self.limits}
        return resources.failures({name: group for name, group in self._groups.items() if name in wanted})

    def hit_since(self, before: Mapping[str, int]) -> list[str]:
        """What was refused since `failures` told `before`, and what is used up."""
        hit = [name for name, count in self.failures().items() if count > before.get(name, 0)]
        return hit + ([] if self._disk is None or isinstance(self._disk, Measured) else self._disk.full())

    def answer(self, message: wire.Message) -> wire.Message:
        """Do what a message asks for, and answer it."""
        what = message["op"]
        try:
            if what == "usage":
                return {"rows": self._usage()}
            if what == "limits":
                self._change(boot.numbers(message["limits"]))
            elif self.line is None:
                return {"error": "it was started without venet0", "hint": "start it with net=Venet(...)"}
            elif what == "add_address":
                self.line.add(str(message["address"]))
            elif what == "remove_address":
                self.line.remove(str(message["address"]))
        except KeyError as error:
            return {"error": f"it has no address {error.args[0]}"}
        except resources.Unenforceable as error:
            return {"error": str(error), "hint": error.hint}
        except OSError as error:
            busy = error.errno == errno.EADDRINUSE
            return {"error": str(error.strerror if busy else error), "busy": busy}
        return self.about()

    def _change(self, limits: Mapping[str, float]) -> None:
        """Take these limits, or keep the old ones and raise."""
        resources.check(limits, self._groups)
        if isinstance(self._disk, Held) and limits.get("disk_mib") != self.limits.get("disk_mib"):
            raise resources.Unenforceable(
                "disk_mib",
                "its disk is an image that is in use",
                "stop the VE, then start it with the new limit",
            )
        try:
            self._apply(limits)
        except (OSError, resources.Unenforceable):
            self._apply(self.limits)
            raise
        self.limits = dict(limits)
        self.watchdog.change(self.limits)

    def _apply(self, limits: Mapping[str, float]) -> None:
        resources.apply(self._groups, limits)
        if isinstance(self._disk, Project):
            self._disk.limit(limits)

    def _usage(self) -> list[list[object]]:
        rows = resources.usage(self._groups, self._unified, self.limits)
        return rows + self.watchdog.rows()


def _disk(config: wire.Message, born: boot.Born, group: str) -> Held | Project | Measured | None:
    """What tells the VE's disk use, and holds the limits on it where something can."""
    rootfs = config["rootfs"]
    assert isinstance(rootfs, dict)
    where = str(rootfs["upper"] or rootfs["directory"])
    if rootfs["image"]:
        return Held(born.root)
    return born.project or (Measured(where, group) if where else None)
