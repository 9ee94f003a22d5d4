"""The kernel's tables, read while they change."""

from __future__ import annotations

import socket
import struct
from collections.abc import Sequence

from tmplbuild.core.netlink import _DONE, _TORN, Link

NEWADDR = 20


class Kernel:
    """A socket whose other side answers each request with the next of these: (flags, addresses)."""

    def __init__(self, answers: Sequence[tuple[int, Sequence[str]]]) -> None:
        self._answers = iter(answers)
        self._serial = 0

    def send(self, data: bytes) -> None:
        self._serial = struct.unpack_from("=IHHI", data)[3]

    def recv(self, size: int) -> bytes:
        flags, addresses = next(self._answers)
        rows = [self._row(NEWADDR, flags, _address(one)) for one in addresses]
        return b"".join(rows) + self._row(_DONE, flags, bytes(4))

    def _row(self, kind: int, flags: int, body: bytes) -> bytes:
        return struct.pack("=IHHII", 16 + len(body), kind, flags, self._serial, 0) + body


def _address(text: str) -> bytes:
    return struct.pack("=BBBBiHH", socket.AF_INET, 32, 0, 0, 7, 8, 1) + socket.inet_aton(text)


def test_a_table_that_changed_while_it_was_read_is_read_again() -> None:
    link = Link.__new__(Link)
    whole = ["192.0.2.1", "192.0.2.2"]
    link._socket = Kernel([(2 | _TORN, whole[:1]), (2, whole)])  # type: ignore[assignment]
    link._serial = 0
    assert [address for _index, address, _width in link.addresses()] == whole
