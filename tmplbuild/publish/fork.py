"""One tar stream becomes several that differ in a few files: what recipes want otherwise for a consumer.

The stream is parsed once, whatever the number of consumers; all that nobody touches is passed on as it came,
in long pieces. What is removed or replaced is cut out, and what is new comes at the end.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from types import TracebackType
from typing import Any

from tmplbuild.artifact import tarstream
from tmplbuild.errors import StageError
from tmplbuild.publish.deltas import Delta, Put
from tmplbuild.publish.walk import Sink

_BLOCK = tarstream.BLOCK
_EXTENSIONS = b"xLKg"
_WITH_BODY = b"0\0007"


@dataclass(slots=True)
class _Member:
    """What stands before a member's body: `start` in the buffer, `size` of all its blocks, body included."""

    start: int
    path: str
    kind: bytes
    link: str
    size: int


class Fork:
    """A sink that hands the tar stream to others, each with its own changes.

    Parameters:
        sinks: the others, and what each gets otherwise.
        epoch: time of the files that are put in, seconds.
        every: after so many bytes of the stream a sink that has a `cut` is told, wherever it is then.

    Raises StageError while it is written to, where a change cannot be made: of a file that has hard links, or
    below something that is no directory.
    """

    def __init__(self, sinks: Sequence[tuple[Sink, Delta]], epoch: int, every: int = 0) -> None:
        self._sinks = sinks
        self._epoch = epoch
        self._every = every
        self._passed = 0
        self._cuts = [cut for sink, _ in sinks if (cut := getattr(sink, "cut", None))]
        self._stack = ExitStack()
        self._touched = [delta.touched for _, delta in sinks]
        self._all = frozenset().union(*self._touched)
        self._below = tuple({f"{path}/" for _, delta in sinks for path in delta.remove})
        self._parents = {parent for _, delta in sinks for parent in delta.parents}
        self._folders: set[str] = set()
        self._rest = b""
        self._left = 0  # bytes of the body at hand that are still to come
        self._at = ""  # whose body that is, if somebody touches it
        self._ended = False

    def __enter__(self) -> Fork:
        for sink, _ in self._sinks:
            self._stack.enter_context(sink)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.__exit__(kind, error, trace)

    def write(self, data: bytes, /) -> None:
        """Take the next bytes of the stream."""
        for path, whole in self._pieces(data):
            for piece in self._cut(whole):
                self._hand(path, piece)

    def _hand(self, path: str, piece: bytes) -> None:
        if piece:
            for (sink, delta), touched in zip(self._sinks, self._touched, strict=True):
                if not path or not (path in touched or delta.removes(path)):
                    sink.write(piece)

    def _cut(self, piece: bytes) -> Iterator[bytes]:
        """The piece in parts that end where sinks are told to cut."""
        at = 0
        while self._every and self._cuts:
            end = at + self._every - self._passed % self._every
            if end > len(piece):
                break
            yield piece[at:end]
            self._passed += end - at
            at = end
            for cut in self._cuts:
                cut()
        self._passed += len(piece) - at
        yield piece[at:] if at else piece

    def _pieces(self, data: bytes) -> Iterator[tuple[str, bytes]]:
        """The stream in pieces, each with the path that somebody touches, or ""."""
        buffer, self._rest = self._rest + data, b""
        start = at = 0
        while at < len(buffer):
            if self._left:
                count = min(self._left, len(buffer) - at)
                at += count
                self._left -= count
                if self._at:
                    yield self._at, buffer[start:at]
                    start = at
                if self._left:
                    break
                self._at = ""
                continue
            if self._ended:
                at = len(buffer)
                break
            member = self._next(buffer, at)
            if member is None:
                self._rest = buffer[at:]
                break
            if not member.path:
                if at > start:
                    yield "", buffer[start:at]
                start, self._ended = at, True
                self._finish()
                continue
            self._look(member)
            if member.path in self._all or member.path.startswith(self._below):
                if at > start:
                    yield "", buffer[start:at]
                start, self._at = at, member.path
            self._left = member.size
        if at > start:
            yield "", buffer[start:at]

    def _next(self, buffer: bytes, at: int) -> _Member | None:
        """The member whose blocks begin at `at`; None where they are not all there; no path: the end."""
        pos, name, link = at, b"", b""
        while pos + _BLOCK <= len(buffer):
            block = buffer[pos : pos + _BLOCK]
            if not any(block):
                return _Member(at, "", b"", "", 0)
            kind, size = block[156:157], _number(block[124:136])
            padded = size + -size % _BLOCK
            if kind in _EXTENSIONS:
                if pos + _BLOCK + padded > len(buffer):
                    return None
                body = buffer[pos + _BLOCK : pos + _BLOCK + size]
                if kind == b"x":
                    records = _records(body)
                    name, link = records.get(b"path", name), records.get(b"linkpath", link)
                elif kind == b"L":
                    name = body.rstrip(b"\0")
                elif kind == b"K":
                    link = body.rstrip(b"\0")
                pos += _BLOCK + padded
                continue
            prefix = block[345:500].rstrip(b"\0") if block[257:262] == b"ustar" else b""
            name = name or (prefix + b"/" if prefix else b"") + block[:100].rstrip(b"\0")
            link = link or block[157:257].rstrip(b"\0")
            size = pos + _BLOCK - at + (padded if kind in _WITH_BODY else 0)
            return _Member(at, _path(name), kind, _path(link) if kind == tarstream.HARDLINK else "", size)
        return None

    def _look(self, member: _Member) -> None:
        if member.kind == tarstream.DIRECTORY:
            self._folders.add(member.path)
        elif member.path in self._parents:
            raise _impossible(member.path, "files are to be put below it, and it is no directory")
        if member.link and (
            member.link in self._all or member.path in self._all or member.link.startswith(self._below)
        ):
            raise _impossible(member.path, f"it is one file with {member.link}")

    def _finish(self) -> None:
        """Put in what is new, before the end."""
        for sink, delta in self._sinks:
            made = set(self._folders)
            for put in delta.files:
                for parent in put.parents:
                    if parent not in made:
                        made.add(parent)
                        sink.write(_blocks(Put(parent, "directory", b"", 0o755, 0, 0), self._epoch))
                if put.kind != "directory" or put.path not in made:
                    sink.write(_blocks(put, self._epoch))


