"""Dist configurations, on trees laid out as each distribution's; and that no tree can lead us out of it."""

from __future__ import annotations

import ipaddress
import re
import subprocess
from pathlib import Path

import pytest

from tests.dist_trees import LAYOUTS, lay_out
from tmplbuild.core.tree import Tree
from tmplbuild.errors import UsageError
from tmplbuild.vz.dists import Wish, as_script, choose, network_of, plan, write_into
from tmplbuild.vz.dists.accounts import hashed
from tmplbuild.vz.dists.choose import SHIPPED, load, names, skeleton
from tmplbuild.vz.dists.draft import BEGIN

NONE = Path("/nonexistent")
V4, V6 = ("192.0.2.101", "192.0.2.102"), ("2001:db8::101",)
ADDRESSES = tuple(ipaddress.ip_address(text) for text in V4 + V6)
ALL = Wish(
    addresses=ADDRESSES,
    hostname="web.example.org",
    nameservers=("192.0.2.53",),
    searchdomains=("example.org",),
    passwords=(("root", "secret"),),
    created=True,
)

# where each distribution has the address, the name and the name server
_SYSCONFIG, _RESOLV = "etc/sysconfig", "etc/resolv.conf"
_IFCFG = ("ifcfg", f"{_SYSCONFIG}/network-scripts/ifcfg-venet0", f"{_SYSCONFIG}/network", _RESOLV)
EXPECTED = {
    "debian": ("ifupdown", "etc/network/interfaces", "etc/hostname", _RESOLV),
    "ubuntu": ("netplan", "etc/netplan/60-venet0.yaml", "etc/hostname", _RESOLV),
    "ubuntu-networkd": ("networkd", "etc/systemd/network/10-venet0.network", "etc/hostname", _RESOLV),
    "altlinux": ("etcnet", "etc/net/ifaces/venet0/ipv4address", f"{_SYSCONFIG}/network", _RESOLV),
    "redhat": _IFCFG,
    "redhat-9": (
        "keyfile",
        "etc/NetworkManager/system-connections/venet0.nmconnection",
        "etc/hostname",
        _RESOLV,
    ),
    "suse": ("suse", f"{_SYSCONFIG}/network/ifcfg-venet0", "etc/hostname", f"{_SYSCONFIG}/network/config"),
    "arch": ("netctl", "etc/netctl/venet0", "etc/hostname", _RESOLV),
    "slackware": ("slackware", "etc/rc.d/rc.inet1.conf", "etc/HOSTNAME", _RESOLV),
    "alpine": ("ifupdown", "etc/network/interfaces", "etc/hostname", _RESOLV),
    "gentoo": ("gentoo", "etc/conf.d/net", "etc/conf.d/hostname", _RESOLV),
    "mandrake": _IFCFG,
    "owl": _IFCFG,
}

# kin that have the same layout: a template's name, and the layout
KIN = {
    "centos-7-x86_64": "redhat",
    "fedora-39-x86_64": "redhat-9",
    "rhel-9-x86_64": "redhat-9",
    "almalinux-9-default_20240911_amd64": "redhat-9",
    "rockylinux-9-default_20240912_amd64": "redhat-9",
    "alma-8-x86_64": "redhat",
    "rocky-8-x86_64": "redhat",
    "opensuse-15.6-default_20240910_amd64": "suse",
    "sles-15-x86_64": "suse",
    "devuan-5.0-standard_5.0_amd64": "debian",
    "archlinux-base_20240911-1_amd64": "arch",
    "funtoo-x86_64": "gentoo",
    "something-else": "debian",
    "another-x86_64": "redhat-9",
    "alt-p10-x86_64": "altlinux",
}


def snapshot(root: Path) -> dict[str, str]:
    """Every file with its mode and content, every link with its target."""
    found = {}
    for path in sorted(root.rglob("*")):
        name = str(path.relative_to(root))
        if path.is_symlink():
            found[name] = f"-> {path.readlink()}"
        elif path.is_file():
            found[name] = f"{path.stat().st_mode:o} {path.read_text()}"
    return found


def lines(found: dict[str, str]) -> dict[str, list[str]]:
    """The same, whatever the order of the lines in a file."""
    return {path: sorted(text.split("\n")) for path, text in found.items()}


