"""The facts of trees of several kinds, ours and not, out of a tarball as out of a directory."""

from __future__ import annotations

import dataclasses
import struct
from pathlib import Path

import pytest

from tests.unit.checks_trees import (
    PROGRAM,
    SYSTEMD_UNITS,
    Node,
    Tree,
    alt,
    debian,
    file,
    folder,
    link,
    merged,
    sysvinit,
    view_of,
)
from tmplbuild.artifact.typed import plain
from tmplbuild.changes.facts import Facts, Group, Privileged, Service, User, read_facts, write_facts
from tmplbuild.changes.gather import TEXT_MOST, gather
from tmplbuild.checks.subject import Subject

CAPABILITY = bytes.fromhex("0100000200200000000000000000000000000000")


def facts(nodes: Tree, tmp_path: Path) -> Facts:
    with view_of(nodes, tmp_path) as view:
        return gather(Subject(view))


def elf(machine: int, bits: int = 64, order: str = "<") -> Node:
    head = b"\x7fELF" + bytes([bits // 32, 1 if order == "<" else 2]) + bytes(10)
    return file(head + struct.pack(order + "HH", 2, machine), 0o755)


def test_debian(tmp_path: Path) -> None:
    found = facts(debian({"/usr/bin/dash": elf(62), "/usr/bin/sh": link("dash")}), tmp_path)
    assert (found.family, found.traits.distribution) == ("dpkg", "debian")
    (package,) = found.packages
    assert (package.name, package.version, package.priority) == ("demo", "1.0-1", "essential")
    assert package.size > 20
    assert found.size > package.size
    assert (found.traits.init, found.traits.network, found.traits.usr) == ("systemd", "ifupdown", "merged")
    assert (found.traits.shell, found.traits.arch) == ("dash", "x86_64")
    assert Service("systemd-udevd.service", "masked") in found.services
    assert User("root", 0, 0, "/root", "/bin/bash", "locked") in found.users
    assert found.groups == (Group("root", 0), Group("shadow", 42), Group("utmp", 43))
    assert found.privileged == (Privileged("/usr/bin/su", 0o4755, 0, 0),)


def test_sysvinit_and_alt(tmp_path: Path) -> None:
    found = facts(alt({"/etc/net/ifaces": folder(), "/etc/init.d/cron": PROGRAM}), tmp_path)
    assert (found.family, found.packages) == ("rpm", ())  # its database is none
    assert (found.traits.init, found.traits.network) == ("sysvinit", "etcnet")
    assert found.services == (Service("cron", "disabled"), Service("ssh", "enabled"))
    assert facts(sysvinit(), tmp_path).family == ""


@pytest.mark.parametrize(
    ("changes", "network"),
    [
        ({"/usr/sbin/netplan": PROGRAM}, "netplan"),
        ({f"{SYSTEMD_UNITS}/a.target.wants/systemd-networkd.service": link("../x")}, "networkd"),
        ({f"{SYSTEMD_UNITS}/a.target.wants/NetworkManager.service": link("../x")}, "NetworkManager"),
        (
            {
                f"{SYSTEMD_UNITS}/a.target.wants/network.service": link("../x"),
                "/etc/sysconfig/network-scripts": folder(),
            },
            "ifcfg",
        ),
        ({}, ""),
    ],
)
def test_networks(changes: Tree, network: str, tmp_path: Path) -> None:
    found = facts(debian({"/usr/sbin/ifup": None, **changes}), tmp_path)
    assert found.traits.network == network


@pytest.mark.parametrize(
    ("changes", "init"),
    [
        ({"/usr/sbin/init": link("openrc-init")}, "openrc"),
        ({"/usr/sbin/init": link("/bin/busybox"), "/usr/bin/busybox": PROGRAM}, "busybox"),
        (
            {"/usr/sbin/init": PROGRAM, "/usr/sbin/openrc": PROGRAM, "/etc/runlevels/default/x": PROGRAM},
            "openrc",
        ),
        (
            {"/usr/sbin/init": PROGRAM, "/etc/inittab": None, "/etc/init/x.conf": file("start on x")},
            "upstart",
        ),
        ({"/usr/sbin/init": None}, ""),
    ],
)
def test_inits(changes: Tree, init: str, tmp_path: Path) -> None:
    nodes = sysvinit({"/usr/sbin/openrc-init": PROGRAM, **changes})
    assert facts(nodes, tmp_path).traits.init == init


@pytest.mark.parametrize(
    ("machine", "bits", "order", "arch"),
    [
        (62, 64, "<", "x86_64"),
        (3, 32, "<", "x86"),
        (183, 64, "<", "aarch64"),
        (22, 64, ">", "s390x"),
        (243, 64, "<", "riscv64"),
        (9999, 64, "<", "machine 9999"),
    ],
)
def test_architectures_are_told_by_a_program(
    machine: int, bits: int, order: str, arch: str, tmp_path: Path
) -> None:
    assert facts(debian({"/usr/bin/sh": elf(machine, bits, order)}), tmp_path).traits.arch == arch


SSHD = {
    "/usr/sbin/sshd": PROGRAM,
    f"{SYSTEMD_UNITS}/multi-user.target.wants/ssh.service": link("../ssh.service"),
}


def test_ssh(tmp_path: Path) -> None:
    config = """
Include /etc/ssh/sshd_config.d/*.conf
PermitRootLogin=yes
permitrootlogin no
Match User x
PasswordAuthentication yes
"""
    changes = {
        **SSHD,
        "/etc/ssh/sshd_config": file(config),
        "/etc/ssh/sshd_config.d/10.conf": file('PasswordAuthentication "no" # so\n#PermitRootLogin no\n'),
        "/etc/ssh/ssh_host_rsa_key": file("x", 0o600),
    }
    found = facts(debian(changes), tmp_path).traits
    assert (found.ssh, found.ssh_root, found.ssh_passwords) == ("openssh, started", "yes", "no")
    assert found.ssh_keys == "in the template"


def test_ssh_that_includes_itself_and_one_that_is_not_started(tmp_path: Path) -> None:
    changes = {
        "/usr/sbin/sshd": PROGRAM,
        "/etc/openssh/sshd_config": file("Include sshd_config\nInclude sshd_config\nPermitRootLogin no\n"),
    }
    found = facts(debian(changes), tmp_path).traits
    assert (found.ssh, found.ssh_root, found.ssh_keys) == ("openssh, not started", "no", "none")
    assert facts(debian(), tmp_path).traits.ssh == ""


def test_secrets_are_never_kept(tmp_path: Path) -> None:
    secret = "s3cr3t"
    changes = {
        "/etc/app.conf": file(secret, 0o640),
        "/etc/ssl/private/x": file(secret),
        "/etc/app/server.key": file(secret),
        "/etc/app/open.pem": file(secret),
        "/etc/app/sealed": file(f"-----BEGIN PRIVATE KEY-----\n{secret}"),
        "/etc/shadow": file(f"root:$6${secret}:1::::::\nnobody::1::::::\n", 0o640),
        "/etc/plain": file("not one"),
    }
    found = facts(debian(changes), tmp_path)
    assert secret not in str(plain(found))
    by_path = {one.path: one for one in found.files}
    assert by_path["/etc/plain"].text == "not one"
    assert by_path["/etc/app.conf"].secret
    assert by_path["/etc/app.conf"].digest != by_path["/etc/plain"].digest
    assert {one.name: one.login for one in found.users} == {"root": "password", "nobody": "empty"}


def test_what_is_kept_of_files_is_bounded(tmp_path: Path) -> None:
    changes = {
        "/etc/long": file("x" * (TEXT_MOST + 1)),
        "/etc/binary": file(b"a\0b"),
        "/etc/latin": file("é".encode("latin-1")),
        "/etc/ld.so.cache": file("x"),
    }
    by_path = {one.path: one for one in facts(debian(changes), tmp_path).files}
    assert [by_path[f"/etc/{name}"].text for name in ("long", "binary", "latin")] == [None, None, "é"]
    assert "/etc/ld.so.cache" not in by_path


def test_capabilities(tmp_path: Path) -> None:
    ping = file("x", 0o755, xattrs={"security.capability": CAPABILITY})
    found = facts(debian({"/usr/bin/ping": ping}), tmp_path)
    assert Privileged("/usr/bin/ping", 0o755, 0, 0, CAPABILITY.hex()) in found.privileged


def test_automatic_packages(tmp_path: Path) -> None:
    states = "Package: demo\nArchitecture: amd64\nAuto-Installed: 1\n\nPackage: x\nAuto-Installed: 0\n"
    found = facts(debian({"/var/lib/apt/extended_states": file(states)}), tmp_path)
    assert [one.auto for one in found.packages] == [True]


def test_a_damaged_database_has_no_packages(tmp_path: Path) -> None:
    assert facts(debian({"/var/lib/dpkg/status": file("nonsense\n")}), tmp_path).packages == ()


def test_facts_of_odd_names_are_read_back(tmp_path: Path) -> None:
    odd = b"/etc/\xff\xe9".decode("utf-8", "surrogateescape")
    found = facts(merged(debian(), {odd: file("x"), "/etc/passwd": file(b"\xe9:x:0:0::/:/\n")}), tmp_path)
    write_facts(tmp_path / "facts", found)
    assert read_facts(tmp_path / "facts") == found
    assert odd in {one.path for one in found.files}
    assert found != dataclasses.replace(found, size=0)
