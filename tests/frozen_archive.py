"""This machine's package archives as they were when the tests first looked: one state for a whole run.

A mirror moves when it likes, and one with several machines behind its name moves back and forth for some
minutes: what two builds of a test see would then differ by no fault of theirs. So the tests see the archives
that /etc/apt names through a server on loopback, which asks for each signed file once. All else it hands
through: files named by a hash and packages do not change, and an index is asked for by the hash that the
signed file gives it.

    end = freeze(place)     # /etc/apt of this process and of its children to come names the server
    end()

As root only: /etc/apt is replaced in a mount namespace of its own, for this process and its children.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import requests

from tmplbuild.core import linux

_APT = Path("/etc/apt")
_ADDRESS = re.compile(r"(?:https?)://[^\s\]]+")
_SIGNED = ("InRelease", "Release", "Release.gpg")
_HASH = re.compile(r"^ ([0-9a-f]{64}) +\d+ (\S+)$", re.MULTILINE)
_PASSING = (408, 425, 429, 500, 502, 503, 504)
_WAITS_S = (0.5, 1, 2, 4, 8, 16)
"""Before each further attempt: a machine behind the mirror's name may lack for a while what another has."""


def freeze(place: Path) -> Callable[[], None]:
    """Have /etc/apt name a server that hands out one state of each archive that it named before.

    Parameters:
        place: where the other /etc/apt is made.

    Returns what ends it.
    """
    shutil.copytree(_APT, place, symlinks=True)
    texts = {path: path.read_text() for path in _sources(place) if path.is_file()}
    found = sorted({url for text in texts.values() for url in _named(text)})
    argv = [sys.executable, "-m", "tests.frozen_archive", *found]
    root = Path(__file__).resolve().parent.parent
    server = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=root)
    assert server.stdout is not None
    port = int(server.stdout.read())
    server.wait()
    for path, text in texts.items():
        # the true one stays beside it, under a name that apt passes over in silence
        path.with_name(f"{path.name}.orig").write_text(text)
        path.write_text(_ADDRESS.sub(lambda match: _ours(match[0].rstrip("/"), found, port), text))
    linux.unshare(linux.CLONE_NEWNS)
    linux.mount("", "/", flags=linux.MS_REC | linux.MS_SLAVE)
    linux.mount(str(place), str(_APT), flags=linux.MS_BIND)

    def end() -> None:
        linux.umount(str(_APT))
        assert server.stdin is not None
        server.stdin.close()

    return end


def _sources(etc: Path) -> list[Path]:
    return [etc / "sources.list", *etc.glob("sources.list.d/*.list"), *etc.glob("sources.list.d/*.sources")]


def _named(text: str) -> list[str]:
    lines = [line.partition("#")[0] for line in text.splitlines()]
    return [url.rstrip("/") for line in lines for url in _ADDRESS.findall(line)]


def _ours(address: str, found: Sequence[str], port: int) -> str:
    if address not in found:  # in a comment
        return address
    # the last component tells what archive it is (tmplbuild.archives.mirrors)
    return f"http://127.0.0.1:{port}/{found.index(address)}/{address.rpartition('/')[2]}"


