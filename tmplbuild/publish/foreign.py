"""Finding a template on a mirror, whatever kind of mirror it is; each kind's own way of vouching for it."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tmplbuild.errors import UsageError, VerifyError
from tmplbuild.publish.found import Found
from tmplbuild.publish.indexes import lxc, own, simplestreams
from tmplbuild.publish.remote import Remote
from tmplbuild.recipes import VE_ARCHES
from tmplbuild.tomlfile import did_you_mean

_SUM = re.compile(r"^([0-9a-f]{64}) [ *](\S+)$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Asked:
    """A template's name in parts: "debian-12-x86_64", "ubuntu-24.04-cloud-amd64", "debian-12"."""

    name: str
    distro: str
    release: str
    variant: str
    arch: str

    @property
    def template(self) -> str:
        """The name that it gets in the cache."""
        middle = [] if self.variant == "default" else [self.variant]
        return "-".join([self.distro, self.release, *middle, self.arch])

    def fits(self, distro: str, release: str, arch: str, variant: str) -> bool:
        """Whether a mirror's words mean this template."""
        return (
            (distro.lower(), variant) == (self.distro, self.variant)
            and release == self.release
            and VE_ARCHES.get(arch, arch) == self.arch
        )


def asked(name: str) -> Asked:
    """The parts of a name. Raises UsageError for one that names no release."""
    words = name.removesuffix(".tar.gz").split("-")
    machine = os.uname().machine
    arch = VE_ARCHES.get(machine, machine)
    if words[-1] in VE_ARCHES:
        arch = VE_ARCHES[words.pop()]
    if len(words) < 2 or not all(words):
        raise UsageError(
            f'"{name}" is no template\'s name', hint="DISTRIBUTION-RELEASE, as debian-12 or debian-12-x86_64"
        )
    return Asked(name, words[0].lower(), words[1], "-".join(words[2:]) or "default", arch)


def find(remote: Remote, name: str, build: str, key: str) -> Found:
    """The template on the mirror. Parameters as of `tmplbuild.publish.fetching.fetch`; `key` may be "".

    Raises UsageError where the mirror does not have it, VerifyError, FetchError.
    """
    for index, look in _KINDS:
        if remote.small(index) is not None:
            return look(remote, asked(name), build, key)
    if key:
        return _openvz(remote, asked(name), build, key)
    raise VerifyError(
        "the mirror has no index that tells a template's digest",
        where=remote.address,
        hint="--key FINGERPRINT, with --keyring FILE: then NAME.tar.gz.asc is looked at",
    )


def _ours(remote: Remote, want: Asked, build: str, key: str) -> Found:
    if key:
        remote.check(own.NAME, f"{own.NAME}.asc", key)
    index = remote.json(own.NAME)
    try:
        templates = {one["name"]: one for one in index["templates"] if one["builds"]}
        name = next((name for name in (want.name, want.template) if name in templates), None)
        if name is None:
            raise _unknown(remote, want.name, templates)
        builds = {one["build"]: one for one in templates[name]["builds"]}
        if build and build not in builds:
            raise UsageError(f'{name} has no build "{build}"', hint=f"it has {', '.join(builds)}")
        chosen = builds[build or templates[name]["current"]]
        rows = {row["kind"]: (row["path"], row["size"], row["sha256"]) for row in chosen["files"]}
        path, size, sha256 = rows["tar.gz"]
    except (KeyError, TypeError) as error:
        raise VerifyError(
            "the mirror's index is damaged", where=remote.where(own.NAME), why=repr(error)
        ) from error
    return Found(
        template=name,
        kind="tmplbuild",
        path=path,
        compression="gz",
        size=size,
        sha256=sha256,
        build=chosen["build"],
        manifest=rows.get("manifest"),
        members=rows.get("members"),
        patch=rows.get("patch"),
        patch_from=_patched(rows, builds),
    )


def _patched(rows: dict[str, tuple[str, int, str]], builds: dict[str, Any]) -> str:
    """The digest of the .tar.gz that a patch is from; "" where the index does not have it any more."""
    if "patch" not in rows:
        return ""
    before = builds.get(rows["patch"][0].rpartition(".from_")[2].removesuffix(".patch"))
    return str(before["sha256"]) if before else ""