def _blocks(put: Put, epoch: int) -> bytes:
    name = b"." + put.path.encode()
    what: Any = {"mode": put.mode, "uid": put.uid, "gid": put.gid, "mtime": epoch}
    if put.kind == "directory":
        return tarstream.head(name + b"/", tarstream.DIRECTORY, **what)
    if put.kind == "link":
        return tarstream.head(name, tarstream.SYMLINK, link=put.data, **what)
    head = tarstream.head(name, tarstream.REGULAR, size=len(put.data), **what)
    return head + put.data + tarstream.padding(len(put.data))


def _number(field: bytes) -> int:
    if field[0] & 0x80:  # GNU's base-256
        return int.from_bytes(bytes([field[0] & 0x7F]) + field[1:], "big")
    return int(field.split(b"\0", 1)[0].strip() or b"0", 8)


def _records(body: bytes) -> dict[bytes, bytes]:
    """pax records, by keyword (pax(1), "pax Extended Header")."""
    found = {}
    while body:
        length, _, _ = body.partition(b" ")
        record, body = body[: int(length)], body[int(length) :]
        key, _, value = record[len(length) + 1 : -1].partition(b"=")
        found[key] = value
    return found


def _path(name: bytes) -> str:
    text = name.decode("utf-8", "surrogateescape").removeprefix("./").strip("/")
    return f"/{text}"


def _impossible(path: str, why: str) -> StageError:
    return StageError(
        "a file cannot be changed for one consumer alone",
        where=path,
        why=why,
        hint="change it in the recipe's [configure], or not at all",
    )
