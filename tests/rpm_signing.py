"""Packages signed as a distribution signs them: gpg's key, rpmsign, and rpmkeys' second opinion.

signer = RpmSigner(tmp_path / "gpg", "rsa2048")
signer.sign(path, another)
signer.export(keys_dir)                    # FINGERPRINT.asc, as a recipe has it beside itself
rpmkeys_accepts(path, certificate, tmp_path / "db")
"""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from tests.gpg import Gpg

NEEDS = ("rpmsign", "rpmkeys", "gpg")


class RpmSigner:
    """A key of its own in a home of its own.

    Parameters:
        kind: gpg's word for the algorithm ("rsa2048", "ed25519").
    """

    def __init__(self, home: Path, kind: str = "ed25519") -> None:
        self.gpg = Gpg(home)
        try:
            self.gpg.run("--quick-generate-key", f"packages <{kind}@example.org>", kind, "sign", "never")
            rows = self.gpg.run("--list-keys", "--with-colons").decode().splitlines()
        finally:
            self.gpg.close()
        self.fingerprint = next(row.split(":")[9] for row in rows if row.startswith("fpr"))

    def sign(self, *paths: Path, digest: str = "sha256") -> None:
        """Sign package files in place."""
        macros = {
            "__gpg": shutil.which("gpg") or "gpg",
            "_gpg_name": self.fingerprint,
            "_gpg_path": str(self.gpg.home),
            "_gpg_digest_algo": digest,
            "_gpg_sign_cmd_extra_args": "--batch --pinentry-mode loopback --passphrase-file /dev/null",
        }
        words = [word for name, value in macros.items() for word in ("--define", f"{name} {value}")]
        try:
            done = subprocess.run(
                ["rpmsign", *words, "--addsign", *map(str, paths)],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                check=False,
            )
        finally:
            self.gpg.close()
        assert done.returncode == 0, done.stderr[-1000:]

    def detached(self, text: bytes) -> bytes:
        """A detached, armoured signature, as lists of packages have it beside them."""
        try:
            return self.gpg.run("--local-user", self.fingerprint, "--armor", "--detach-sign", data=text)
        finally:
            self.gpg.close()

    def export(self, place: Path) -> Path:
        """Write the certificate as a recipe has it beside itself; its path."""
        place.mkdir(parents=True, exist_ok=True)
        self.gpg.export(self.fingerprint, place)
        return place / f"{self.fingerprint}.asc"


def rpmkeys_accepts(path: Path, certificate: Path, database: Path) -> bool:
    """What rpm itself says of a package, with that certificate and no other in its keyring."""
    words = ["rpmkeys", "--dbpath", str(database)]
    if not database.exists():
        database.mkdir()
        subprocess.run([*words, "--import", str(certificate)], check=True, capture_output=True)
    strict = ["--define", "_pkgverify_level all"]
    return (
        subprocess.run([*words, *strict, "-K", str(path)], check=False, capture_output=True).returncode == 0
    )
