"""What can be asked of a VE and changed about it while it runs: its use, its limits, its addresses."""

from __future__ import annotations

from collections.abc import Mapping

from tmplbuild.core import boot, cgroup, resources, wire
from tmplbuild.core.line import AddressInUse, Line
from tmplbuild.core.watchdog import Gauge, Watchdog


class Upkeep:
    """The limits and addresses of one VE. `line` is None where it has no venet0."""

    def __init__(self, config: wire.Message, line: Line | None, gauge: Gauge | None) -> None:
        owner, veid = str(config["owner"]), str(config["veid"])
        self.limits: dict[str, float] = dict(boot.numbers(config["limits"]))
        self.line = line
        self._groups = cgroup.groups(owner, veid)
        self._unified = cgroup.unified(owner, veid)
        self.watchdog = Watchdog(self._unified, self.limits, gauge)

    def about(self) -> wire.Message:
        """What `VE` shows as its attributes."""
        return {"limits": self.limits, "addresses": self.line.addresses if self.line else []}

    def failures(self) -> dict[str, int]:
        """How often the kernel refused something to the VE, of what it has a limit on."""
        wanted = {holder for name, holder in resources.HOLDERS.items() if name in self.limits}
        return resources.failures({name: group for name, group in self._groups.items() if name in wanted})

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
        except AddressInUse as error:
            return {"error": str(error), "busy": True}
        except KeyError as error:
            return {"error": f"it has no address {error.args[0]}"}
        except resources.Unenforceable as error:
            return {"error": str(error), "hint": error.hint}
        except OSError as error:
            return {"error": str(error)}
        return self.about()

    def _change(self, limits: Mapping[str, float]) -> None:
        """Take these limits, or keep the old ones and raise."""
        resources.check(limits, self._groups)
        try:
            resources.apply(self._groups, limits)
        except (OSError, resources.Unenforceable):
            resources.apply(self._groups, self.limits)
            raise
        self.limits = dict(limits)
        self.watchdog.change(self.limits)

    def _usage(self) -> list[list[object]]:
        rows = resources.usage(self._groups, self._unified, self.limits)
        return rows + self.watchdog.rows()
