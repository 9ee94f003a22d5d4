"""Signatures by the user's own OpenPGP key, made by GnuPG, which holds it.

Keys are a person's or a machine's, perhaps on a card: that is GnuPG's business, and its agent's. For
unattended runs the settings name a file with the passphrase, or the agent is given it beforehand
(gpg-preset-passphrase(1)), or the key has none.
"""

from __future__ import annotations

import os
from pathlib import Path

from tmplbuild.core.process import Done, run
from tmplbuild.errors import HostError, StageError
from tmplbuild.pubconf import PublishSettings

_TIMEOUT_S = 120.0
_STATUS = "[GNUPG:] "


class Signer:
    """Signs with one key.

    Parameters:
        key: the whole fingerprint; a subkey that can sign is chosen by GnuPG.
        home: GnuPG's directory, or None for its own choice.
        passphrase_file: file with the passphrase, or None: the agent has it, or there is none.

    Raises HostError at once where the key is not there or cannot be used without a person.
    """

    def __init__(self, key: str, home: Path | None, passphrase_file: Path | None) -> None:
        self.key = key
        self._env = {} if home is None else {"GNUPGHOME": str(home)}
        if home is None and (given := os.environ.get("GNUPGHOME")):
            self._env = {"GNUPGHOME": given}
        self._options = ["--batch", "--no-tty", "--yes", "--quiet"]
        if passphrase_file is None:
            # nobody is there to be asked: a locked key is told of at once
            self._options += ["--pinentry-mode", "error"]
        else:
            if not os.access(passphrase_file, os.R_OK):
                raise HostError(
                    "the passphrase's file cannot be read", where=str(passphrase_file), hint="see chmod(1)"
                )
            self._options += ["--pinentry-mode", "loopback", "--passphrase-file", str(passphrase_file)]
        self.certificate = self._certificate()
        self.detached(b"")  # a key that cannot sign is told of before anything is written

    def detached(self, data: bytes, *, armor: bool = True) -> bytes:
        """A detached signature of `data`. Raises HostError."""
        return self._sign(["--detach-sign"], armor, data=data)

    def detached_file(self, path: Path, *, armor: bool = True) -> bytes:
        """A detached signature of a file. Raises HostError."""
        with path.open("rb") as file:
            return self._sign(["--detach-sign"], armor, file=file.fileno())

    def _sign(self, words: list[str], armor: bool, *, data: bytes = b"", file: int = -1) -> bytes:
        how = ["--armor"] if armor else ["--no-armor"]
        argv = [*how, "--local-user", self.key, *words]
        if file < 0:
            return self._gpg(argv, data).stdout
        with os.fdopen(os.dup(file), "rb") as stream:
            done = self._run(argv, stream)
        return self._good(done).stdout

    def _certificate(self) -> bytes:
        known = self._run(["--list-secret-keys", "--with-colons", self.key], b"")
        if known.rc != 0 or b"\nsec:" not in b"\n" + known.stdout:
            raise HostError(
                "the signing key is not there",
                where=self.key,
                why=_last(known.stderr) or "GnuPG has no secret key with this fingerprint",
                hint="gpg --list-secret-keys shows those there are; publish.key and publish.gnupghome "
                "in the settings name key and place",
            )
        return self._gpg(["--armor", "--export-options", "export-minimal", "--export", self.key], b"").stdout

    def _gpg(self, words: list[str], data: bytes) -> Done:
        return self._good(self._run(words, data))

    def _run(self, words: list[str], data: object) -> Done:
        argv = ["gpg", "--status-fd", "2", *self._options, *words]
        try:
            return run(argv, stdin=data, env=self._env, timeout_s=_TIMEOUT_S, ok=None)  # type: ignore[arg-type]
        except StageError as error:
            raise HostError("GnuPG does not answer", where=self.key, why=error.why) from error

    def _good(self, done: Done) -> Done:
        if done.rc == 0:
            return done
        raise HostError(
            "nothing can be signed with the key",
            where=self.key,
            why=_last(done.stderr) or f"gpg: exit status {done.rc}",
            hint="if it is locked: publish.passphrase_file in the settings, or gpg-preset-passphrase; "
            "if it has expired: gpg --quick-set-expire",
        )


def signer_of(settings: PublishSettings) -> Signer | None:
    """The signer that the settings ask for; None where no key is set. Raises HostError."""
    if not settings.key:
        return None
    return Signer(settings.key, settings.gnupghome, settings.passphrase_file)


def _last(stderr: bytes) -> str:
    """GnuPG's last words, without what is for programs."""
    lines = stderr.decode("utf-8", "replace").splitlines()
    spoken = [line for line in lines if line.strip() and not line.startswith(_STATUS)]
    return spoken[-1] if spoken else ""
