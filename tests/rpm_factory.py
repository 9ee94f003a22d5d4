"""RPM packages made from nothing, such that rpm itself reads and installs them. No program is called.

The formats: rpm's manual ("RPM V4 package format") and cpio(5), "New ASCII Format".
"""

from __future__ import annotations

import bz2
import gzip
import hashlib
import lzma
import struct
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from tmplbuild.archives import zstd
from tmplbuild.archives.aptrpm import evr, header

WHEN = 1_700_000_000
"""Build times and dates, where nothing else is asked for: seconds since the epoch."""

_RPMLIB = 1 << 24
_SIGNS = {"=": evr.EQUAL, "<": evr.LESS, ">": evr.GREATER}


# -- headers -----------------------------------------------------------------------------------------

Value = int | str | bytes | Sequence[int] | Sequence[str] | Sequence[bytes]


@dataclass(frozen=True)
class Tag:
    """One entry of a header."""

    number: int
    kind: int
    value: Value


def pack_header(tags: Iterable[Tag], *, region: int = 0) -> bytes:
    """A header with these tags in the order of their numbers; with `region`, a tag number, bounded by
    a region as a package's headers are (its trailer lies behind the data, its entry comes first)."""
    index: list[tuple[int, int, int, int]] = []
    store = bytearray()
    for tag in sorted(tags, key=lambda tag: tag.number):
        count, data, width = _packed(tag)
        store += bytes(-len(store) % width)
        index.append((tag.number, tag.kind, len(store), count))
        store += data
    if region:
        entries = len(index) + 1
        index.insert(0, (region, header.BINARY, len(store), 16))
        store += struct.pack(">IIiI", region, header.BINARY, -16 * entries, 16)
    rows = b"".join(struct.pack(">IIII", *row) for row in index)
    return header.MAGIC + struct.pack(">II", len(index), len(store)) + rows + bytes(store)


def _packed(tag: Tag) -> tuple[int, bytes, int]:
    """The count, the bytes and the alignment of a tag's value."""
    letters = {header.INT8: "B", header.INT16: "H", header.INT32: "I", header.INT64: "Q"}
    value = tag.value
    if tag.kind in letters:
        numbers = [value] if isinstance(value, int) else list(value)
        data = struct.pack(f">{len(numbers)}{letters[tag.kind]}", *numbers)
        return len(numbers), data, struct.calcsize(letters[tag.kind])
    if tag.kind == header.BINARY:
        assert isinstance(value, bytes)
        return len(value), value, 1
    texts = [value] if isinstance(value, (str, bytes)) else list(value)  # type: ignore[arg-type]
    raw = [text.encode() if isinstance(text, str) else text for text in texts]  # type: ignore[union-attr]
    return len(raw), b"".join(text + b"\0" for text in raw), 1


# -- packages ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class File:
    """A file of a package. `mode` holds the type too (0o040755: a directory, 0o120777: a link whose
    target is `data`). `caps` is text as getcap prints it; `links` are further names of it."""

    path: str
    data: bytes = b""
    mode: int = 0o100644
    user: str = "root"
    group: str = "root"
    flags: int = 0
    caps: str = ""
    mtime: int = WHEN
    links: tuple[str, ...] = ()


@dataclass(frozen=True)
class Rpm:
    """A package. Dependencies are written "name", "name = 1.0-alt1" or "name >= set:..."."""

    name: str
    version: str = "1.0"
    release: str = "alt1"
    epoch: int | None = None
    disttag: str = ""
    arch: str = "x86_64"
    group: str = "System/Base"
    summary: str = "A package for tests"
    built: int | None = WHEN
    provides: tuple[str, ...] = ()
    requires: tuple[str, ...] = ()
    conflicts: tuple[str, ...] = ()
    obsoletes: tuple[str, ...] = ()
    files: tuple[File, ...] = ()
    scripts: dict[str, str] = field(default_factory=dict)
    payload: str = "xz"
    stripped: bool = False  # the payload of rpm's format 6, and of very large files
    changelog: tuple[tuple[int, str, str], ...] = ()

    @property
    def evr(self) -> str:
        """[epoch:]version-release[:disttag], as a package provides itself in ALT."""
        epoch = "" if self.epoch is None else f"{self.epoch}:"
        tail = f":{self.disttag}" if self.disttag else ""
        return f"{epoch}{self.version}-{self.release}{tail}"

    @property
    def filename(self) -> str:
        """The name of its file."""
        return f"{self.name}-{self.version}-{self.release}.{self.arch}.rpm"


