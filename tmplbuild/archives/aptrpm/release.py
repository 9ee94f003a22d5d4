"""`base/release` of an apt-rpm repository: what it vouches for, and who signed it.

The file is fields, sections of hashes (` HASH SIZE PATH`, paths below the architecture's directory)
and an empty line, to which one or more detached, armoured signatures have been appended; signed is
every byte before the first `-----BEGIN`. BLAKE2b (512 bits, since 2021) is taken before SHA-256 and
that before MD5, which is all that older branches have.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from tmplbuild.archives import openpgp
from tmplbuild.archives.clock import seconds
from tmplbuild.archives.model import Listed, safe_path
from tmplbuild.errors import VerifyError

_SECTIONS = (("blake2b", "BLAKE2b", 128), ("sha256", "SHA256", 64), ("md5", "MD5Sum", 32))
_LINE = re.compile(r" ([0-9a-fA-F]+) +([0-9]{1,12}) +(\S+)")
_ARMOUR = re.compile(
    rb"-----BEGIN PGP SIGNATURE-----\r?\n(?:(?!-----)[^\n]*\n)+-----END PGP SIGNATURE-----[ \t]*(?:\r?\n|\Z)"
)
_MAX_SIGNATURES = 16


@dataclass(frozen=True, slots=True)
class Release:
    """A parsed release. `date` is in seconds since the epoch, 0 if the file does not say;
    `valid_until` is 0, as the format has no such field.

    `files` maps paths below the architecture's directory ("base/pkglist.classic.xz"); `hash` is
    the kind of their digests.
    """

    origin: str
    label: str
    suite: str
    codename: str
    date: int
    architectures: tuple[str, ...]
    components: tuple[str, ...]
    hash: str
    valid_until: int = 0
    files: dict[str, Listed] = field(repr=False, default_factory=dict)


@dataclass(frozen=True, slots=True)
class ComponentRelease:
    """A parsed release.COMPONENT: what apt's pinning goes by."""

    archive: str
    component: str
    version: str
    origin: str
    label: str
    architecture: str
    not_automatic: bool


def verify(
    data: bytes, keys: Sequence[str], keys_dir: openpgp.KeysDir, *, now: float, where: str
) -> openpgp.Signed:
    """What is signed in a `base/release`, and by whom.

    Parameters:
        keys: fingerprints of the primary keys that may sign; one good signature is enough.
        keys_dir: the directory of their certificates, FINGERPRINT.asc.
        now: seconds since the epoch, the time at which the keys must be valid.
        where: the file's address, for messages.

    Raises VerifyError for a file without a good signature by one of the keys, and for one with
    anything but signatures behind the signed text.
    """
    content = signed_text(data)
    rest = data[len(content) :]
    blocks = _ARMOUR.findall(rest)
    if not blocks:
        raise VerifyError(
            "the archive's release is not signed",
            where=where,
            why="no OpenPGP signature is appended to it",
            hint="use a mirror of the distribution itself; what is not signed is not used",
        )
    if _ARMOUR.sub(b"", rest).strip() or len(blocks) > _MAX_SIGNATURES:
        raise VerifyError(
            "the archive's release holds something behind its signed text that is no signature",
            where=where,
            hint="something on the way may have changed it: try again, or use another mirror",
        )
    signers: set[str] = set()
    failure: VerifyError | None = None
    for block in blocks:
        try:
            found = openpgp.verify_detached(content, block, keys, keys_dir, now=now, where=where)
            signers.update(found.signers)
        except VerifyError as error:
            failure = failure or error
    if failure is not None and not signers:
        raise failure
    return openpgp.Signed(content, tuple(sorted(signers)))


def signed_text(data: bytes) -> bytes:
    """What the signatures behind it cover: all lines before the first that begins with -----BEGIN."""
    if data.startswith(b"-----BEGIN"):
        return b""
    return data[: data.find(b"\n-----BEGIN") + 1] or data


def parse(content: bytes, *, where: str) -> Release:
    """Read the signed text of a release.

    Parameters:
        where: its address, for messages.

    Raises VerifyError for what is no release, or one without BLAKE2b, SHA-256 or MD5 hashes.
    """
    fields, sections = _read(content.decode("utf-8", "replace"))
    for kind, title, digits in _SECTIONS:
        if lines := sections.get(title.lower()):
            return Release(
                origin=fields.get("origin", ""),
                label=fields.get("label", ""),
                suite=fields.get("suite", ""),
                codename=fields.get("codename", ""),
                date=seconds(fields.get("date", ""), "Date", where),
                architectures=tuple(fields.get("architectures", "").split()),
                components=tuple(fields.get("components", "").split()),
                hash=kind,
                files=_files(lines, kind, digits, where),
            )
    raise VerifyError(
        "the archive's release names no hashes that can be used",
        where=where,
        why="it has none of the sections BLAKE2b, SHA256 and MD5Sum",
        hint="this archive cannot be used; ask its maintainers",
    )


def parse_component(content: bytes) -> ComponentRelease:
    """Read a release.COMPONENT (its hash has been checked; what it does not say is "")."""
    fields, _ = _read(content.decode("utf-8", "replace"))
    return ComponentRelease(
        archive=fields.get("archive", ""),
        component=fields.get("component", ""),
        version=fields.get("version", ""),
        origin=fields.get("origin", ""),
        label=fields.get("label", ""),
        architecture=fields.get("architecture", ""),
        not_automatic=fields.get("notautomatic", "").lower() == "true",
    )


def _read(text: str) -> tuple[dict[str, str], dict[str, list[str]]]:
    """The fields of one line, and the sections' lines, by name in lower case; the first of a name
    stays."""
    fields: dict[str, str] = {}
    sections: dict[str, list[str]] = {}
    current: list[str] = []
    for line in text.split("\n"):
        if line.startswith(" "):
            current.append(line.rstrip("\r"))
            continue
        name, colon, value = line.partition(":")
        current = []
        if colon and name.lower() not in fields:
            fields[name.lower()] = value.strip()
            sections[name.lower()] = current
    return fields, sections


def _files(lines: list[str], kind: str, digits: int, where: str) -> dict[str, Listed]:
    files = {}
    for line in lines:
        found = _LINE.fullmatch(line)
        if found is None or len(found[1]) != digits:
            raise VerifyError(
                "the archive's release has a malformed line of hashes", where=where, why=repr(line[:200])
            )
        if not safe_path(found[3]):
            raise VerifyError(
                f"the release names a file outside the archive: {found[3][:100]!r}", where=where
            )
        files[found[3]] = Listed(f"{kind}:{found[1].lower()}", int(found[2]))
    return files
