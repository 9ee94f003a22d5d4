"""Signatures of archives, checked against pinned keys. The only module that knows pysequoia.

pysequoia (Sequoia's library) rather than gpgv: it is a wheel, so no program is needed on the host,
a check takes some 2 to 10 ms, and nothing depends on a keyring or a home directory. Its policy
refuses signatures over MD5 and SHA-1, and those made by a key that had expired or was revoked at
the time. What it cannot be told is the time of the verification: `now` is therefore checked here,
for the primary key and for the signing subkey.

The file's form is checked here as well: one cleartext-signed message and nothing around it (RFC
9580, section 7), so that no reader can take unsigned lines for signed ones.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import pysequoia
from pysequoia.packet import HashAlgorithm, Packet, PacketPile, SignatureType, Tag

from tmplbuild.archives import barekey
from tmplbuild.archives.barekey import BareKey
from tmplbuild.archives.clock import utc
from tmplbuild.errors import VerifyError

_CLEAR = re.compile(
    rb"-----BEGIN PGP SIGNED MESSAGE-----\r?\n"
    rb"(?:Hash: [^\r\n]*\r?\n)*\r?\n"
    rb"(?:(?!-----)[^\n]*\n)*?"
    rb"-----BEGIN PGP SIGNATURE-----\r?\n"
    rb"(?:(?!-----)[^\n]*\n)+"
    rb"-----END PGP SIGNATURE-----\s*\Z",
)
_WEAK = (HashAlgorithm.MD5, HashAlgorithm.RipeMD, HashAlgorithm.SHA1)


KeysDir: TypeAlias = Path | tuple[Path, ...]
"""Where certificates lie: a directory, or several to look in, in order."""


@dataclass(frozen=True, slots=True)
class Signed:
    """What a signature covers, and the primary fingerprints (upper case) whose signatures are good; when the
    newest of these was made, seconds since the epoch (0 where that is not told)."""

    content: bytes
    signers: tuple[str, ...]
    made: int = 0


def verify_clear(data: bytes, keys: Sequence[str], keys_dir: KeysDir, *, now: float, where: str) -> Signed:
    """Check a cleartext-signed file (InRelease).

    Parameters:
        keys: fingerprints of the primary keys that may sign; one good signature is enough.
        keys_dir: the directory of their certificates, FINGERPRINT.asc, or several to look in, in order.
        now: seconds since the epoch, the time at which the keys must be valid.
        where: the file's URL, for messages.

    Raises VerifyError; the content is only what was signed.
    """
    found = _CLEAR.fullmatch(data)
    if found is None:
        raise VerifyError(
            "the archive's InRelease carries no OpenPGP signature, or more than the signed text",
            where=where,
            why="it must be one signed message with nothing before or after it",
            hint="something on the way may have changed it: try again, or use another mirror",
        )
    armored = data[data.rindex(b"-----BEGIN PGP SIGNATURE-----") :]
    checker = _Checker(Keyring(keys, keys_dir), now, where)
    packets = _signatures(armored, where, checker.what)
    checker.keyring.refuse_bare()
    return checker.check(packets, lambda: pysequoia.verify(data, checker.keyring.store))


def verify_detached(
    data: bytes,
    signature: bytes,
    keys: Sequence[str],
    keys_dir: KeysDir,
    *,
    now: float,
    where: str,
    weak: Sequence[str] = (),
) -> Signed:
    """Check a file against its detached signatures (Release and Release.gpg); as `verify_clear`.

    Parameters:
        weak: as `Keyring` takes it.
    """
    return Keyring(keys, keys_dir, weak).verify_detached(data, signature, now=now, where=where)


@dataclass(frozen=True, slots=True)
class Certificate:
    """One of many: its primary fingerprint, upper case, those of all its keys, and its packets, each as
    the number of its kind and its body."""

    cert: pysequoia.Cert
    fingerprint: str
    keys: tuple[str, ...]
    packets: tuple[tuple[int, bytes], ...]


def certificates(raw: bytes, where: str) -> list[Certificate]:
    """The certificates of a keyring's file. Raises VerifyError for what is none."""
    found = []
    try:
        for cert in pysequoia.Cert.split_bytes(raw):
            packets = list(PacketPile.from_bytes(bytes(cert)))
            keys = [one.fingerprint.upper() for one in packets if one.tag in _KEYS and one.fingerprint]
            found.append(Certificate(cert, cert.fingerprint.upper(), tuple(keys), _packets(cert)))
    except RuntimeError as error:
        reason = str(error).partition("\n")[0]
        raise VerifyError("a keyring cannot be read", where=where, why=reason) from None
    return found


