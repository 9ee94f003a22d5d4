"""The resource controllers' files: limits written, use and failures read, in version 2 and 1.

Documentation: Linux, admin-guide/cgroup-v2.rst and cgroup-v1/. A VE's groups are made for every
controller that the host has, whether or not there is a limit yet: one may be set while it runs, and
what it uses is counted from the start.
"""

from __future__ import annotations

import os
from collections.abc import Mapping

PERIOD_US = 100_000

# Which controller holds which limit.
HOLDERS = {
    "memory_mib": "memory",
    "swap_mib": "memory",
    "pids": "pids",
    "cpus": "cpu",
    "cpu_weight": "cpu",
    "io_weight": "io",
}
# Least, usual and largest value of each file that holds a share.
_CPU_SHARES = {"cpu.weight": (1, 100, 10000), "cpu.shares": (2, 1024, 262144)}
_DISK_SHARES = {
    "io.bfq.weight": (1, 100, 1000),
    "io.weight": (1, 100, 10000),
    "blkio.bfq.weight": (1, 100, 1000),
    "blkio.weight": (10, 500, 1000),
}
_NEVER = 1 << 60  # version 1 tells "no limit" by the largest number of pages


class Unenforceable(Exception):
    """A limit that this machine cannot hold: its name, why, and what would help."""

    def __init__(self, name: str, why: str, hint: str) -> None:
        super().__init__(f"{name}: {why}")
        self.name, self.why, self.hint = name, why, hint


def check(limits: Mapping[str, float], controllers: Mapping[str, str]) -> None:
    """Raise Unenforceable for the first limit that no controller of this machine holds."""
    for name in limits:
        holder = HOLDERS.get(name)
        if holder is not None and holder not in controllers:
            raise Unenforceable(
                name, f"no control group controller '{holder}' is mounted", "mount it (cgroups(7))"
            )
    if "io_weight" in limits and not _shares_disks():
        raise Unenforceable(
            "io_weight",
            "no disk of this machine has a scheduler that knows shares",
            "echo bfq >/sys/block/DISK/queue/scheduler",
        )


def _shares_disks() -> bool:
    schedulers = [read(f"/sys/block/{name}/queue/scheduler") for name in os.listdir("/sys/block")]
    return any("[bfq]" in text or "[cfq]" in text for text in schedulers)


def apply(groups: Mapping[str, str], limits: Mapping[str, float]) -> None:
    """Set a VE's limits, all of them: one that is not named is lifted.

    Parameters:
        groups: the VE's group of each controller.
        limits: as `Limits.as_message` gives them.

    Raises OSError (EBUSY: more is in use than could be freed), Unenforceable.
    """
    _limit_memory(groups.get("memory", ""), limits.get("memory_mib"), limits.get("swap_mib"))
    pids = limits.get("pids")
    _set(groups.get("pids", ""), "pids", pids, {"pids.max": "max" if pids is None else str(int(pids))})
    _limit_cpu(groups.get("cpu", ""), limits.get("cpus"))
    _weigh(groups.get("cpu", ""), "cpu_weight", limits.get("cpu_weight"), _CPU_SHARES)
    _weigh(groups.get("io", ""), "io_weight", limits.get("io_weight"), _DISK_SHARES)


def _set(group: str, name: str, wanted: float | None, files: Mapping[str, str]) -> None:
    """Write those of `files` that the group has: one at least, if there is something to hold."""
    there = [file for file in files if group and os.path.exists(f"{group}/{file}")]
    for file in there:
        write(f"{group}/{file}", files[file])
    if wanted is not None and not there:
        why = f"the VE's group has none of {', '.join(files)}"
        raise Unenforceable(name, why, "hand the controller down to it (cgroups(7), subtree_control)")


def _limit_memory(group: str, memory: float | None, swap: float | None) -> None:
    both = f"{group}/memory.memsw.limit_in_bytes"
    if os.path.exists(f"{group}/memory.max"):
        _set(group, "memory_mib", memory, {"memory.max": _bytes(memory, "max")})
        if memory is None or swap is not None or os.path.exists(f"{group}/memory.swap.max"):
            text = "max" if memory is None else _bytes(swap or 0, "max")
            _set(group, "swap_mib", swap, {"memory.swap.max": text})
        return
    counted = os.path.exists(both)
    if swap is not None and not counted:
        raise Unenforceable("swap_mib", "the kernel does not count swap", "boot with swapaccount=1")
    if counted:
        write(both, "-1")  # it may never be below the other
    _set(group, "memory_mib", memory, {"memory.limit_in_bytes": _bytes(memory, "-1")})
    if counted and memory is not None:
        write(both, _bytes(memory + (swap or 0), "-1"))


def _bytes(mib: float | None, none: str) -> str:
    return none if mib is None else str(int(mib) << 20)


def _limit_cpu(group: str, cpus: float | None) -> None:
    if os.path.exists(f"{group}/cpu.cfs_period_us"):
        write(f"{group}/cpu.cfs_period_us", str(PERIOD_US))
    quota = None if cpus is None else int(cpus * PERIOD_US)
    texts = {
        "cpu.max": f"{'max' if quota is None else quota} {PERIOD_US}",
        "cpu.cfs_quota_us": str(-1 if quota is None else quota),
    }
    _set(group, "cpus", cpus, texts)


