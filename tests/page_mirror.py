"""A mirror as a year of nights leaves it: distributions, architectures, a stale template, a failing one, one
whose packages have hostile names, changes with CVEs and diffs. For the tests of its pages.

    python -m tests.page_mirror DIR       makes one to be looked at
"""

from __future__ import annotations

import http.server
import json
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from tests.publishing import NAME, Gpg, Press, add_template
from tmplbuild.artifact.manifest import Manifest, PackageRef
from tmplbuild.changes.comparison import Change, Comparison, FileChange, PackageChange, Side
from tmplbuild.changes.history import GOOD, Build, History

DAY = 86400
HOSTILE = "<script>document.title='owned'</script>"
"""What a package of the hostile template is called."""
FAILING = "debian-13-x86_64"
STALE = "altlinux-p10-x86_64"
FOREIGN = "kali-2026.3-x86_64"

_ARCHES = {"x86_64": "amd64", "aarch64": "arm64", "x86": "i386"}
_TEMPLATES = {
    "debian-11-x86_64": "debian-11",
    NAME: "debian-12",
    "debian-12-aarch64": "debian-12",
    "debian-12-x86": "debian-12",
    "debian-12-wsl-x86_64": "debian-12",
    FAILING: "debian-13",
    "ubuntu-22.04-x86_64": "ubuntu-22.04",
    "ubuntu-24.04-x86_64": "ubuntu-24.04",
    "altlinux-p11-x86_64": "altlinux-p11",
    FOREIGN: "kali-2026.3",
}
_WORDS = """
adduser apt base-files base-passwd bash bsdutils ca-certificates coreutils cron curl dash debconf
dbus diffutils dpkg e2fsprogs findutils gpgv grep gzip hostname ifupdown init iproute2 iputils-ping
libacl1 libapparmor1 libapt-pkg6.0 libattr1 libaudit1 libblkid1 libbz2-1.0 libc-bin libc6 libcap2
libcom-err2 libcrypt1 libcurl4 libdb5.3 libdebconfclient0 libext2fs2 libffi8 libgcc-s1 libgcrypt20
libgmp10 libgnutls30 libgpg-error0 libhogweed6 libidn2-0 libkmod2 liblz4-1 liblzma5 libmount1
libncursesw6 libnettle8 libp11-kit0 libpam-modules libpam0g libpcre2-8-0 libseccomp2 libselinux1
libssl3 libstdc++6 libsystemd0 libtinfo6 libudev1 libunistring2 libuuid1 libxxhash0 libzstd1 locales
login logrotate mount nano ncurses-base net-tools netbase openssh-client openssh-server openssl
passwd perl-base procps rsync sed sudo systemd systemd-sysv sysvinit-utils tar tmux tzdata util-
linux vim-tiny wget xz-utils zlib1g zstd
"""


def packages(build: int, *, hostile: bool = False) -> tuple[PackageRef, ...]:
    """The packages of a build: some move from one to the next."""
    found = [
        PackageRef(
            name,
            f"{1 + len(name) % 7}.{at % 13}.{build if at % 19 == 3 else 2}-1+deb12u{1 + at % 3}",
            "amd64",
        )
        for at, name in enumerate(_WORDS.split())
    ]
    if hostile:
        found.append(PackageRef(HOSTILE, '"><img src=x onerror=alert(1)>\u202e', "&amp;", "</td></table>"))
    return tuple(found)


def make(place: Path, gpg: Gpg | None, *, now: int | None = None, **conf: object) -> Press:
    """Publish it below `place`, in three nights; the last one an hour before `now` (seconds)."""
    now = int(time.time()) - 3600 if now is None else now
    press = Press(place, gpg, **{"title": "Example templates", "keep_days": 365, **conf})
    tree = place / "tree"
    (tree / "etc").mkdir(parents=True)
    (tree / "bin").mkdir()
    (tree / "bin/busy").write_bytes(bytes(range(256)) * 2000)
    _add(press, tree, STALE, "altlinux-p10", now - 45 * DAY, 0)
    press.publish(now=now - 44 * DAY)
    (press.cache / f"{STALE}.tar.gz").unlink()
    for build, age in enumerate((21, 7, 0)):
        when = now - age * DAY
        for name, recipe in _TEMPLATES.items():
            manifest = _add(press, tree, name, recipe, when - DAY // 2, build)
            if name == NAME and build:
                _remember(press, manifest, when)
        press.publish(now=when)
    _fail(press, now)
    press.publish(now=now)
    return press


def _add(press: Press, tree: Path, name: str, recipe: str, epoch: int, build: int) -> Manifest:
    (tree / "etc/motd").write_text(f"{name} {build}\n")
    arch = _ARCHES[name.rpartition("-")[2]]
    found = packages(build, hostile=name == FOREIGN)
    return add_template(press.cache, tree, name, recipe=recipe, epoch=epoch, arch=arch, packages=found)


def _remember(press: Press, manifest: Manifest, when: int) -> None:
    """What the machine that built it found to have changed."""
    history = History(press.settings.state_dir)
    current = press.state().listed(NAME)[0]
    diff = "--- a/etc/ssh/sshd_config\n+++ b/etc/ssh/sshd_config\n@@ -1,3 +1,3 @@\n"
    diff += " Include /etc/ssh/sshd_config.d/*.conf\n-#LoginGraceTime 2m\n+LoginGraceTime 1m\n UsePAM yes\n"
    changes = Comparison(
        Side(NAME, current.build, current.artifact, 9_000_000, 300_000_000),
        Side(NAME, "", manifest.artifact.sha256, 9_000_000, 300_100_000),
        breaking=("sshd waits one minute for a login, not two",),
        packages=(
            PackageChange("libssl3", "upgraded", "3.0.15-1", "3.0.17-1~deb12u2", "amd64", "openssl", 10, 20,
                          True, ("CVE-2026-1234", "CVE-2026-1299"), "high"),
            PackageChange("tzdata", "upgraded", "2026a-0+deb12u1", "2026b-0+deb12u1", "all", "tzdata"),
            PackageChange("libxxhash0", "added", "", "0.8.1-1", "amd64", "xxhash"),
        ),
        files=(FileChange("/etc/ssh/sshd_config", "changed", ("content",), "", diff),
               FileChange("/etc/shadow", "changed", ("mode",), "0640 -> 0600", "", True)),
        others=(Change("service", "ssh.socket", "", "enabled"),),
    )  # fmt: skip
    key = history.new_id(NAME, when, manifest.artifact.sha256)
    one = Build(
        key, NAME, "debian-12", GOOD, when, 21.0, sha256=manifest.artifact.sha256, size=9, packages=100
    )
    history.stage(one, changes=changes)
    history.reveal(NAME, key)


def _fail(press: Press, now: int) -> None:
    records = press.settings.state_dir / "records"
    records.mkdir(exist_ok=True)
    record = {
        "stage": "upgrade",
        "time": now,
        "since": now - 2 * DAY,
        "times": 3,
        "error": "mirror.internal: secret",
    }
    (records / f"{FAILING}.failed.json").write_text(json.dumps(record))


class _Handler(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextmanager
def web(root: Path) -> Iterator[str]:
    """A plain web server of a directory; its address."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(_Handler, directory=str(root)))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


if __name__ == "__main__":
    at = Path(sys.argv[1])
    at.mkdir(parents=True)
    keys = Gpg(at / "gnupg")
    made = make(at / "press", keys, url=None)
    keys.forget()
    sys.stdout.write(f"{made.mirror}\n")
