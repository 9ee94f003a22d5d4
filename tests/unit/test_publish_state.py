"""The mirror's state, its retention and its indexes, without a disk."""

from __future__ import annotations

import dataclasses
import gzip
import json

import pytest

from tmplbuild.errors import StoreError, UsageError
from tmplbuild.pubconf import FORMATS, PublishSettings, fingerprint
from tmplbuild.publish import manage
from tmplbuild.publish.building import name_of
from tmplbuild.publish.indexes import Catalog, index_files, index_links
from tmplbuild.publish.model import Build, Combined, File, State, read_state, state_bytes
from tmplbuild.publish.retention import expired, relisted

NOW = 1_790_000_000
DAY = 86400


def made(number: int, *, template: str = "debian-12-x86_64", release: str = "12", **other: object) -> Build:
    """Build number `number`, published so many days before NOW."""
    name = f"202611{28 - number:02}_120000"
    folder = f"images/debian/{release}/amd64/default/{name}"
    files = tuple(
        File(f"{folder}/{file}", kind, 10 + at, f"{at}" * 64, "f" * 128 if "zst" in kind else "")
        for at, (file, kind) in enumerate(
            [
                (f"{template}_{name}.tar.gz", "tar.gz"),
                ("rootfs.tar.xz", "tar.xz"),
                (f"{template}_{name}.tar.zst", "tar.zst"),
                (f"{template}_{name}.squashfs", "squashfs"),
                ("incus.tar.xz", "incus"),
                ("meta.tar.xz", "lxc"),
            ]
        )
    )
    build = Build(
        template=template,
        build=name,
        distro="debian",
        release=release,
        suite="bookworm",
        arch="amd64",
        variant="default",
        title="Debian 12",
        eol="2028-06-30",
        epoch=NOW - number * DAY,
        published=NOW - number * DAY,
        artifact="a" * 64,
        manifest="b" * 64,
        files=files,
        combined=(Combined("squashfs", "c" * 64), Combined("tar.xz", "d" * 64)),
    )
    return dataclasses.replace(build, **other)  # type: ignore[arg-type]


def state(*builds: Build) -> State:
    return State(1, NOW).with_builds(builds)


def names(builds: object) -> list[str]:
    return [build.build[:8] for build in builds]  # type: ignore[attr-defined]


def test_a_state_is_read_as_it_was_written() -> None:
    before = state(made(0), made(1, pinned=True, unlisted=NOW), made(2, template="ubuntu-24.04-x86_64"))
    assert read_state(state_bytes(before), "here") == before
    assert state_bytes(before) == state_bytes(read_state(state_bytes(before), "here"))


@pytest.mark.parametrize(
    "raw", [b"", b"[]", b'{"schema": 2}', b'{"schema": 1, "serial": "x", "made": 1, "builds": []}']
)
def test_a_damaged_state_is_told(raw: bytes) -> None:
    with pytest.raises(StoreError, match="state cannot be read") as caught:
        read_state(raw, "/m/state.json")
    assert caught.value.where == "/m/state.json"


def test_the_newest_builds_are_listed_and_the_rest_leaves() -> None:
    conf = PublishSettings(keep=2)
    after = relisted(state(*(made(number) for number in range(4))), conf, NOW)
    assert names(after.listed("debian-12-x86_64")) == ["20261128", "20261127"]
    assert [build.unlisted for build in after.of("debian-12-x86_64")] == [0, 0, NOW, NOW]
    assert relisted(after, conf, NOW + 5) == after  # since when is not forgotten


def test_pinned_and_young_builds_are_listed_beyond_the_count() -> None:
    builds = [made(0), made(1), made(5, pinned=True)]
    after = relisted(state(*builds), PublishSettings(keep=1, keep_days=3), NOW)
    assert names(after.listed("debian-12-x86_64")) == ["20261128", "20261127", "20261123"]


def test_a_withdrawn_build_takes_no_place() -> None:
    builds = [made(0, withdrawn=True), made(1), made(2), made(3)]
    after = relisted(state(*builds), PublishSettings(keep=2), NOW)
    assert names(after.listed("debian-12-x86_64")) == ["20261127", "20261126"]
    assert names(after.current()) == ["20261127"]


def test_files_stay_for_the_grace_time() -> None:
    conf = PublishSettings(keep=1, grace_hours=48)
    after = relisted(state(made(0), made(1)), conf, NOW)
    assert expired(after, conf, NOW + 48 * 3600 - 1) == []
    assert names(expired(after, conf, NOW + 48 * 3600)) == ["20261127"]


def test_the_last_build_and_a_pinned_one_never_go() -> None:
    conf = PublishSettings(keep=1, grace_hours=0)
    last = state(made(0, withdrawn=True, unlisted=1), made(1, withdrawn=True, unlisted=1))
    assert expired(last, conf, NOW) == []
    pinned = state(made(0), made(1, withdrawn=True, unlisted=1, pinned=True))
    assert expired(pinned, conf, NOW) == []