def apply(root: Path, template: str, wish: Wish) -> None:
    with Tree(root) as tree:
        write_into(plan(tree, choose(template, NONE), wish), tree)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_stopped_tree_is_told_everything(tmp_path: Path, layout: str) -> None:
    root = lay_out(tmp_path, layout)
    way, network, name, dns = EXPECTED[layout]
    with Tree(root) as tree:
        assert network_of(tree, choose(layout, NONE)) == way
    apply(root, layout, ALL)
    written = snapshot(root)
    everywhere = "\n".join(text for path, text in written.items() if path != "etc/hosts")
    for address in V4 + V6:
        assert address in everywhere, address
    assert V4[0] in written[network]
    assert re.search(r"\bweb\b", written[name])
    assert "192.0.2.53" in written[dns]
    assert "192.0.2.101 web.example.org web" in written["etc/hosts"]
    assert "secret" not in everywhere
    shadow = written.get("etc/tcb/root/shadow") or written["etc/shadow"]
    assert re.search(r"(?m)root:\$6\$rounds=100000\$[^:]{16}\$[^:]{86}:", shadow)
    assert shadow.startswith("100640 ")  # mode kept
    assert "root:x:0:0" in written["etc/passwd"]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_once_more_changes_nothing_and_addresses_go_without_a_trace(tmp_path: Path, layout: str) -> None:
    root = lay_out(tmp_path, layout)
    again = Wish(addresses=ADDRESSES, hostname="web", nameservers=("192.0.2.53",), searchdomains=("x.org",))
    apply(root, layout, again)
    once = snapshot(root)
    apply(root, layout, again)
    assert snapshot(root) == once
    apply(root, layout, Wish(addresses=()))
    gone = snapshot(root)
    hosts = gone.pop("etc/hosts")
    assert not [path for path, text in gone.items() if V4[0] in text or "venet0:" in path], hosts
    assert BEGIN not in "".join(gone.values())
    apply(root, layout, again)
    assert lines(snapshot(root)) == lines(once)


@pytest.mark.parametrize("template", KIN)
def test_kin_and_unknown_ones_find_their_way(tmp_path: Path, template: str) -> None:
    layout = KIN[template]
    root = lay_out(tmp_path, layout)
    with Tree(root) as tree:
        assert network_of(tree, choose(template, NONE)) == EXPECTED[layout][0]
    apply(root, template, ALL)
    assert V4[0] in (root / EXPECTED[layout][1]).read_text()


def test_the_name_is_cut_at_its_last_dash(tmp_path: Path) -> None:
    assert choose("debian-12-x86_64", NONE).name == "debian"
    assert choose("debian12-x86_64", NONE).name == "default"
    assert choose("", NONE).name == "default"
    assert choose("debian-12-x86_64", NONE, "redhat").name == "redhat"
    (tmp_path / "debian-12.toml").write_text('like = "debian"\nnetwork = ["networkd"]\n')
    found = choose("debian-12-x86_64", tmp_path)
    assert (found.name, found.network, found.dns) == ("debian-12", ("networkd",), choose("debian", NONE).dns)
    assert choose("debian-11-x86_64", tmp_path).network == choose("debian", NONE).network
    with pytest.raises(UsageError, match='did you mean "debian"'):
        choose("x", NONE, "debain")
    for bad in ("../../etc/passwd", "a/b"):
        assert choose(bad, tmp_path).name == "default"


@pytest.mark.parametrize("path", sorted(SHIPPED.glob("*.toml")), ids=lambda path: path.stem)
def test_shipped_files_are_right(path: Path) -> None:
    load(path, NONE)


def test_a_skeleton_is_read_as_it_is_and_faults_are_told_at_once(tmp_path: Path) -> None:
    skeleton("mine-1", tmp_path / "mine-1.toml")
    assert choose("mine-1-x86_64", tmp_path).network == choose("", NONE).network
    assert "mine-1" in names(tmp_path)
    with pytest.raises(UsageError, match="there already"):
        skeleton("mine-1", tmp_path / "mine-1.toml")
    text = 'like = "default"\nnetwork = ["netplam"]\nhostnam = []\n'
    text += '[scripts]\nadd_ipp = "x"\nadd_ip = "absent.sh"\n'
    (tmp_path / "bad.toml").write_text(text)
    with pytest.raises(UsageError) as caught:
        choose("bad", tmp_path)
    for word in ("bad.toml:2", "netplan", "hostname", "add_ip", "absent.sh"):
        assert word in caught.value.why
    (tmp_path / "loop.toml").write_text('like = "loop"\n')
    with pytest.raises(UsageError, match="no other dist file"):
        choose("loop", tmp_path)


def test_others_lines_are_kept(tmp_path: Path) -> None:
    root = lay_out(tmp_path, "debian")
    interfaces = root / "etc/network/interfaces"
    before = "# mine\nauto eth0\niface eth0 inet dhcp\n\n"
    before += "auto venet0\niface venet0 inet static\n\taddress 10.0.0.1\n"
    before += "\nauto venet0:0\niface venet0:0 inet static\n\taddress 10.0.0.2\n\nsource interfaces.d/*\n"
    interfaces.write_text(before)
    (root / "etc/resolv.conf").write_text("options ndots:2\nnameserver 10.0.0.9\nsearch old.org\n")
    apply(root, "debian", Wish(addresses=ADDRESSES[:1], nameservers=("192.0.2.53",)))
    after = interfaces.read_text()
    assert "iface eth0 inet dhcp" in after
    assert "source interfaces.d/*" in after
    assert "10.0.0" not in after  # vzctl's own of venet0 made way
    assert (
        root / "etc/resolv.conf"
    ).read_text() == "nameserver 192.0.2.53\noptions ndots:2\nsearch old.org\n"


