"""Packages that lie beside a recipe: each family reads their headers as it reads those of its archives."""

from __future__ import annotations

import functools
import hashlib
import os
import random
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from tests.alpm_factory import Pkg
from tests.apk_factory import Apk, RsaKey
from tests.conftest import shared
from tests.deb_factory import build, control_text, data_tar
from tests.rpm_factory import File, Rpm, build_rpm
from tests.slackware_standin import Txz
from tests.small_system import Part
from tmplbuild.archives import alpm, apk, aptrpm, deb, local, rpmmd, slackware
from tmplbuild.archives.alpm.pool import Pool as AlpmPool
from tmplbuild.archives.apk.pool import Pool as ApkPool
from tmplbuild.archives.apk.solver import Universe
from tmplbuild.archives.aptrpm import header, rpmfile
from tmplbuild.archives.aptrpm.pool import Pool as AptRpmPool
from tmplbuild.archives.cache import PackageCache
from tmplbuild.archives.deb.pool import Pool as DebPool
from tmplbuild.archives.model import Closure
from tmplbuild.archives.rpmmd.pool import Pool as RpmMdPool
from tmplbuild.archives.slackware.pool import Pool as SlackwarePool
from tmplbuild.archives.wishes import Wishes
from tmplbuild.errors import ResolveError, TmplbuildError, VerifyError

NAME, NEEDS = "beside", "dep"


@dataclass(frozen=True)
class Kind:
    """A family: what makes an empty pool, and a package's file of a name, a version, an architecture and
    what it needs. `version` is how the family spells 1.0, `other` another architecture."""

    family: ModuleType
    pool: Callable[[], Any]
    file: Callable[[str, str, str, tuple[str, ...]], tuple[str, bytes]]
    arch: str
    version: str
    other: str


def _deb(name: str, version: str, arch: str, needs: tuple[str, ...]) -> tuple[str, bytes]:
    fields = {"Version": version, "Architecture": arch, **({"Depends": ", ".join(needs)} if needs else {})}
    return f"{name}.deb", build({"control": control_text(name, **fields)}, data_tar({}))


def _rpm(name: str, version: str, arch: str, needs: tuple[str, ...]) -> tuple[str, bytes]:
    files = (File(f"/usr/share/{name}"),)
    return f"{name}.rpm", build_rpm(Rpm(name, version, release="1", arch=arch, requires=needs, files=files))


def _apk(name: str, version: str, arch: str, needs: tuple[str, ...]) -> tuple[str, bytes]:
    made = Apk(Part(name, version, needs=needs), arch=arch)
    return f"{name}.apk", made.build(_key())


@functools.cache
def _key() -> RsaKey:
    return RsaKey.made(shared(f"key-{os.getpid()}"), "any")


def _pkg(name: str, version: str, arch: str, needs: tuple[str, ...]) -> tuple[str, bytes]:
    made = Pkg(Part(name, version, needs=needs), arch=arch)
    return made.filename, made.build()


def _txz(name: str, version: str, arch: str, needs: tuple[str, ...]) -> tuple[str, bytes]:
    made = Txz(Part(name, version))
    return made.filename.replace("x86_64", arch), made.made()


KINDS = {
    "apt-deb": Kind(deb, lambda: DebPool([], "amd64"), _deb, "amd64", "1.0", "arm64"),
    "apt-rpm": Kind(aptrpm, lambda: AptRpmPool([], "x86_64"), _rpm, "x86_64", "1.0-1", "aarch64"),
    "rpm-md": Kind(rpmmd, lambda: RpmMdPool([], "x86_64"), _rpm, "x86_64", "1.0-1", "aarch64"),
    "apk": Kind(apk, lambda: ApkPool(Universe([]), (), "x86_64"), _apk, "x86_64", "1.0-r0", "aarch64"),
    "alpm": Kind(alpm, lambda: AlpmPool(arch="x86_64"), _pkg, "x86_64", "1.0-1", "aarch64"),
    "slackware": Kind(slackware, lambda: SlackwarePool({}, {}, "x86_64"), _txz, "x86_64", "1.0-1", "aarch64"),
}


@pytest.fixture(params=sorted(KINDS))
def kind(request: pytest.FixtureRequest) -> Kind:
    return KINDS[request.param]


class Desk:
    """A cache, and files beside a recipe."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self.cache = PackageCache(place / "cache")

    def taken(self, *files: tuple[str, bytes]) -> list[local.LocalFile]:
        digests = {}
        for name, data in files:
            path = self.place / name
            path.write_bytes(data)
            digests[path] = hashlib.sha256(data).hexdigest()
        return local.taken_in(digests, self.cache)

    def archive(self, kind: Kind, *files: tuple[str, bytes]) -> Any:
        """A pool of an archive's: read as ours are, which is the same."""
        return kind.family.with_local(kind.pool(), self.taken(*files), self.cache)[0]

    def closed(self, kind: Kind, pool: Any, *files: tuple[str, bytes]) -> Closure:
        """What the files come to on top of a pool."""
        taken = self.taken(*files)
        more, names = kind.family.with_local(pool, taken, self.cache)
        found: Closure = kind.family.closure(more, Wishes(packages=tuple(names)))
        local.refuse_others(found, taken, names)
        return found


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


