"""The only way out of a building VE: a proxy that gives files of the recipe's archives, and no other.

It speaks on a socket that listens inside the VE's network name space and works in this process. A
client gets verified bytes only: the pinned Release and indexes, and packages whose hash an index
names. It cannot reach another host (nothing is forwarded: a request is looked up, not passed on)
nor a local file (a path is looked up in a table, never joined to a directory).
"""

from __future__ import annotations

import os
import selectors
import socket
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import TracebackType

from tmplbuild import __version__
from tmplbuild.archives.http1 import BadRequest, Reader, Request, byte_range, split_target
from tmplbuild.archives.parallel import Stopped
from tmplbuild.archives.transport import Errand
from tmplbuild.archives.trouble import MissingError
from tmplbuild.errors import TmplbuildError
from tmplbuild.events import Emit, Note, silent

_IDLE_S = 120.0
_MAX_CONNECTIONS = 32
_MAX_REMEMBERED = 100


def _nothing(_path: str) -> Path | None:
    return None


@dataclass(frozen=True, slots=True)
class Route:
    """One archive as the VE sees it.

    `public` is the address its sources list names (http://...). `files` maps paths below it to
    verified local files; `fetch` is asked for any other path and gives a verified file, or None
    where the archive's pinned state knows none. It is called from several threads.
    """

    public: str
    files: Mapping[str, Path] = field(default_factory=dict)
    fetch: Callable[[str], Path | None] = _nothing


@dataclass(frozen=True, slots=True)
class Served:
    """What a gateway did: requests answered with a file, bytes of files sent, targets refused."""

    requests: int
    bytes: int
    refused: tuple[str, ...]


