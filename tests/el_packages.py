"""The packages of a stand-in for an Enterprise Linux: Debian's binaries, dnf among them, under its names.

Names that stand for nothing here are EMPTY: a recipe asks for them, and no test needs what they hold.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from tests import alt_packages
from tests.alt_debs import Deb, as_rpm, merge
from tests.rpm_factory import File, Rpm
from tmplbuild.archives.aptrpm.rpmfile import CONFIG

RELEASE = "1.el9"
DEBIAN = (*alt_packages.DEBIAN, "dnf", "gpg", "gpg-agent")
NOT_TAKEN = alt_packages.NOT_TAKEN - {
    *("libarchive13", "libstdc++6", "libxml2", "libicu72", "gcc-12-base"),
    *("librpmbuild9", "librpmsign9", "libmagic1", "libmagic-mgc", "libgomp1", "libdw1", "libfsverity0"),
}
EMPTY = (
    *("bash-completion", "curl", "glibc-minimal-langpack", "iputils", "less", "logrotate", "NetworkManager"),
    *("openssh-clients", "openssh-server", "rootfiles", "rsync", "sudo", "vim-minimal", "which"),
)
_PROVIDES = {
    "mawk": ("gawk", "awk"),
    "passwd": ("shadow-utils",),
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
    "almalinux-release",
    "dash",
    "tar",
    "libc-bin",
)


def packages(debs: Iterable[Deb]) -> list[Rpm]:
    """All packages of the stand-in, of both repositories."""
    made = [_of_debian(one) for one in debs]
    made += [_ours(rpm) for rpm in (alt_packages._setup("p11"), alt_packages._filesystem("p11"), _release())]
    made.append(Rpm("basesystem", release=RELEASE, arch="noarch", requires=_BASE))
    made.append(
        _ours(Rpm("tzdata", arch="noarch", files=(File("/usr/share/zoneinfo/UTC", alt_packages._UTC),)))
    )
    made += [Rpm(name, release=RELEASE, arch="noarch") for name in EMPTY]
    return [rpm if not rpm.scripts else replace(rpm, requires=(*rpm.requires, "/bin/sh")) for rpm in made]


def _of_debian(one: Deb) -> Rpm:
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
        release=RELEASE,
        provides=_PROVIDES.get(one.name, ()),
        more=more.get(one.name, ()),
        scripts={"post": "/sbin/ldconfig -X\n"} if one.name == "libc6" else None,
        requires=("libc-bin",) if one.name == "libc6" else (),
    )


def _ours(rpm: Rpm) -> Rpm:
    """A package in this stand-in's form; its own conditions on what ALT would have done before go."""
    return replace(rpm, release=RELEASE, scripts={}, files=tuple(merge(file, True) for file in rpm.files))


def _release() -> Rpm:
    lines = (
        'NAME="AlmaLinux"\nVERSION="9.9"\nID="almalinux"\nID_LIKE="rhel centos fedora"\nVERSION_ID="9.9"\n'
    )
    lines += 'PRETTY_NAME="AlmaLinux 9.9 (a stand-in)"\n'
    own = "[baseos]\nname=Base\nmirrorlist=https://mirrors.almalinux.org/mirrorlist/9/baseos\nenabled=1\n"
    return Rpm(
        "almalinux-release",
        version="9.9",
        arch="noarch",
        provides=("system-release = 9.9", "system-release(releasever) = 9"),
        files=(
            File("/etc/os-release", lines.encode()),
            File("/etc/redhat-release", b"AlmaLinux release 9.9 (a stand-in)\n"),
            File("/etc/yum.repos.d/almalinux.repo", own.encode(), flags=CONFIG),
        ),
    )


def _link(path: str, target: str) -> File:
    return File(path, target.encode(), mode=0o120777)
