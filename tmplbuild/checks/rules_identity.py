"""Rules: what makes one machine that machine must be made anew in every container."""

from __future__ import annotations

import re

from tmplbuild.checks.rule import Faults, rule
from tmplbuild.checks.subject import Subject

HOST_KEYS = ("/etc/ssh/ssh_host_*", "/etc/openssh/ssh_host_*", "/etc/dropbear/*_host_key")
SEEDS = (
    "/var/lib/systemd/random-seed", "/var/lib/urandom/random-seed", "/var/lib/random-seed",
    "/var/lib/random/random-seed", "/var/lib/misc/random-seed", "/var/run/random-seed", "/etc/random-seed",
    "/var/lib/seedrng/seed.*", "/var/lib/systemd/credential.secret", "/boot/efi/loader/random-seed",
)  # fmt: skip
KEY_PLACES = ("/etc", "/root", "/home", "/var/lib", "/usr/local")
KEY_MARK = re.compile(rb"^-----BEGIN [A-Z0-9 ]*PRIVATE KEY-----|^-----BEGIN PGP PRIVATE KEY", re.MULTILINE)
KEY_FILES = ("/etc/pacman.d/gnupg/private-keys-v1.d/*", "/etc/pacman.d/gnupg/secring.gpg", "/etc/rndc.key",
             "/etc/bind/rndc.key", "/root/.gnupg/private-keys-v1.d/*")  # fmt: skip
NEUTRAL_HOSTNAMES = frozenset(
    {"", "localhost", "localhost.localdomain", "(none)", "LXC_NAME", "localhost-live"}
)
HOSTNAME_FILES = ("/etc/hostname", "/etc/HOSTNAME", "/etc/mailname", "/etc/nodename")
HOSTNAME_SETTINGS = ("/etc/sysconfig/network", "/etc/conf.d/hostname", "/etc/rc.conf", "/etc/machine-info")
LEASES = (
    "/var/lib/dhcp*/*.lease*", "/var/lib/dhclient/*", "/var/lib/dhcpcd/*", "/var/db/dhcpcd/*",
    "/var/lib/NetworkManager/*.lease", "/var/lib/NetworkManager/secret_key", "/var/lib/systemd/network/*",
    "/var/lib/wicked/*.xml", "/var/lib/dhcpcd/duid",
)  # fmt: skip
UNITS_AND_SCRIPTS = (
    "/etc/systemd/system", "/lib/systemd/system", "/usr/lib/systemd/system", "/etc/init.d", "/etc/rc.d",
    "/usr/libexec/openssh", "/etc/rc.local", "/etc/init",
)  # fmt: skip


@rule(
    "machine-id-set",
    "No machine id in the tree",
    why="Containers with one id are one machine to journals, DHCP servers and licences.",
    fix="Empty /etc/machine-id (mode 0444) and remove /var/lib/dbus/machine-id unless it is a link.",
)
def machine_id_set(subject: Subject) -> Faults:
    for path in ("/etc/machine-id", "/var/lib/dbus/machine-id"):
        entry = subject.view.lstat(path)
        if entry and entry.kind == "file":
            text = subject.view.read(path, 64).strip()
            if text not in (b"", b"uninitialized"):
                yield path, f"it holds the id {text[:8].decode('ascii', 'replace')}..."


@rule(
    "machine-id-first-boot",
    "/etc/machine-id is there, and empty",
    why='Missing or "uninitialized" means first boot to systemd: presets are applied anew (they enable '
    "services that the template has off) and questions may be asked on the console (machine-id(5)).",
    fix="Make an empty /etc/machine-id: a new id at start, no first boot.",
    severity="warning",
    families=("systemd",),
)
def machine_id_first_boot(subject: Subject) -> Faults:
    if not subject.view.exists("/etc/machine-id"):
        yield "/etc/machine-id", "the file is missing"
    elif subject.view.read("/etc/machine-id", 64).strip() == b"uninitialized":
        yield "/etc/machine-id", 'it says "uninitialized"'


