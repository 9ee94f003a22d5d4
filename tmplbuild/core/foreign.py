"""Programs of other processors: which need an emulator here, and how a VE is given it.

QEMU's user mode runs a program of another processor, and the kernel starts it where it is registered
(Documentation/admin-guide/binfmt-misc.rst). Since Linux 6.7 each user namespace has registrations of its
own, so a VE gets one that nobody else sees, and that goes with it. The host's are used where there are any,
and never changed.
"""

from __future__ import annotations

import platform
import re
import shutil
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from tmplbuild.errors import HostError

_PLACE = Path("/proc/sys/fs/binfmt_misc")
_OWN_SINCE = (6, 7)
_PT_INTERP = 3


@dataclass(frozen=True, slots=True)
class Cpu:
    """A processor as elf(5) names it: 32 or 64 bits, byte order ("<" or ">"), e_machine; `qemu` is its
    name in QEMU's programs."""

    bits: int
    order: str
    machine: int
    qemu: str


CPUS: Mapping[str, Cpu] = {
    "x86_64": Cpu(64, "<", 62, "x86_64"),
    "x86": Cpu(32, "<", 3, "i386"),
    "aarch64": Cpu(64, "<", 183, "aarch64"),
    "armhf": Cpu(32, "<", 40, "arm"),
    "ppc64le": Cpu(64, "<", 21, "ppc64le"),
    "riscv64": Cpu(64, "<", 243, "riscv64"),
    "s390x": Cpu(64, ">", 22, "s390x"),
}
# uname(2)'s word, and what such a processor runs by itself
_NATIVE: Mapping[str, frozenset[str]] = {
    "x86_64": frozenset({"x86_64", "x86"}),
    "i686": frozenset({"x86"}),
    "aarch64": frozenset({"aarch64"}),
    "armv7l": frozenset({"armhf"}),
    "ppc64le": frozenset({"ppc64le"}),
    "riscv64": frozenset({"riscv64"}),
    "s390x": frozenset({"s390x"}),
}


@dataclass(frozen=True, slots=True)
class Emulator:
    """What runs a VE's programs. `program`: QEMU's, to be registered in the VE's own namespace by `line`;
    both are empty where the host has a registration that works in a VE, which `name` then is."""

    arch: str
    name: str
    program: str = ""
    line: str = ""


def is_foreign(arch: str) -> bool:
    """Whether this machine's processor cannot run programs of `arch` (OpenVZ's word) by itself."""
    return arch not in _NATIVE.get(platform.machine(), frozenset({platform.machine()}))


def emulator(arch: str) -> Emulator:
    """What runs programs of a foreign processor here. Raises HostError with what to do where nothing does."""
    cpu = CPUS.get(arch)
    program = _qemu(cpu) if cpu is not None else None
    own = _release() >= _OWN_SINCE and _kernel_has_it()
    if cpu is not None and program is not None and own:
        return Emulator(arch, program.name, str(program), registration(cpu))
    if cpu is not None and (there := _registered(cpu)):
        return Emulator(arch, there)
    name = f"qemu-{cpu.qemu}-static" if cpu is not None else "QEMU"
    if program is None:
        why, fix = f"{name} is not installed", "apt-get install qemu-user-static"
    elif not _kernel_has_it():
        why, fix = "the kernel has no binfmt_misc", "modprobe binfmt_misc"
    else:
        why = (
            f"this kernel ({platform.release()}) has no registrations of a VE's own, which 6.7 brought, and "
        )
        why += "the host's has none with the flag F"
        fix = "use Linux 6.7 or newer, or have the host register it: apt-get install binfmt-support, then "
        fix += f"update-binfmts --enable {name.removesuffix('-static')}"
    raise HostError(f"programs of {arch} cannot be run on this machine", why=why, hint=fix)


def registration(cpu: Cpu) -> str:
    """The line that registers a processor's programs, with {} for the interpreter's path.

    F: the interpreter is opened now, from where the VE will not see it. O, C and P: it is given the program
    as a descriptor, with its owner's rights where it is setuid, and with its own argv[0].
    """
    ident = b"\x7fELF" + bytes([cpu.bits // 32, 1 if cpu.order == "<" else 2, 1]) + bytes(9)
    magic = ident + struct.pack(f"{cpu.order}HH", 2, cpu.machine)
    # any operating system's ABI, and a program at a fixed place (2) or at any (3)
    mask = b"\xff" * 7 + b"\x00" + b"\xff" * 8 + struct.pack(f"{cpu.order}HH", 0xFFFE, 0xFFFF)
    return f":tmplbuild-{cpu.qemu}:M::{_escaped(magic)}:{_escaped(mask)}:{{}}:OCPF"


def _escaped(data: bytes) -> str:
    return "".join(f"\\x{byte:02x}" for byte in data)


def _qemu(cpu: Cpu) -> Path | None:
    """QEMU's program for a processor, if it is one that needs no libraries: a VE has not the host's."""
    for name in (f"qemu-{cpu.qemu}-static", f"qemu-{cpu.qemu}"):
        found = shutil.which(name)
        if found and _is_static(Path(found)):
            return Path(found)
    return None


def _is_static(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            head = file.read(64)
            if head[:5] != b"\x7fELF\x02":
                return False
            (offset,) = struct.unpack_from("=Q", head, 32)
            size, count = struct.unpack_from("=HH", head, 54)
            file.seek(offset)
            rows = file.read(size * count)
    except (OSError, struct.error):
        return False
    return all(struct.unpack_from("=I", rows, at)[0] != _PT_INTERP for at in range(0, len(rows), size))


def _registered(cpu: Cpu) -> str:
    """The host's own registration that works in a VE, if there is one."""
    magic = b"\x7fELF" + bytes([cpu.bits // 32, 1 if cpu.order == "<" else 2])
    machine = struct.pack(f"{cpu.order}H", cpu.machine)
    for name, words in _host_rows():
        said = bytes.fromhex(words.get("magic", ""))
        fits = (said[:6], said[18:20]) == (magic, machine)
        if fits and words.get("enabled") and "F" in words.get("flags:", ""):
            return name
    return ""


def _host_rows() -> Iterator[tuple[str, dict[str, str]]]:
    for path in sorted(_PLACE.glob("*")) if _PLACE.is_dir() else []:
        if path.name in ("register", "status"):
            continue
        try:
            lines = path.read_text().splitlines()
        except OSError:
            continue
        yield path.name, {line.partition(" ")[0]: line.partition(" ")[2] or "yes" for line in lines if line}


def _release() -> tuple[int, ...]:
    return tuple(int(word) for word in re.findall(r"\d+", platform.release())[:2])


def _kernel_has_it() -> bool:
    return "binfmt_misc" in Path("/proc/filesystems").read_text().split()
