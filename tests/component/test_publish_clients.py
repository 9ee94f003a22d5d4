"""A mirror on a local web server, read by the clients that people use."""

from __future__ import annotations

import functools
import hashlib
import json
import os
import re
import shutil
import ssl
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from benchmarks.engines import _forget
from tests.archive_server import ArchiveServer
from tests.conftest import Places
from tests.pack_trees import as_packed, differences, facts, nasty_tree
from tests.publishing import NAME, Gpg, Press, add_template, needs

pytestmark = pytest.mark.root


FOR_LXC = {b"etc/hostname", b"etc/hosts", b"etc/network", b"etc/network/interfaces"}
"""What the recipe of Debian wants otherwise for LXC."""


@dataclass
class Web:
    """A signed mirror and its servers. `ca` is the certificate of the one that speaks HTTPS."""

    press: Press
    gpg: Gpg
    tree: Path
    http: ArchiveServer
    https: ArchiveServer
    ca: Path
    keyring: Path

    @functools.cached_property
    def host(self) -> str:
        """Address of the HTTPS server without the scheme."""
        return self.https.url.removeprefix("https://")


@pytest.fixture(scope="module")
def web(places: Places) -> Iterator[Web]:
    needs("gpg", "gpg")
    needs("openssl", "openssl")
    place = places("web")
    tree = place / "tree"
    nasty_tree(tree)
    # what importd looks at, and what lxc-create edits
    (tree / "etc/os-release").write_text("ID=debian\n")
    (tree / "etc/hostname").write_text("")
    (tree / "usr/sbin").mkdir()
    gpg = Gpg(place / "gnupg")
    press = Press(place / "press", gpg)
    add_template(press.cache, tree)
    press.publish()
    keyring = place / "keyring.gpg"
    keyring.write_bytes(gpg.run("--export", gpg.key))
    ca, key = place / "ca.pem", place / "key.pem"
    words = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "ed25519",
        "-nodes",
        "-days",
        "2",
        "-subj",
        "/CN=127.0.0.1",
    ]
    words += ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(key), "-out", str(ca)]
    subprocess.run(words, capture_output=True, check=True)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(ca, key)
    # systemd-pull of systemd 252 waits for ever at times where connections are kept (docs/publish.md)
    with ArchiveServer(press.mirror, keeps=False) as http, ArchiveServer(press.mirror, tls=tls) as https:
        yield Web(press, gpg, tree, http, https, ca, keyring)
    gpg.forget()


def run(*argv: object, env: dict[str, str] | None = None, ok: bool = True) -> str:
    done = subprocess.run(
        [str(word) for word in argv],
        env={**os.environ, "LC_ALL": "C.UTF-8", **(env or {})},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
    )
    told = (done.stdout + done.stderr).decode(errors="replace")
    assert (done.returncode == 0) == ok, told
    return told


# -- systemd -----------------------------------------------------------------------------------------


def pull(web: Web, url: str, place: Path, *, ok: bool = True) -> str:
    """systemd-pull with our key as its keyring, which is fixed: in a mount namespace of its own."""
    program = needs("systemd-pull", "systemd-container")
    ring = Path("/usr/lib/systemd/import-pubring.gpg")
    if not ring.exists():
        ring = Path("/usr/lib/systemd/import-pubring.pgp")
    place.mkdir(exist_ok=True)
    words = [
        "timeout",
        "--signal=KILL",
        "300",
        program,
        "tar",
        "--sync=no",  # else it waits for all that this machine has to write
        "--verify=signature",
        f"--image-root={place}",
        url,
        "it",
    ]
    script = 'mount --bind "$1" "$2" && shift 2 && exec "$@"'
    return run("unshare", "-m", "sh", "-c", script, "sh", web.keyring, ring, *words, ok=ok)


@pytest.fixture
def machines(tmp_path: Path) -> Iterator[Path]:
    """Where systemd puts machines; it marks what it keeps as immutable, which nobody could delete later."""
    yield tmp_path / "machines"
    subprocess.run(["chattr", "-R", "-f", "-i", str(tmp_path / "machines")], check=False)


@pytest.mark.parametrize("form", ["fixed", "dated"])
def test_systemd_pulls_and_verifies(web: Web, machines: Path, form: str) -> None:
    build = web.press.state().listed(NAME)[0]
    file = build.file("tar.xz")
    assert file is not None
    path = f"{NAME}.tar.xz" if form == "fixed" else file.path
    pull(web, f"{web.http.url}/{path}", machines)
    found, wanted = facts(machines / "it", xattrs=False), as_packed(web.tree, xattrs=False)
    if form == "dated":  # rootfs.tar.xz, which is LXC's
        found = {path: fact for path, fact in found.items() if path not in FOR_LXC}
        wanted = {path: fact for path, fact in wanted.items() if path not in FOR_LXC}
    assert differences(wanted, found) == []


