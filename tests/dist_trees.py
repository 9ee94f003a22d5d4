"""Trees laid out as distributions lay them out: the few files that tell their network system and name."""

from __future__ import annotations

from pathlib import Path

PROGRAM = "#!/bin/sh\n"
ACCOUNTS = {
    "etc/passwd": "root::0:0:root:/root:/bin/sh\nwww:x:33:33::/var/www:/bin/false\n",
    "etc/shadow": "root:*:19000:0:99999:7:::\nwww:*:19000:0:99999:7:::\n",
    "etc/hosts": "127.0.0.1 localhost\n",
}

_LAYOUTS: dict[str, dict[str, str]] = {
    "debian": {
        "sbin/ifup": PROGRAM,
        "etc/network/interfaces": "# lo\nauto lo\niface lo inet loopback\n",
        "etc/hostname": "localhost\n",
        "etc/crontab": "17 *\t* * *\troot\tcd /\n25 6\t* * *\troot\tdaily\n",
    },
    "ubuntu": {
        "usr/sbin/netplan": PROGRAM,
        "etc/netplan/": "",
        "etc/systemd/system/multi-user.target.wants/systemd-networkd.service": "",
        "etc/hostname": "ubuntu\n",
        "etc/resolv.conf": "->../run/systemd/resolve/stub-resolv.conf",
    },
    "ubuntu-networkd": {
        "etc/systemd/system/multi-user.target.wants/systemd-networkd.service": "",
        "etc/systemd/network/": "",
        "etc/hostname": "ubuntu\n",
    },
    "altlinux": {
        "etc/net/ifaces/lo/options": "TYPE=lo\n",
        "etc/sysconfig/network": "# of ALT\nNETWORKING=no\nHOSTNAME=localhost\n",
        "sbin/ifup": PROGRAM,
        "etc/tcb/root/shadow": "root:*:19000::::::\n",
        "etc/tcb/www/shadow": "www:*:19000::::::\n",
    },
    "redhat": {
        "sbin/ifup": PROGRAM,
        "etc/sysconfig/network-scripts/ifcfg-lo": "DEVICE=lo\n",
        "etc/sysconfig/network": "NETWORKING=no\nHOSTNAME=localhost.localdomain\n",
    },
    "redhat-9": {
        "usr/sbin/NetworkManager": PROGRAM,
        "etc/NetworkManager/system-connections/": "",
        "etc/sysconfig/network-scripts/readme-ifcfg-rh.txt": "see\n",
        "etc/hostname": "\n",
    },
    "suse": {
        "etc/sysconfig/network/config": '## netconfig\nNETCONFIG_DNS_STATIC_SERVERS=""\n',
        "etc/HOSTNAME": "->hostname",
        "etc/hostname": "linux\n",
    },
    "arch": {"usr/bin/netctl": PROGRAM, "etc/netctl/": "", "etc/hostname": "arch\n"},
    "slackware": {
        "etc/rc.d/rc.inet1.conf": '# rc.inet1\nIPADDR[0]=""\n',
        "etc/HOSTNAME": "darkstar.example.net\n",
    },
    "alpine": {
        "sbin/ifup": PROGRAM,
        "etc/network/interfaces": "auto lo\niface lo inet loopback\n\nauto eth0\niface eth0 inet dhcp\n",
        "etc/hostname": "localhost\n",
    },
    "gentoo": {
        "etc/conf.d/net": "# mine\nmodules=iproute2\n",
        "etc/conf.d/hostname": 'hostname="localhost"\n',
        "etc/init.d/net.lo": PROGRAM,
        "etc/runlevels/default/": "",
    },
    "mandrake": {
        "sbin/ifup": PROGRAM,
        "etc/sysconfig/network-scripts/ifcfg-lo": "DEVICE=lo\n",
        "etc/sysconfig/network": "NETWORKING=yes\n",
    },
    "owl": {
        "sbin/ifup": PROGRAM,
        "etc/sysconfig/network-scripts/ifcfg-lo": "DEVICE=lo\n",
        "etc/sysconfig/network": "NETWORKING=yes\nHOSTNAME=localhost\n",
        "etc/tcb/root/shadow": "root:*:19000::::::\n",
    },
}

LAYOUTS = {name: {**ACCOUNTS, **files} for name, files in _LAYOUTS.items()}


def lay_out(place: Path, name: str) -> Path:
    """Make the tree of a layout below a directory, which is then its root."""
    for path, text in LAYOUTS[name].items():
        target = place / path
        if path.endswith("/"):
            target.mkdir(parents=True, exist_ok=True)
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        if text.startswith("->"):
            target.symlink_to(text[2:])
        else:
            target.write_text(text)
            target.chmod(0o755 if text == PROGRAM else 0o640 if "shadow" in path else 0o644)
    return place
