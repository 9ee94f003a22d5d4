"""VEs with addresses: venet0, host routes, and nothing left of them.

The "host" of these tests is a network namespace of their own: the machine's own network is not touched,
and whoever runs tests beside us does not meet our addresses.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.core_trees import NOTHING, debian, kill_monitor, layers, traces, wait_until
from tmplbuild.core import VE, Core, Venet, linux, nat
from tmplbuild.core.line import device_name
from tmplbuild.core.netlink import Link
from tmplbuild.errors import BusyError, HostError, UsageError

pytestmark = [pytest.mark.root, pytest.mark.trees, pytest.mark.live]

HOST4, HOST6 = "198.51.100.1", "2001:db8:51::1"
LAN, LAN_PEER = "203.0.113.1", "203.0.113.9"
LISTEN = "import socket; s=socket.create_server((%r, 4711), family=socket.%s); print('up', flush=True); "
ANSWER = "c, a = s.accept(); c.sendall(a[0].encode()); c.close()"


@pytest.fixture
def host() -> Iterator[None]:
    """A network of our own, with addresses of this "machine" on its loopback device."""
    debian("systemd")  # made with the machine's own network
    home = os.open("/proc/self/ns/net", os.O_RDONLY)
    linux.unshare(linux.CLONE_NEWNET)
    try:
        linux.loopback_up()
        ip(f"addr add {HOST4}/32 dev lo", f"addr add {HOST6}/128 dev lo nodad")
        # a worker of the kernel adds the route to it, later: what is looked at before a test has to have it
        assert wait_until(lambda: f"local {HOST6}" in ip("-6 route show table local"))
        yield
    finally:
        linux.setns(home, linux.CLONE_NEWNET)
        os.close(home)


@pytest.fixture
def core(tmp_path: Path, host: None) -> Iterator[Core]:
    core = Core(tmp_path / "run")
    before = network()
    yield core
    core.gc()
    assert traces(core) == NOTHING
    assert network() == before


def ip(*commands: str) -> str:
    told = ""
    for command in commands:
        told += subprocess.run(["ip", *command.split()], check=True, capture_output=True, text=True).stdout
    return told


def lan() -> None:
    """A network with other machines, at the end of a wire."""
    ip("link add lan type veth peer name wire", "link set wire up", "link set lan up")
    ip(f"addr add {LAN}/24 dev lan")


def network() -> str:
    """Devices, addresses, routes and neighbours of what is the host here."""
    looks = ("-o link", "-o addr", "route show table all", "-6 route show table all", "neigh show proxy")
    return ip(*looks, "-6 neigh show proxy").replace(" tentative", "")


@contextmanager
def listening(where: str, family: str, launch: Callable[[str], subprocess.Popen[bytes]]) -> Iterator[None]:
    """A server that tells the first caller its address."""
    with launch(LISTEN % (where, family) + ANSWER) as server:
        assert server.stdout is not None
        try:
            assert server.stdout.readline() == b"up\n"
            yield
        finally:
            server.kill()


def on_host(code: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(["python3", "-c", code], stdout=subprocess.PIPE)


def within(ve: VE) -> Callable[[str], subprocess.Popen[bytes]]:
    """Start code of the host's Python in the VE's network."""

    def launch(code: str) -> subprocess.Popen[bytes]:
        argv = ["nsenter", f"--net=/proc/{ve.pid}/ns/net", "python3", "-c", code]
        return subprocess.Popen(argv, stdout=subprocess.PIPE)

    return launch


def ask(ve: VE, address: str) -> str:
    """What the server at `address` tells the VE; "" when it cannot be reached."""
    result = ve.exec(["bash", "-c", f"exec 3<>/dev/tcp/{address}/4711 && cat <&3"], timeout_s=120)
    return result.stdout.decode()


@pytest.mark.parametrize(
    ("one", "two", "host_address", "family"),
    [
        ("192.0.2.101", "192.0.2.102", HOST4, "AF_INET"),
        ("2001:db8::101", "2001:db8::102", HOST6, "AF_INET6"),
    ],
)
def test_a_ve_is_reached_from_the_host_and_from_other_ves(
    core: Core, tmp_path: Path, one: str, two: str, host_address: str, family: str
) -> None:
    with (
        core.start("101", layers(tmp_path / "a"), init=False, net=Venet((one,))) as first,
        core.start("102", layers(tmp_path / "b"), init=False, net=Venet((two,))) as second,
    ):
        assert (first.addresses, second.addresses) == ((one,), (two,))
        with listening(two, family, within(second)):
            assert ask(first, two) == one
        with listening(host_address, family, on_host):
            assert ask(first, host_address) == one
        with (
            listening(one, family, within(first)),
            socket.create_connection((one, 4711), timeout=120) as caller,
        ):
            assert caller.recv(100).decode() == host_address
        assert [info.addresses for info in core.list()] == [(one,), (two,)]


def test_addresses_come_and_go_while_it_runs(core: Core, tmp_path: Path) -> None:
    with core.start("101", layers(tmp_path), init=False, net="venet") as ve:
        assert ve.addresses == ()
        for address in ("192.0.2.101", "2001:db8::101", "192.0.2.103"):
            ve.add_address(address)
        assert core.attach("101").addresses == ("192.0.2.101", "2001:db8::101", "192.0.2.103")
        assert ve.exec(["cat", "/proc/net/if_inet6"]).stdout.count(b"20010db8") == 1
        ve.remove_address("192.0.2.101")
        ve.remove_address("2001:0db8::0101")
        assert ve.addresses == ("192.0.2.103",)
        routes = ip("route show", "-6 route show")
        assert "192.0.2.103 dev" in routes
        assert "192.0.2.101" not in routes
        assert "2001:db8::101" not in routes
        with pytest.raises(HostError, match="it has no address"):
            ve.remove_address("192.0.2.101")


def test_an_address_has_one_owner(core: Core, tmp_path: Path) -> None:
    with (
        core.start("101", layers(tmp_path / "a"), init=False, net=Venet(("192.0.2.101",))) as one,
        core.start("102", layers(tmp_path / "b"), init=False, net=Venet(("192.0.2.102",))) as two,
    ):
        for taken in ("192.0.2.102", "192.0.2.101", HOST4):
            with pytest.raises(BusyError, match="in use"):
                one.add_address(taken)
        two.remove_address("192.0.2.102")
        one.add_address("192.0.2.102")
    with pytest.raises(HostError, match="in use"):
        core.start("103", layers(tmp_path / "c"), init=False, net=Venet((HOST4,)))


@pytest.mark.parametrize("text", ["192.0.2", "host", "127.0.0.2", "::1", "224.0.0.1", "fe80::1", "0.0.0.0"])
def test_what_is_no_address_of_a_machine_is_refused(text: str) -> None:
    with pytest.raises(UsageError):
        Venet((text,)).as_message()


def test_the_host_answers_for_a_ve_on_its_lan(core: Core, tmp_path: Path) -> None:
    lan()
    with core.start("101", layers(tmp_path), init=False, net=Venet((LAN_PEER,))) as ve:
        assert f"{LAN_PEER} dev lan proxy" in ip("neigh show proxy")
        ve.add_address("192.0.2.101")
        assert "192.0.2.101" not in ip("neigh show proxy")
    assert ip("neigh show proxy") == ""
    ip("link del lan")


def test_a_sender_that_is_not_its_own_is_dropped(core: Core, tmp_path: Path) -> None:
    with (
        core.start("101", layers(tmp_path), init=False, net=Venet(("192.0.2.101",))) as ve,
        listening(HOST4, "AF_INET", on_host),
        Link() as here,
    ):
        liar = "import socket; s=socket.socket(); s.settimeout(0.5); s.bind(('192.0.2.99', 0)); "
        add = [
            "nsenter",
            f"--net=/proc/{ve.pid}/ns/net",
            "ip",
            "addr",
            "add",
            "192.0.2.99/32",
            "dev",
            "venet0",
        ]
        subprocess.run(add, check=True)
        told = within(ve)(liar + f"print(s.connect_ex(({HOST4!r}, 4711)))").communicate()[0]
        assert told.strip() != b"0"
        assert ask(ve, HOST4) == "192.0.2.101"
        assert here.index(device_name(core.owner, "101")) is not None


@pytest.mark.parametrize("net", ["none", "proxy", "venet"])
def test_no_port_on_the_hosts_loopback_is_in_reach(core: Core, tmp_path: Path, net: str) -> None:
    wanted = Venet(("192.0.2.101",)) if net == "venet" else net
    with core.start("101", layers(tmp_path), init=False, net=wanted) as ve:  # type: ignore[arg-type]
        for where, family in (("127.0.0.1", "AF_INET"), ("::1", "AF_INET6")):
            with listening(where, family, on_host):
                ve.exec(["sh", "-c", "echo 1 >/proc/sys/net/ipv4/conf/all/route_localnet"])
                assert ask(ve, where) == ""
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as abstract:
            abstract.bind(f"\0{tmp_path}")
            abstract.listen()
            assert str(tmp_path) not in ve.exec(["cat", "/proc/net/unix"]).stdout.decode()


def test_the_hosts_own_network(core: Core, tmp_path: Path) -> None:
    with core.start("101", layers(tmp_path), init=False, net="host") as ve:
        assert ve.exec(["readlink", "/proc/self/ns/net"]).stdout.decode().strip() == os.readlink(
            "/proc/self/ns/net"
        )
        assert ve.exec(["cat", "/proc/net/dev"]).stdout.count(b":") == 1
        with listening("127.0.0.1", "AF_INET", on_host):
            assert ask(ve, "127.0.0.1") == "127.0.0.1"
        with pytest.raises(HostError, match="venet0"):
            ve.add_address("192.0.2.101")


def test_gc_removes_the_network_of_a_ve_whose_monitor_was_killed(core: Core, tmp_path: Path) -> None:
    lan()
    ve = core.start("101", layers(tmp_path), init=False, net=Venet((LAN_PEER,)), tether=False)
    kill_monitor(core, "101")
    assert wait_until(lambda: core.list()[0].state == "leftover")
    assert core.gc() == ["101"]
    assert ip("neigh show proxy") == ""
    ve.detach()
    ip("link del lan")


def test_a_device_of_that_name_that_is_not_ours_is_left_alone(core: Core, tmp_path: Path) -> None:
    name = device_name(core.owner, "101")
    ip(f"link add {name} type veth peer name other")
    with pytest.raises(HostError, match="in use"):
        core.start("101", layers(tmp_path), init=False, net="venet")
    assert name in ip("link show")
    ip(f"link del {name}")


# -- address translation ---------------------------------------------------------------------------------


@pytest.fixture
def beyond(host: None) -> Iterator[Callable[[str], subprocess.Popen[bytes]]]:
    """Another machine on a LAN, which knows no route to any VE. Runs code there."""
    with subprocess.Popen(["unshare", "-n", "sleep", "infinity"]) as other:
        assert wait_until(
            lambda: os.readlink(f"/proc/{other.pid}/ns/net") != os.readlink("/proc/self/ns/net")
        )
        ip(f"link add lan type veth peer name lan netns {other.pid}", "link set lan up")
        ip(f"addr add {LAN}/24 dev lan", "addr add 2001:db8:113::1/64 dev lan nodad")
        there = ["nsenter", f"--net=/proc/{other.pid}/ns/net"]
        for command in ("link set lan up", f"addr add {LAN_PEER}/24 dev lan"):
            subprocess.run([*there, "ip", *command.split()], check=True)
        subprocess.run([*there, "ip", "addr", "add", "2001:db8:113::9/64", "dev", "lan", "nodad"], check=True)
        yield lambda code: subprocess.Popen([*there, "python3", "-c", code], stdout=subprocess.PIPE)
        ip("link del lan")
        other.kill()


def rules() -> str:
    shown = subprocess.run(["nft", "list", "ruleset"], capture_output=True, text=True, check=True).stdout
    return "\n".join(line for line in shown.splitlines() if "192.0.2" in line or "tmplbuild" in line)


@pytest.mark.parametrize("tool", ["nft", "iptables-nft"])
def test_beyond_the_host_a_ve_bears_the_hosts_address(
    core: Core,
    tmp_path: Path,
    beyond: Callable[[str], subprocess.Popen[bytes]],
    monkeypatch: pytest.MonkeyPatch,
    tool: str,
) -> None:
    program = shutil.which(tool, path=nat._PATH)
    assert program is not None, "run `make test`, or apt-get install nftables iptables"
    monkeypatch.setattr(nat, "_NAMES", (tool,))
    for name in ("ipv4/ip_forward", "ipv6/conf/all/forwarding"):
        Path(f"/proc/sys/net/{name}").write_text("1")
    wanted = Venet(("192.0.2.101", "2001:db8::101"), nat=True)
    with core.start("101", layers(tmp_path), init=False, net=wanted) as ve:
        with listening(LAN_PEER, "AF_INET", beyond):
            assert ask(ve, LAN_PEER) == LAN
        with listening("2001:db8:113::9", "AF_INET6", beyond):
            assert ask(ve, "2001:db8:113::9") == "2001:db8:113::1"
        with listening(HOST4, "AF_INET", on_host):
            assert ask(ve, HOST4) == "192.0.2.101"
        ve.add_address("192.0.2.102")
        assert rules().count("192.0.2.102") == 1
        ve.remove_address("192.0.2.102")
        assert "192.0.2.102" not in rules()
    assert rules() == ""
    ve = core.start("101", layers(tmp_path), init=False, net=wanted, tether=False)
    kill_monitor(core, "101")
    assert wait_until(lambda: core.list()[0].state == "leftover")
    assert rules() != ""
    assert core.gc() == ["101"]
    assert rules() == ""
    ve.detach()


def test_nat_that_leads_nowhere_is_an_error(
    core: Core, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(HostError, match="forward"):
        core.start("101", layers(tmp_path), init=False, net=Venet(("192.0.2.101",), nat=True))
    Path("/proc/sys/net/ipv4/ip_forward").write_text("1")
    monkeypatch.setattr(nat, "_NAMES", ())
    with pytest.raises(HostError, match="nftables"):
        core.start("101", layers(tmp_path), init=False, net=Venet(("192.0.2.101",), nat=True))