def test_a_tree_cannot_lead_us_out(tmp_path: Path) -> None:
    """Links of a hostile tree, absolute and with .., stay in the tree; what lies outside is not touched."""
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "shadow").write_text("root:*:1::::::\n")
    (outside / "resolv.conf").write_text("nameserver 10.9.9.9\n")
    root = tmp_path / "root"
    root.mkdir()
    lay_out(root, "debian")
    for name in ("shadow", "resolv.conf", "hostname"):
        path = root / "etc" / name
        path.unlink(missing_ok=True)
        path.symlink_to(outside / name)
    (root / "etc/network/interfaces").unlink()
    (root / "etc/network").rename(root / "etc/net-real")
    (root / "etc/network").symlink_to("../../../../outside")
    before = snapshot(outside)
    apply(root, "debian", ALL)
    assert snapshot(outside) == before
    assert "10.9.9.9" not in (root / "etc/resolv.conf").read_text()
    assert not (root / "etc/resolv.conf").is_symlink()


def test_a_running_ve_gets_the_same_by_one_script(tmp_path: Path) -> None:
    """The script makes in a real shell what the stopped tree gets (its paths moved below a directory)."""
    one, two = tmp_path / "one", tmp_path / "two"
    for root in (one, two):
        root.mkdir()
        lay_out(root, "debian")
    wish = Wish(addresses=ADDRESSES, hostname="web.example.org", nameservers=("192.0.2.53",))
    with Tree(one) as tree:
        draft = plan(tree, choose("debian", NONE), wish)
        draft.write("/etc/odd 'name", "END\nEND_\n$HOME `id` \\\n", 0o600)
        draft.symlink("a 'b", "/etc/link")
        draft.remove("/etc/crontab")
        write_into(draft, tree)
    draft.changes = {f"{two}{path}": change for path, change in draft.changes.items()}
    draft.commands = ["echo commands come last"]
    done = subprocess.run(["/bin/sh", "-s"], input=as_script(draft), capture_output=True, check=True)
    assert done.stdout == b"commands come last\n"
    assert snapshot(two) == snapshot(one)


def test_post_create_makes_the_ve_its_own(tmp_path: Path) -> None:
    root = lay_out(tmp_path, "debian")
    for name, text in {
        "etc/machine-id": "a" * 32 + "\n",
        "etc/cron.d/keep": "# VZCTL_POSTCREATE_SKIP\n1 1 * * * root x\n",
        "etc/cron.d/spread": "*/5 * * * * root often\n1 1 * * * root night\n30 13 * * * root noon\n",
    }.items():
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).write_text(text)
    seen = set()
    for _ in range(20):
        with Tree(root) as tree:
            draft = plan(tree, choose("debian", NONE), Wish(created=True))
            seen.add(draft.text("/etc/cron.d/spread"))
    write = snapshot(root)
    apply(root, "debian", Wish(created=True))
    assert len(seen) > 1
    for text in seen:
        assert text is not None
        nights = r"\*/5 \* \* \* \* root often\n\d+ [0-6] \* \* \* root night\n"
        assert re.fullmatch(nights + r"\d+ 13 \* \* \* root noon\n", text)
    assert (root / "etc/machine-id").read_text() == ""
    assert (root / "etc/passwd").read_text().startswith("root:!!:")
    assert "::1" in (root / "etc/hosts").read_text()
    assert snapshot(root)["etc/cron.d/keep"] == write["etc/cron.d/keep"]


def test_a_hash_is_checked_by_the_systems_own_program() -> None:
    first, second = hashed("geheim"), hashed("geheim")
    assert first != second
    for word, same in (("geheim", True), ("Geheim", False)):
        argv = ["perl", "-e", "print crypt($ARGV[0], $ARGV[1])", word, first]
        again = subprocess.run(argv, capture_output=True, text=True, check=True).stdout
        assert (again == first) == same


def test_a_user_that_is_not_there(tmp_path: Path) -> None:
    with Tree(lay_out(tmp_path, "debian")) as tree, pytest.raises(UsageError, match="no user 'joe'"):
        plan(tree, choose("debian", NONE), Wish(passwords=(("joe", "x"),)))


def test_no_network_system_is_told(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    with Tree(tmp_path) as tree:
        draft = plan(tree, choose("alpine", NONE), Wish(addresses=ADDRESSES))
    assert "is not in its files" in draft.notes[0]


def test_netplans_file_is_its_owners_alone(tmp_path: Path) -> None:
    root = lay_out(tmp_path, "ubuntu")
    apply(root, "ubuntu-24.04-x86_64", Wish(addresses=ADDRESSES))
    path = root / "etc/netplan/60-venet0.yaml"
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.read_text().count("        scope: link\n") == 2
