"""An OpenSSH server for the tests: it lets in one key, and can go away."""

from __future__ import annotations

import getpass
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from tests.ports import free_port


class Sshd:
    """An sshd that serves sftp.

    Parameters:
        place: a directory for its keys and files; must not be there.
        host: the address that it listens on.
        port: 0 for a free one.
        wrap: a command line that it is run by (another network namespace).
    """

    def __init__(
        self, place: Path, *, host: str = "127.0.0.1", port: int = 0, wrap: Sequence[str] = ()
    ) -> None:
        if os.geteuid() != 0 or not shutil.which("sshd", path="/usr/sbin"):
            pytest.skip("needs root and openssh-server")
        self.place, self.host, self._wrap = place, host, wrap
        self.key, self.known = place / "key", place / "known_hosts"
        place.mkdir(mode=0o700)
        for name in ("key", "host", "other"):
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", place / name], check=True)
        self.port = port or free_port(host)
        self.trust("host")
        (place / "config").write_text(
            f"Port {self.port}\nListenAddress {host}\nHostKey {place}/host\nPidFile none\nUsePAM no\n"
            f"AuthorizedKeysFile {place}/key.pub\nStrictModes no\nPermitRootLogin prohibit-password\n"
            "PasswordAuthentication no\nSubsystem sftp internal-sftp\nMaxStartups 100\n"
        )
        self.env = {"TMPLBUILD_KNOWN_HOSTS": str(self.known), "TMPLBUILD_SSH_KEY": str(self.key)}
        self.process: subprocess.Popen[bytes] | None = None
        self.start()

    def trust(self, name: str) -> None:
        """Write the file of known hosts."""
        words = (self.place / f"{name}.pub").read_text().split()
        self.known.write_text(f"[{self.host}]:{self.port} {words[0]} {words[1]}\n")

    def start(self) -> None:
        """Start it, unless it runs, and wait until it listens."""
        if self.process is not None and self.process.poll() is None:
            return
        Path("/run/sshd").mkdir(exist_ok=True)
        path = self.place / "log"
        with path.open("wb") as log:
            argv = [*self._wrap, "/usr/sbin/sshd", "-D", "-f", str(self.place / "config"), "-e"]
            self.process = subprocess.Popen(argv, stderr=log)
        deadline = time.monotonic() + 60
        while b"Server listening" not in path.read_bytes():
            assert self.process.poll() is None, path.read_text()
            assert time.monotonic() < deadline
            time.sleep(0.02)

    def stop(self) -> None:
        """End it, and whoever is being served."""
        assert self.process is not None
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGSTOP)  # nobody new
            for one in psutil.Process(self.process.pid).children(recursive=True):
                with suppress(psutil.NoSuchProcess):
                    one.kill()
            self.process.kill()
        self.process.wait()

    def address(self, folder: Path) -> str:
        """A directory's address for who goes by sftp."""
        return f"sftp://{getpass.getuser()}@{self.host}:{self.port}{folder}"
