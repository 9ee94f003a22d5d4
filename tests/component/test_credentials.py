"""Archives that want to know who asks: what is told to whom, what is refused; and no message tells it."""

from __future__ import annotations

import os
import shutil
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.archive_server import ArchiveServer
from tests.conftest import Places
from tests.tls import Authority
from tmplbuild.archives.fetch import Fetcher
from tmplbuild.archives.logins import logins
from tmplbuild.archives.mirrors import mirrors_for
from tmplbuild.errors import FetchError, HostError, RecipeError, TmplbuildError, UsageError
from tmplbuild.recipes.credentials import Credentials
from tmplbuild.recipes.model import Archive

PASSWORD = "Tr0ub4dor&3:große-Pause"
BASIC = Credentials(user="secret:suse-user", password="secret:suse-password")
CLIENT = Credentials(certificate="secret:rhel-certificate", key="secret:rhel-key", authority="ca.pem")


@pytest.fixture(scope="module")
def authority(places: Places) -> Authority:
    if shutil.which("openssl") is None:
        pytest.skip("needs openssl: apt-get install openssl")
    return Authority(places("tls") / "ca")


@pytest.fixture
def www(tmp_path: Path) -> Path:
    place = tmp_path / "www"
    place.mkdir()
    (place / "file").write_bytes(b"content")
    return place


@pytest.fixture(autouse=True)
def told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPLBUILD_SECRET_SUSE_USER", "SCC_4711")
    monkeypatch.setenv("TMPLBUILD_SECRET_SUSE_PASSWORD", PASSWORD)
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.delenv(name, raising=False)


def fetcher(credentials: Credentials, *addresses: str, beside: Path = Path("/nowhere")) -> Fetcher:
    archive = Archive(
        mirrors=addresses, public="http://x", suites=("s",), keys=("A" * 40,), credentials=credentials
    )
    mirrors = {"sles": addresses}

    def find(name: str) -> Path | None:
        return path if (path := beside / name).is_file() else None

    return Fetcher(mirrors, retries=0, sleep=lambda _: None, logins=logins({"sles": archive}, mirrors, find))


def get(one: Fetcher) -> bytes | None:
    return one.get("sles", "file", lambda answer: answer.body)


def why(caught: pytest.ExceptionInfo[TmplbuildError]) -> str:
    error = caught.value
    text = f"{error.what} {error.where} {error.why} {error.hint} {error!r}"
    assert PASSWORD not in text
    assert "U0NDXzQ3MTE6" not in text  # the beginning of both, in base64
    return text


@pytest.fixture
def asking(www: Path) -> Iterator[ArchiveServer]:
    with ArchiveServer(www, user=f"SCC_4711:{PASSWORD}") as server:
        yield server


def test_user_and_password(asking: ArchiveServer) -> None:
    assert get(fetcher(BASIC, asking.url)) == b"content"


def test_from_a_credential_of_systemd_and_from_a_file(
    asking: ArchiveServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("SUSE_USER", "SUSE_PASSWORD"):
        monkeypatch.delenv(f"TMPLBUILD_SECRET_{name}")
    given, own = tmp_path / "credentials", tmp_path / "secrets"
    for folder in (given, own):
        folder.mkdir()
    (given / "suse-user").write_text("SCC_4711")
    (own / "suse-password").write_text(f"{PASSWORD}\n")
    (own / "suse-password").chmod(0o600)
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(given))
    monkeypatch.setenv("TMPLBUILD_SECRETS", str(own))
    assert get(fetcher(BASIC, asking.url)) == b"content"


