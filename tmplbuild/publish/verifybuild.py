"""The files of one build: each as its index says, and all of them telling the same of each other."""

from __future__ import annotations

import gzip
import hashlib
import json
import tarfile
from pathlib import Path
from typing import Any

from tmplbuild.archives.zstd import open_reader
from tmplbuild.artifact.manifest import read_manifest
from tmplbuild.core.untar import open_tarball
from tmplbuild.publish.checker import Checker
from tmplbuild.publish.deltas import read_deltas
from tmplbuild.publish.fork import Fork
from tmplbuild.publish.indexes.sums import NAME as SUMS

_CHUNK = 1 << 20
_TARS = ("tar.gz", "tar.xz", "plain.tar.xz", "tar.zst", "wsl")


def check_build(checker: Checker, template: dict[str, Any], build: dict[str, Any]) -> None:
    """Fetch and check everything of a build; files are deleted as soon as they are not needed."""
    folder = build["path"]
    paths: dict[str, Path] = {}
    tar = ""
    try:
        for row in build["files"]:
            with checker.noting(row["path"]):
                paths[row["kind"]] = checker.remote.file(row["path"], row["size"], row["sha256"], "verify")
                checker.report.files += 1
                checker.report.size += row["size"]
                if row["kind"] == "signature":
                    del paths[row["kind"]]
        _sums(checker, folder, build)
        with checker.noting(f"{folder}/manifest.json"):
            manifest = json.loads(paths["manifest"].read_bytes())
            tar = str(json.loads(paths["members"].read_bytes())["tar_sha256"])
            _manifest(checker, template, build, manifest, tar, paths)
            _documents(checker, folder, build, manifest, paths)
        with checker.noting(folder):
            _members(checker, folder, paths)
            _oci(checker, folder, build, paths, _changed(paths) if "deltas" in paths else {}, tar)
        archive = next((row["path"] for row in build["files"] if row["kind"] == "tar.gz"), "")
        if build["key"] and archive and checker.key:
            checker.signed(archive, f"{archive}.asc", paths["tar.gz"].read_bytes())
    finally:
        for path in paths.values():
            path.unlink(missing_ok=True)


def _sums(checker: Checker, folder: str, build: dict[str, Any]) -> None:
    """SHA256SUMS has every file but those that came after it."""
    name = f"{folder}/{SUMS}"
    with checker.noting(name):
        text = checker.small(name).decode()
        listed = {line.split("  ", 1)[1]: line.split("  ", 1)[0] for line in text.splitlines()}
        wanted = {
            row["path"].rpartition("/")[2]: row["sha256"]
            for row in build["files"]
            if row["kind"] not in ("sums", "signature", "tar.gz.asc")
        }
        if listed != wanted:
            checker.fault(name, "it has not the files of the build, or other digests")
    if build["key"]:
        for suffix in (".gpg", ".asc"):
            checker.signed(name, f"{name}{suffix}")
        if checker.key and build["key"] != checker.key:
            checker.fault(folder, f"it was signed by {build['key']}")
    elif checker.key:
        checker.fault(folder, "it is not signed")


def _manifest(
    checker: Checker,
    template: dict[str, Any],
    build: dict[str, Any],
    manifest: dict[str, Any],
    tar: str,
    paths: dict[str, Path],
) -> None:
    """The .tar.gz is what the manifest says, to the byte; all tars are what the member index says (`tar`),
    but for what deltas.json says of them."""
    folder = build["path"]
    wanted = _changed(paths) if "deltas" in paths else {}
    if manifest["template"] != template["name"] or manifest["artifact"]["sha256"] != build["sha256"]:
        checker.fault(folder, "its manifest is of another template or build")
    if manifest["artifact"].get("tar_sha256", tar) != tar:  # one of an earlier version of this program
        checker.fault(f"{folder}/members.json", "its tar is another than the manifest's")
    for kind in _TARS:
        if kind in paths:
            with checker.noting(f"{folder} ({kind})"):
                if _tar_sha256(paths[kind]) != wanted.get(kind, tar):
                    checker.fault(folder, f"its {kind} holds another tar than members.json says")


class _Digest:
    """A sink that keeps the digest alone."""

    def __init__(self) -> None:
        self.sha256 = hashlib.sha256()

    def __enter__(self) -> _Digest:
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing is held."""

    def write(self, data: bytes, /) -> None:
        self.sha256.update(data)


def _changed(paths: dict[str, Path]) -> dict[str, str]:
    """The digest of each tar that differs from the template's, made anew of that and of deltas.json."""
    deltas = read_deltas(paths["deltas"].read_bytes())
    epoch = read_manifest(paths["manifest"]).epoch
    sinks = {kind: _Digest() for kind in deltas}
    with (
        Fork([(sinks[kind], delta) for kind, delta in deltas.items()], epoch) as fork,
        open_tarball(paths["tar.gz"]) as stream,
    ):
        while data := stream.read(_CHUNK):
            fork.write(data)
    return {kind: sink.sha256.hexdigest() for kind, sink in sinks.items()}


