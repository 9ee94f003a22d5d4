"""RPM packages that lie beside a recipe, listed in a primary.xml of our own: see `tmplbuild.archives.local`.

The form is createrepo's, as far as libsolv needs it: https://github.com/rpm-software-management/createrepo_c.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from xml.etree import ElementTree

from tmplbuild.archives.aptrpm import depends, evr, header
from tmplbuild.archives.aptrpm import local as rpms
from tmplbuild.archives.aptrpm.header import Header
from tmplbuild.archives.cache import PackageCache
from tmplbuild.archives.local import ROLE, LocalFile
from tmplbuild.archives.rpmmd.pool import Pool
from tmplbuild.archives.rpmmd.reader import Lists

_COMMON = "http://linux.duke.edu/metadata/common"
_RPM = "http://linux.duke.edu/metadata/rpm"
_RELATIONS = {
    "provides": (header.PROVIDENAME, header.PROVIDEFLAGS, header.PROVIDEVERSION),
    "requires": (header.REQUIRENAME, header.REQUIREFLAGS, header.REQUIREVERSION),
    "conflicts": (header.CONFLICTNAME, header.CONFLICTFLAGS, header.CONFLICTVERSION),
    "obsoletes": (header.OBSOLETENAME, header.OBSOLETEFLAGS, header.OBSOLETEVERSION),
    "recommends": (header.RECOMMENDNAME, header.RECOMMENDFLAGS, header.RECOMMENDVERSION),
    "supplements": (header.SUPPLEMENTNAME, header.SUPPLEMENTFLAGS, header.SUPPLEMENTVERSION),
}
_SIGNS = {
    evr.EQUAL: "EQ",
    evr.LESS: "LT",
    evr.GREATER: "GT",
    evr.LESS | evr.EQUAL: "LE",
    evr.GREATER | evr.EQUAL: "GE",
}


def with_local(pool: Pool, files: Sequence[LocalFile], cache: PackageCache) -> tuple[Pool, list[str]]:
    """A pool that has these packages, too, and their names.

    Raises VerifyError for a file that is no package, ResolveError for one of another architecture.
    """
    heads = [rpms.read(file, pool.arch) for file in files]
    text = _primary(list(zip(heads, files, strict=True)))
    listed = Lists(ROLE, ROLE, cache.put_index(hashlib.sha256(text).hexdigest(), text), None)
    more = Pool([*pool.lists, listed], pool.arch)
    more.choose_streams(pool.wanted)
    return more, [head.text(header.NAME) for head in heads]


def _primary(rows: Sequence[tuple[Header, LocalFile]]) -> bytes:
    top = ElementTree.Element("metadata", {"xmlns": _COMMON, "xmlns:rpm": _RPM, "packages": str(len(rows))})
    for head, file in rows:
        one = ElementTree.SubElement(top, "package", {"type": "rpm"})
        ElementTree.SubElement(one, "name").text = head.text(header.NAME)
        ElementTree.SubElement(one, "arch").text = head.text(header.ARCH)
        version = {"ver": head.text(header.VERSION), "rel": head.text(header.RELEASE)}
        ElementTree.SubElement(one, "version", {"epoch": str(head.number(header.EPOCH) or 0), **version})
        ElementTree.SubElement(one, "checksum", {"type": "sha256", "pkgid": "YES"}).text = file.sha256
        ElementTree.SubElement(one, "size", {"package": str(file.size)})
        ElementTree.SubElement(one, "location", {"href": file.path.name})
        form = ElementTree.SubElement(one, "format")
        for kind, tags in _RELATIONS.items():
            _relations(form, kind, depends.read(head, *tags))
        for path in head.paths():
            ElementTree.SubElement(form, "file").text = path.decode("utf-8", "replace")
    text: bytes = ElementTree.tostring(top, encoding="utf-8", xml_declaration=True)
    return text


def _relations(form: ElementTree.Element, kind: str, found: Sequence[depends.Dep]) -> None:
    place = ElementTree.SubElement(form, f"rpm:{kind}")
    for dep in found:
        if dep.of_rpm:
            continue  # what asks rpm itself for a feature, rpm answers
        sign = _SIGNS.get(dep.flags & evr.SENSE)
        words = {"name": dep.name}
        if sign and dep.version:
            epoch, colon, rest = dep.version.rpartition(":")
            version, dash, release = rest.partition("-")
            words |= {"flags": sign, "epoch": epoch if colon else "0", "ver": version}
            words |= {"rel": release} if dash else {}
        ElementTree.SubElement(place, "rpm:entry", words)