class Front(ThreadingHTTPServer):
    """Serves each archive of `addresses` below its number and last component."""

    daemon_threads = True
    request_queue_size = 128  # of the base's 5 many clients at once leave some to try again, a second later

    def __init__(self, addresses: Sequence[str]) -> None:
        super().__init__(("127.0.0.1", 0), _Request)
        self.addresses = addresses
        self.http = requests.Session()
        self.http.mount("http://", requests.adapters.HTTPAdapter(pool_maxsize=32))
        self._signed: dict[str, tuple[int, bytes]] = {}
        self._locks: dict[str, threading.Lock] = {}

    def signed(self, url: str) -> tuple[int, bytes]:
        """The status and the bytes of a signed file, as they were at first.

        That the mirror is out of order is nothing to keep: raises RequestException.
        """
        with self._locks.setdefault(url, threading.Lock()):
            if url not in self._signed:
                with self.get(url, {}, sure=False) as response:
                    if response.status_code in _PASSING:
                        raise requests.HTTPError(f"{url}: {response.status_code}")
                    self._signed[url] = (response.status_code, response.content)
            return self._signed[url]

    def by_hash(self, url: str) -> str:
        """Where an index is found after the archive has moved; "" if the signed file does not name it."""
        head, mark, path = url.partition("/dists/")
        words = path.split("/")
        for cut in range(1, len(words)):
            suite = f"{head}{mark}{'/'.join(words[:cut])}"
            status, body = self.signed(f"{suite}/InRelease")
            if status == 200:
                hashes = {name: digest for digest, name in _HASH.findall(body.decode())}
                digest = hashes.get("/".join(words[cut:]), "")
                return f"{url.rpartition('/')[0]}/by-hash/SHA256/{digest}" if digest else ""
        return ""

    def get(self, url: str, fields: dict[str, str], *, sure: bool) -> requests.Response:
        """The archive's answer; one that must be there (`sure`) is asked for more than once."""
        # no Accept-Encoding: the bytes are handed on as they are
        fields = {"Accept-Encoding": "identity", "User-Agent": "tmplbuild-tests", **fields}
        for wait in (*_WAITS_S, None):
            try:
                response = self.http.get(url, headers=fields, stream=True, timeout=30)
            except requests.RequestException:
                if wait is None:
                    raise
            else:
                passing = response.status_code in _PASSING or (sure and response.status_code == 404)
                if wait is None or not passing:
                    return response
                response.close()
            time.sleep(wait)
        raise AssertionError("unreachable")


class _Request(BaseHTTPRequestHandler):
    server: Front
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        number, _, rest = self.path.lstrip("/").partition("/")
        if not number.isdigit() or int(number) >= len(self.server.addresses):
            self._answer(404, b"")
            return
        url = f"{self.server.addresses[int(number)]}/{rest.partition('/')[2]}"
        try:
            if url.rpartition("/")[2] in _SIGNED and "/dists/" in url:
                self._answer(*self.server.signed(url))
            else:
                self._hand_on(url)
        except requests.RequestException as error:
            self._answer(502, str(error).encode())

    do_HEAD = do_GET

    def handle(self) -> None:
        """As the base does, but a client that goes away is no news."""
        with suppress(ConnectionError):
            super().handle()

    def _answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def _hand_on(self, url: str) -> None:
        named_by_hash = "/by-hash/" in url or "/pool/" in url
        if not named_by_hash and (other := self.server.by_hash(url)):
            url, named_by_hash = other, True
        asked = {"Range": self.headers["Range"]} if "Range" in self.headers else {}
        with self.server.get(url, asked, sure=named_by_hash) as response:
            self.send_response(response.status_code)
            for name in ("Content-Range", "Content-Length", "Accept-Ranges"):
                if name in response.headers:
                    self.send_header(name, response.headers[name])
            if "Content-Length" not in response.headers:
                self.send_header("Connection", "close")
            self.end_headers()
            if self.command != "HEAD":
                try:
                    for chunk in response.iter_content(1 << 18):
                        self.wfile.write(chunk)
                except requests.RequestException:
                    # the client sees that it is not whole; what we say now would be taken for bytes of it
                    self.close_connection = True

    def log_message(self, *_: object) -> None:
        """Nothing: the tests' output is for the tests."""


def main() -> None:
    """Serve until standard input ends; the port is printed once it can be asked.

    As nobody's child: tests look for children that were left.
    """
    server = Front(sys.argv[1:])
    if os.fork():
        os._exit(0)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    os.write(1, str(server.server_address[1]).encode())
    os.close(1)
    with suppress(KeyboardInterrupt):
        sys.stdin.read()


if __name__ == "__main__":
    main()