class Gateway:
    """Serves routes on a listening socket; `with Gateway(routes) as gateway: gateway.start(listener)`.

    Parameters:
        emit: gets a warning for each host that is asked for in vain.
        errand: what the routes fetch is fetched within; `stop` calls it off.
    """

    def __init__(self, routes: Sequence[Route], *, emit: Emit = silent, errand: Errand | None = None) -> None:
        self._routes = [(split_target(f"{route.public.rstrip('/')}/"), route) for route in routes]
        self._emit = emit
        self._errand = errand
        self._lock = threading.Lock()
        self._connections: set[socket.socket] = set()
        self._threads: set[threading.Thread] = set()
        self._door: threading.Thread | None = None
        self._wake: tuple[int, int] | None = None
        self._requests = 0
        self._bytes = 0
        self._refused: list[str] = []
        self._warned: set[str] = set()

    def start(self, listener: socket.socket) -> None:
        """Serve until `stop`, or until the listener is shut down. Returns at once.

        The listener stays the caller's, who closes it after `stop`.
        """
        if self._wake is not None:
            raise RuntimeError("the gateway is running")
        listener.setblocking(False)
        self._wake = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        self._door = self._spawn(self._accept, listener, self._wake[0])

    def stop(self) -> None:
        """Cut all connections and wait for the threads. Twice does no harm."""
        if self._wake is None or self._door is None:
            return
        os.write(self._wake[1], b"x")
        self._door.join()  # one that it has just taken is among those that are cut
        if self._errand is not None:
            self._errand.call_off()
        with self._lock:
            for connection in self._connections:
                with suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)
            threads = list(self._threads)
        for thread in threads:
            thread.join()
        for end in self._wake:
            os.close(end)
        self._wake = None

    def served(self) -> Served:
        """The figures so far."""
        with self._lock:
            return Served(self._requests, self._bytes, tuple(self._refused))

    def __enter__(self) -> Gateway:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    # -- connections -----------------------------------------------------------------------------

    def _spawn(self, work: Callable[..., None], *args: object) -> threading.Thread:
        def run() -> None:
            try:
                work(*args)
            finally:
                with self._lock:
                    self._threads.discard(thread)

        thread = threading.Thread(target=run, daemon=True, name="gateway")
        with self._lock:
            self._threads.add(thread)
        thread.start()
        return thread

    def _accept(self, listener: socket.socket, wake: int) -> None:
        with selectors.DefaultSelector() as waiting:
            waiting.register(wake, selectors.EVENT_READ)
            waiting.register(listener, selectors.EVENT_READ)
            while all(key.fileobj is not wake for key, _ in waiting.select()):
                try:
                    connection, _ = listener.accept()
                except (BlockingIOError, ConnectionAbortedError):
                    continue  # who knocked is gone
                except OSError:
                    return  # shut down: the VE has ended
                self._take(connection)

    def _take(self, connection: socket.socket) -> None:
        connection.settimeout(_IDLE_S)
        with self._lock:
            full = len(self._connections) >= _MAX_CONNECTIONS
            if not full:
                self._connections.add(connection)
        if full:
            connection.close()
        else:
            self._spawn(self._converse, connection)

    def _converse(self, connection: socket.socket) -> None:
        try:
            with connection:
                reader = Reader(connection)
                while (request := self._next(reader, connection)) is not None:
                    self._answer(connection, request)
                    if not request.keep:
                        break
        except OSError:
            pass  # the client went away
        finally:
            with self._lock:
                self._connections.discard(connection)

    def _next(self, reader: Reader, connection: socket.socket) -> Request | None:
        try:
            return reader.next()
        except BadRequest as error:
            _say(connection, Request("GET", "", {}, keep=False), "400 Bad Request", str(error))
            return None

    # -- one request -----------------------------------------------------------------------------

    def _answer(self, connection: socket.socket, request: Request) -> None:
        route, path = self._find(request)
        if route is None:
            self._refuse(request.target)
            text = "refused: a VE that is being built reaches the recipe's archives and nothing else"
            _say(connection, request, "403 Forbidden", text)
            return
        try:
            local = route.files.get(path) or self._fetched(route, path)
        except Stopped:
            return  # nobody waits for it any more
        except MissingError as error:
            _say(connection, request, "404 Not Found", error.what)
        except TmplbuildError as error:
            self._emit(Note(f"{request.target}: {error.what}", "warning"))
            _say(connection, request, "502 Bad Gateway", error.what)
        else:
            if local is None:
                text = "the archive's pinned state knows no such file"
                _say(connection, request, "404 Not Found", text)
            else:
                self._send(connection, request, local)

    def _fetched(self, route: Route, path: str) -> Path | None:
        fetch = partial(route.fetch, path)
        return fetch() if self._errand is None else self._errand.do(fetch)

    def _find(self, request: Request) -> tuple[Route | None, str]:
        """The route and the path below its address; no route for what is not to be had."""
        asked = split_target(request.target) if request.method in ("GET", "HEAD") else None
        if asked is not None:
            for base, route in self._routes:
                if base is not None and asked[0] == base[0] and asked[1].startswith(base[1]):
                    return route, asked[1][len(base[1]) :]
        return None, ""

    def _refuse(self, target: str) -> None:
        host = (split_target(target) or (target[:100], ""))[0]
        with self._lock:
            if len(self._refused) < _MAX_REMEMBERED:
                self._refused.append(target[:200])
            first = host not in self._warned and len(self._warned) < _MAX_REMEMBERED
            if first:
                self._warned.add(host)
        if first:
            self._emit(Note(f"the VE asked for {host!r}, which is none of the recipe's archives", "warning"))

    def _send(self, connection: socket.socket, request: Request, local: Path) -> None:
        try:
            file = local.open("rb")
        except OSError:
            _say(connection, request, "404 Not Found", "the file has left the cache")
            return
        with file:
            size = os.fstat(file.fileno()).st_size
            # names in the cache are hashes; no Last-Modified is given, so conditions on dates are void
            etag = f'"{local.stem}"'
            wanted = request.fields.get("range", "")
            if request.fields.get("if-range", etag) != etag:
                wanted = ""
            try:
                part = byte_range(wanted, size)
            except ValueError:
                extra = (f"Content-Range: bytes */{size}",)
                _say(connection, request, "416 Range Not Satisfiable", "no such bytes", extra)
                return
            first, count = part or (0, size)
            head = [f"Content-Length: {count}", f"ETag: {etag}", "Accept-Ranges: bytes"]
            head += ["Content-Type: application/octet-stream"]
            if part:
                head.append(f"Content-Range: bytes {first}-{first + count - 1}/{size}")
            connection.sendall(_head("206 Partial Content" if part else "200 OK", request, head))
            sent = 0
            if request.method == "GET" and count:
                sent = connection.sendfile(file, first, count)
        with self._lock:
            self._requests += 1
            self._bytes += sent


def _head(status: str, request: Request, fields: Sequence[str]) -> bytes:
    keep = "keep-alive" if request.keep else "close"
    rows = [f"HTTP/1.1 {status}", f"Server: tmplbuild/{__version__}", f"Connection: {keep}", *fields]
    return "\r\n".join([*rows, "", ""]).encode("latin-1")


def _say(
    connection: socket.socket, request: Request, status: str, text: str, extra: Sequence[str] = ()
) -> None:
    body = f"{text}\n".encode()
    head = _head(status, request, ["Content-Type: text/plain", f"Content-Length: {len(body)}", *extra])
    connection.sendall(head if request.method == "HEAD" else head + body)