def issuers(signature: bytes, where: str) -> list[str]:
    """The fingerprints, or key ids, of the keys that detached signatures name. Raises VerifyError."""
    return [_issuer(packet) for packet in _signatures(signature, where, "the package")]


_KEYS = (Tag.PublicKey, Tag.PublicSubkey)
_NUMBERS = ((Tag.PublicKey, 6), (Tag.Signature, 2), (Tag.UserID, 13))  # RFC 9580, 5


def _number(tag: Tag) -> int:
    return next((number for known, number in _NUMBERS if known == tag), 0)


class Keyring:
    """Pinned certificates, read when they are first asked for.

    Parameters:
        keys, keys_dir: as `verify_clear` takes them.
        weak: those among the keys of which DSA, and signatures over SHA-1, are accepted.

    A certificate that vouches for itself by a signature of an old kind is read as a bare key, which counts
    for detached signatures alone: see `tmplbuild.archives.barekey`.
    """

    def __init__(self, keys: Sequence[str], keys_dir: KeysDir, weak: Sequence[str] = ()) -> None:
        self._keys = keys
        self._keys_dir = keys_dir
        self._weak = weak

    @functools.cached_property
    def _read(self) -> dict[str, pysequoia.Cert | BareKey]:
        return {key: _certificate(self._keys_dir, key, weak=key in self._weak) for key in self._keys}

    @functools.cached_property
    def certs(self) -> list[pysequoia.Cert]:
        """The certificates. Raises VerifyError for one that cannot be used."""
        return [one for one in self._read.values() if not isinstance(one, BareKey)]

    @functools.cached_property
    def bare(self) -> dict[str, BareKey]:
        """The bare keys by fingerprint, lower case. Raises as `certs` does."""
        return {one.fingerprint.lower(): one for one in self._read.values() if isinstance(one, BareKey)}

    @functools.cached_property
    def expiry(self) -> dict[str, float]:
        """When each key and subkey expires, by fingerprint."""
        found = {key: end for cert in self.certs for key, end in _expiry(cert).items()}
        return found | {key: one.expires for key, one in self.bare.items()}

    @functools.cached_property
    def primary(self) -> dict[str, str]:
        """The primary key of each key and subkey, by fingerprint."""
        found = {key: cert.fingerprint for cert in self.certs for key in _expiry(cert)}
        return found | {key: key for key in self.bare}

    def fingerprints(self) -> list[str]:
        """Those of the primary keys, upper case."""
        return sorted({key.upper() for key in self.primary.values()})

    def refuse_bare(self) -> None:
        """Raise WeakError where a certificate counts as a bare key alone."""
        for key in self.bare.values():
            raise _weak_certificate(f"{key.fingerprint}.asc", "its signature over its own names is too old")

    def store(self, _ids: list[str]) -> list[pysequoia.Cert]:
        """What pysequoia asks for certificates."""
        return self.certs

    @classmethod
    def of(cls, certs: Sequence[Certificate]) -> Keyring:
        """One of certificates that lie in no file of their own. Raises VerifyError for one that cannot be
        used."""
        made = cls((), ())
        made.__dict__["certs"] = [_usable(one.cert, one.fingerprint) for one in certs]
        return made

    def verify_detached(
        self, data: bytes, signature: bytes, *, now: float, where: str, what: str = "the archive"
    ) -> Signed:
        """Check data against detached signatures, armoured or not: one good one is enough.

        Parameters:
            now, where: as `verify_clear` takes them.
            what: what is signed, for messages.

        Raises VerifyError.
        """
        checker = _Checker(self, now, where, what)
        packets = _signatures(signature, where, what)
        signers: list[str] = []
        made = 0
        failure: VerifyError | None = None
        for packet in packets:
            if (bare := checker.bare_of(packet)) is not None:
                if bare.signed(data, bytes(packet.body), now):
                    signers.append(bare.fingerprint)
                    made = max(made, _made(packet))
                continue
            sig = _sig(packet, where, what)

            def verify(sig: pysequoia.Sig = sig) -> pysequoia.Decrypted:
                return pysequoia.verify(data, self.store, signature=sig)

            try:
                signers += checker.check([packet], verify).signers
                made = max(made, _made(packet))
            except VerifyError as error:
                failure = failure or error
        if not signers:
            # all packets at once, so that the message names every key
            raise checker.refusal(packets) if failure is None or len(packets) > 1 else failure
        return Signed(data, tuple(sorted(set(signers))), made)


