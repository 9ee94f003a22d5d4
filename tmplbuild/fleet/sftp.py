"""sftp for the shared store, by OpenSSH's rules: a host whose key is not known is not spoken to.

fsspec's own takes any key that it is shown the first time.
"""

from __future__ import annotations

import errno
import logging
import os
from pathlib import Path
from typing import Any

from tmplbuild.errors import HostError
from tmplbuild.fleet import not_installed

try:
    import fsspec
    import paramiko
    from fsspec.implementations.sftp import SFTPFileSystem
except ImportError as missing:
    raise not_installed(missing) from missing

_KNOWN_HOSTS = "TMPLBUILD_KNOWN_HOSTS"
_IDENTITY = "TMPLBUILD_SSH_KEY"
_SILENT_S = 20.0  # a server that says nothing for so long, when asked, is gone
_GONE = ("transport shut down", "timeout")
"""What paramiko says, under the name of a refusal, of a server that went away or was too slow for it."""

logging.getLogger("paramiko").setLevel(logging.CRITICAL)  # what it reports is raised, too


class KnownHosts(SFTPFileSystem):  # type: ignore[misc]
    """Connects to hosts of known_hosts(5) only; $TMPLBUILD_KNOWN_HOSTS names another such file, and
    $TMPLBUILD_SSH_KEY the private key."""

    def _connect(self) -> None:
        known = os.environ.get(_KNOWN_HOSTS, "")
        options: dict[str, Any] = {"timeout": 30, "banner_timeout": 30, **self.ssh_kwargs}
        if os.environ.get(_IDENTITY):
            options.setdefault("key_filename", os.environ[_IDENTITY])
        self.client = paramiko.SSHClient()
        self.client.load_system_host_keys(known or None)
        if not known and Path("/etc/ssh/ssh_known_hosts").is_file():
            self.client.load_system_host_keys("/etc/ssh/ssh_known_hosts")
        self.client.set_missing_host_key_policy(paramiko.RejectPolicy())
        try:
            self.client.connect(self.host, **options)
        except paramiko.BadHostKeyException as error:
            raise self._refused(str(error)) from error
        except paramiko.AuthenticationException as error:
            if any(words in str(error) for words in _GONE):
                raise ConnectionResetError(str(error)) from error
            raise self._refused(str(error)) from error
        except paramiko.SSHException as error:
            if "not found in known_hosts" in str(error):
                raise self._refused(str(error)) from error
            raise
        self.ftp = self.client.open_sftp()
        self.ftp.get_channel().settimeout(_SILENT_S)

    def link(self, old: str, new: str) -> None:
        """Give a file a name that nothing has yet, in place of its own: the protocol's own idea of a rename.
        Raises FileExistsError."""
        old, new = self._strip_protocol(old), self._strip_protocol(new)
        try:
            self.ftp.rename(old, new)
        except OSError as error:  # the protocol has no word for why
            if self.exists(new):
                raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), new) from error
            raise

    def _refused(self, why: str) -> HostError:
        return HostError(
            "the store's ssh server and this machine do not trust each other",
            where=str(self.host),
            why=why,
            hint=f"ssh {self.host} must work without questions; or name a file of known hosts with "
            f"{_KNOWN_HOSTS} and a private key with {_IDENTITY}",
        )


for protocol in ("sftp", "ssh"):
    fsspec.register_implementation(protocol, KnownHosts, clobber=True)
