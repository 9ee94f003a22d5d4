"""A local HTTP server of a directory that fails as it is told: for tests of downloads."""

from __future__ import annotations

import base64
import re
import socket
import ssl
import struct
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any


@dataclass(frozen=True)
class Seen:
    """One request as the server saw it: fields by lower-case name."""

    method: str
    path: str
    fields: dict[str, str]


@dataclass
class Fault:
    """What goes wrong for requests whose path matches `pattern`.

    `kind`: "status" (answers `status`, with `headers`), "truncate" (closes after `after` bytes),
    "reset" (the same with a TCP reset), "hold" (sends `after` bytes, then nothing until the server
    stops), "body" (sends `body` instead), "long" (sends more bytes than the file has, by chunks),
    "short-length" (declares and sends only `after` bytes), "chunked" (the whole file, by chunks and
    marked as gzip's encoding).
    `times`: for how many requests; -1 for all.
    """

    pattern: str
    kind: str
    times: int = -1
    status: int = 500
    after: int = 0
    body: bytes = b""
    headers: tuple[tuple[str, str], ...] = ()


class ArchiveServer:
    """Serves `root` on 127.0.0.1; `with ArchiveServer(root) as server: server.url`.

    Parameters:
        ranges, validators: whether Range is honoured, and ETag and Last-Modified are sent.
        tls: speak HTTPS.
        port: where it listens; 0 for one that is free.
        user: "NAME:PASSWORD" that every request must tell (RFC 7617); "": nobody is asked.
        keeps: whether a connection serves several requests.
    """

    def __init__(
        self,
        root: Path,
        *,
        ranges: bool = True,
        validators: bool = True,
        tls: ssl.SSLContext | None = None,
        port: int = 0,
        user: str = "",
        keeps: bool = True,
    ) -> None:
        self.keeps = keeps
        self.root = root
        self.tls = tls
        self.port = port
        self.wants = f"Basic {base64.b64encode(user.encode()).decode()}" if user else ""
        self.ranges = ranges
        self.validators = validators
        self.faults: list[Fault] = []
        self.log: list[Seen] = []
        self.actions: list[tuple[str, Callable[[], object]]] = []
        self.sent = 0
        """Bytes of bodies sent so far, faults left out."""
        self.released = threading.Event()
        self.held = threading.Event()
        self._lock = threading.Lock()
        self._server: _Server | None = None
        self._thread: threading.Thread | None = None

    @property
    def url(self) -> str:
        """The address of the archive."""
        assert self._server is not None
        return f"http{'s' if self.tls else ''}://127.0.0.1:{self._server.server_address[1]}"

    def fail(self, pattern: str, kind: str, **options: object) -> Fault:
        """Add a fault; see `Fault`."""
        fault = Fault(pattern, kind, **options)  # type: ignore[arg-type]
        self.faults.append(fault)
        return fault

    def once(self, pattern: str, action: Callable[[], object]) -> None:
        """Do something when a path that matches is asked for, before it is answered, the first time."""
        self.actions.append((pattern, action))

    def asked(self, pattern: str) -> list[Seen]:
        """The requests so far whose path matches."""
        with self._lock:
            return [seen for seen in self.log if re.search(pattern, seen.path)]

    def __enter__(self) -> ArchiveServer:
        self.released.clear()
        self._server = _Server(("127.0.0.1", self.port), self._handler())
        if self.tls is not None:
            self._server.socket = self.tls.wrap_socket(
                self._server.socket, server_side=True, do_handshake_on_connect=False
            )
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._server is not None
        assert self._thread is not None
        self.released.set()
        self._server.shutdown()
        self._server.server_close()
        self._server.hang_up()
        self._thread.join()

    def count(self, size: int) -> None:
        """Bytes of a body are about to be sent."""
        with self._lock:
            self.sent += size

    def note(self, seen: Seen) -> Fault | None:
        """Log a request; the fault that strikes it, if any."""
        with self._lock:
            self.log.append(seen)
            due = [row for row in self.actions if re.search(row[0], seen.path)]
            for row in due:
                self.actions.remove(row)
                row[1]()
            for fault in self.faults:
                if fault.times != 0 and re.search(fault.pattern, seen.path):
                    fault.times -= 1
                    return fault
        return None

    def _handler(self) -> Callable[..., BaseHTTPRequestHandler]:
        server = self

        class Handler(_Handler):
            archive = server
            protocol_version = "HTTP/1.1" if self.keeps else "HTTP/1.0"

        return Handler


class _Server(ThreadingHTTPServer):
    """One whose end is the end of its connections: a client that has kept one gets no answer any more."""

    daemon_threads = True
    request_queue_size = 128  # of the base's 5 a few clients at once leave some to try again, a second later

    def __init__(self, *args: Any) -> None:
        self._talks: dict[socket.socket, threading.Thread] = {}
        self._lock = threading.Lock()
        super().__init__(*args)

    def process_request(self, request: Any, client_address: Any) -> None:
        """As the base does, and know of it."""
        words = (request, client_address)
        thread = threading.Thread(target=self.process_request_thread, args=words, daemon=True)
        with self._lock:
            self._talks[request] = thread
        thread.start()

    def shutdown_request(self, request: Any) -> None:
        """As the base does; no more is to be cut."""
        with self._lock:
            self._talks.pop(request, None)
            super().shutdown_request(request)

    def hang_up(self) -> None:
        """Cut all connections and wait for their threads; new ones do not come any more."""
        with self._lock:
            threads = list(self._talks.values())
            for connection in self._talks:
                with suppress(OSError):
                    # not ssl's own, which takes the connection from under the thread that reads it
                    socket.socket.shutdown(connection, socket.SHUT_RDWR)
        for thread in threads:
            thread.join()


