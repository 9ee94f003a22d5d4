"""As much of HTTP/1.1 as a proxy for apt needs to read: requests without bodies (RFC 9112)."""

from __future__ import annotations

import re
import socket
from dataclasses import dataclass
from urllib.parse import unquote_to_bytes

MAX_HEAD = 16384
"""Bytes of a request's head beyond which it is refused."""

_LINE = re.compile(rb"([A-Z]{1,16}) ([!-~]{1,8000}) HTTP/1\.([01])\Z")
_FIELD = re.compile(rb"([A-Za-z0-9!#$%&'*+.^_`|~-]+):[ \t]*([\t -~\x80-\xff]*?)[ \t]*\Z")
_RANGE = re.compile(r"bytes=([0-9]{1,15})-([0-9]{0,15})\Z")


class BadRequest(Exception):
    """What came is no request that can be answered; the connection is to be closed."""


@dataclass(frozen=True, slots=True)
class Request:
    """One request: method, target as sent, header fields (names in lower case)."""

    method: str
    target: str
    fields: dict[str, str]
    keep: bool


class Reader:
    """Reads requests from a connection, one after another; what is sent ahead (pipelined) is kept."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._buffer = bytearray()

    def next(self) -> Request | None:
        """The next request, None when the client has closed. Raises BadRequest, OSError."""
        while (end := self._buffer.find(b"\r\n\r\n")) < 0:
            if len(self._buffer) > MAX_HEAD:
                raise BadRequest("the request's head is too long")
            data = self._connection.recv(65536)
            if not data:
                if self._buffer.strip():
                    raise BadRequest("the request ends too early")
                return None
            self._buffer += data
        if end > MAX_HEAD:
            raise BadRequest("the request's head is too long")
        head = bytes(self._buffer[:end])
        del self._buffer[: end + 4]
        return parse(head.lstrip(b"\r\n"))


def parse(head: bytes) -> Request:
    """Read a request's head (without its empty line). Raises BadRequest."""
    lines = head.split(b"\r\n")
    start = _LINE.match(lines[0])
    if start is None:
        raise BadRequest("not a request line")
    fields: dict[str, str] = {}
    for line in lines[1:]:
        found = _FIELD.match(line)
        if found is None:
            raise BadRequest("not a header field")
        fields[found[1].decode().lower()] = found[2].decode("latin-1")
    # a body would have to be skipped: misjudging its length lets a client hide a request in it
    if fields.get("transfer-encoding") or fields.get("content-length", "0") != "0":
        raise BadRequest("requests with a body are not served")
    default = "keep-alive" if start[3] == b"1" else "close"
    words = fields.get("connection", fields.get("proxy-connection", default)).lower()
    return Request(start[1].decode(), start[2].decode(), fields, "close" not in words)


def split_target(target: str) -> tuple[str, str] | None:
    """Host (with a port other than 80) and decoded path of an absolute http:// target; None for any
    other form."""
    if not target.lower().startswith("http://"):
        return None
    host, _, path = target[7:].partition("/")
    host = host.lower().removesuffix(":80")
    try:
        decoded = unquote_to_bytes(path).decode("ascii")
    except UnicodeDecodeError:
        return None
    return host, decoded


def byte_range(field: str, size: int) -> tuple[int, int] | None:
    """First byte and count of a Range field with one range; None where the whole file is due.

    Raises ValueError for a range that begins behind the file's end.
    """
    found = _RANGE.match(field.strip())
    if found is None:
        return None  # RFC 9110, 14.2: what is not understood is ignored
    first = int(found[1])
    last = min(int(found[2]) if found[2] else size - 1, size - 1)
    if first >= size:
        raise ValueError(field)
    return (first, last - first + 1) if last >= first else None
