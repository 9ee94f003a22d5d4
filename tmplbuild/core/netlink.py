"""The kernel's network configuration: devices, addresses, routes, by rtnetlink(7).

One request, one answer, over a socket of the standard library: no `ip` program is needed on the host
or in the VE. A `Link` speaks for the network namespace in which it was opened, wherever its caller
goes afterwards.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
from collections.abc import Iterator

_NEWLINK, _DELLINK, _GETLINK, _SETLINK = 16, 17, 18, 19
_NEWADDR, _DELADDR, _GETADDR = 20, 21, 22
_NEWROUTE, _DELROUTE = 24, 25
_NEWNEIGH, _DELNEIGH = 28, 29
_ERROR, _DONE = 2, 3
_REQUEST, _ACK, _EXCL, _CREATE, _DUMP = 1, 4, 0x200, 0x400, 0x300
_TORN = 0x10  # NLM_F_DUMP_INTR

_IFF_UP, _IFF_NOARP = 0x1, 0x80
_IFLA_ADDRESS, _IFLA_IFNAME, _IFLA_LINKINFO, _IFLA_NET_NS_PID, _IFLA_GROUP = 1, 3, 18, 19, 27
_IFLA_INFO_KIND, _IFLA_INFO_DATA, _VETH_INFO_PEER = 1, 2, 1
_IFA_ADDRESS, _IFA_LOCAL = 1, 2
_RTA_DST, _RTA_OIF = 1, 4
_NDA_DST = 1
_NTF_PROXY = 8
_TABLE_MAIN, _PROTO_STATIC, _SCOPE_UNIVERSE, _SCOPE_LINK, _UNICAST = 254, 4, 0, 253, 1


Rows = list[bytes]


class Link:
    """A connection to the kernel for the network namespace of the process that makes it."""

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE)
        self._socket.bind((0, 0))
        self._serial = 0

    def __enter__(self) -> Link:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    # -- devices ---------------------------------------------------------------------------------

    def make_pair(self, name: str, *, peer: str, pid: int, mac: bytes, group: int) -> None:
        """Make a veth pair: `name` here, in a group of devices; `peer` in process `pid`'s namespace.

        Both ends have the one hardware address `mac` and no neighbour discovery: what one sends is
        always for the other, as with a line between two points. Raises FileExistsError.
        """
        other = _header(flags=_IFF_NOARP, change=_IFF_NOARP)
        other += _text(_IFLA_IFNAME, peer) + _attr(_IFLA_NET_NS_PID, struct.pack("=I", pid))
        other += _attr(_IFLA_ADDRESS, mac)
        kind = _text(_IFLA_INFO_KIND, "veth") + _attr(_IFLA_INFO_DATA, _attr(_VETH_INFO_PEER, other))
        own = _text(_IFLA_IFNAME, name) + _attr(_IFLA_ADDRESS, mac) + _attr(_IFLA_LINKINFO, kind)
        own += _attr(_IFLA_GROUP, struct.pack("=I", group))
        self._call(_NEWLINK, _CREATE | _EXCL, _header(flags=_IFF_NOARP, change=_IFF_NOARP) + own)

    def delete(self, name: str) -> bool:
        """Remove a device, with all routes and addresses that are on it. False when there is none."""
        try:
            self._call(_DELLINK, 0, _header() + _text(_IFLA_IFNAME, name))
        except OSError as error:
            if error.errno != errno.ENODEV:
                raise
            return False
        return True

    def switch_on(self, index: int) -> None:
        """Set a device up."""
        self._call(_SETLINK, 0, _header(index=index, flags=_IFF_UP, change=_IFF_UP))

    def index(self, name: str) -> int | None:
        """The number of a device, None when there is none of that name."""
        try:
            answer = self._call(_GETLINK, 0, _header() + _text(_IFLA_IFNAME, name))
        except OSError as error:
            if error.errno != errno.ENODEV:
                raise
            return None
        return int(struct.unpack_from("=i", answer, 4)[0])

    # -- addresses and routes ----------------------------------------------------------------------

    def add_address(self, index: int, address: str) -> None:
        """Give a device an address of a single machine (/32, /128). Raises FileExistsError."""
        self._call(_NEWADDR, _CREATE | _EXCL, _address(index, address))

    def delete_address(self, index: int, address: str) -> None:
        """Take an address away. Raises OSError (EADDRNOTAVAIL)."""
        self._call(_DELADDR, 0, _address(index, address))

    def add_route(self, index: int, target: str, *, width: int | None = None) -> None:
        """Have a device lead to an address, or to the `width` first bits of it. Raises FileExistsError."""
        self._call(_NEWROUTE, _CREATE | _EXCL, _route(index, target, width))

    def delete_route(self, index: int, target: str, *, width: int | None = None) -> None:
        """Remove a route. Raises ProcessLookupError when there is none."""
        self._call(_DELROUTE, 0, _route(index, target, width))

    def answer_for(self, index: int, address: str) -> None:
        """Answer ARP and neighbour solicitations for an address on a device (`ip neigh add proxy`)."""
        self._call(_NEWNEIGH, _CREATE, _neighbour(index, address))

    def answer_no_more(self, index: int, address: str) -> None:
        """The reverse. Raises OSError when there is no such entry."""
        self._call(_DELNEIGH, 0, _neighbour(index, address))

    def addresses(self) -> Iterator[tuple[int, str, int]]:
        """(device's number, address, prefix length) of every address there is."""
        for body in self._dump(_GETADDR, struct.pack("=BBBBi", 0, 0, 0, 0, 0)):
            family, width, _flags, _scope, index = struct.unpack_from("=BBBBi", body)
            for kind, data in _attributes(body[8:]):
                if kind == _IFA_ADDRESS:
                    yield index, socket.inet_ntop(family, data), width

    # -- messages (netlink(7)) -----------------------------------------------------------------------

    def _send(self, kind: int, flags: int, body: bytes) -> None:
        self._serial += 1
        head = struct.pack("=IHHII", 16 + len(body), kind, _REQUEST | flags, self._serial, 0)
        self._socket.send(head + body)

    def _call(self, kind: int, flags: int, body: bytes) -> bytes:
        """Send a request; the body of what it answers before its acknowledgement. Raises OSError."""
        self._send(kind, flags | _ACK, body)
        answer = b""
        for what, _flags, found in self._replies():
            if what == _ERROR:
                code = -struct.unpack_from("=i", found)[0]
                if code:
                    raise OSError(code, os.strerror(code))
                return answer
            answer = found
        return answer

    def _dump(self, kind: int, body: bytes) -> Rows:
        """All rows of a table of the kernel's, as they were at one time: a change meanwhile may hide one."""
        while True:
            self._send(kind, _DUMP, body)
            rows, torn = [], False
            for what, flags, found in self._replies():
                torn = torn or bool(flags & _TORN)
                if what in (_DONE, _ERROR):
                    break
                rows.append(found)
            if not torn:
                return rows

    def _replies(self) -> Iterator[tuple[int, int, bytes]]:
        while True:
            data = self._socket.recv(1 << 16)
            while len(data) >= 16:
                length, kind, flags, serial, _pid = struct.unpack_from("=IHHII", data)
                if serial == self._serial:
                    yield kind, flags, data[16:length]
                data = data[(length + 3) & ~3 :]


def packed(address: str) -> tuple[int, bytes]:
    """The family of an address, and its bytes."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    return family, socket.inet_pton(family, address)


def _attr(kind: int, data: bytes) -> bytes:
    return struct.pack("=HH", 4 + len(data), kind) + data + b"\0" * (-len(data) % 4)


def _text(kind: int, text: str) -> bytes:
    return _attr(kind, text.encode() + b"\0")


def _attributes(data: bytes) -> Iterator[tuple[int, bytes]]:
    while len(data) >= 4:
        length, kind = struct.unpack_from("=HH", data)
        yield kind & 0x3FFF, data[4:length]
        data = data[(length + 3) & ~3 :]


def _header(*, index: int = 0, flags: int = 0, change: int = 0) -> bytes:
    return struct.pack("=BxHiII", 0, 0, index, flags, change)


def _address(index: int, address: str) -> bytes:
    family, data = packed(address)
    body = struct.pack("=BBBBi", family, len(data) * 8, 0, _SCOPE_UNIVERSE, index)
    return body + _attr(_IFA_LOCAL, data) + _attr(_IFA_ADDRESS, data)


def _route(index: int, target: str, width: int | None) -> bytes:
    family, data = packed(target)
    bits = len(data) * 8 if width is None else width
    scope = _SCOPE_LINK if family == socket.AF_INET else _SCOPE_UNIVERSE
    body = struct.pack("=BBBBBBBBI", family, bits, 0, 0, _TABLE_MAIN, _PROTO_STATIC, scope, _UNICAST, 0)
    return body + (_attr(_RTA_DST, data) if bits else b"") + _attr(_RTA_OIF, struct.pack("=i", index))


def _neighbour(index: int, address: str) -> bytes:
    family, data = packed(address)
    return struct.pack("=BxxxiHBB", family, index, 0, _NTF_PROXY, 0) + _attr(_NDA_DST, data)