class _Handler(BaseHTTPRequestHandler):
    archive: ArchiveServer

    def log_message(self, *_: object) -> None:
        """Nothing: the server's log is `ArchiveServer.log`."""

    def handle(self) -> None:
        """As the base does, but a client that goes away is no news, nor is the server's own end."""
        try:
            super().handle()
        except ConnectionError:
            pass
        except OSError:
            if not self.archive.released.is_set():
                raise

    def do_HEAD(self) -> None:
        """As GET."""
        self.do_GET()

    def do_GET(self) -> None:
        """Answer, or fail as told."""
        # a client that uses us as its proxy sends an absolute target
        path = re.sub(r"^http://[^/]*", "", self.path)
        seen = Seen(self.command, path, {key.lower(): value for key, value in self.headers.items()})
        fault = self.archive.note(seen)
        file = self.archive.root / path.lstrip("/")
        if self.archive.wants and seen.fields.get("authorization") != self.archive.wants:
            self._whole(401, b"who are you?\n", [("WWW-Authenticate", 'Basic realm="packages"')])
        elif fault is not None and fault.kind == "status":
            self._whole(fault.status, b"told to fail\n", fault.headers)
        elif ".." in path or not file.is_file():
            self._whole(404, b"not here\n")
        elif fault is not None:
            self._broken(fault, file.read_bytes())
        else:
            self._file(file, seen)

    def _file(self, file: Path, seen: Seen) -> None:
        data = file.read_bytes()
        tag, modified = (
            f'"{len(data)}-{hash(data) & 0xFFFFFF:x}"',
            self.date_time_string(int(file.stat().st_mtime)),
        )
        headers = [("ETag", tag), ("Last-Modified", modified)] if self.archive.validators else []
        # RFC 9110, 13.1.3: a date counts where no tag is told; of two changes in one second it knows nothing
        told = seen.fields.get("if-none-match")
        same = tag in told if told is not None else modified == seen.fields.get("if-modified-since")
        if self.archive.validators and same:
            self._whole(304, b"", headers)
            return
        first = re.match(r"bytes=(\d+)-(\d*)$", seen.fields.get("range", ""))
        fresh = seen.fields.get("if-range", tag) in (tag, modified)
        several = re.match(r"bytes=(\d+-\d+(?:, ?\d+-\d+)+)$", seen.fields.get("range", ""))
        if several and self.archive.ranges and fresh:
            self._pieces(data, re.findall(r"(\d+)-(\d+)", several[1]), headers)
        elif first and self.archive.ranges and fresh:
            start = int(first[1])
            if start >= len(data):
                self._whole(416, b"", [("Content-Range", f"bytes */{len(data)}")])
                return
            last = min(int(first[2] or len(data)), len(data) - 1)
            headers.append(("Content-Range", f"bytes {start}-{last}/{len(data)}"))
            self._whole(206, data[start : last + 1], headers)
        else:
            self._whole(200, data, headers)

    def _pieces(self, data: bytes, ranges: list[tuple[str, str]], headers: list[tuple[str, str]]) -> None:
        """Several ranges in one answer (RFC 9110, 14.6)."""
        body = bytearray()
        for start, end in ranges:
            head = f"Content-Type: x/y\r\nContent-Range: bytes {start}-{end}/{len(data)}"
            body += f"\r\n--part\r\n{head}\r\n\r\n".encode() + data[int(start) : int(end) + 1]
        body += b"\r\n--part--\r\n"
        self._whole(206, bytes(body), [*headers, ("Content-Type", "multipart/byteranges; boundary=part")])

    def _whole(self, status: int, body: bytes, headers: object = ()) -> None:
        self._head(status, len(body), headers)
        if self.command != "HEAD":
            self.archive.count(len(body))
            self.wfile.write(body)

    def _head(self, status: int, length: int | None, headers: object = ()) -> None:
        self.send_response(status)
        for key, value in headers:  # type: ignore[attr-defined]
            self.send_header(key, value)
        if length is not None and status != 304:
            self.send_header("Content-Length", str(length))
        self.end_headers()

    def _broken(self, fault: Fault, data: bytes) -> None:
        if fault.kind == "body":
            self._whole(200, fault.body)
        elif fault.kind == "short-length":
            self._whole(200, data[: fault.after])
        elif fault.kind == "chunked":
            self._head(200, None, [("Transfer-Encoding", "chunked"), ("Content-Encoding", "gzip")])
            for start in range(0, len(data), 7000):
                piece = data[start : start + 7000]
                self.wfile.write(f"{len(piece):x}\r\n".encode() + piece + b"\r\n")
            self.wfile.write(b"0\r\n\r\n")
        elif fault.kind == "long":
            self.close_connection = True
            self._head(200, None, [("Connection", "close")])
            self.wfile.write(data + b"x" * 100_000)
        else:
            validators = [("ETag", '"held"')] if self.archive.validators else []
            self._head(200, len(data), validators)
            self.wfile.write(data[: fault.after])
            self.wfile.flush()
            if fault.kind == "hold":
                self.archive.held.set()
                self.archive.released.wait()
            if fault.kind == "reset":
                linger = struct.pack("ii", 1, 0)
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            self.close_connection = True
            with suppress(OSError):
                self.connection.shutdown(
                    socket.SHUT_RDWR
                ) if fault.kind != "reset" else self.connection.close()