def test_it_is_resolved_with_what_it_needs(kind: Kind, desk: Desk) -> None:
    pool = desk.archive(kind, kind.file(NEEDS, "1.0", kind.arch, ()))
    name, data = kind.file(NAME, "1.0", kind.arch, (NEEDS,))
    found = desk.closed(kind, pool, (name, data))
    if kind.family is not slackware:
        assert [one.name for one in found.packages] == [NAME, NEEDS]
        assert found.auto == {NEEDS}
    one = found.packages[0]
    assert (one.name, one.version, one.arch, one.archive) == (NAME, kind.version, kind.arch, local.ROLE)
    assert one.sha256 == hashlib.sha256(data).hexdigest()
    assert one.size in (len(data), 0)
    assert one.filename.startswith("local/")
    assert desk.cache.path(one.sha256).read_bytes() == data
    # the archive's own pool knows nothing of it
    with pytest.raises(ResolveError):
        kind.family.closure(pool, Wishes(packages=(NAME,)))


# Slackware's packages know no dependencies, and nothing in them is read
@pytest.mark.parametrize("kind", sorted(KINDS.keys() - {"slackware"}), indirect=True)
def test_what_nothing_provides_is_told(kind: Kind, desk: Desk) -> None:
    with pytest.raises(ResolveError, match=NEEDS):
        desk.closed(kind, kind.pool(), kind.file(NAME, "1.0", kind.arch, (NEEDS,)))


def test_it_is_newer_than_the_archive_s_or_refused(kind: Kind, desk: Desk) -> None:
    pool = desk.archive(kind, kind.file(NAME, "2.0", kind.arch, ()))
    what = (
        "has the name of one in the archives" if kind.family is slackware else "not what would be installed"
    )
    for version in ("1.0", "3.0"):
        if version == "3.0" and kind.family is not slackware:
            found = desk.closed(kind, pool, kind.file(NAME, version, kind.arch, ()))
            assert [one.version.partition("-")[0] for one in found.packages] == [version]
        else:
            with pytest.raises(ResolveError, match=what):
                desk.closed(kind, pool, kind.file(NAME, version, kind.arch, ()))


def test_one_for_another_processor_is_refused(kind: Kind, desk: Desk) -> None:
    with pytest.raises(ResolveError, match="another architecture") as caught:
        desk.closed(kind, kind.pool(), kind.file(NAME, "1.0", kind.other, ()))
    assert kind.other in str(caught.value.why)


def test_what_is_no_package_is_refused(kind: Kind, desk: Desk) -> None:
    name, data = kind.file(NAME, "1.0", kind.arch, ())
    bad = {"empty": b"", "text": b"hello\n" * 100, "cut": data[: len(data) // 3]}
    for what, content in bad.items():
        wrong = f"{what}.txt" if kind.family is slackware else name  # there the name tells
        with pytest.raises(VerifyError):
            desk.closed(kind, kind.pool(), (wrong, content))


@pytest.mark.parametrize("kind", sorted(KINDS.keys() - {"slackware"}), indirect=True)
def test_hostile_ones_end_in_one_error(kind: Kind, desk: Desk) -> None:
    draw = random.Random(7)
    name, data = kind.file(NAME, "1.0", kind.arch, (NEEDS,))
    for _ in range(60):
        bad = bytearray(data)
        for _ in range(draw.randint(1, 6)):
            bad[draw.randrange(len(bad))] = draw.randrange(256)
        with suppress(TmplbuildError):
            desk.closed(kind, kind.pool(), (name, bytes(bad)))


@pytest.mark.parametrize("name", ["apt-rpm", "rpm-md"])
def test_a_source_package_is_refused(desk: Desk, name: str) -> None:
    file, data = KINDS[name].file(NAME, "1.0", "x86_64", ())
    path = desk.place / file
    path.write_bytes(data)
    with path.open("rb") as opened:
        found = rpmfile.parts(opened.fileno(), file)
    main = header.with_more(found.main, {}, {header.SOURCEPACKAGE: 1})
    with pytest.raises(VerifyError, match="cannot be read") as caught:
        desk.closed(KINDS[name], KINDS[name].pool(), (file, data[: found.start] + main + data[found.end :]))
    assert "source package" in str(caught.value.why)


def test_a_file_that_changed_since_is_refused(desk: Desk) -> None:
    path = desk.place / "a.rpm"
    path.write_bytes(b"one")
    with pytest.raises(VerifyError, match="not the one that was meant"):
        local.taken_in({path: "0" * 64}, desk.cache)
