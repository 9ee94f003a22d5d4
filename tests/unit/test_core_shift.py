"""Owners, capabilities and access lists moved into a VE's range and back."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tmplbuild.core import ready, shift
from tmplbuild.core.inside import elf_bits

BASE = 0x7000_0000
CAPS_V2 = struct.pack("<I4I", 0x02000001, 1 << 13, 0, 0, 0)


def test_capabilities_name_the_root_of_the_namespace_and_forget_it_again() -> None:
    moved = shift.move_caps(CAPS_V2, BASE)
    assert struct.unpack("<I4II", moved) == (0x03000001, 1 << 13, 0, 0, 0, BASE)
    assert shift.move_caps(moved, 0) == CAPS_V2
    assert shift.move_caps(moved, BASE) == moved


def acl(*entries: tuple[int, int, int]) -> bytes:
    return struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *entry) for entry in entries)


ENTRIES = st.lists(
    st.tuples(st.sampled_from([1, 2, 4, 8, 16, 32]), st.integers(0, 7), st.integers(0, 65535)), max_size=6
)


@given(ENTRIES)
def test_access_lists_move_named_entries_only_and_come_back(entries: list[tuple[int, int, int]]) -> None:
    moved = shift.move_acl(acl(*entries), lambda number: number + BASE)
    expected = [(tag, perm, number + BASE if tag in (2, 8) else number) for tag, perm, number in entries]
    assert moved == acl(*expected)
    assert shift.move_acl(moved, lambda number: number - BASE) == acl(*entries)


def test_the_marker_lies_beside_the_directory() -> None:
    assert shift.marker("/a/b/") == "/a/b.tmplbuild-owners"


@pytest.mark.parametrize(
    ("head", "bits"), [(b"\x7fELF\x01", 32), (b"\x7fELF\x02", 64), (b"#!/bin/sh", 0), (b"\x7fEL", 0)]
)
def test_the_class_of_a_program(tmp_path_factory: pytest.TempPathFactory, head: bytes, bits: int) -> None:
    path = tmp_path_factory.mktemp("elf") / "file"
    path.write_bytes(head)
    assert elf_bits(str(path)) == bits
    assert elf_bits("/no/such/file") == 0


def utmp(*rows: tuple[int, int]) -> bytes:
    return b"".join(struct.pack("h2xi", *row).ljust(384, b"\0") for row in rows)


@pytest.mark.parametrize(
    ("data", "level"),
    [
        (b"", None),
        (utmp((2, 0)), None),
        (utmp((2, 0), (1, ord("2") + 256 * ord("N"))), "2"),
        (utmp((1, ord("S"))), "S"),
        (utmp((1, ord("2")))[:100], None),
    ],
)
def test_the_run_level_in_utmp(
    tmp_path_factory: pytest.TempPathFactory, data: bytes, level: str | None
) -> None:
    path = tmp_path_factory.mktemp("utmp") / "utmp"
    path.write_bytes(data)
    assert ready._run_level(str(path)) == level


def test_a_link_in_place_of_utmp_is_not_followed(tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("utmp")
    (folder / "real").write_bytes(utmp((1, ord("2"))))
    (folder / "utmp").symlink_to(folder / "real")
    assert ready._run_level(str(folder / "utmp")) is None