SCRIPTS = {"pre": (1023, 1085), "post": (1024, 1086), "preun": (1025, 1087), "postun": (1026, 1088)}
"""The tags of a script's text and of the program that runs it."""

_WRITERS: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "xz": (lambda data: lzma.compress(data, lzma.FORMAT_XZ, preset=1), "rpmlib(PayloadIsXz) <= 5.2-1"),
    "lzma": (lambda data: lzma.compress(data, lzma.FORMAT_ALONE, preset=1), "rpmlib(PayloadIsLzma)"),
    "gzip": (lambda data: gzip.compress(data, 6, mtime=0), ""),
    "bzip2": (bz2.compress, "rpmlib(PayloadIsBzip2) <= 3.0.5-1"),
    "zstd": (zstd.compress, "rpmlib(PayloadIsZstd) <= 5.4.18-1"),
    "none": (bytes, ""),
}


def dep(text: str) -> tuple[str, int, str]:
    """Name, flags and version of a dependency in words; one in parentheses is a name as a whole."""
    if text.startswith("("):
        return text, 0, ""
    name, _, rest = text.partition(" ")
    flags = _RPMLIB if name.startswith("rpmlib(") else 0
    if not rest:
        return name, flags, ""
    signs, _, version = rest.partition(" ")
    return name, flags | sum(_SIGNS[sign] for sign in signs), version


def common_tags(rpm: Rpm) -> list[Tag]:
    """The tags that a package's own header and its entry in a list share."""
    size = sum(len(file.data) for file in rpm.files if file.mode >> 12 == 0o10)
    tags = [
        Tag(100, header.STRINGS, ["C"]),
        Tag(header.NAME, header.STRING, rpm.name),
        Tag(header.VERSION, header.STRING, rpm.version),
        Tag(header.RELEASE, header.STRING, rpm.release),
        Tag(1004, header.I18N, [rpm.summary]),
        Tag(1005, header.I18N, [f"{rpm.summary}."]),
        Tag(header.SIZE, header.INT32, size),
        Tag(1015, header.STRING, "Nobody <nobody@example.org>"),
        Tag(header.GROUP, header.I18N, [rpm.group]),
        Tag(header.ARCH, header.STRING, rpm.arch),
        Tag(header.SOURCERPM, header.STRING, f"{rpm.name}-{rpm.version}-{rpm.release}.src.rpm"),
    ]
    if rpm.epoch is not None:
        tags.append(Tag(header.EPOCH, header.INT32, rpm.epoch))
    if rpm.built is not None:
        tags.append(Tag(header.BUILDTIME, header.INT32, rpm.built))
    if rpm.disttag:
        tags.append(Tag(header.DISTTAG, header.STRING, rpm.disttag))
    provides = (*rpm.provides, f"{rpm.name} = {rpm.evr}")
    wanted = _WRITERS[rpm.payload][1]
    large = "rpmlib(LargeFiles) <= 4.12.0-1" if rpm.stripped else ""
    requires = (*rpm.requires, *filter(None, (wanted, large)))
    for deps, name, flags, version in (
        (provides, header.PROVIDENAME, header.PROVIDEFLAGS, header.PROVIDEVERSION),
        (requires, header.REQUIRENAME, header.REQUIREFLAGS, header.REQUIREVERSION),
        (rpm.conflicts, header.CONFLICTNAME, header.CONFLICTFLAGS, header.CONFLICTVERSION),
        (rpm.obsoletes, header.OBSOLETENAME, header.OBSOLETEFLAGS, header.OBSOLETEVERSION),
    ):
        if deps:
            rows = [dep(text) for text in deps]
            tags += [
                Tag(name, header.STRINGS, [row[0] for row in rows]),
                Tag(flags, header.INT32, [row[1] for row in rows]),
                Tag(version, header.STRINGS, [row[2] for row in rows]),
            ]
    return tags


