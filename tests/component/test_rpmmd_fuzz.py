"""Damaged and hostile lists of rpm-md: each is read, or there is one error; no hang, no gigabytes.

libsolv, which reads the list of packages, is C: it is asked in a process of its own, with little memory.
"""

from __future__ import annotations

import gzip
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.aptrpm_factory import throw_away_key
from tests.rpm_factory import File, Rpm
from tests.rpmmd_factory import RpmMd
from tmplbuild.archives.rpmmd import repomd
from tmplbuild.archives.rpmmd.pool import Pool
from tmplbuild.errors import VerifyError

ROOT = Path(__file__).resolve().parents[2]


def entry(kind: str, digest: str, size: int) -> str:
    return (
        f'<data type="{kind}"><checksum type="sha256">{digest}</checksum><timestamp>5</timestamp>'
        f'<location href="repodata/{kind}.xml.gz"/><size>{size}</size></data>'
    )


def index(*rows: str) -> bytes:
    return f'<repomd xmlns="http://linux.duke.edu/metadata/repo">{"".join(rows)}</repomd>'.encode()


HEX = st.text("0123456789abcdef", min_size=64, max_size=64)
KINDS = st.text("abcdefghijklmnopqrstuvwxyz_", min_size=1, max_size=12).filter(lambda kind: kind != "primary")


@given(st.dictionaries(KINDS, st.tuples(HEX, st.integers(0, 1 << 39)), max_size=6), HEX)
def test_what_is_written_is_read(files: dict[str, tuple[str, int]], primary: str) -> None:
    rows = {"primary": (primary, 7), **files}
    found = repomd.parse(index(*(entry(kind, *row) for kind, row in rows.items())), where="here")
    assert {kind: (one.sha256, one.size) for kind, one in found.files.items()} == rows
    assert found.date == 5


GOOD = index(entry("primary", "a" * 64, 5), entry("modules", "b" * 64, 6))


@settings(max_examples=300)
@given(st.binary(max_size=300))
def test_bytes_that_are_no_index(content: bytes) -> None:
    with pytest.raises(VerifyError):
        repomd.parse(content, where="here")


@settings(max_examples=300)
@given(st.integers(0, len(GOOD) - 1), st.binary(max_size=12), st.integers(0, 12))
def test_an_index_with_a_piece_of_something_else(at: int, piece: bytes, gone: int) -> None:
    try:
        found = repomd.parse(GOOD[:at] + piece + GOOD[at + gone :], where="here")
    except VerifyError:
        return
    assert "primary" in found.files


BOMB = (
    '<!DOCTYPE repomd [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;&a;&a;"><!ENTITY c "&b;&b;&b;&b;&b;">'
    ']><repomd xmlns="http://linux.duke.edu/metadata/repo">&c;</repomd>'
)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "utf-16-le", "utf-32", "cp037"])
def test_entities_in_any_encoding(encoding: str) -> None:
    head = "" if encoding.startswith("utf") else f'<?xml version="1.0" encoding="{encoding}"?>'
    with pytest.raises(VerifyError):
        repomd.parse(head.encode() + BOMB.encode(encoding), where="here")


# -- the list of packages --------------------------------------------------------------------------------

LOOK = """
import random, resource, sys
from pathlib import Path
from tmplbuild.archives.rpmmd.resolver import closure
from tmplbuild.archives.rpmmd.pool import Pool
from tmplbuild.archives.rpmmd.reader import Lists
from tmplbuild.errors import ResolveError, VerifyError
from tmplbuild.archives.wishes import Wishes
resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30))
resource.setrlimit(resource.RLIMIT_CPU, (60, 60))
good = Path(sys.argv[1]).read_bytes()
path = Path(sys.argv[2])
chance = random.Random(7)
words = [b"<package", b"</package>", b"<rpm:entry", b'"', b"<", b">", b"&", b"\\0", b"\\xff", b"../../",
         b"sha256", b"md5", b"<!DOCTYPE x [<!ENTITY a 'b'>]>", b'ver="' + b"9" * 5000 + b'"',
         b"(a if b)", b"((((", b"\\n"]
counts = [0, 0, 0]
for number in range(int(sys.argv[3])):
    data = bytearray(good)
    if number % 2:  # still XML: other letters and digits in what it says
        for _ in range(40):
            at = chance.randrange(len(data))
            if chr(data[at]).isdigit() or data[at - 1:at] in b'">':
                data[at] = chance.choice(b"0123456789az.:~^(")
    for _ in range(0 if number % 2 else chance.randrange(1, 4)):
        at = chance.randrange(len(data))
        kind = chance.randrange(5)
        if kind == 0:
            data[at] = chance.randrange(256)
        elif kind == 1:
            del data[at:at + chance.randrange(1, 400)]
        elif kind == 2:
            data[at:at] = chance.choice(words)
        elif kind == 3:
            data[at:at] = data[at:at + chance.randrange(400)]
        else:
            del data[at:]
        if not data:
            data = bytearray(b" ")
    path.write_bytes(data)
    try:
        found = Pool([Lists("r", "s", path, None)], "x86_64")
        names = sorted(found.repositories.names())
        chosen = closure(found, Wishes(include=("base",), packages=("app",)))
        for one in chosen.packages:
            assert ".." not in one.filename and len(one.sha256) == 64
        counts[0] += 1
    except VerifyError:
        counts[1] += 1
    except ResolveError:
        counts[2] += 1
print(*counts)
"""


def plain_list(place: Path) -> Path:
    """An unpacked list of a few packages, as createrepo_c writes it."""
    if shutil.which("createrepo_c") is None:
        pytest.skip("needs createrepo_c: apt-get install createrepo-c")
    repository = RpmMd(place / "www", throw_away_key("fuzz"))
    repository.add(
        Rpm("base", requires=("libc >= 2",)),
        Rpm("libc", "2.5"),
        Rpm("app", requires=("(tool or helper)", "/usr/bin/run"), epoch=2),
        Rpm("tool", provides=("helper = 3",), conflicts=("foe < 2",), obsoletes=("old < 1",)),
        Rpm("runner", files=(File("/usr/bin/run", b"#!/bin/sh\n", mode=0o100755),)),
    )
    where = repository.write("s", options=("--general-compress-type=gz", "--no-database"))
    (path,) = where.glob("repodata/*primary.xml.gz")
    plain = place / "primary.xml"
    plain.write_bytes(gzip.decompress(path.read_bytes()))
    return plain


def test_damage_anywhere_in_a_list(tmp_path: Path) -> None:
    plain = plain_list(tmp_path)
    done = subprocess.run(
        [sys.executable, "-c", LOOK, str(plain), str(tmp_path / "damaged"), "600"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    good, refused, unmet = map(int, done.stdout.split())
    assert min(good, refused, unmet) > 5
    assert good + refused + unmet == 600


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ('href="Packages/app', 'href="../../app', "its path leads elsewhere"),
        ("<name>app</name>", "<name>app\nroot</name>", ""),
        ("<name>app</name>", "<name>-rf</name>", ""),
    ],
)
def test_entries_that_lead_astray(tmp_path: Path, old: str, new: str, says: str) -> None:
    from tmplbuild.archives.rpmmd.reader import Lists

    plain = plain_list(tmp_path)
    text = plain.read_text()
    assert old in text
    plain.write_text(text.replace(old, new))
    found = Pool([Lists("r", "s", plain, None)], "x86_64")
    every = [one for name in found.repositories.names() for one in found.repositories.named(name)]
    with pytest.raises(VerifyError) as caught:
        found.packages(every)
    assert says in str(caught.value.why)
