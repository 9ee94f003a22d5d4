"""A throw-away authority with certificates for a local server and its client, made by openssl."""

from __future__ import annotations

import ssl
import subprocess
from pathlib import Path


class Authority:
    """Files below `place`: ca.pem, server.pem and client.pem with server.key and client.key."""

    def __init__(self, place: Path) -> None:
        self.place = place
        place.mkdir(parents=True)
        self._openssl(
            "req", "-x509", "-days", "2", "-subj", "/CN=an authority",
            "-addext", "keyUsage=critical,keyCertSign,cRLSign", *self._new("ca"),
        )  # fmt: skip
        for name, more in (
            ("server", "subjectAltName=IP:127.0.0.1"),
            ("client", "extendedKeyUsage=clientAuth"),
        ):
            self._openssl(
                "req", "-x509", "-days", "2", "-subj", f"/CN={name}", "-addext", more,
                "-addext", "basicConstraints=CA:FALSE", "-CA", self._path("ca.pem"),
                "-CAkey", self._path("ca.key"), *self._new(name),
            )  # fmt: skip

    def server(self, *, client: bool) -> ssl.SSLContext:
        """What a server speaks with; `client`: it wants a certificate of ours."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self._path("server.pem"), self._path("server.key"))
        if client:
            context.verify_mode = ssl.CERT_REQUIRED
            context.load_verify_locations(self._path("ca.pem"))
        return context

    def text(self, name: str) -> str:
        """What one of the files holds."""
        return (self.place / name).read_text()

    def _path(self, name: str) -> str:
        return str(self.place / name)

    def _new(self, name: str) -> tuple[str, ...]:
        kind = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")
        return (*kind, "-keyout", self._path(f"{name}.key"), "-out", self._path(f"{name}.pem"))

    def _openssl(self, *words: str) -> None:
        done = subprocess.run(["openssl", *words], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