def path_tags(paths: Sequence[str]) -> list[Tag]:
    """The tags of a list of files."""
    if not paths:
        return []
    folders = list(dict.fromkeys(path.rpartition("/")[0] + "/" for path in paths))
    return [
        Tag(header.BASENAMES, header.STRINGS, [path.rpartition("/")[2] for path in paths]),
        Tag(header.DIRNAMES, header.STRINGS, folders),
        Tag(
            header.DIRINDEXES,
            header.INT32,
            [folders.index(path.rpartition("/")[0] + "/") for path in paths],
        ),
    ]


def build_rpm(rpm: Rpm) -> bytes:
    """The bytes of the package's file."""
    rows = _rows(rpm)
    cpio = _stripped_cpio(rows) if rpm.stripped else _cpio(rows)
    payload = _WRITERS[rpm.payload][0](cpio)
    tags = common_tags(rpm) + _file_tags(rows) + _script_tags(rpm)
    if rpm.changelog:
        times, names, texts = zip(*rpm.changelog, strict=True)
        tags += [
            Tag(1080, header.INT32, times),
            Tag(1081, header.STRINGS, names),
            Tag(1082, header.STRINGS, texts),
        ]
    tags += [
        Tag(1007, header.STRING, "localhost"),
        Tag(1014, header.STRING, "GPL-2.0-or-later"),
        Tag(1021, header.STRING, "linux"),
        Tag(1064, header.STRING, "4.13.0.1"),
        Tag(1124, header.STRING, "cpio"),
        Tag(1132, header.STRING, f"{rpm.arch}-alt-linux"),
        Tag(5062, header.STRING, "utf-8"),
        Tag(5092, header.STRINGS, [hashlib.sha256(payload).hexdigest()]),
        Tag(5093, header.INT32, 8),
    ]
    if rpm.payload != "none":
        tags += [Tag(1125, header.STRING, rpm.payload), Tag(1126, header.STRING, "5")]
    main = pack_header(tags, region=63)
    signature = pack_header(
        [
            Tag(269, header.STRING, hashlib.sha1(main).hexdigest()),
            Tag(273, header.STRING, hashlib.sha256(main).hexdigest()),
            Tag(1000, header.INT32, len(main) + len(payload)),
            Tag(1004, header.BINARY, hashlib.md5(main + payload).digest()),
            Tag(1007, header.INT32, len(cpio)),
        ],
        region=62,
    )
    label = f"{rpm.name}-{rpm.version}-{rpm.release}".encode()[:65]
    lead = struct.pack(">4sBBHH66sHH16x", b"\xed\xab\xee\xdb", 3, 0, 0, 1, label, 1, 5)
    return lead + signature + bytes(-len(signature) % 8) + main + payload


@dataclass(frozen=True)
class _Row:
    """A name of a file; `data` is with the last name of a hard-linked one, as rpm has it."""

    file: File
    path: str
    inode: int
    links: int
    data: bytes


def _rows(rpm: Rpm) -> list[_Row]:
    rows = []
    for inode, file in enumerate(rpm.files, 1):
        names = sorted((file.path, *file.links))
        for name in names:
            data = file.data if name == names[-1] else b""
            rows.append(_Row(file, name, inode, len(names), data))
    return sorted(rows, key=lambda row: row.path)


