"""The manifest: equal builds, equal bytes; what is not a manifest is told in full."""

from __future__ import annotations

import dataclasses
import json
import os
from pathlib import Path
from typing import Any

import pytest

from tmplbuild.artifact import manifest as m
from tmplbuild.errors import StoreError

ONE = m.Manifest(
    template="debian-12-x86_64",
    recipe=m.RecipeRef("debian-12", "ab" * 32),
    tool="0.1.0",
    arch="amd64",
    epoch=1_700_000_000,
    pins=m.Pins(
        archives=(
            m.Pin("debian-security", "bookworm-security", 1_700_000_000, "cd" * 32, ("E" * 40,)),
            m.Pin("debian", "bookworm", 1_690_000_000, "ef" * 32, ("F" * 40, "A" * 40)),
        ),
        base_closure="01" * 32,
        closure="02" * 32,
    ),
    packages=(
        m.PackageRef("zlib1g", "1:1.2.13", "amd64", "zlib"),
        m.PackageRef("adduser", "3.134", "all"),
    ),
    stages=(m.StageRef("bootstrap", "03" * 32), m.StageRef("configure", "04" * 32)),
    artifact=m.Artifact("debian-12-x86_64.tar.gz", 1, "05" * 32, 2, 3),
    stripped=("purged: udev",),
    leftovers=(m.Leftover("/etc/é.dpkg-dist", "removed"),),
)


def test_what_is_written_reads_back_sorted(tmp_path: Path) -> None:
    m.write_manifest(tmp_path / "m.json", ONE)
    found = m.read_manifest(tmp_path / "m.json")
    assert [one.name for one in found.packages] == ["adduser", "zlib1g"]
    assert [one.role for one in found.pins.archives] == ["debian", "debian-security"]
    assert [one.name for one in found.stages] == ["bootstrap", "configure"]
    assert dataclasses.replace(found, packages=ONE.packages, pins=ONE.pins) == ONE
    assert m.manifest_bytes(found) == (tmp_path / "m.json").read_bytes()


def test_the_order_in_which_things_were_found_does_not_show() -> None:
    other = dataclasses.replace(ONE, packages=ONE.packages[::-1])
    assert m.manifest_bytes(other) == m.manifest_bytes(ONE)


def test_the_text_is_canonical() -> None:
    text = m.manifest_bytes(ONE).decode()
    data = json.loads(text)
    assert text == json.dumps(data, sort_keys=True, indent=2, ensure_ascii=False) + "\n"
    assert data["schema"] == m.SCHEMA
    assert data["created"] == "2023-11-14T22:13:20Z"
    assert "source" not in data["packages"][0]
    assert "é" in text


def test_a_path_that_is_not_utf8_survives(tmp_path: Path) -> None:
    odd = dataclasses.replace(ONE, stripped=(os.fsdecode(b"/etc/\xff\xe9"),))
    m.write_manifest(tmp_path / "m.json", odd)
    assert (tmp_path / "m.json").read_bytes().decode("utf-8").count("\\udcff\\udce9") == 1
    assert m.read_manifest(tmp_path / "m.json").stripped == odd.stripped


def faults(tmp_path: Path, **changes: Any) -> str:
    data = json.loads(m.manifest_bytes(ONE))
    data.update(changes)
    path = tmp_path / "m.json"
    path.write_text(json.dumps({key: value for key, value in data.items() if value is not ...}, default=str))
    with pytest.raises(StoreError, match="not one that") as caught:
        m.read_manifest(path)
    assert caught.value.where == str(path)
    return caught.value.why


def test_all_faults_are_told_at_once(tmp_path: Path) -> None:
    why = faults(
        tmp_path,
        arch=7,
        colour="red",
        recipe={"name": "x"},
        packages=[{"name": "a", "version": "1", "arch": "all"}, "b"],
        stages={},
        epoch=-1,
    )
    assert why.splitlines() == [
        "colour: unknown",
        "recipe.digest: missing",
        "arch: str was expected, it is int",
        "epoch: it is negative",
        "packages[1]: a table was expected",
        "stages: a list was expected",
    ]


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"schema": 99}, "schema 1 was expected, it says 99"),
        ({"created": "2020-01-01T00:00:00Z"}, "created"),
        ({"epoch": True}, "epoch: int was expected, it is bool"),
        ({"artifact": None}, "artifact: a table was expected"),
        ({"epoch": 10**18}, "epoch"),
    ],
)
def test_single_faults(tmp_path: Path, changes: dict[str, Any], told: str) -> None:
    assert told in faults(tmp_path, **changes)


@pytest.mark.parametrize("text", [b"", b"[]", b"{", b"\xff", b"[" * 100_000, b"null", b'"x"'])
def test_what_is_no_manifest_is_one_clear_error(tmp_path: Path, text: bytes) -> None:
    (tmp_path / "m.json").write_bytes(text)
    with pytest.raises(StoreError, match="not one that"):
        m.read_manifest(tmp_path / "m.json")


def test_a_missing_manifest_is_told(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="cannot be read"):
        m.read_manifest(tmp_path / "m.json")
