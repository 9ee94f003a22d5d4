"""A stand-in for Alpine's archive: its true format, signed by a throw-away RSA key, with a small system that
OpenRC boots. The packages are Debian's binaries; apk is a stand-in too (`tests/apk_files`), or the real
one where TMPLBUILD_APK names it.

    standin = AlpineStandin(tmp_path, cache)
    standin.publish()
    with standin.serve() as server:
        f"alpine={server.url}/alpine"                      # for --mirror
    standin.recipes(folder)                                # a recipe that pins its key
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from tests import apk_real, small_system
from tests.apk_factory import Apk, ApkRepository, RsaKey
from tests.archive_server import ArchiveServer
from tests.rpm_factory import WHEN, File
from tests.small_system import Part, script

ROOT = Path(__file__).resolve().parent.parent
_OPENRC = ("debianutils", "openrc", "sysvinit-core", "ifupdown", "net-tools")
_PYTHON = ("python3",)
_REAL = ("libssl3", "zlib1g")
NOT_TAKEN = (small_system.NOT_TAKEN | {"insserv", "media-types", "mailcap", "lsb-base"}) - {"debianutils"}
EMPTY = (
    "alpine-conf",
    "busybox",
    "busybox-openrc",
    "ca-certificates",
    "curl",
    "doas",
    "less",
    "logrotate",
    "musl-utils",
)
EMPTY += ("openssh",)
_SERVICES = ("bootmisc", "syslog", "crond", "sshd", "killprocs")
_INITTAB = """\
id:3:initdefault:
si::sysinit:/sbin/openrc sysinit
rc::bootwait:/sbin/openrc boot
l0:0:wait:/sbin/openrc shutdown
l1:0:wait:/sbin/halt -dhnp
l3:3:wait:/sbin/openrc default
ca:12345:ctrlaltdel:/sbin/reboot
1:2345:respawn:/sbin/getty 38400 tty1
"""
_OS_RELEASE = b'NAME="Alpine Linux"\nID=alpine\nVERSION_ID=3.22.9\nPRETTY_NAME="Alpine Linux v3.22"\n'
_HOSTNAME = """\
#!/sbin/openrc-run
start() {
    ebegin "Setting the host name"
    hostname -F /etc/hostname
    eend $?
}
"""
_NETWORKING = """\
#!/sbin/openrc-run
start() {
    ebegin "Starting the network"
    ifup -a
    eend 0
}
"""
RECIPE = """\
extends = "alpine/3.22"
[archives.alpine]
keys = ["{key}"]
[bootstrap]
drop.include = ["busybox"]
add.include = ["dash", "coreutils"]
[install]
add.packages = ["tree-like"]
[check]
install = ["extra"]
"""


@dataclass
class AlpineStandin:
    """An archive below `place`/alpine.

    Parameters:
        cache: a package cache for what comes from Debian.
    """

    place: Path
    cache: Path
    _writings: int = 0

    def __post_init__(self) -> None:
        self.key = RsaKey.made(self.place / "secret", "standin")
        self.archive = ApkRepository(self.place / "alpine", self.key)
        names = (*small_system.BASIC, *_OPENRC, *(_REAL if apk_real.APK else _PYTHON))
        self._parts = small_system.debian(self.cache, names, NOT_TAKEN)

    def publish(self, more: Iterable[Apk] = ()) -> None:
        """Write both repositories, or write them anew at a later date, with further packages."""
        self._writings += 1
        parts = [_changed(part) for part in self._parts]
        parts += [
            self._layout(),
            small_system.zones(),
            self._keys(),
            _apk_tools(),
            _base(part.name for part in parts),
        ]
        parts += [Part(name) for name in EMPTY]
        extra = Part("extra", files=(File("/usr/share/extra", b"extra\n"),))
        date = WHEN + self._writings
        self.archive.write("v3.22/main/x86_64", [*map(Apk, parts), *more], date=date)
        self.archive.write("v3.22/community/x86_64", [Apk(extra)], date=date)

    def serve(self) -> ArchiveServer:
        """A server whose address with /alpine is the archive's (a context manager)."""
        return ArchiveServer(self.place)

    def recipes(self, folder: Path) -> Path:
        """Write the recipe alpine-3.22 below `folder`: the shipped one with the stand-in's key."""
        place = folder / "alpine"
        self.key.publish(place / "keys")
        (place / "3.22.toml").write_text(RECIPE.format(key=self.key.fingerprint))
        return folder

    def _keys(self) -> Part:
        return Part("alpine-keys", files=(File(f"/etc/apk/keys/{self.key.name}", self.key.public),))

    def _layout(self) -> Part:
        files = (
            *small_system.accounts(),
            File("/etc/inittab", _INITTAB.encode()),
            File("/etc/os-release", _OS_RELEASE),
            File("/etc/alpine-release", b"3.22.9\n"),
            File("/etc/fstab", b""),
            File("/etc/network/interfaces", b"auto lo\niface lo inet loopback\n"),
        )
        return small_system.layout("alpine-baselayout", more=files)