def test_a_secret_that_is_not_there(asking: ArchiveServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TMPLBUILD_SECRET_SUSE_PASSWORD")
    with pytest.raises(HostError, match="there is no secret suse-password"):
        get(fetcher(BASIC, asking.url))
    assert not asking.log


def test_a_wrong_password(asking: ArchiveServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPLBUILD_SECRET_SUSE_PASSWORD", "wrong")
    with pytest.raises(FetchError) as caught:
        get(fetcher(BASIC, asking.url))
    assert "does not let us in" in why(caught)
    with pytest.raises(FetchError, match="does not let us in"):
        get(fetcher(Credentials(), asking.url))


def test_a_mirror_that_says_what_it_was_told(www: Path) -> None:
    with ArchiveServer(www) as server:
        server.fail("file", "status", status=403, headers=(("X-Told", PASSWORD),))
        with pytest.raises(FetchError) as caught:
            get(fetcher(BASIC, server.url))
    assert "HTTP 403 Forbidden" in why(caught)


def test_what_one_mirror_is_told_no_other_is(www: Path) -> None:
    with ArchiveServer(www) as other, ArchiveServer(www) as server:
        server.fail("file", "status", status=302, headers=(("Location", f"{other.url}/file"),))
        assert get(fetcher(BASIC, server.url)) == b"content"
        assert "authorization" in server.log[0].fields
        assert "authorization" not in other.log[0].fields
        # another archive's mirror on the same machine
        one = fetcher(BASIC, f"{server.url}/sles")
        other_role = Fetcher({"sles": (f"{server.url}/sub",)}, retries=0, sleep=lambda _: None)
        assert get(one) == get(other_role) == b"content"
        assert ["authorization" in seen.fields for seen in server.log] == [True, True, False]


@pytest.mark.parametrize("address", ["http://mirror.example/sles", "http://10.0.0.1"])
def test_nothing_goes_over_an_open_line(address: str) -> None:
    with pytest.raises(UsageError) as caught:
        fetcher(BASIC, address)
    assert "in the open" in why(caught)


def test_no_password_in_an_address() -> None:
    with pytest.raises(UsageError) as caught:
        mirrors_for("sles", ["host"], override=f"sles=https://me:{PASSWORD}@mirror.example")
    assert "password in it" in why(caught)


def test_a_clients_certificate(www: Path, authority: Authority, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPLBUILD_SECRET_RHEL_CERTIFICATE", authority.text("client.pem"))
    monkeypatch.setenv("TMPLBUILD_SECRET_RHEL_KEY", authority.text("client.key"))
    with ArchiveServer(www, tls=authority.server(client=True)) as server:
        assert get(fetcher(CLIENT, server.url, beside=authority.place)) == b"content"
        # without one, or where nobody that this machine trusts vouches for the server
        for less in (
            Credentials(authority="ca.pem"),
            Credentials(certificate=CLIENT.certificate, key=CLIENT.key),
        ):
            with pytest.raises(FetchError):
                get(fetcher(less, server.url, beside=authority.place))
        with pytest.raises(RecipeError, match=r"ca\.pem is not there"):
            fetcher(CLIENT, server.url)


def test_a_key_that_is_none(www: Path, authority: Authority, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPLBUILD_SECRET_RHEL_CERTIFICATE", authority.text("client.pem"))
    monkeypatch.setenv("TMPLBUILD_SECRET_RHEL_KEY", "no key at all")
    with ArchiveServer(www, tls=authority.server(client=True)) as server, pytest.raises(FetchError) as caught:
        get(fetcher(CLIENT, server.url, beside=authority.place))
    assert "no key at all" not in why(caught)


def test_the_key_lies_on_no_disk(authority: Authority, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPLBUILD_SECRET_RHEL_CERTIFICATE", authority.text("client.pem"))
    monkeypatch.setenv("TMPLBUILD_SECRET_RHEL_KEY", authority.text("client.key"))
    archive = Archive(
        mirrors=("https://x",), public="http://x", suites=("s",), keys=("A" * 40,), credentials=CLIENT
    )
    made = logins({"rhel": archive}, {"rhel": ("https://x",)}, lambda name: authority.place / name)
    login = made["https://x"]()
    assert login.certificate is not None
    assert all(os.readlink(path).startswith("/memfd:") for path in login.certificate)
    ssl.create_default_context().load_cert_chain(*login.certificate)
    assert "BEGIN" not in repr(login)