def _file_tags(rows: Sequence[_Row]) -> list[Tag]:
    if not rows:
        return []
    files = [row.file for row in rows]
    regular = [file.mode >> 12 == 0o10 for file in files]
    count = len(rows)
    tags = [
        *path_tags([row.path for row in rows]),
        Tag(1028, header.INT32, [len(file.data) for file in files]),
        Tag(1030, header.INT16, [file.mode for file in files]),
        Tag(1033, header.INT16, [0] * count),
        Tag(1034, header.INT32, [file.mtime for file in files]),
        Tag(
            1035,
            header.STRINGS,
            [
                hashlib.md5(file.data).hexdigest() if plain else ""
                for file, plain in zip(files, regular, strict=True)
            ],
        ),
        Tag(
            1036,
            header.STRINGS,
            [file.data.decode() if file.mode >> 12 == 0o12 else "" for file in files],
        ),
        Tag(1037, header.INT32, [file.flags for file in files]),
        Tag(1039, header.STRINGS, [file.user for file in files]),
        Tag(1040, header.STRINGS, [file.group for file in files]),
        Tag(1045, header.INT32, [0xFFFFFFFF] * count),
        Tag(1095, header.INT32, [1] * count),
        Tag(1096, header.INT32, [row.inode for row in rows]),
        Tag(1097, header.STRINGS, [""] * count),
    ]
    if any(file.caps for file in files):
        tags.append(Tag(5010, header.STRINGS, [file.caps for file in files]))
    return tags


def _script_tags(rpm: Rpm) -> list[Tag]:
    tags = []
    for name, text in rpm.scripts.items():
        body, program = SCRIPTS[name]
        tags += [Tag(body, header.STRING, text), Tag(program, header.STRING, "/bin/sh")]
    return tags


def cpio_entry(
    name: str, data: bytes, *, mode: int, inode: int = 1, links: int = 1, mtime: int = WHEN
) -> bytes:
    """One member of a "new ASCII" archive."""
    raw = name.encode() + b"\0"
    numbers = (inode, mode, 0, 0, links, mtime, len(data), 0, 0, 0, 0, len(raw), 0)
    head = b"070701" + b"".join(b"%08X" % number for number in numbers) + raw
    head += bytes(-len(head) % 4)
    return head + data + bytes(-len(data) % 4)


def _in_payload_order(rows: Sequence[_Row]) -> list[_Row]:
    """The names of one file side by side, where the last of them stands: rpm takes what lies between
    two of them for a further one."""
    last = {row.inode: row for row in rows}
    names: dict[int, list[_Row]] = {}
    for row in rows:
        names.setdefault(row.inode, []).append(row)
    return [name for row in rows if last[row.inode] is row for name in names[row.inode]]


def _cpio(rows: Sequence[_Row]) -> bytes:
    members = [
        cpio_entry(
            f".{row.path}",
            row.data,
            mode=row.file.mode,
            inode=row.inode,
            links=row.links,
            mtime=row.file.mtime,
        )
        for row in _in_payload_order(rows)
        if not row.file.flags & 0x40  # %ghost: in the header alone
    ]
    return b"".join(members) + cpio_entry("TRAILER!!!", b"", mode=0, inode=0, mtime=0)


def _stripped_cpio(rows: Sequence[_Row]) -> bytes:
    """Each member is but the number of its file in the header (rpm's lib/cpio.cc)."""
    numbers = {row.path: number for number, row in enumerate(rows)}
    members = b""
    for row in _in_payload_order(rows):
        if not row.file.flags & 0x40:
            data = row.data if row.file.mode >> 12 in (0o10, 0o12) else b""
            members += b"07070X%08X\0\0" % numbers[row.path] + data + bytes(-len(data) % 4)
    return members + cpio_entry("TRAILER!!!", b"", mode=0, inode=0, mtime=0)
