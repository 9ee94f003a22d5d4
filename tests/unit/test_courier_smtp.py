"""The report by mail, to a real server that wants encryption and a login: aiosmtpd on this machine."""

from __future__ import annotations

import contextlib
import re
import shutil
import ssl
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from email import message_from_bytes
from pathlib import Path
from typing import Any, Literal

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult, LoginPassword

from tests.conftest import Places
from tests.ports import free_port
from tmplbuild.config import load_settings
from tmplbuild.engine import courier
from tmplbuild.errors import FetchError, TmplbuildError
from tmplbuild.nightlyconf import Nightly, Smtp

pytestmark = pytest.mark.filterwarnings("ignore:Requiring AUTH while not requiring TLS")
READY_S = 120  # of a machine that has much else to do
REPORT: dict[str, Any] = {
    "tool": "tmplbuild 0",
    "began": 1_800_000_000.0,
    "seconds": 1.0,
    "status": 1,
    "counts": {"failed": 1},
    "stale": [],
    "templates": [],
}


class Box:
    """What the server took: envelopes, and who had logged in."""

    def __init__(self) -> None:
        self.mails: list[Any] = []
        self.logins: list[tuple[str, bool]] = []

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
        self.mails.append(envelope)
        return "250 taken"

    def check(self, server: Any, session: Any, envelope: Any, mechanism: str, data: Any) -> AuthResult:
        assert isinstance(data, LoginPassword)
        good = (data.login, data.password) == (b"me", b"pa55 w\xc3\xb6rd")
        self.logins.append((mechanism, good))
        return AuthResult(success=good, handled=False)  # the answer is the server's to give


@pytest.fixture(scope="module")
def certificate(places: Places) -> Path:
    """A key and a certificate for localhost and 127.0.0.1, in one file, which nobody knows."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not there: apt-get install openssl")
    path = places("tls") / "server.pem"
    argv = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    argv += ["-days", "2", "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]
    subprocess.run([*argv, "-keyout", f"{path}.key", "-out", path], check=True, capture_output=True)
    path.write_bytes(path.read_bytes() + Path(f"{path}.key").read_bytes())
    return path


@contextlib.contextmanager
def server(kind: Literal["starttls", "tls"], certificate: Path) -> Iterator[tuple[Box, int]]:
    """A mail server that takes mail only from who logged in, over TLS."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    box = Box()
    port = free_port()
    how: dict[str, Any] = {"tls_context": context, "require_starttls": True}
    if kind == "tls":
        how = {"ssl_context": context, "auth_require_tls": False}  # it knows only of STARTTLS
    controller = Controller(
        box,
        hostname="127.0.0.1",
        port=port,
        ready_timeout=READY_S,
        authenticator=box.check,
        auth_required=True,
        **how,
    )
    controller.start()
    try:
        yield box, port
    finally:
        controller.stop()


def deliver(place: Path, password: str, **smtp: Any) -> list[TmplbuildError]:
    secret = place / "secret"
    secret.write_text(f"{password}\n", encoding="utf-8")
    mail = Smtp(host="127.0.0.1", sender="from@example.org", to=("a@example.org", "b@example.org"), **smtp)
    mail = replace(mail, user="me", password_file=secret)
    names = ("TEMPLATE_CACHE", "CACHE_DIR", "STATE_DIR", "RUN_DIR")
    environ = {f"TMPLBUILD_{name}": str(place / name.lower()) for name in names}
    settings = load_settings(environ=environ | {"TMPLBUILD_CONFIG": "/dev/null"})
    return courier.deliver(REPORT, replace(settings, nightly=Nightly(smtp=mail)))


@pytest.mark.parametrize("kind", ["starttls", "tls"])
def test_a_mail_goes_encrypted_and_after_a_login(
    kind: Literal["starttls", "tls"], certificate: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    with server(kind, certificate) as (box, port):
        assert deliver(tmp_path, "pa55 wörd", port=port, security=kind) == []
    (mail,) = box.mails
    assert [good for _, good in box.logins] == [True]
    assert (mail.mail_from, mail.rcpt_tos) == ("from@example.org", ["a@example.org", "b@example.org"])
    message = message_from_bytes(mail.content)
    assert message["Subject"].startswith("tmplbuild: 1 failed")
    assert message["Auto-Submitted"] == "auto-generated"


@pytest.mark.parametrize("kind", ["starttls", "tls"])
def test_a_server_that_nobody_vouches_for_gets_nothing(
    kind: Literal["starttls", "tls"], certificate: Path, tmp_path: Path
) -> None:
    with server(kind, certificate) as (box, port):
        (error,) = deliver(tmp_path, "pa55 wörd", port=port, security=kind)
    assert isinstance(error, FetchError)
    assert re.search("certificate", error.why, re.IGNORECASE)
    assert not box.mails
    assert not box.logins  # nor the password


@pytest.mark.parametrize("kind", ["starttls", "tls"])
def test_a_wrong_password_is_told_of_without_it(
    kind: Literal["starttls", "tls"], certificate: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    with server(kind, certificate) as (box, port):
        (error,) = deliver(tmp_path, "wr0ng", port=port, security=kind)
    assert "535" in error.why
    assert "wr0ng" not in f"{error}{error.hint}"
    assert not box.mails


def test_a_server_without_starttls_gets_nothing(tmp_path: Path) -> None:
    box = Box()
    port = free_port()
    controller = Controller(box, hostname="127.0.0.1", port=port, ready_timeout=READY_S)
    controller.start()
    try:
        (error,) = deliver(tmp_path, "pa55 wörd", port=port, security="starttls")
    finally:
        controller.stop()
    assert "STARTTLS" in error.why
    assert not box.mails
