"""GnuPG for tests: keys and signatures as archives' own are, those of old times too."""

from __future__ import annotations

import os
import select
import signal
import subprocess
from dataclasses import dataclass
from pathlib import Path

_OLD = """\
%no-protection
Key-Type: DSA
Key-Length: 1024
Name-Real: Old branch
Name-Email: old@example.org
Expire-Date: 0
%commit
"""
_OLD_DATE = 1225497600  # 2008-11-01
_SHA1 = ("--digest-algo", "SHA1", "--cert-digest-algo", "SHA1")


class Gpg:
    """GnuPG with a home of its own; `close` ends its agent."""

    def __init__(self, home: Path) -> None:
        self.home = home
        home.mkdir(mode=0o700, parents=True)

    def run(self, *words: str, data: bytes = b"", at: float | None = None) -> bytes:
        """Run gpg; `at` is what it takes for the time (seconds since the epoch)."""
        clock = () if at is None else (f"--faked-system-time={at:.0f}!",)
        argv = ["gpg", "--homedir", str(self.home), "--batch", "--yes", "--quiet", "--no-tty", *clock]
        argv += ["--pinentry-mode=loopback", "--passphrase="]
        done = subprocess.run([*argv, *words], input=data, capture_output=True, check=False)
        assert done.returncode == 0, done.stderr.decode()
        return done.stdout

    def key(self, *, expires: str = "never", usage: str = "sign", at: float | None = None) -> str:
        """Make a key; its fingerprint."""
        self.run("--quick-generate-key", "test@example.org", "ed25519", usage, expires, at=at)
        return self._newest()

    def old_key(self) -> str:
        """Make a key as ALT's were in 2008: DSA of 1024 bits, certified over SHA-1; its fingerprint."""
        self.run(*_SHA1, "--generate-key", data=_OLD.encode(), at=_OLD_DATE)
        return self._newest()

    def export(self, fingerprint: str, place: Path) -> None:
        """Write the certificate as a recipe has it beside itself."""
        place.mkdir(exist_ok=True)
        (place / f"{fingerprint}.asc").write_bytes(self.run("--armor", "--export", fingerprint))

    def close(self) -> None:
        """End the agent that serves this home."""
        end_daemons(self.home)

    def _newest(self) -> str:
        rows = self.run("--list-keys", "--with-colons").decode().splitlines()
        return [row.split(":")[9] for row in rows if row.startswith("fpr")][-1]


def end_daemons(home: Path) -> None:
    """End what gpg has started to serve a home, and wait for its end.

    `gpgconf --kill` only tells it: it still takes the next one's connection, and resets it. GnuPG 2.4 heeds a
    signal that comes while a connection is there only when another one wakes it.
    """
    for pid in filter(str.isdigit, os.listdir("/proc")):
        if not _serves(pid, home):
            continue
        try:
            end = os.pidfd_open(int(pid))
        except ProcessLookupError:
            continue
        try:
            if _serves(pid, home):  # it has not been given to another process before we had a hold of it
                for _ in range(120):
                    signal.pidfd_send_signal(end, signal.SIGTERM)
                    if select.select([end], [], [], 1)[0]:
                        break
                else:
                    raise AssertionError(f"{home}: gpg's process {pid} does not end")
        except ProcessLookupError:
            pass
        finally:
            os.close(end)


def _serves(pid: str, home: Path) -> bool:
    try:
        words = Path("/proc", pid, "cmdline").read_bytes().split(b"\0")
    except OSError:
        return False
    return b"--daemon" in words and os.fsencode(home) in words


@dataclass(frozen=True)
class OldKey:
    """A key whose signatures are over SHA-1; used where a `pysequoia.Tsk` is."""

    gpg: Gpg
    fingerprint: str

    @classmethod
    def made(cls, home: Path) -> OldKey:
        gpg = Gpg(home)
        try:
            return cls(gpg, gpg.old_key())
        finally:
            gpg.close()

    @property
    def certificate(self) -> str:
        """The armoured certificate."""
        return self.gpg.run("--armor", "--export", self.fingerprint).decode()

    def sign(self, text: bytes) -> bytes:
        """A detached, armoured signature over SHA-1, of the year 2009."""
        try:
            words = ("--local-user", self.fingerprint, "--armor", "--detach-sign")
            return self.gpg.run(*_SHA1, *words, data=text, at=_OLD_DATE + 90 * 86400)
        finally:
            self.gpg.close()