def test_systemd_refuses_a_mirror_that_another_key_signed(web: Web, tmp_path: Path) -> None:
    other = Gpg(tmp_path / "gnupg")
    (tmp_path / "ring.gpg").write_bytes(other.run("--export", other.key))
    other.forget()
    stranger = Web(web.press, other, web.tree, web.http, web.https, web.ca, tmp_path / "ring.gpg")
    told = pull(stranger, f"{web.http.url}/{NAME}.tar.xz", tmp_path / "machines", ok=False)
    assert "ignature" in told
    assert not (tmp_path / "machines/it").exists()


# -- LXC ---------------------------------------------------------------------------------------------


def lxc_env(web: Web, place: Path) -> dict[str, str]:
    (place / "wgetrc").write_text(f"ca_certificate = {web.ca}\n")
    return {
        "WGETRC": str(place / "wgetrc"),
        "LXC_CACHE_PATH": str(place / "cache"),
        "HOME": str(place),
    }


def test_lxc_lists_the_mirror(web: Web, tmp_path: Path) -> None:
    needs("lxc-create", "lxc")
    needs("wget", "wget")
    program = "/usr/share/lxc/templates/lxc-download"
    env = lxc_env(web, tmp_path)
    # LXC before 6.0 lists, and exits with 1: its own script says which it is
    listed_exit = re.search(r'LIST_IMAGES}" = "true" \]; then\n +exit ([01])\n', Path(program).read_text())
    assert listed_exit, "lxc-download lists in another way than it did: look at it"
    listing = run(program, "--list", "--server", web.host, env=env, ok=listed_exit[1] == "0")
    build = web.press.state().listed(NAME)[0].build
    assert any(line.split() == ["debian", "12", "amd64", "default", build] for line in listing.splitlines())


@pytest.mark.parametrize("template", ["download", "local"])
def test_lxc_creates_a_container(web: Web, tmp_path: Path, template: str) -> None:
    needs("lxc-create", "lxc")
    needs("wget", "wget")
    build = web.press.state().listed(NAME)[0]
    words = ["--server", web.host, "--dist", "debian", "--release", "12", "--arch", "amd64"]
    if template == "local":
        folder = web.press.mirror / build.folder
        words = ["--metadata", str(folder / "meta.tar.xz"), "--fstree", str(folder / "rootfs.tar.xz")]
    place = tmp_path / "containers"
    place.mkdir()
    env = lxc_env(web, tmp_path)
    told = run("lxc-create", "-P", place, "-n", "it", "-t", template, "-B", "dir", "--", *words, env=env)
    assert "Debian 12" in told
    rootfs = place / "it/rootfs"
    # what the recipe wants for LXC, filled in by LXC
    assert (rootfs / "etc/hostname").read_text() == "it\n"
    assert "127.0.1.1\tit\n" in (rootfs / "etc/hosts").read_text()
    assert "iface eth0 inet dhcp" in (rootfs / "etc/network/interfaces").read_text()
    config = (place / "it/config").read_text()
    assert "lxc.include = /usr/share/lxc/config/common.conf" in config
    assert "lxc.arch = linux64" in config
    found, wanted = facts(rootfs, xattrs=False, folder_times=False), facts(web.tree, xattrs=False)
    changed = {
        line.split("'")[1]
        for line in differences(
            {path: fact._replace(mtime=None) for path, fact in wanted.items()},
            {path: fact._replace(mtime=None) for path, fact in found.items()},
        )
    }
    # LXC makes these itself, and does not unpack device nodes
    own = {"dev", "dev/null", "dev/disk", "dev/pts", "etc/fstab", "selinux"}
    assert changed <= own | {path.decode() for path in FOR_LXC}, changed


def test_lxc_starts_a_container_of_the_mirror(tmp_path: Path) -> None:
    """A tree that is busybox alone, as a container: its init finds the name that LXC put in."""
    needs("lxc-start", "lxc")
    busybox = Path(needs("busybox", "busybox"))
    tree = tmp_path / "tree"
    for name in ("bin", "sbin", "etc", "proc", "sys", "dev", "tmp", "root", "run", "var"):
        (tree / name).mkdir(parents=True)
    told = subprocess.run(["ldd", str(busybox)], capture_output=True, text=True, check=False).stdout
    for file in [*re.findall(r"(?<=\s)/\S+", told), "/bin/busybox"]:
        target = tree / file.lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(busybox if file == "/bin/busybox" else file, target)
    (tree / "bin/sh").symlink_to("busybox")
    script = "#!/bin/sh\n(busybox hostname; busybox cat /etc/hostname) > /result\n"
    (tree / "sbin/init").write_text(script)
    (tree / "sbin/init").chmod(0o755)
    press = Press(tmp_path / "press", formats=["tar.xz", "lxc"])
    add_template(press.cache, tree)
    press.publish()
    folder = press.mirror / press.state().listed(NAME)[0].folder
    name = f"tmplbuild-test-{os.getpid()}"
    words = ["--metadata", folder / "meta.tar.xz", "--fstree", folder / "rootfs.tar.xz"]
    place = tmp_path / "containers"
    run("lxc-create", "-P", place, "-n", name, "-t", "local", "-B", "dir", "--", *words)
    config = place / name / "config"
    lines = [line for line in config.read_text().splitlines() if not line.startswith("lxc.net.")]
    config.write_text("\n".join([*lines, "lxc.net.0.type = empty", ""]))
    log = tmp_path / "log"
    try:
        run("timeout", "60", "lxc-start", "-F", "-P", place, "-n", name, "-l", "WARN", "-o", log)
    finally:
        _forget(f"lxc.payload.{name}", f"lxc.monitor.{name}", "lxc.pivot")
    assert (place / name / "rootfs/result").read_text() == f"{name}\n{name}\n", log.read_text()


