"""The keys that may sign an archive: RSA, each pinned by the SHA-256 of its public key.

The file of a key is keys/SHA256.pub beside the recipe; what the key is called in the archive's signatures
does not matter, since every signature is tried with every pinned key.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tmplbuild.archives import openpgp, publickey
from tmplbuild.archives.apk.index import taken_apart
from tmplbuild.errors import VerifyError


def verify(body: bytes, keys: Sequence[str], keys_dir: openpgp.KeysDir, *, where: str) -> openpgp.Signed:
    """What a signed index holds, if one of its signatures is by one of these keys. Raises VerifyError."""
    pinned = [_key(keys_dir, fingerprint) for fingerprint in keys]
    signatures, signed = taken_apart(body, where)
    signers = {
        key.fingerprint for key in pinned for one in signatures if key.verifies(one.value, signed, one.kind)
    }
    if not signers:
        raise VerifyError(
            "the archive's APKINDEX is not signed by any of the recipe's keys, or was changed",
            where=where,
            why=f"the recipe pins {', '.join(keys) or 'none'}",
            hint="if the distribution has new keys, add them to the recipe (archives.NAME.keys and "
            "keys/SHA256.pub) after checking them on its site; else use another mirror (MIRROR=)",
        )
    return openpgp.Signed(signed, tuple(sorted(signers)))


def _key(keys_dir: openpgp.KeysDir, fingerprint: str) -> publickey.RsaKey:
    folders = (keys_dir,) if isinstance(keys_dir, Path) else keys_dir
    paths = [folder / f"{fingerprint}.pub" for folder in folders]
    path = next((path for path in paths if path.exists()), paths[0])
    hint = "the public key of a pinned fingerprint lies beside the recipe as keys/SHA256.pub"
    try:
        key = publickey.read_rsa(path.read_bytes())
    except OSError as error:
        raise VerifyError(
            "a pinned key cannot be read", where=str(path), why=error.strerror or str(error), hint=hint
        ) from None
    except ValueError as error:
        raise VerifyError("a key file cannot be used", where=str(path), why=str(error), hint=hint) from None
    if key.fingerprint != fingerprint:
        raise VerifyError(
            "a key file holds another key than its name says",
            where=str(path),
            why=f"the key in it is {key.fingerprint}",
            hint=hint,
        )
    return key
