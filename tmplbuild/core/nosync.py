"""Calls that only ask for the disk are answered at once: a seccomp filter (seccomp(2), BPF).

A package manager syncs after every step, for a machine that may lose power while it lives on its tree.
A tree that is being made is thrown away whole when anything goes wrong, and is synced once, when it
is done; waiting for the disk hundreds of times in between is most of what building costs.
"""

from __future__ import annotations

import ctypes
import os
import struct

_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER = 22, 2
_ALLOW, _ANSWER_ZERO = 0x7FFF0000, 0x00050000  # SECCOMP_RET_ALLOW, SECCOMP_RET_ERRNO with errno 0
_LOAD, _EQUAL, _RETURN = 0x20, 0x15, 0x06  # BPF: ld [k], jeq #k, ret #k
_NUMBER_AT, _ARCH_AT = 0, 4  # struct seccomp_data

# AUDIT_ARCH_* of linux/audit.h, and fsync, fdatasync, sync, syncfs, sync_file_range, msync there.
_CALLS = {
    0xC000003E: (74, 75, 162, 306, 277, 26),  # x86_64
    0x40000003: (118, 148, 36, 344, 314, 144),  # i386
    0xC00000B7: (82, 83, 81, 267, 84, 227),  # aarch64
    0x40000028: (118, 148, 36, 373, 341, 144),  # arm
}


def program() -> bytes:
    """The filter: for each architecture that it knows, the calls above are answered with 0."""
    rows: list[tuple[int, int, int, int]] = [(_LOAD, 0, 0, _ARCH_AT)]
    for arch, calls in _CALLS.items():
        count = len(calls)
        rows.append((_EQUAL, 0, count + 3, arch))  # another one: past this block
        rows.append((_LOAD, 0, 0, _NUMBER_AT))
        rows += [(_EQUAL, count - at, 0, number) for at, number in enumerate(calls)]
        rows.append((_RETURN, 0, 0, _ALLOW))
        rows.append((_RETURN, 0, 0, _ANSWER_ZERO))
    rows.append((_RETURN, 0, 0, _ALLOW))
    return b"".join(struct.pack("=HBBI", *row) for row in rows)


def suppress() -> None:
    """Filter this process and all that it starts from now on. Needs CAP_SYS_ADMIN in its user
    namespace; where the kernel has no seccomp, calls go to the disk as ever."""
    code = program()
    buffer = ctypes.create_string_buffer(code, len(code))
    length = len(code) // 8
    fprog = struct.pack(
        "@HxxxxxxP" if struct.calcsize("P") == 8 else "@HxxP", length, ctypes.addressof(buffer)
    )
    libc = ctypes.CDLL(None, use_errno=True)
    result = libc.prctl(
        ctypes.c_int(_PR_SET_SECCOMP),
        ctypes.c_ulong(_SECCOMP_MODE_FILTER),
        ctypes.c_char_p(fprog),
        ctypes.c_ulong(0),
        ctypes.c_ulong(0),
    )
    if result != 0 and ctypes.get_errno() not in (22, 38):  # EINVAL, ENOSYS: not in this kernel
        code_ = ctypes.get_errno()
        raise OSError(code_, os.strerror(code_), "seccomp")
