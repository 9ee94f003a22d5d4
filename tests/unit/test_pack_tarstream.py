"""Tar headers: what is written is what a reader finds, whatever the name, owner or size."""

from __future__ import annotations

import io
import tarfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.pack_trees import ACL, CAPABILITY_2, CAPABILITY_3
from tmplbuild.artifact import tarstream
from tmplbuild.artifact.attributes import acl_text, plain_capability, record

parts = st.binary(min_size=1, max_size=255).map(lambda raw: raw.replace(b"\0", b"0").replace(b"/", b"1"))
names = st.lists(parts, min_size=1, max_size=6).map(lambda several: b"./" + b"/".join(several))
owners = st.integers(0, 2**32 - 2)


def read(blocks: bytes) -> tarfile.TarInfo:
    with tarfile.open(fileobj=io.BytesIO(blocks + tarstream.END), errors="surrogateescape") as file:
        (member,) = file.getmembers()
    return member


def raw(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


@given(names, owners, owners, st.integers(0, 0o7777), st.integers(0, 2**33 - 1))
def test_a_member_reads_as_it_was_written(name: bytes, uid: int, gid: int, mode: int, mtime: int) -> None:
    member = read(tarstream.head(name, tarstream.FIFO, mode=mode, uid=uid, gid=gid, mtime=mtime))
    assert raw(member.name) == name
    assert (member.uid, member.gid, member.mode, member.mtime) == (uid, gid, mode, mtime)
    assert (member.uname, member.gname, member.type) == ("", "", tarfile.FIFOTYPE)


@given(names, st.binary(min_size=1, max_size=4000).map(lambda link: link.replace(b"\0", b"0")))
def test_a_link_reads_as_it_was_written(name: bytes, link: bytes) -> None:
    head = tarstream.head(name, tarstream.SYMLINK, mode=0o777, uid=0, gid=0, mtime=0, link=link)
    member = read(head)
    assert raw(member.linkname) == link
    assert raw(member.name) == name


@given(names)
def test_a_split_name_joins_to_the_name(name: bytes) -> None:
    short, prefix = tarstream.split_name(name)
    assert len(short) <= 100
    assert len(prefix) <= 155
    if short:
        assert (prefix + b"/" + short if prefix else short) == name


@pytest.mark.parametrize("size", [0, 1, 8**11 - 1, 8**11, 2**50])
def test_sizes_beyond_the_octal_field(size: int) -> None:
    head = tarstream.head(b"./big", tarstream.REGULAR, mode=0o644, uid=0, gid=0, mtime=0, size=size)
    assert tarfile.TarInfo.frombuf(head, "utf-8", "strict").size == size


def test_the_checksum_of_the_greatest_block() -> None:
    """Bytes that add up beyond what an Adler-32 can tell."""
    high = tarstream.split_name(b"./" + b"\xff" * 150 + b"/" + b"\xff" * 100)
    assert [len(part) for part in high] == [100, 152]
    name = high[1] + b"/" + high[0]
    member = read(
        tarstream.head(
            name, tarstream.SYMLINK, mode=0o777, uid=2**32 - 1, gid=2**32 - 1, mtime=0, link=b"\xff" * 100
        )
    )
    assert raw(member.name) == name


def test_a_device_keeps_its_numbers() -> None:
    head = tarstream.head(
        b"./d", tarstream.DEVICE, mode=0o660, uid=0, gid=6, mtime=0, device=(4095, 2**20 - 1)
    )
    member = read(head)
    assert (member.devmajor, member.devminor) == (4095, 2**20 - 1)


@given(st.binary(max_size=2000))
def test_a_pax_record_counts_itself(value: bytes) -> None:
    written = tarstream.pax_record(b"SCHILY.xattr.user.x", value)
    size, _, rest = written.partition(b" ")
    assert int(size) == len(written)
    assert rest == b"SCHILY.xattr.user.x=" + value + b"\n"


def test_a_name_that_fits_needs_no_extension() -> None:
    head = tarstream.head(b"./usr/bin/ls", tarstream.REGULAR, mode=0o755, uid=0, gid=0, mtime=1, size=5)
    assert len(head) == tarstream.BLOCK


def test_padding_fills_the_block() -> None:
    assert [len(tarstream.padding(size)) for size in (0, 1, 511, 512, 513)] == [0, 511, 1, 0, 511]


def test_capabilities_are_written_without_a_namespace() -> None:
    assert plain_capability(CAPABILITY_3) == CAPABILITY_2
    assert plain_capability(CAPABILITY_2) == CAPABILITY_2


def test_an_acl_is_written_as_text_with_numbers() -> None:
    assert acl_text(ACL) == b"user::rw-,user:1234:r--,group::r--,mask::r--,other::---"
    assert record("system.posix_acl_access", ACL)[0] == b"SCHILY.acl.access"


def test_what_is_no_acl_is_refused() -> None:
    with pytest.raises(ValueError, match="version 2"):
        acl_text(b"\x01\0\0\0")


def test_signs_that_mean_something_in_a_record_are_escaped() -> None:
    assert record("user.a=b%", b"v") == (b"SCHILY.xattr.user.a%3Db%25", b"v")
