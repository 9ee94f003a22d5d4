"""Digests of several kinds in one form, and a cache that keeps files by any of them."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from tmplbuild.archives import digest
from tmplbuild.archives.cache import PackageCache

DATA = b"content"
KINDS = {kind: hashlib.new(kind, DATA).hexdigest() for kind in ("sha256", "blake2b", "md5")}


@pytest.mark.parametrize("kind", KINDS)
def test_a_digest_is_split_made_and_named(kind: str) -> None:
    full = f"{kind}:{KINDS[kind]}"
    assert digest.split(full) == (kind, KINDS[kind])
    assert digest.of(DATA, full) == full
    assert digest.file_name(full) == (KINDS[kind] if kind == "sha256" else f"{kind}-{KINDS[kind]}")


def test_bare_hex_is_sha256() -> None:
    assert digest.split(KINDS["sha256"]) == ("sha256", KINDS["sha256"])
    assert digest.of(DATA, "0" * 64) == KINDS["sha256"]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "x",
        "sha256:",
        KINDS["md5"],
        f"md5:{KINDS['sha256']}",
        "sha1:" + "0" * 40,
        "A" * 64,
        "0" * 64 + "\n",
    ],
)
def test_what_is_no_digest_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not a digest"):
        digest.split(text)


def test_the_cache_has_a_place_for_each_kind(tmp_path: Path) -> None:
    cache = PackageCache(tmp_path)
    paths = {cache.path(f"{kind}:{value}") for kind, value in KINDS.items()}
    assert len(paths) == 3
    assert cache.path(KINDS["sha256"]) in paths
    with pytest.raises(ValueError, match="not a digest"):
        cache.path("../../etc/passwd")