def _simplestreams(remote: Remote, want: Asked, build: str, key: str) -> Found:
    try:
        index = remote.json(simplestreams.INDEX)
        path = next(one["path"] for one in index["index"].values() if one["datatype"] == "image-downloads")
        if key:
            for signed in (simplestreams.INDEX, path):
                remote.check(signed, f"{signed}.gpg", key)
        products = remote.json(path)["products"]
        product = next((one for one in products.values() if want.fits(*_words(one))), None)
        if product is None:
            raise _unknown(remote, want.name, ["-".join(_words(one)) for one in products.values()])
        versions = product["versions"]
        version = build or max(versions)
        if version not in versions:
            raise UsageError(f"there is no build {build}", hint=f"there are {', '.join(sorted(versions))}")
        item = versions[version]["items"].get("root.tar.xz")
        if item is None:
            raise UsageError(
                f"{want.name} is not there as a tar", where=remote.where(path), why="only as a squashfs"
            )
        return Found(
            want.template, "simplestreams", item["path"], "xz", item["size"], item["sha256"], version
        )
    except (KeyError, TypeError, StopIteration) as error:
        raise VerifyError("the mirror's index is damaged", where=remote.address, why=repr(error)) from error


def _words(product: dict[str, Any]) -> tuple[str, str, str, str]:
    return product["os"], product["release"], product["arch"], product.get("variant", "default")


def _lxc(remote: Remote, want: Asked, build: str, key: str) -> Found:
    """The index is not signed; SHA256SUMS of the build's directory is."""
    rows = [line.split(";") for line in (remote.small(lxc.NAMES[0]) or b"").decode().splitlines()]
    rows = [row for row in rows if len(row) == 6]
    row = next((row for row in rows if want.fits(*row[:4]) and build in ("", row[4])), None)
    if row is None:
        raise _unknown(remote, want.name, ["-".join(row[:4]) for row in rows])
    folder = row[5].strip("/")
    sums = _sums(remote, f"{folder}/SHA256SUMS", key)
    return _summed(remote, want, "lxc", f"{folder}/rootfs.tar.xz", "xz", sums, row[4])


def _openvz(remote: Remote, want: Asked, build: str, key: str) -> Found:
    """NAME.tar.gz and its signature: there is no digest, so the file must be here to be looked at."""
    name = want.name.removesuffix(".tar.gz")
    for template in dict.fromkeys([name, want.template]):
        path = f"{template}.tar.gz"
        if remote.small(f"{path}.asc") is not None:
            size, digest = remote.keep_signed(path, f"{path}.asc", key)
            return Found(template, "openvz", path, "gz", size, digest)
    listing = remote.small(".listing") or b""
    raise _unknown(remote, name, listing.decode("utf-8", "replace").split())


def _sums(remote: Remote, path: str, key: str) -> dict[str, str]:
    """The digests of a SHA256SUMS, by name."""
    data = remote.small(path)
    if data is None:
        raise VerifyError(
            "nothing vouches for the files of the mirror", where=remote.where(path), why="it is not there"
        )
    if key:
        remote.check(path, f"{path}.asc", key)
    return {name: digest for digest, name in _SUM.findall(data.decode("utf-8", "replace"))}


def _summed(
    remote: Remote, want: Asked, kind: str, path: str, compression: str, sums: dict[str, str], build: str
) -> Found:
    digest = sums.get(path.rpartition("/")[2])
    if digest is None:
        raise VerifyError("the mirror's SHA256SUMS does not name the file", where=remote.where(path))
    return Found(want.template, kind, path, compression, remote.size(path), digest, build)


def _unknown(remote: Remote, name: str, known: Any) -> UsageError:
    names = sorted(set(known))
    near = did_you_mean(name, names)
    shown = ", ".join(names[:12]) + (f" and {len(names) - 12} more" if len(names) > 12 else "")
    return UsageError(
        f'the mirror has no template "{name}"', where=remote.address, hint=near or f"it has {shown or 'none'}"
    )


Look = Callable[[Remote, Asked, str, str], Found]

_KINDS: tuple[tuple[str, Look], ...] = (
    (own.NAME, _ours),
    (simplestreams.INDEX, _simplestreams),
    (lxc.NAMES[0], _lxc),
)
"""Indexes that tell what kind of mirror it is, in the order in which they are looked for."""
