"""The line between the host and a VE that has addresses: a veth pair, routes, and their removal.

In the VE it is `venet0`, on the host `veVEID.0`, with a host route to each address and no bridge, as
OpenVZ has it. Both ends bear one hardware address and ask for no neighbours, so that "default dev
venet0" is all the routing that a VE needs, in IPv4 and IPv6. What lies on the pair goes with it; the
rest (neighbour entries on the host's own devices, address translation) is noted in the VE's directory
before it is made, so that whoever cleans up knows of it.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
from collections.abc import Sequence

from tmplbuild.core import linux, runstate
from tmplbuild.core.netlink import Link, packed

DEVICE = "venet0"
GROUP = 0x7665
"""The link group of all host ends (ip-link(8)): what goes from VE to VE is told apart by it."""

_NAME_LIMIT = 15
_OWN = "/proc/sys/net/{}/conf/{}/{}"

# For the host's end, and gone with it. What comes in by it is forwarded (to other VEs, and where the host's
# other devices forward as well, beyond); its sender must be one that is routed back there.
_SETTINGS = (
    ("ipv4", "forwarding", "1"),
    ("ipv4", "rp_filter", "1"),
    ("ipv4", "send_redirects", "0"),
    ("ipv6", "addr_gen_mode", "1"),
    ("ipv6", "accept_ra", "0"),
    ("ipv6", "force_forwarding", "1"),
)


def device_name(owner: str, veid: str) -> str:
    """The host's end of a VE's line: veVEID.0, or a digest where that is too long or not unique."""
    name = f"ve{veid}.0"
    if owner == "tmplbuild" and len(name) <= _NAME_LIMIT:
        return name
    return f"ve{hashlib.sha256(f'{owner}/{veid}'.encode()).hexdigest()[:10]}.0"


class Line:
    """The line of a VE that runs: made by its monitor, changed while it runs.

    Parameters:
        folder: the VE's directory, where the note is kept.
        pid: a process in the VE's network.
        tag: what NAT's table is called by.
        wanted: as `Venet.as_message` gives it, with the program that does NAT as "nat".
    """

    def __init__(self, folder: str, owner: str, veid: str, pid: int, wanted: dict[str, object]) -> None:
        self.name = device_name(owner, veid)
        self.addresses: list[str] = []
        self._note = f"{folder}/{runstate.NOTE}"
        self._nat = str(wanted["nat"])
        self._configure = bool(wanted["configure"])
        self._neighbours: list[list[object]] = []
        self._host = Link()
        self._inside = _link_of(pid)
        if self._host.index(self.name) is not None:
            raise _in_use(f"the device {self.name}")
        self._write_note()
        self._host.make_pair(self.name, peer=DEVICE, pid=pid, mac=_hardware_address(), group=GROUP)
        self._index = self._number(self._host, self.name)
        self._inner = self._number(self._inside, DEVICE)
        for family, key, value in _SETTINGS:
            _set(_OWN.format(family, self.name, key), value)
        self._host.switch_on(self._index)
        if self._configure:
            self._inside.switch_on(self._inner)
        given = wanted["addresses"]
        assert isinstance(given, list)
        for address in given:
            self.add(str(address))

    @staticmethod
    def _number(link: Link, name: str) -> int:
        index = link.index(name)
        if index is None:
            raise FileNotFoundError(2, "the device is gone", name)
        return index

    def add(self, address: str) -> None:
        """Give the VE an address. Raises OSError (EADDRINUSE: the host or another VE has it)."""
        known = list(self._host.addresses())
        if address in self.addresses or any(address == other for _index, other, _width in known):
            raise _in_use(address)
        neighbours = [[index, address] for index in _sharing(known, address, self._index)]
        try:
            self._host.add_route(self._index, address)
        except FileExistsError:
            raise _in_use(address) from None
        try:
            self._neighbours += neighbours
            self.addresses.append(address)
            self._write_note()
            for index in _sharing(known, address, self._index):
                self._host.answer_for(index, address)
            if self._configure:
                self._add_inside(address)
            self._translate()
        except BaseException:
            self.remove(address)
            raise

    def _add_inside(self, address: str) -> None:
        with contextlib.suppress(FileExistsError):
            self._inside.add_address(self._inner, address)
        with contextlib.suppress(FileExistsError):
            self._inside.add_route(self._inner, "::" if ":" in address else "0.0.0.0", width=0)

    def remove(self, address: str) -> None:
        """Take an address away, whatever of it is there. Raises KeyError when the VE has it not."""
        if address not in self.addresses:
            raise KeyError(address)
        with contextlib.suppress(OSError):
            self._inside.delete_address(self._inner, address)
        with contextlib.suppress(OSError):
            self._host.delete_route(self._index, address)
        for row in [row for row in self._neighbours if row[1] == address]:
            with contextlib.suppress(OSError):
                self._host.answer_no_more(int(str(row[0])), address)
            self._neighbours.remove(row)
        self.addresses.remove(address)
        self._translate()
        self._write_note()

    def _translate(self) -> None:
        if self._nat:
            from tmplbuild.core import nat  # starts a program: most VEs' monitors need none

            nat.translate(self._nat, self.name, self.addresses, GROUP)

    def _write_note(self) -> None:
        note: dict[str, object] = {"device": self.name, "neighbours": self._neighbours, "nat": self._nat}
        runstate.write(self._note, note)


def remove(folder: str) -> None:
    """Remove what a VE's line was, by the note of it. Idempotent. Raises OSError."""
    note = runstate.read(f"{folder}/{runstate.NOTE}")
    if not note:
        return
    with Link() as host:
        neighbours = note["neighbours"]
        assert isinstance(neighbours, list)
        for index, address in neighbours:
            with contextlib.suppress(OSError):  # it was not made yet, or its device is gone
                host.answer_no_more(index, address)
        host.delete(str(note["device"]))
    if note["nat"]:
        from tmplbuild.core import nat

        nat.forget(str(note["nat"]), str(note["device"]))


def _in_use(what: str) -> OSError:
    return OSError(errno.EADDRINUSE, f"{what} is in use")


def _link_of(pid: int) -> Link:
    """A connection for the network that process `pid` has."""
    home = os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    there = os.open(f"/proc/{pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        linux.setns(there, linux.CLONE_NEWNET)
        try:
            return Link()
        finally:
            linux.setns(home, linux.CLONE_NEWNET)
    finally:
        os.close(there)
        os.close(home)


def _hardware_address() -> bytes:
    """Six random bytes: of one device, and locally administered (IEEE 802)."""
    first, *others = os.urandom(6)
    return bytes([first & 0xFC | 0x02, *others])


def _sharing(known: Sequence[tuple[int, str, int]], address: str, own: int) -> list[int]:
    """The host's devices on whose network `address` lies: there the host must answer for it."""
    found = set()
    for index, other, width in known:
        family, data = packed(address)
        theirs, base = packed(other)
        if family != theirs or index == own or width == len(data) * 8:
            continue
        shift = len(data) * 8 - width
        if int.from_bytes(data, "big") >> shift == int.from_bytes(base, "big") >> shift:
            found.add(index)
    return sorted(found)


def _set(path: str, value: str) -> None:
    try:
        with open(path, "w", encoding="ascii") as file:
            file.write(value)
    except FileNotFoundError:
        pass  # no IPv6 here, or a kernel without this setting