def _weigh(group: str, name: str, weight: float | None, ranges: Mapping[str, tuple[int, int, int]]) -> None:
    """Set a share in the file that the group has: 100 is what everything has that nobody gave one."""
    _set(group, name, weight, {file: str(scaled(weight or 100, *ends)) for file, ends in ranges.items()})


def scaled(weight: float, least: int, usual: int, most: int) -> int:
    """A weight of 1 to 10000, 100 being usual, on a scale with another least, usual and largest value."""
    if weight <= 100:
        return int(least + (weight - 1) * (usual - least) / 99)
    return int(usual + (weight - 100) * (most - usual) / 9900)


def is_unified(group: str, name: str) -> bool:
    """Whether a group is of version 2, told by a file that only those have."""
    return os.path.exists(f"{group}/{name}")


def failures(groups: Mapping[str, str]) -> dict[str, int]:
    """How often the kernel refused each resource to the VE so far."""
    found = {}
    if "memory" in groups:
        group = groups["memory"]
        rows = table(f"{group}/memory.events") or table(f"{group}/memory.oom_control")
        found["memory"] = rows.get("oom_kill", 0)
    if "pids" in groups:
        found["pids"] = _failed_forks(groups["pids"])
    return found


def _failed_forks(group: str) -> int:
    # Before Linux 6.11, a failure is counted in the group of whoever forked, not where the limit is.
    below = [
        table(f"{folder}/pids.events").get("max", 0)
        for folder, _dirs, _files in os.walk(group)
        if folder != group
    ]
    return max(table(f"{group}/pids.events").get("max", 0), sum(below))


def usage(groups: Mapping[str, str], unified: str, limits: Mapping[str, float]) -> list[list[object]]:
    """What the VE uses, as rows for `Usage`: resource, unit, held, most held, limit, failures.

    Parameters:
        unified: the VE's group of version 2, which counts processor time even without a controller.
    """
    failed = failures(groups)
    rows: list[list[object]] = []
    if "memory" in groups:
        rows.append(_memory(groups["memory"], limits.get("memory_mib"), failed["memory"]))
        rows += _swap(groups["memory"], limits)
    if "pids" in groups:
        group = groups["pids"]
        held, most = number(f"{group}/pids.current"), number(f"{group}/pids.peak")
        rows.append(["pids", "", held or 0, most, limits.get("pids"), failed["pids"]])
    spent = table(f"{unified}/cpu.stat").get("usage_usec", 0) / 1e6
    throttled = table(f"{groups['cpu']}/cpu.stat").get("nr_throttled", 0) if "cpu" in groups else 0
    rows.append(["cpu", "s", spent, spent, limits.get("cpus"), throttled])
    return rows


def _memory(group: str, limit: float | None, failed: int) -> list[object]:
    if is_unified(group, "memory.max"):
        held, most = number(f"{group}/memory.current"), number(f"{group}/memory.peak")
    else:
        held = number(f"{group}/memory.usage_in_bytes")
        most = number(f"{group}/memory.max_usage_in_bytes")
    return ["memory", "bytes", held or 0, most, None if limit is None else int(limit) << 20, failed]


def _swap(group: str, limits: Mapping[str, float]) -> list[list[object]]:
    limit = None if "memory_mib" not in limits else int(limits.get("swap_mib", 0)) << 20
    if is_unified(group, "memory.swap.current"):
        held, most = number(f"{group}/memory.swap.current"), number(f"{group}/memory.swap.peak")
        failed = table(f"{group}/memory.swap.events").get("fail", 0)
        return [["swap", "bytes", held or 0, most, limit, failed]]
    both = number(f"{group}/memory.memsw.usage_in_bytes")
    if both is None:
        return []
    held = max(0, both - (number(f"{group}/memory.usage_in_bytes") or 0))
    return [["swap", "bytes", held, None, limit, 0]]


def seconds_used(unified: str) -> float:
    """Processor time that the VE used so far, seconds."""
    return table(f"{unified}/cpu.stat").get("usage_usec", 0) / 1e6


def number(path: str) -> int | None:
    """The number in a file, or None when there is none ("max", no such file)."""
    text = read(path).strip()
    return int(text) if text.isdigit() and int(text) < _NEVER else None


def table(path: str) -> dict[str, int]:
    """A file of names and numbers; empty when it is not there."""
    rows = (line.split() for line in read(path).splitlines())
    return {row[0]: int(row[1]) for row in rows if len(row) == 2 and row[1].isdigit()}


def read(path: str) -> str:
    """A small file's text; empty when it is not there."""
    try:
        with open(path, encoding="ascii", errors="replace") as file:
            return file.read()
    except OSError:
        return ""


def write(path: str, text: str) -> None:
    """Write to a controller's file."""
    with open(path, "w", encoding="ascii") as file:
        file.write(text)