class WeakError(VerifyError):
    """The signature, or the key that made it, is of a kind that can be forged today."""

    def __init__(self, what: str, *, where: str, why: str) -> None:
        hint = "such a signature can be forged. A branch that never changes any more can be pinned instead, "
        super().__init__(
            what, where=where, why=why, hint=hint + "after comparing its release with a source that you trust"
        )


class _Checker:
    """The judgement over what pysequoia found."""

    def __init__(self, keyring: Keyring, now: float, where: str, what: str = "the archive") -> None:
        self.keyring = keyring
        self.now = now
        self.where = where
        self.what = what

    def check(self, packets: list[Packet], verify: Callable[[], pysequoia.Decrypted]) -> Signed:
        """The signed content, if one signature at least is good. Raises VerifyError."""
        try:
            result = verify()
        except RuntimeError:
            raise self.refusal(packets) from None
        signers = {
            sig.certificate.upper()
            for sig in result.valid_sigs
            if self._alive(sig.certificate, sig.signing_key)
        }
        if not signers:
            raise self.refusal(packets)
        return Signed(result.bytes or b"", tuple(sorted(signers)))

    def _alive(self, primary: str, signing_key: str) -> bool:
        return all(self.now < self.keyring.expiry.get(key.lower(), 0.0) for key in (primary, signing_key))

    def bare_of(self, packet: Packet) -> BareKey | None:
        """The bare key that a signature names."""
        return self.keyring.bare.get(self._key_of(packet))

    def refusal(self, packets: list[Packet]) -> VerifyError:
        """Why none of the signatures counts: the most telling reason."""
        ours = [(packet, key) for packet in packets if (key := self._key_of(packet))]
        if not ours:
            names = ", ".join(sorted({_issuer(packet) for packet in packets}))
            return VerifyError(
                f"{self.what} is signed, but by none of the recipe's keys",
                where=self.where,
                why=f"it is signed by {names}; the recipe pins " + ", ".join(self.keyring.fingerprints()),
                hint="if the distribution has new keys, add them to the recipe (archives.NAME.keys and "
                "keys/FINGERPRINT.asc) after checking them on its site",
            )
        weak = [packet for packet, _ in ours if packet.hash_algorithm in _WEAK]
        if weak and not any(bare.weak for packet in weak if (bare := self.bare_of(packet))):
            return WeakError(
                f"{self.what}'s signature uses a broken hash",
                where=self.where,
                why=f"key {_issuer(weak[0])} signed with {str(weak[0].hash_algorithm).rpartition('.')[2]}",
            )
        for packet, key in ours:
            made = packet.signature_created.timestamp() if packet.signature_created else self.now
            end = min(self.keyring.expiry[key], self.keyring.expiry[self.keyring.primary[key]])
            if end <= max(made, self.now):
                return VerifyError(
                    f"the key that signed {self.what} has expired",
                    where=self.where,
                    why=f"key {self.keyring.primary[key].upper()} was valid until {utc(end)}; "
                    f"the signature is of {utc(made)}",
                    hint="get the key's renewed certificate from the distribution into the recipe's keys/",
                )
        return VerifyError(
            f"{self.what}'s signature does not fit its content",
            where=self.where,
            why=f"the signature of key {self.keyring.primary[ours[0][1]].upper()} is bad",
            hint="the file was changed on the way or is half updated: try again later or use another mirror",
        )

    def _key_of(self, packet: Packet) -> str:
        """The fingerprint of the pinned (sub)key that a signature names, "" if it is none of ours."""
        issuer = _issuer(packet).lower()
        return next((key for key in self.keyring.expiry if issuer and key.endswith(issuer)), "")


def _signatures(armored: bytes, where: str, what: str) -> list[Packet]:
    try:
        packets = [packet for packet in PacketPile.from_bytes(armored) if packet.tag == Tag.Signature]
    except RuntimeError as error:
        reason = str(error).partition("\n")[0]
        raise VerifyError(f"{what}'s signature cannot be read", where=where, why=reason) from None
    if not packets:
        raise VerifyError(f"{what}'s signature file holds no signature", where=where)
    return packets