def _tar_sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with open_tarball(path, zstd=open_reader) as stream:
        while data := stream.read(_CHUNK):
            digest.update(data)
    return digest.hexdigest()


def _documents(
    checker: Checker, folder: str, build: dict[str, Any], manifest: dict[str, Any], paths: dict[str, Path]
) -> None:
    """Bills of materials name the manifest's packages, the provenance the files."""
    wanted = sorted((package["name"], package["version"]) for package in manifest["packages"])
    spdx = json.loads(paths["spdx"].read_bytes())
    found = sorted((one["name"], one["versionInfo"]) for one in spdx["packages"][1:])
    if spdx["spdxVersion"] != "SPDX-2.3" or found != wanted:
        checker.fault(f"{folder}/sbom.spdx.json", "it has not the packages of the manifest")
    cyclonedx = json.loads(paths["cyclonedx"].read_bytes())
    found = sorted((one["name"], one["version"]) for one in cyclonedx["components"])
    if cyclonedx["bomFormat"] != "CycloneDX" or found != wanted:
        checker.fault(f"{folder}/sbom.cdx.json", "it has not the packages of the manifest")
    statement = json.loads(paths["provenance"].read_bytes())
    digests = {row["path"].rpartition("/")[2]: row["sha256"] for row in build["files"]}
    for subject in statement["subject"]:
        if digests.get(subject["name"]) != subject["digest"]["sha256"]:
            checker.fault(f"{folder}/provenance.json", f"it speaks of another {subject['name']}")
    if build["sha256"] not in {subject["digest"]["sha256"] for subject in statement["subject"]}:
        checker.fault(f"{folder}/provenance.json", "it does not speak of the .tar.gz")


def _members(checker: Checker, folder: str, paths: dict[str, Path]) -> None:
    """The member index is that of the .tar.gz."""
    index = json.loads(paths["members"].read_bytes())
    with paths["tar.gz"].open("rb") as file:
        good = all(hashlib.sha256(file.read(size)).hexdigest() == digest for size, digest in index["members"])
        if not good or file.read(1):
            checker.fault(f"{folder}/members.json", "its members are not those of the .tar.gz")


def _oci(
    checker: Checker,
    folder: str,
    build: dict[str, Any],
    paths: dict[str, Path],
    changed: dict[str, str],
    tar: str,
) -> None:
    """From the OCI archive's index to the layer, each by its digest; the layer is the template's .tar.gz with
    its tar's digest, or what deltas.json makes of that tar."""
    if "oci" not in paths:
        return
    blobs: dict[str, bytes] = {}
    layers: dict[str, str] = {}
    with tarfile.open(paths["oci"]) as archive:
        for member in archive:
            file = archive.extractfile(member) if member.isfile() else None
            if file is None:
                continue
            if member.size > _CHUNK:
                layers[member.name] = hashlib.file_digest(file, "sha256").hexdigest()  # type: ignore[arg-type]
            else:
                blobs[member.name] = file.read()
                layers[member.name] = hashlib.sha256(blobs[member.name]).hexdigest()

    def blob(descriptor: dict[str, Any]) -> bytes:
        return blobs[f"blobs/{descriptor['digest'].replace(':', '/')}"]

    wrong = [name for name, sha256 in layers.items() if name.startswith("blobs/") and name[-64:] != sha256]
    manifest = json.loads(blob(json.loads(blobs["index.json"])["manifests"][0]))
    layer = manifest["layers"][0]["digest"]
    config = json.loads(blob(manifest["config"]))
    diffs = config["rootfs"]["diff_ids"]
    right = layer == f"sha256:{build['sha256']}" and diffs == [f"sha256:{tar}"]
    if "oci" in changed:
        right = diffs == [f"sha256:{changed['oci']}"] == [f"sha256:{_layer(paths, layer)}"]
    if wrong or not right or f"blobs/sha256/{layer[7:]}" not in layers:
        checker.fault(folder, "the blobs of its OCI archive are not what their names say")


def _layer(paths: dict[str, Path], layer: str) -> str:
    """The digest of the tar in a layer of the OCI archive."""
    digest = hashlib.sha256()
    with tarfile.open(paths["oci"]) as archive:
        file = archive.extractfile(f"blobs/sha256/{layer[7:]}")
        assert file is not None
        with gzip.GzipFile(fileobj=file) as stream:
            while data := stream.read(_CHUNK):
                digest.update(data)
    return digest.hexdigest()