def test_rollback_withdraws_what_is_newer_and_can_be_undone() -> None:
    before = state(made(0), made(1), made(2))
    back = manage.rollback("debian-12-x86_64", "")(before)
    assert names(back.listed("debian-12-x86_64")) == ["20261127", "20261126"]
    further = manage.rollback("debian-12-x86_64", "20261126_120000")(back)
    assert names(further.listed("debian-12-x86_64")) == ["20261126"]
    with pytest.raises(UsageError, match="no earlier build"):
        manage.rollback("debian-12-x86_64", "")(further)
    again = manage.rollback("debian-12-x86_64", "20261128_120000")(further)
    assert names(again.listed("debian-12-x86_64"))[0] == "20261128"
    with pytest.raises(UsageError, match='has no build "2"'):
        manage.rollback("debian-12-x86_64", "2")(before)


def test_a_new_builds_name_is_after_the_newest() -> None:
    assert name_of(State(), "t", 0) == "19700101_000000"
    newest = made(0)
    assert name_of(state(newest), newest.template, 0) == "20261128_120001"


def test_simplestreams_as_incus_and_lxd_read_it() -> None:
    found = index_files(Catalog(state(made(0), made(1)), PublishSettings()))
    index = json.loads(found["streams/v1/index.json"])
    images = json.loads(found["streams/v1/images.json"])
    entry = index["index"]["images"]
    assert (entry["datatype"], entry["format"]) == ("image-downloads", "products:1.0")
    assert entry["products"] == list(images["products"]) == ["debian:12:amd64:default"]
    product = images["products"]["debian:12:amd64:default"]
    assert product["aliases"] == "debian/12/default,debian/bookworm/default,debian/12,debian/bookworm"
    assert product["requirements"] == {}
    assert sorted(product["versions"]) == ["20261127_120000", "20261128_120000"]
    items = product["versions"]["20261128_120000"]["items"]
    assert items["incus.tar.xz"]["path"] == items["lxd.tar.xz"]["path"]
    for name in ("incus.tar.xz", "lxd.tar.xz"):
        assert items[name]["ftype"] == name
        assert items[name]["combined_squashfs_sha256"] == "c" * 64
        assert items[name]["combined_rootxz_sha256"] == "d" * 64
    assert items["root.tar.xz"]["ftype"] == "root.tar.xz"
    assert items["squashfs"]["size"] == 13


def test_proxmox_records_are_complete() -> None:
    conf = PublishSettings(url="https://m.example/t")
    found = index_files(Catalog(state(made(0), made(1, template="debian-13-x86_64", release="13")), conf))
    assert gzip.decompress(found["aplinfo.dat.gz"]) == found["aplinfo.dat"]
    records = found["aplinfo.dat"].decode().split("\n\n")
    assert len(records) == 2
    for record in records:
        fields = dict(line.split(": ", 1) for line in record.splitlines() if not line.startswith(" "))
        assert {"Package", "Type", "OS", "Version", "Infopage", "Location", "sha512sum"} <= fields.keys()
        assert fields["Version"][0].isdigit()
        assert fields["Type"] == "lxc"
        assert fields["Location"].endswith(".tar.zst")
    commands = found["proxmox.txt"].decode()
    assert "--checksum-algorithm sha256" in commands
    assert "https://m.example/t/images/debian/12/" in commands
    assert "proxmox.txt" not in index_files(Catalog(state(made(0)), PublishSettings()))


def test_lists_name_the_current_build_alone() -> None:
    found = index_files(Catalog(state(made(0), made(1)), PublishSettings()))
    assert found[".listing"] == b"debian-12-x86_64\n"
    line = "debian;12;amd64;default;20261128_120000;/images/debian/12/amd64/default/20261128_120000/\n"
    assert found["meta/1.0/index-system"] == found["meta/1.0/index-user"] == line.encode()
    links = index_links(Catalog(state(made(0), made(1)), PublishSettings()))
    assert links["debian-12-x86_64.tar.gz"].endswith(
        "20261128_120000/debian-12-x86_64_20261128_120000.tar.gz"
    )
    sums = found["SHA256SUMS"].decode().splitlines()
    assert {line.split("  ")[1] for line in sums} == links.keys()


def test_no_template_no_lines() -> None:
    found = index_files(Catalog(State(), PublishSettings()))
    assert found[".listing"] == found["aplinfo.dat"] == found["meta/1.0/index-user"] == b""
    assert json.loads(found["index.json"])["templates"] == []
    assert "DistributionInfo.json" not in found


def test_a_key_is_named_by_its_whole_fingerprint() -> None:
    spaced = "ABCD 1234 " * 5
    assert fingerprint(spaced) == "ABCD1234" * 5
    for wrong in ("ABCD1234", "x" * 40, "", 5):
        with pytest.raises(ValueError, match="whole fingerprint"):
            fingerprint(wrong)


def test_every_format_is_documented() -> None:
    from tests.unit.test_docs import ROOT

    page = (ROOT / "docs" / "publish.md").read_text()
    for name in FORMATS:
        assert f"`{name}`" in page, name
    for one in dataclasses.fields(PublishSettings):
        if one.name != "origin":
            assert f"`{one.name}`" in page, one.name
