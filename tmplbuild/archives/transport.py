"""Requests over HTTP and what comes back, piece by piece. The only module that knows requests.

It is loaded with the first request: a run that finds everything in the cache does without. requests honours
the proxy variables of the environment (http_proxy, https_proxy, no_proxy).
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeVar

from tmplbuild import __version__
from tmplbuild.archives.logins import Login
from tmplbuild.archives.parallel import Stopped
from tmplbuild.archives.trouble import reason
from tmplbuild.errors import FetchError

if TYPE_CHECKING:
    import requests

T = TypeVar("T")

CHUNK = 1 << 17
_WINDOW_S = 60.0
_SLOWEST = 1024  # bytes a second
_DENIED = frozenset({401, 403})
_PASSING = frozenset({408, 425, 429, 500, 502, 503, 504})


class Again(Exception):
    """This attempt failed; another one may not. `wait_s`: what the server asked for."""

    def __init__(self, why: str, wait_s: float = 0.0) -> None:
        super().__init__(why)
        self.wait_s = wait_s


class Missing(Exception):
    """The mirror has no such file, or refuses to give it."""


class Denied(Missing):
    """The mirror does not let us in."""


class Transport:
    """Connections of several threads.

    Parameters:
        connect_timeout_s, read_timeout_s: seconds to wait for a connection, and for the next bytes.
        offline: make no request at all.
        clock: the time that rates are measured by, in seconds.
        logins: by a mirror's address, what gives its login (tmplbuild.archives.logins).
    """

    def __init__(
        self,
        *,
        connect_timeout_s: float,
        read_timeout_s: float,
        offline: bool,
        clock: Callable[[], float],
        logins: Mapping[str, Callable[[], Login]] | None = None,
    ) -> None:
        self.requests = 0
        """HTTP requests made so far."""
        self._timeout = (connect_timeout_s, read_timeout_s)
        self._offline = offline
        self._clock = clock
        self._logins = logins or {}
        self._local = threading.local()
        self._open: dict[requests.Response, threading.Event] = {}
        self._lock = threading.Lock()
        self._never = threading.Event()

    def within(self, stop: threading.Event, work: Callable[[], T]) -> T:
        """Do some work, which this thread gives up once `stop` is set (Stopped)."""
        self._local.stop = stop
        try:
            return work()
        finally:
            del self._local.stop

    def check_stop(self) -> None:
        """Raises Stopped once this thread is to give up."""
        if self._stop.is_set():
            raise Stopped

    def wait(self, seconds: float) -> None:
        """Do nothing for a while, or until this thread is to give up."""
        self._stop.wait(seconds)

    @property
    def _stop(self) -> threading.Event:
        found: threading.Event = getattr(self._local, "stop", self._never)
        return found

    def request(self, url: str, headers: Mapping[str, str]) -> Closing:
        """Ask for a file; what comes is for a `with`.

        Raises Again, Missing, Stopped, and FetchError when there is no network to be used.
        """
        self.check_stop()
        if self._offline:
            raise FetchError(
                "a file is not in the cache", where=url, why="offline", hint="run once without --offline"
            )
        from http.client import responses as words

        from requests.exceptions import RequestException

        with self._lock:
            self.requests += 1
        try:
            response = self._session().get(
                url, headers=dict(headers), stream=True, timeout=self._timeout, **self._login(url)
            )
        except RequestException as error:
            raise Again(f"{url}: {reason(error)}") from None
        with self._lock:
            self._open[response] = self._stop
        closing = Closing(response, self)
        if self._stop.is_set():  # `cut` has not seen it
            closing.close()
            raise Stopped
        status = response.status_code
        if status in (200, 206, 304, 416):
            return closing
        closing.close()
        # what a server says beside the number may be what it was told
        said = f"{url}: HTTP {status} {words.get(status, '')}".rstrip()
        if status in _PASSING:
            raise Again(said, _retry_after(response))
        raise Denied(said) if status in _DENIED else Missing(said)

    def chunks(self, response: requests.Response, url: str) -> Iterator[bytes]:
        """The body as it comes. A server that trickles is given up like one that is silent (Again)."""
        from http.client import HTTPException

        from urllib3.exceptions import HTTPError

        begun, came = self._clock(), 0
        try:
            while chunk := _piece(response):
                self.check_stop()
                yield chunk
                came += len(chunk)
                elapsed = self._clock() - begun
                if elapsed > _WINDOW_S:
                    if came < _SLOWEST * elapsed:
                        raise Again(f"{url}: less than {_SLOWEST} bytes a second")
                    begun, came = self._clock(), 0
        except (HTTPError, HTTPException, OSError) as error:
            self.check_stop()
            raise Again(f"{url}: {reason(error)}") from None

    def cut(self, stop: threading.Event) -> None:
        """Cut off what is received by threads that give up: who waits for bytes sees the end at once."""
        with self._lock:
            for response in [one for one, of in self._open.items() if of is stop]:
                shutdown = getattr(response.raw, "shutdown", None)  # urllib3 2.3
                if shutdown is not None:
                    with suppress(OSError, ValueError, RuntimeError):
                        shutdown()

    def forget(self, response: requests.Response) -> None:
        """A response is closed: nothing is left to cut off."""
        with self._lock:
            self._open.pop(response, None)

    def _login(self, url: str) -> dict[str, Any]:
        """What requests is to tell a server who asks; nothing where its address has no login."""
        address = max((one for one in self._logins if url.startswith(f"{one}/")), key=len, default=None)
        if address is None:
            return {}
        login = self._logins[address]()
        words: dict[str, Any] = {"auth": login.auth, "cert": login.certificate}
        return {**words, "verify": login.authority} if login.authority else words

    def _session(self) -> requests.Session:
        import requests

        session: requests.Session | None = getattr(self._local, "session", None)
        if session is None:
            session = self._local.session = requests.Session()
            session.headers["User-Agent"] = f"tmplbuild/{__version__}"
            session.headers["Accept-Encoding"] = "identity"
        return session


class Closing:
    """A response that is closed, and forgotten by its transport, at the end of a `with`."""

    def __init__(self, response: requests.Response, transport: Transport) -> None:
        self.response = response
        self.transport = transport

    def __enter__(self) -> requests.Response:
        return self.response

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self.transport.forget(self.response)
        self.response.close()


class Errand:
    """What one or more threads fetch for somebody, who may call it off, and nothing else with it."""

    def __init__(self, transport: Transport) -> None:
        self.off = threading.Event()
        self._transport = transport

    def do(self, work: Callable[[], T]) -> T:
        """Do a part of it in this thread. Raises Stopped once it is called off."""
        return self._transport.within(self.off, work)

    def cut(self) -> None:
        """Wake who waits for bytes, after `off` was set."""
        self._transport.cut(self.off)

    def call_off(self) -> None:
        """Have every thread that is at it raise Stopped."""
        self.off.set()
        self.cut()


def starts_at(response: requests.Response, offset: int) -> bool:
    """Whether the answer to a request for a range begins where it should."""
    return response.headers.get("Content-Range", "").startswith(f"bytes {offset}-")


def _piece(response: requests.Response) -> bytes:
    """What has come, undecoded: a server that marks a .gz as Content-Encoding must not get it
    unpacked on the way."""
    raw = response.raw
    if hasattr(raw, "read1"):  # urllib3 2: does not wait until the piece is full
        piece: bytes = raw.read1(CHUNK, decode_content=False)
    else:
        piece = raw.read(CHUNK, decode_content=False)
    return piece


def _retry_after(response: requests.Response) -> float:
    """What the server asks to wait, in seconds (RFC 9110, 10.2.3); 0 if it does not say."""
    from email.utils import parsedate_to_datetime

    raw = response.headers.get("Retry-After", "").strip()
    if raw.isdigit():
        return float(min(int(raw[:9]), 3600))
    try:
        return max(0.0, parsedate_to_datetime(raw).timestamp() - time.time())
    except (TypeError, ValueError, IndexError, OverflowError):
        return 0.0
