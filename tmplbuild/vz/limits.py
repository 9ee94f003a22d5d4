"""The limits of VEID.conf, in OpenVZ's keys and units, as the core's.

Sources: ctid.conf(5), vzctl(8). A value is "LIMIT" or "BARRIER:LIMIT"; the limit counts.
"""

from __future__ import annotations

from tmplbuild.core import Limits
from tmplbuild.errors import UsageError
from tmplbuild.vz.conf import Conf
from tmplbuild.vz.sizes import NO_LIMIT, size

_PAGE = 4096
_MIB = 1 << 20

OPENVZ_ONLY = (
    "KMEMSIZE", "LOCKEDPAGES", "PRIVVMPAGES", "SHMPAGES", "VMGUARPAGES", "OOMGUARPAGES", "NUMTCPSOCK",
    "NUMFLOCK", "NUMPTY", "NUMSIGINFO", "TCPSNDBUF", "TCPRCVBUF", "OTHERSOCKBUF", "DGRAMRCVBUF",
    "NUMOTHERSOCK", "DCACHESIZE", "NUMFILE", "AVNUMPROC", "NUMIPTENT",
)  # fmt: skip
"""User beancounters that only OpenVZ's kernel keeps."""


def limits_of(conf: Conf) -> Limits:
    """What a VE's configuration allows it. Raises UsageError that names the key."""
    memory = _mib(conf, "PHYSPAGES", _PAGE)
    swap = _mib(conf, "SWAPPAGES", _PAGE)
    units = _number(conf, "CPUUNITS")
    priority = _number(conf, "IOPRIO")
    return Limits(
        memory_mib=memory,
        swap_mib=swap if memory is not None else None,
        pids=_number(conf, "NUMPROC"),
        cpus=_cpus(conf),
        cpu_weight=None if units is None else max(1, min(10000, units // 10)),  # OpenVZ's usual is 1000
        io_weight=None if priority is None else 20 * (priority + 1),  # 0 to 7, usually 4
        disk_mib=_mib(conf, "DISKSPACE", 1 << 10),
        inodes=_number(conf, "DISKINODES"),
    )


def not_kept(conf: Conf) -> list[str]:
    """The keys of limits that only OpenVZ's kernel could keep, where they limit something."""
    found = []
    for key in OPENVZ_ONLY:
        text = _limit(conf.get(key))
        if text and text != "unlimited" and not (text.isdigit() and int(text) >= NO_LIMIT):
            found.append(key)
    return found


def _limit(value: str) -> str:
    return value.rpartition(":")[2].strip()


def _mib(conf: Conf, key: str, unit: int) -> int | None:
    text = _limit(conf.get(key))
    if not text:
        return None
    try:
        count = size(text, unit)
    except UsageError as error:
        raise UsageError(f"{key} of VE {conf.veid}: {error.what}", hint=error.hint) from error
    return None if count is None else -(-count // _MIB)


def _number(conf: Conf, key: str) -> int | None:
    text = _limit(conf.get(key))
    if not text or text.lower() == "unlimited":
        return None
    if not text.isascii() or not text.isdigit():
        raise UsageError(f"{key} of VE {conf.veid}: {text!r} is no whole number")
    count = int(text)
    return None if count >= NO_LIMIT else count


def _cpus(conf: Conf) -> float | None:
    """CPUS processors, or CPULIMIT percent of one: the lower of the two; 0 is no limit."""
    found = [float(count) for count in (_number(conf, "CPUS"),) if count]
    percent = conf.get("CPULIMIT").rstrip("%").strip()
    if percent:
        try:
            share = float(percent) / 100
        except ValueError as error:
            raise UsageError(f"CPULIMIT of VE {conf.veid}: {percent!r} is no percentage") from error
        found += [share] if share > 0 else []
    return min(found) if found else None
