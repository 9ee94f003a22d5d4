"""systemd units that make no sense in a VE that is being built, as data."""

from __future__ import annotations

DEFAULT_MASK = (
    # The kernel's modules and file systems: a user namespace may neither load nor mount them.
    "systemd-modules-load.service",
    "sys-kernel-debug.mount",
    "sys-kernel-tracing.mount",
    "sys-kernel-config.mount",
    "sys-fs-fuse-connections.mount",
    "dev-hugepages.mount",
    # Half of the host's memory: what is built belongs on the disk.
    "tmp.mount",
    # Devices are the host's.
    "systemd-udevd.service",
    "systemd-udevd-control.socket",
    "systemd-udevd-kernel.socket",
    "systemd-udevd-varlink.socket",
    "systemd-udev-trigger.service",
    "systemd-journald-audit.socket",
    # The clock is the host's.
    "systemd-timesyncd.service",
    # Background work that would take the package manager's lock, or only costs time.
    "apt-daily.timer",
    "apt-daily.service",
    "apt-daily-upgrade.timer",
    "apt-daily-upgrade.service",
    "unattended-upgrades.service",
    "fstrim.timer",
    "e2scrub_all.timer",
    "e2scrub_reap.service",
    "man-db.timer",
    # There is nothing to wait for, and nobody sits at the console.
    "systemd-networkd-wait-online.service",
    "NetworkManager-wait-online.service",
    "ifupdown-wait-online.service",
    "console-getty.service",
)
"""Masked by links to /dev/null in the VE's own /run/systemd/system (a tmpfs), never in the template.

See systemd.unit(5) for the load path and what a masked unit is.
"""
