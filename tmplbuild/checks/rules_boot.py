"""Rules: what belongs to the host's side of a boot, and what the container's side cannot do without."""

from __future__ import annotations

import re

from tmplbuild.checks.rule import Faults, rule
from tmplbuild.checks.subject import Subject

KERNELS = (
    "/boot/vmlinu[xz]*",
    "/boot/bzImage*",
    "/boot/Image*",
    "/boot/kernel*",
    "/vmlinu[xz]*",
    "/lib/modules/*/vmlinu[xz]*",
    "/boot/initr*",
    "/initrd*",
)
KERNEL_PACKAGES = re.compile(r"(linux-image|linux-modules|linux-headers|kernel-image|firmware-linux)-")
BOOT_LOADERS = (
    "/boot/grub*/**",
    "/boot/efi/**",
    "/boot/loader/**",
    "/boot/syslinux/**",
    "/boot/extlinux/**",
    "/etc/lilo.conf",
    "/etc/grub.d",
    "/etc/default/grub",
    "/sbin/grub*",
    "/usr/sbin/grub*",
)
BOOT_LOADER_PACKAGES = re.compile(
    r"(grub|grub2|lilo|extlinux|syslinux|systemd-boot|shim-signed|initramfs-tools|dracut|os-prober)(-.*)?"
)
INITS = ("/sbin/init", "/usr/sbin/init", "/etc/init", "/bin/init", "/init")
DIRECTORIES = (
    "/dev", "/etc", "/proc", "/root", "/run", "/sys", "/tmp", "/usr", "/var", "/var/log", "/var/tmp",
    "/bin", "/sbin", "/lib",
)  # fmt: skip
DEVICE_SOURCE = re.compile(r"(/dev/|(UUID|LABEL|PARTUUID|PARTLABEL|ID)=)", re.IGNORECASE)
DISK_TYPES = frozenset({"ext2", "ext3", "ext4", "xfs", "btrfs", "vfat", "swap", "f2fs", "jfs", "reiserfs"})


@rule(
    "kernel-present",
    "No kernel and no initial RAM disk in the tree",
    why="A container runs on its host's kernel: one inside is dead weight, and its updates pull in boot "
    "loaders.",
    fix="Do not install linux-image-*, kernel-* or initramfs tools; remove /boot/* and the links in /.",
)
def kernel_present(subject: Subject) -> Faults:
    for entry in subject.view.glob(*KERNELS):
        yield entry.path, f"a kernel or initial RAM disk of {entry.size >> 20} MiB"
    for name in sorted(filter(KERNEL_PACKAGES.match, _packages(subject))):
        yield "/var/lib/dpkg/status", f"the package {name} is installed"


@rule(
    "modules-present",
    "No kernel modules in the tree",
    why="Modules belong to one kernel, and a container loads none.",
    fix="Remove /lib/modules/*.",
)
def modules_present(subject: Subject) -> Faults:
    for entry in subject.view.glob("/lib/modules/*", "/usr/lib/modules/*"):
        yield entry.path, "modules of a kernel"


@rule(
    "boot-not-empty",
    "/boot is empty",
    why="Nothing in /boot is ever read in a container.",
    fix="Remove /boot/* and do not install what fills it.",
)
def boot_not_empty(subject: Subject) -> Faults:
    for name in subject.view.listdir("/boot"):
        yield f"/boot/{name}", "nothing in /boot is of use in a container"


@rule(
    "bootloader-present",
    "No boot loader in the tree",
    why="There is no disk to boot from; boot loaders ask for one when they are upgraded, and fail.",
    fix="Purge grub-*, lilo, systemd-boot, initramfs-tools and dracut.",
)
def bootloader_present(subject: Subject) -> Faults:
    for entry in subject.view.glob(*BOOT_LOADERS):
        if entry.kind != "dir":
            yield entry.path, "part of a boot loader"
    for name in sorted(filter(BOOT_LOADER_PACKAGES.fullmatch, _packages(subject))):
        yield "/var/lib/dpkg/status", f"the package {name} is installed"


@rule(
    "fstab-has-devices",
    "/etc/fstab names no devices",
    why="The host mounts a container's file systems; a line that names a disk fails the boot or waits for "
    "it.",
    fix="Empty /etc/fstab, or leave a comment in it.",
)
def fstab_has_devices(subject: Subject) -> Faults:
    for number, line in enumerate(subject.view.lines("/etc/fstab"), 1):
        fields = line.split()
        if len(fields) < 3 or fields[0].startswith("#"):
            continue
        if DEVICE_SOURCE.match(fields[0]) or fields[2] in DISK_TYPES or fields[1] == "/":
            yield "/etc/fstab", f"line {number} mounts {fields[0]} on {fields[1]}"


@rule(
    "modules-listed",
    "No kernel modules are asked for at boot",
    why="A container may not load modules: the unit that tries fails at every boot.",
    fix="Empty /etc/modules and /etc/modules-load.d.",
    severity="warning",
)
def modules_listed(subject: Subject) -> Faults:
    for entry in subject.view.glob("/etc/modules", "/etc/modules-load.d/*.conf"):
        words = [line.strip() for line in subject.view.lines(entry.path)]
        wanted = [word for word in words if word and word[0] not in "#;"]
        if wanted:
            yield entry.path, f"asks for {', '.join(wanted[:5])}"


@rule(
    "missing-init",
    "There is an init",
    why="A system container is started by running /sbin/init; without one it cannot start.",
    fix="Install systemd-sysv, sysvinit-core, openrc or the distribution's own init.",
)
def missing_init(subject: Subject) -> Faults:
    found = [entry for path in INITS if (entry := subject.view.stat(path))]
    if not found:
        yield "/sbin/init", "there is no init, or it is a link that leads nowhere"
    elif not any(entry.kind == "file" and entry.mode & 0o111 for entry in found):
        yield found[0].path, "the init cannot be executed"


@rule(
    "missing-directory",
    "The directories that every system has are there",
    why="The host mounts on /proc, /sys, /dev and /run, and programs expect the others.",
    fix="Make the directory; do not leave it out when packing.",
)
def missing_directory(subject: Subject) -> Faults:
    for path in DIRECTORIES:
        if not subject.view.is_dir(path):
            yield path, "the directory is missing"


@rule(
    "os-release-missing",
    "/etc/os-release tells what the system is",
    why="Managers (Proxmox, Incus, OpenVZ) choose by it how network and passwords are set; without it they "
    "refuse.",
    fix="Install the package that owns it (base-files, NAME-release), or write ID= and VERSION_ID=.",
)
def os_release_missing(subject: Subject) -> Faults:
    for path in ("/etc/os-release", "/usr/lib/os-release"):
        if subject.view.is_file(path):
            if not any(re.match(r"ID=\S", line) for line in subject.view.lines(path)):
                yield path, "it has no ID="
            return
    yield "/etc/os-release", "the file is missing"


def _packages(subject: Subject) -> frozenset[str]:
    return subject.package_names if "dpkg" in subject.families else frozenset()