@rule(
    "ssh-host-keys",
    "No ssh host keys in the tree",
    why="Whoever has the template has the keys, and can pose as any container made from it.",
    fix="Remove /etc/ssh/ssh_host_*, and make keys at first start (see ssh-keys-not-made).",
)
def ssh_host_keys(subject: Subject) -> Faults:
    for entry in subject.view.glob(*HOST_KEYS):
        yield entry.path, "a host key that all containers would share"


@rule(
    "ssh-keys-not-made",
    "Something makes ssh host keys at start",
    why="Without host keys sshd does not start, and not every manager makes them.",
    fix="Add a unit with ConditionPathExists=!/etc/ssh/ssh_host_ed25519_key that runs ssh-keygen -A before "
    "ssh.",
    severity="warning",
)
def ssh_keys_not_made(subject: Subject) -> Faults:
    if not subject.view.is_file("/usr/sbin/sshd") or subject.view.glob(*HOST_KEYS):
        return
    for entry, content in subject.text_files(*UNITS_AND_SCRIPTS):
        # Debian's init script only says in a comment how a person would do it.
        if any(b"ssh-keygen" in line for line in content.splitlines() if not line.lstrip().startswith(b"#")):
            return
        if entry.name.startswith("sshd-keygen"):
            return
    yield "/usr/sbin/sshd", "neither a host key nor anything that makes one"


@rule(
    "random-seed",
    "No random seed and no credential secret in the tree",
    why="A seed or secret that all containers share is none.",
    fix="Remove the file; it is made anew at shutdown or when needed.",
)
def random_seed(subject: Subject) -> Faults:
    for entry in subject.view.glob(*SEEDS):
        if entry.kind == "file":
            yield entry.path, "a seed or secret that all containers would share"


@rule(
    "private-key",
    "No private keys in the tree",
    why="What is in a template is published with it.",
    fix="Remove the key (ssl-cert-snakeoil.key, pacman's gnupg directory, ...) and make it at first start.",
)
def private_key(subject: Subject) -> Faults:
    for entry in subject.view.glob(*KEY_FILES):
        if entry.kind == "file":
            yield entry.path, "a private key"
    host_keys = {entry.path for entry in subject.view.glob(*HOST_KEYS)}
    for entry, content in subject.text_files(*KEY_PLACES):
        if entry.path not in host_keys and KEY_MARK.search(content):
            yield entry.path, "a private key"


@rule(
    "hostname-set",
    "No host name is set",
    why="Managers set it; the build machine's own would show up where they do not.",
    fix="Empty /etc/hostname (keep the file: some scripts write it only if it is there), remove "
    "/etc/mailname.",
)
def hostname_set(subject: Subject) -> Faults:
    for path in HOSTNAME_FILES:
        lines = [line.strip() for line in subject.view.lines(path)]
        names = [line for line in lines if line and not line.startswith("#")]
        if names and names[0] not in NEUTRAL_HOSTNAMES:
            yield path, f"the name {names[0][:64]} is set"
    for path in HOSTNAME_SETTINGS:
        for line in subject.view.lines(path):
            match = re.match(r"\s*(?:PRETTY_)?HOSTNAME=[\"']?([^\"'\s]*)", line, re.IGNORECASE)
            if match and match[1] not in NEUTRAL_HOSTNAMES:
                yield path, f"the name {match[1][:64]} is set"


@rule(
    "lease-left",
    "No DHCP leases and no network client's identity",
    why="A client that remembers the build machine's lease asks for its address.",
    fix="Remove the leases and DUIDs.",
    severity="warning",
)
def lease_left(subject: Subject) -> Faults:
    for entry in subject.view.glob(*LEASES):
        if entry.kind == "file" and entry.size:
            yield entry.path, "a lease or client identity"