# -- LXD ---------------------------------------------------------------------------------------------


def test_the_lxd_client_lists_and_inspects_the_remote(web: Web, tmp_path: Path) -> None:
    needs("lxc", "lxd-client")
    env = {"HOME": str(tmp_path), "LXD_CONF": str(tmp_path / "conf"), "SSL_CERT_FILE": str(web.ca)}
    (tmp_path / "conf").mkdir()
    run("lxc", "remote", "add", "it", web.https.url, "--protocol", "simplestreams", env=env)
    images = json.loads(run("lxc", "image", "list", "it:", "--format", "json", env=env).splitlines()[-1])
    build = web.press.state().listed(NAME)[0]
    assert {image["fingerprint"] for image in images} == {one.sha256 for one in build.combined}
    (image,) = [one for one in images if "debian/12" in [alias["name"] for alias in one["aliases"] or []]]
    assert image["architecture"] == "x86_64"
    assert image["properties"]["serial"] == build.build
    assert "debian/bookworm/default" in [alias["name"] for alias in image["aliases"]]
    told = run("lxc", "image", "info", "it:debian/12", env=env)
    assert build.build in told
    # the client computes the fingerprint of what it exports, and refuses another one
    run("lxc", "image", "export", "it:debian/12", tmp_path / "got", env=env)
    meta = build.file("incus")
    assert meta is not None
    exported = sorted((tmp_path).glob("got*"))
    assert exported, told
    root = next((build.file(kind) for kind in ("squashfs", "tar.xz") if build.file(kind)), None)
    assert root is not None
    sums = {hashlib.sha256(path.read_bytes()).hexdigest() for path in exported}
    assert meta.sha256 in sums
    assert root.sha256 in sums


# -- vztmpl-dl, gpg ----------------------------------------------------------------------------------


def test_what_vztmpl_dl_does(web: Web, tmp_path: Path) -> None:
    """Its own steps (bin/vztmpl-dl.in): the list, a HEAD, wget -N, gpg --verify."""
    needs("wget", "wget")
    wget = ["wget", "-q", "-P", str(tmp_path)]
    run(*wget, f"{web.http.url}/.listing")
    assert (tmp_path / ".listing").read_text().splitlines() == [NAME]
    run("wget", "-q", "--spider", f"{web.http.url}/{NAME}.tar.gz")
    for _ in range(2):  # the second one finds by Last-Modified that there is nothing new
        run(*wget, "-N", f"{web.http.url}/{NAME}.tar.gz")
    bodies = [one for one in web.http.asked(rf"^/{NAME}\.tar\.gz$") if one.method == "GET"]
    assert bodies
    run(*wget, f"{web.http.url}/{NAME}.tar.gz.asc")
    run("gpgv", "--keyring", web.keyring, tmp_path / f"{NAME}.tar.gz.asc", tmp_path / f"{NAME}.tar.gz")


def test_everything_signed_is_good_and_nothing_is_forgotten(web: Web) -> None:
    root = web.press.mirror
    signed = 0
    for path in sorted(root.rglob("*")):
        if path.suffix in (".asc", ".gpg") and path.is_file() and path.name != "signing-key.asc":
            run("gpgv", "--keyring", web.keyring, path, path.with_suffix(""))
            signed += 1
    assert signed >= 9
    for sums in root.rglob("SHA256SUMS"):
        run("sh", "-c", 'cd "$1" && sha256sum --check --strict --quiet SHA256SUMS', "sh", sums.parent)
    for folder in root.glob("images/*/*/*/*/*"):
        listed = {line.split("  ")[1] for line in (folder / "SHA256SUMS").read_text().splitlines()}
        there = {path.name for path in folder.iterdir()}
        unsigned = {name for name in there - listed if not name.startswith("SHA256SUMS")}
        assert unsigned == {path.name for path in folder.glob("*.tar.gz.asc")}