def _sig(packet: Packet, where: str, what: str) -> pysequoia.Sig:
    try:
        return pysequoia.Sig.from_bytes(bytes(packet))
    except RuntimeError as error:
        reason = str(error).partition("\n")[0]
        raise VerifyError(f"{what}'s signature cannot be read", where=where, why=reason) from None


def _issuer(packet: Packet) -> str:
    return (packet.issuer_fingerprint or packet.issuer_key_id or "an unnamed key").upper()


def _made(packet: Packet) -> int:
    return int(packet.signature_created.timestamp()) if packet.signature_created else 0


def _certificate(keys_dir: KeysDir, fingerprint: str, *, weak: bool = False) -> pysequoia.Cert | BareKey:
    folders = (keys_dir,) if isinstance(keys_dir, Path) else keys_dir
    paths = [folder / f"{fingerprint}.asc" for folder in folders]
    path = next((path for path in paths if path.exists()), paths[0])
    hint = "the certificate of a pinned key lies beside the recipe as keys/FINGERPRINT.asc"
    try:
        raw = path.read_bytes()
    except OSError as error:
        reason = error.strerror or str(error)
        raise VerifyError(
            "a pinned key's certificate cannot be read", where=str(path), why=reason, hint=hint
        ) from None
    try:
        cert = pysequoia.Cert.from_bytes(raw)
    except RuntimeError as error:
        reason = str(error).partition("\n")[0]
        raise VerifyError(
            "a key file is no OpenPGP certificate", where=str(path), why=reason, hint=hint
        ) from None
    if cert.fingerprint.upper() != fingerprint.upper():
        raise VerifyError(
            "a key file holds another key than its name says",
            where=str(path),
            why=f"the key in it is {cert.fingerprint.upper()}",
            hint=hint,
        )
    bare = barekey.of(_packets(cert), weak=weak)
    try:
        usable = _usable(cert, str(path))
        return bare if weak and bare is not None else usable
    except WeakError:
        if bare is None or (bare.is_dsa and not weak):
            raise
    if bare.revoked:
        raise _revoked(str(path))
    return bare


def _packets(cert: pysequoia.Cert) -> tuple[tuple[int, bytes], ...]:
    return tuple((_number(one.tag), bytes(one.body)) for one in PacketPile.from_bytes(bytes(cert)))


def _usable(cert: pysequoia.Cert, where: str) -> pysequoia.Cert:
    """The certificate, if it may be used at all. Raises VerifyError."""
    try:
        revoked = cert.is_revoked
        _ = cert.expiration  # asks for a binding signature that today's policy accepts
    except RuntimeError as error:
        raise _weak_certificate(where, _deepest(error)) from None
    if revoked:
        raise _revoked(where)
    return cert


def _revoked(where: str) -> VerifyError:
    return VerifyError("a pinned key has been revoked", where=where, hint="pin the key's successor")


def _weak_certificate(where: str, why: str) -> WeakError:
    what = "a pinned key vouches for itself by a signature that is not accepted any more"
    return WeakError(what, where=where, why=why)


def _deepest(error: RuntimeError) -> str:
    """The last of the causes that pysequoia names, without its stack."""
    causes = re.findall(r"(?m)^ +\d+: (.*)$", str(error).partition("Stack backtrace")[0])
    return str(causes[-1]) if causes else str(error).partition("\n")[0]


def _expiry(cert: pysequoia.Cert) -> dict[str, float]:
    """When each key of a certificate expires (seconds since the epoch, infinity for never).

    pysequoia names the primary's only; a subkey's is its creation time and the validity period in
    its newest binding (RFC 9580, 5.2.3.13). Which bindings are genuine pysequoia has checked when
    it accepted a signature by the subkey.
    """
    end = cert.expiration
    found = {cert.fingerprint.lower(): end.timestamp() if end else float("inf")}
    subkey: Packet | None = None
    newest = 0.0
    for packet in PacketPile.from_bytes(bytes(cert)):
        if packet.tag == Tag.PublicSubkey:
            subkey, newest = packet, 0.0
        elif subkey is not None and packet.signature_type == SignatureType.SubkeyBinding:
            made = packet.signature_created.timestamp() if packet.signature_created else 0.0
            if made >= newest and subkey.fingerprint and subkey.key_created:
                newest = made
                period = packet.key_validity_period
                born = subkey.key_created.timestamp()
                found[subkey.fingerprint.lower()] = born + period.total_seconds() if period else float("inf")
    return found