def _changed(part: Part) -> Part:
    if part.name == "openrc":
        files = [file for file in part.files if not file.path.startswith("/etc/")]
        files.append(File("/etc/rc.conf", b'#rc_sys=""\nrc_logger="NO"\n'))
        files.append(File("/etc/insserv.conf"))
        files += [script(f"/etc/init.d/{name}", "#!/sbin/openrc-run\nstart() { :; }\n") for name in _SERVICES]
        files.append(script("/etc/init.d/networking", _NETWORKING))
        files.append(script("/etc/init.d/hostname", _HOSTNAME))
        folders = [File(f"/etc/runlevels/{name}", mode=0o040755) for name in _LEVELS]
        return replace(part, files=(*files, *folders))
    if part.name == "sysvinit-core":
        return replace(part, files=tuple(file for file in part.files if not file.path.startswith("/etc/")))
    if part.name == "ifupdown":
        folders = [File(f"/etc/network/if-{when}.d", mode=0o040755) for when in _HOOKS]
        return replace(part, provides=("ifupdown-ng=1.0",), files=(*part.files, *folders))
    return part


_HOOKS = ("pre-up", "up", "down", "post-down")
_LEVELS = ("boot", "default", "nonetwork", "shutdown", "sysinit")


def _base(names: Iterable[str]) -> Part:
    wanted = {"alpine-baselayout", "apk-tools", "alpine-keys", "sysvinit-core", "openrc"}
    left = ("python3", "libpython", "libssl3", "zlib1g")
    return Part(
        "alpine-base", needs=(*sorted(wanted), *(name for name in names if not name.startswith(left)))
    )


def _apk_tools() -> Part:
    if apk_real.APK:
        return _real_apk_tools()
    here = Path(__file__).with_name("apk_files")
    package = ROOT / "tmplbuild"
    taken = ["errors.py", "events.py"]
    taken += [f"archives/apk/{name}.py" for name in ("depends", "index", "solver", "version")]
    library = "/usr/lib/apk-standin/tmplbuild"
    files = [File(f"{library}/{name}", (package / name).read_bytes()) for name in taken]
    files += [File(f"{library}/{folder}__init__.py", b"") for folder in ("", "archives/", "archives/apk/")]
    files.append(File(f"{library}/archives/rsa.py", (here / "rsa.py").read_bytes()))
    files.append(script("/usr/sbin/apk", (here / "apk").read_text()))
    return Part("apk-tools", version="2.14.9", needs=("python3", "dash"), files=tuple(files))


def _real_apk_tools() -> Part:
    program = Path(apk_real.APK).resolve()
    said = subprocess.run(["ldd", program], capture_output=True, text=True, check=True).stdout
    found = re.search(r"libapk\S+ => (\S+)", said)
    files = [File("/usr/sbin/apk", program.read_bytes(), 0o100755)]
    if found:
        library = Path(found[1])
        files.append(File(f"/usr/lib/{library.name}", library.read_bytes(), 0o100755))
    return Part(
        "apk-tools", version="2.14.9", needs=("libssl3", "zlib1g", "libc6", "dash"), files=tuple(files)
    )
