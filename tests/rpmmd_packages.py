"""The packages of a stand-in for a distribution of rpm-md: Debian's binaries, dnf or zypper among them, under
its names.

Names that stand for nothing here are EMPTY: a recipe asks for them, and no test needs what they hold.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from tests import alt_packages
from tests.alt_debs import Deb, as_rpm, merge
from tests.rpm_factory import File, Rpm
from tmplbuild.archives.aptrpm.rpmfile import CONFIG

DNF = (*alt_packages.DEBIAN, "dnf", "gpg", "gpg-agent")
ZYPPER = (*alt_packages.DEBIAN, "zypper", "gpg", "gpg-agent")
NOT_TAKEN = alt_packages.NOT_TAKEN - {
    *("libarchive13", "libstdc++6", "libxml2", "libicu72", "gcc-12-base"),
    *("librpmbuild9", "librpmsign9", "libmagic1", "libmagic-mgc", "libgomp1", "libdw1", "libfsverity0"),
}
EMPTY = (
    *("bash-completion", "curl", "glibc-minimal-langpack", "iputils", "less", "logrotate", "NetworkManager"),
    *("openssh-clients", "openssh-server", "rootfiles", "rsync", "sudo", "vim-minimal", "which"),
)
EMPTY_SUSE = (
    *(
        "aaa_base",
        "bash-completion",
        "ca-certificates-mozilla",
        "curl",
        "glibc-locale-base",
        "iputils",
        "less",
    ),
    *("logrotate", "NetworkManager", "openssh-clients", "openssh-server", "permissions", "rsync", "sudo"),
    *("diffutils", "util-linux-systemd", "vim-small", "which"),
)
EMPTY_MAGEIA = (
    *("bash-completion", "curl", "iputils", "less", "locales", "locales-en", "logrotate", "networkmanager"),
    *("openssh-clients", "openssh-server", "rootfiles", "rsync", "sudo", "vim-minimal", "which"),
)
_PROVIDES = {
    "mawk": ("gawk", "awk"),
    "passwd": ("shadow-utils", "shadow"),
    "libc6": ("glibc",),
    "xz-utils": ("xz",),
    "bash": ("/bin/bash",),
    "dash": ("/bin/sh",),
    "iproute2": ("iproute",),
    "procps": ("procps-ng",),
}
_BASE = (
    "bash",
    "coreutils",
    "filesystem",
    "setup",
    "systemd-sysv",
    "system-release",
    "dash",
    "tar",
    "libc-bin",
)


def packages(debs: Iterable[Deb], dist: str, own: Iterable[Rpm], empty: Iterable[str] = EMPTY) -> list[Rpm]:
    """All packages of a stand-in.

    Parameters:
        dist: the release of each package ("1.el9").
        own: packages that only this distribution has.
        empty: names of packages that hold nothing.
    """
    made = [_of_debian(one, dist) for one in debs]
    made += [_ours(rpm) for rpm in (alt_packages._setup("p11"), alt_packages._filesystem("p11"), *own)]
    made.append(Rpm("basesystem", arch="noarch", requires=_BASE))
    zone = File("/usr/share/zoneinfo/UTC", alt_packages._UTC)
    made.append(_ours(Rpm("tzdata", arch="noarch", provides=("timezone",), files=(zone,))))
    made += [Rpm(name, arch="noarch") for name in empty]
    return [replace(_with_shell(rpm), release=dist) for rpm in made]


def release(name: str, lines: str, files: Iterable[File], provides: Iterable[str] = ()) -> Rpm:
    """The package that says what the system is; `lines` are those of os-release."""
    words = dict(line.split("=", 1) for line in lines.splitlines())
    version = words["VERSION_ID"].strip('"')
    return Rpm(
        name,
        version=version,
        arch="noarch",
        provides=(f"system-release = {version}", f"system-release(releasever) = {version}", *provides),
        files=(File("/etc/os-release", lines.encode()), *files),
    )


def repo(path: str, section: str) -> File:
    """The list of archives that a distribution's package brings."""
    text = f"[{section}]\nname={section}\nbaseurl=https://mirrors.invalid/{section}\nenabled=1\n"
    return File(path, text.encode(), flags=CONFIG)


def _of_debian(one: Deb, dist: str) -> Rpm:
    more = {
        "mawk": (_link("/usr/bin/awk", "mawk"),),
        "dash": (_link("/bin/sh", "dash"),),
        # Debian's rpm would have its database in HOME
        "rpm": (
            File("/etc/rpm/macros", b"%_dbpath /var/lib/rpm\n", flags=CONFIG),
            File("/var/lib/rpm", mode=0o040755),
        ),
    }
    return as_rpm(
        one,
        merged=True,
        release=dist,
        provides=_PROVIDES.get(one.name, ()),
        more=more.get(one.name, ()),
        scripts={"post": "/sbin/ldconfig -X\n"} if one.name == "libc6" else None,
        requires=("libc-bin",) if one.name == "libc6" else (),
    )


def _with_shell(rpm: Rpm) -> Rpm:
    return rpm if not rpm.scripts else replace(rpm, requires=(*rpm.requires, "/bin/sh"))


def _ours(rpm: Rpm) -> Rpm:
    """A package in this stand-in's form; its own conditions on what ALT would have done before go."""
    return replace(rpm, scripts={}, files=tuple(merge(file, True) for file in rpm.files))


def _link(path: str, target: str) -> File:
    return File(path, target.encode(), mode=0o120777)
