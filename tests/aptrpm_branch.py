"""A whole branch's list, invented: as many packages, dependencies, set-versions and changelogs as a
real one has, the same bytes every time. For figures, and for tests that need much of everything."""

from __future__ import annotations

import random
from collections.abc import Iterator

from tests.aptrpm_factory import list_entry
from tests.rpm_factory import File, Rpm, Tag, pack_header
from tmplbuild.archives.aptrpm import header, setversion

_WORDS = (
    *("alpha", "bravo", "core", "delta", "echo", "font", "gnome", "http", "image", "json"),
    *("kit", "lib", "mail", "net", "opt", "perl", "qt", "ruby", "sys", "text"),
)
_LOG = "- Updated to the next upstream version (closes: #12345), fixed the build with a newer compiler."


def packages(count: int, *, seed: int = 1) -> Iterator[Rpm]:
    """`count` packages: a third libraries with set-versions, the others need some of them. The first
    400 form a system: "system" needs all of them, and they need nothing outside."""
    dice = random.Random(seed)
    libraries: list[tuple[str, str, list[str]]] = []
    names: list[str] = []
    for number in range(count):
        inner = number < 400
        word = f"{_WORDS[number % len(_WORDS)]}{number}"
        is_library = number % 3 == 0
        reach = libraries if inner else libraries[-2000:] + libraries[:100]
        requires = [
            f"{soname} >= {setversion.of_symbols(dice.sample(symbols, min(8, len(symbols))), 20)}"
            for soname, _, symbols in dice.sample(reach, min(len(reach), dice.randint(2, 9)))
        ]
        requires += dice.sample(names, min(len(names), 3)) if inner else dice.sample(names, 6)
        requires += ["/bin/sh", "rpmlib(PayloadIsXz) <= 5.2-1"] if number else []
        provides: tuple[str, ...] = (f"virtual{number % 50}",)
        files = [f"/usr/bin/{word}-{index}" for index in range(3)]
        name = word
        if is_library:
            name = f"lib{word}"
            soname = f"lib{word}.so.1()(64bit)"
            symbols = [f"{word}_{index}" for index in range(dice.randint(20, 300))]
            offered = setversion.of_symbols(symbols, 20)
            libraries.append((soname, offered, symbols))
            provides += (f"{soname} = {offered}",)
            files = [f"/usr/lib64/lib{word}.so.1", f"/usr/lib64/lib{word}.so.1.0"]
        if number == 0:
            files.append("/bin/sh")
        names.append(name)
        yield Rpm(
            name,
            version=f"{dice.randint(0, 20)}.{dice.randint(0, 40)}",
            disttag=f"p11+{number}.100.1.1",
            requires=tuple(dict.fromkeys(requires)),
            provides=provides,
            files=tuple(File(path) for path in files),
        )
    yield Rpm("system", requires=tuple(names[:400]))


def branch_list(count: int = 15_000, *, seed: int = 1, log_entries: int = 30) -> bytes:
    """The list of `packages`, with changelogs of `log_entries` entries."""
    log = _changelog(log_entries)
    return b"".join(_with(list_entry(rpm), log) for rpm in packages(count - 1, seed=seed))


def _changelog(entries: int) -> list[Tag]:
    return [
        Tag(1080, header.INT32, [1_600_000_000 - 86400 * index for index in range(entries)]),
        Tag(1081, header.STRINGS, ["Nobody Special <nobody@example.org> 1.0-alt1"] * entries),
        Tag(1082, header.STRINGS, [_LOG] * entries),
    ]


def _with(entry: bytes, tags: list[Tag]) -> bytes:
    """An entry of a list with more tags behind the others (an index need not be in order)."""
    if not tags[0].value:
        return entry
    more = pack_header(tags)
    count, size = (int.from_bytes(entry[at : at + 4], "big") for at in (8, 12))
    start, pad = 16 + 16 * count, -size % 4
    added = int.from_bytes(more[8:12], "big")
    rows = bytearray(more[16 : 16 + 16 * added])
    for index in range(added):
        at = 16 * index + 8
        offset = int.from_bytes(rows[at : at + 4], "big") + size + pad
        rows[at : at + 4] = offset.to_bytes(4, "big")
    data = entry[start:] + bytes(pad) + more[16 + 16 * added :]
    sizes = (count + added).to_bytes(4, "big") + len(data).to_bytes(4, "big")
    return entry[:8] + sizes + entry[16:start] + bytes(rows) + data
