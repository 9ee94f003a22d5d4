"""Messages between the tool, a VE's monitor and its first processes: JSON and descriptors.

They travel over Unix sockets of type SOCK_SEQPACKET, one message a packet. A long one travels in
a memory file, so that an argument list may be as long as the kernel allows.
"""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Mapping, Sequence

Message = dict[str, object]

_INLINE_LIMIT = 32 * 1024
_FDS_LIMIT = 16


def pair() -> tuple[socket.socket, socket.socket]:
    """Two connected sockets for messages."""
    return socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)


def send(sock: socket.socket, message: Mapping[str, object], fds: Sequence[int] = ()) -> None:
    """Send one message with descriptors. Raises EOFError when the other side closed, as `receive` does."""
    data = json.dumps(message).encode()
    if len(data) <= _INLINE_LIMIT:
        _send(sock, b"J" + data, fds)
        return
    memory = os.memfd_create("message")
    try:
        with open(memory, "wb", closefd=False) as file:
            file.write(data)
        _send(sock, b"M", [memory, *fds])
    finally:
        os.close(memory)


def _send(sock: socket.socket, data: bytes, fds: Sequence[int]) -> None:
    try:
        socket.send_fds(sock, [data], list(fds), socket.MSG_NOSIGNAL)
    except ConnectionError as error:
        raise EOFError("the other side closed the connection") from error


def receive(sock: socket.socket) -> tuple[Message, list[int]]:
    """The next message and its descriptors. Raises EOFError when the other side closed."""
    try:
        data, fds, _flags, _address = socket.recv_fds(
            sock, _INLINE_LIMIT + 1, _FDS_LIMIT, socket.MSG_CMSG_CLOEXEC
        )
    except ConnectionError:
        data, fds = b"", []
    if not data:
        raise EOFError("the other side closed the connection")
    if data[:1] == b"M":
        with open(fds.pop(0), "rb") as file:
            file.seek(0)
            data = file.read()
    else:
        data = data[1:]
    message: Message = json.loads(data)
    return message, fds


def call(
    sock: socket.socket, message: Mapping[str, object], fds: Sequence[int] = ()
) -> tuple[Message, list[int]]:
    """Send a message and wait for the answer."""
    send(sock, message, fds)
    return receive(sock)
