"""Red Hat Enterprise Linux, from a mirror that wants a client's certificate and a password: a stand-in over
https. The secrets come as users have them, and are then looked for wherever they could have been left."""

from __future__ import annotations

import base64
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import Places
from tests.rpmmd_shop import RpmMdShop, why
from tests.rpmmd_standin import RHEL, Standin
from tests.tls import Authority

pytestmark = [
    pytest.mark.root,
    pytest.mark.network,
    pytest.mark.live,
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("openssl") is None, reason="needs openssl: apt-get install openssl"),
]

USER, PASSWORD = "customer-0815", "iLoveMy-Subscription%42"


class Watch(threading.Thread):
    """Reads the command lines of all processes, again and again, as `ps` would."""

    def __init__(self, needles: list[bytes]) -> None:
        super().__init__(daemon=True)
        self.needles = needles
        self.found: set[bytes] = set()
        self.looked = 0
        self._ended = threading.Event()

    def run(self) -> None:
        while not self._ended.wait(0.02):
            for path in Path("/proc").glob("[0-9]*/cmdline"):
                try:
                    line = path.read_bytes()
                except OSError:
                    continue
                self.found |= {line for needle in self.needles if needle in line}
            self.looked += 1

    def end(self) -> None:
        self._ended.set()
        self.join()


class Rhel(RpmMdShop):
    """A shop whose secrets lie where a user has them: in the environment, and in private files."""

    def __init__(self, place: Path, packages: Path) -> None:
        self.authority = Authority(place / "ca")
        standin = Standin(RHEL, place, packages)
        server = standin.serve(tls=self.authority.server(client=True), user=f"{USER}:{PASSWORD}")
        with server:
            super().__init__(place, packages, standin, server)
        shutil.copy(self.authority.place / "ca.pem", place / "recipes/rhel/ca.pem")
        secrets = place / "secrets"
        secrets.mkdir()
        for name, text in (
            ("rhel-certificate", self.authority.text("client.pem")),
            ("rhel-key", self.authority.text("client.key")),
            ("mirror-password", PASSWORD),
        ):
            (secrets / name).write_text(text)
            (secrets / name).chmod(0o600)
        self.shop.env |= {"TMPLBUILD_SECRETS": str(secrets), "TMPLBUILD_SECRET_MIRROR_USER": USER}

    @property
    def needles(self) -> list[bytes]:
        """What must be nowhere: the password, alone and as it goes over the wire, and lines of the key."""
        wire = base64.b64encode(f"{USER}:{PASSWORD}".encode())
        key = self.authority.text("client.key").splitlines()[1].encode()
        return [PASSWORD.encode(), wire, key]


@pytest.fixture(scope="module")
def rhel(places: Places, packages: Path) -> Iterator[Rhel]:
    made = Rhel(places("rhel"), packages)
    made.publish("1")
    with made.server:
        made.options = (*made.options[:3], f"rhel={made.server.url}/rhel")
        yield made
    assert made.shop.remains() == {}


def test_a_template_and_no_secret_anywhere(rhel: Rhel) -> None:
    watch = Watch(rhel.needles)
    watch.start()
    plan = rhel.shop.run("plan", rhel.flavour.name, *rhel.options)
    first = rhel.build()
    shown = rhel.shop.run("recipe", "show", rhel.flavour.name, "--origin", *rhel.options[:2])
    watch.end()
    assert plan.status == shown.status == 0
    assert first.ran[-1] == "boot"
    assert watch.looked > 50
    assert not watch.found
    said = "".join(run.out + run.err for run in (plan, first, shown)).encode()
    assert not [needle for needle in rhel.needles if needle in said]
    assert "secret:mirror-password" in shown.out
    # logs, records, pins, layers with the tree, failed drafts, the template and its manifest
    places = [rhel.shop.place, rhel.shop.packages / "suites"]
    files = [
        path for place in places for path in place.rglob("*") if path.is_file() and not path.is_symlink()
    ]
    assert len(files) > 1000
    assert not [path for path in files if any(needle in path.read_bytes() for needle in rhel.needles)]
    assert [seen for seen in rhel.server.log if "authorization" not in seen.fields] == []
    # the template's own list has the public address, and nothing that this machine was told
    assert "baseurl=http://cdn.redhat.com/content/dist/rhel9/9/x86_64/baseos/os/\n" in rhel.read(
        "/etc/yum.repos.d/rhel.repo"
    )


def test_nothing_moved(rhel: Rhel) -> None:
    assert rhel.build().unchanged


def test_a_password_that_is_not_valid_any_more(rhel: Rhel) -> None:
    before = rhel.server.wants
    rhel.server.wants = "Basic b3RoZXI6b3RoZXI="
    done = rhel.build(ok=False)
    rhel.server.wants = before
    assert done.status == 5
    assert "the archive does not let us in" in why(done)
    assert not [needle for needle in rhel.needles if needle in (done.out + done.err).encode()]


def test_a_secret_that_is_not_there(rhel: Rhel) -> None:
    secret = rhel.shop.place.parent / "secrets/mirror-password"
    secret.rename(f"{secret}-elsewhere")
    done = rhel.build(ok=False)
    secret.with_name("mirror-password-elsewhere").rename(secret)
    assert done.status == 4
    assert "there is no secret mirror-password" in why(done)
