"""VEID.conf, samples, names, templates: what an administrator has in files."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tmplbuild.config import Settings, load_settings
from tmplbuild.core import Limits
from tmplbuild.errors import BusyError, UsageError
from tmplbuild.vz import conf, ostemplate, sizes
from tmplbuild.vz.addresses import address
from tmplbuild.vz.conf import Conf
from tmplbuild.vz.limits import limits_of, not_kept
from tmplbuild.vz.options import OPTIONS, option_of, parsed
from tmplbuild.vz.request import Request, dropped, password
from tmplbuild.vz.sizes import size


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """OpenVZ's directories below a place of the test's own."""
    (tmp_path / "vz/conf").mkdir(parents=True)
    (tmp_path / "vz/vz.conf").write_text(f"VE_PRIVATE={tmp_path}/private/$VEID\nNAMESERVER=192.0.2.1\n")
    return load_settings(flags={"vz_dir": tmp_path / "vz"}, environ={"HOME": str(tmp_path)})


def write(settings: Settings, veid: str, text: str) -> Path:
    path = conf.path_of(settings, veid)
    path.write_text(text)
    return path


def test_the_ves_own_file_wins_over_vz_conf(settings: Settings) -> None:
    write(settings, "101", 'HOSTNAME="a"\n')
    found = conf.load(settings, "101")
    assert (found.get("NAMESERVER"), found.get("HOSTNAME")) == ("192.0.2.1", "a")
    assert found.get("VE_PRIVATE").endswith("/private/101")
    write(settings, "101", 'NAMESERVER="192.0.2.2"\n')
    assert conf.load(settings, "101").words("NAMESERVER") == ("192.0.2.2",)


def test_saving_changes_what_it_must_and_nothing_else(settings: Settings) -> None:
    before = "# by hand\nKMEMSIZE=\"1:2\"\nHOSTNAME=old # the old one\n\nUNKNOWN='x'\n"
    path = write(settings, "101", before)
    inode = path.stat().st_ino
    conf.save(settings, "101", {"HOSTNAME": "new"})
    assert path.read_text() == before.replace("HOSTNAME=old", 'HOSTNAME="new"')
    assert path.stat().st_ino != inode  # by rename
    inode = path.stat().st_ino
    conf.save(settings, "101", {"HOSTNAME": "new"})
    assert path.stat().st_ino == inode  # nothing to do


def test_names_lead_to_ves_and_are_unique(settings: Settings) -> None:
    for veid in ("101", "102"):
        write(settings, veid, f"NAME=n{veid}\n")
    assert conf.resolve(settings, "n102") == "102"  # found without a link, too
    conf.save(settings, "101", {"NAME": "web"})
    conf.rename(settings, "101", "web")
    assert os.readlink(settings.vz_dir / "names/web") == str(conf.path_of(settings, "101"))
    assert conf.resolve(settings, "web") == "101"
    with pytest.raises(BusyError):
        conf.rename(settings, "102", "web")
    with pytest.raises(UsageError, match="did you mean"):
        conf.resolve(settings, "webb")
    conf.rename(settings, "101", "www")
    assert [link.name for link in (settings.vz_dir / "names").iterdir()] == ["www"]
    conf.remove(settings, "101")
    assert not list((settings.vz_dir / "names").iterdir())
    assert (settings.vz_dir / "conf/101.conf.destroyed").exists()
    assert conf.known(settings) == ["102"]


def test_a_ve_that_is_destroyed_while_all_are_looked_at(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(settings, "102", "NAME=web\n")
    monkeypatch.setattr(conf, "known", lambda settings: ["101", "102"])
    assert [found.veid for found in conf.every(settings)] == ["102"]
    assert conf.resolve(settings, "web") == "102"
    conf.check_name(settings, "102", "web")
    conf.path_of(settings, "101").mkdir()
    with pytest.raises(UsageError, match="cannot be read"):
        list(conf.every(settings))


@pytest.mark.parametrize("name", ["1a", "a/b", "..", "a b", "-x"])
def test_what_is_no_name(settings: Settings, name: str) -> None:
    with pytest.raises(UsageError):
        conf.check_name(settings, "101", name)


def test_samples(settings: Settings) -> None:
    (settings.vz_dir / "conf/ve-basic.conf-sample").write_text("# basic\nNUMPROC=10\n")
    assert conf.values_of(conf.sample(settings, "basic")) == {"NUMPROC": "10"}
    with pytest.raises(UsageError, match="basic"):
        conf.sample(settings, "basik")


def test_the_next_free_number(settings: Settings) -> None:
    assert conf.free_veid(settings) == "101"
    write(settings, "101", "")
    (settings.ve_private / "102").mkdir(parents=True)
    assert conf.free_veid(settings) == "103"
    assert conf.free_veid(settings, taken=lambda veid: veid < "105") == "105"


def test_a_template_is_found_in_vzctls_order_and_a_stale_one_is_told(tmp_path: Path) -> None:
    for age, suffix in enumerate((".tar.gz", ".tar", ".tar.zst")):
        path = tmp_path / f"debian-12-x86_64{suffix}"
        path.touch()
        os.utime(path, (1000 - age, 1000 - age))
    found = ostemplate.find(tmp_path, "debian-12-x86_64")
    assert found.path.name == "debian-12-x86_64.tar"
    assert "debian-12-x86_64.tar.gz is newer" in found.warning
    assert "zst" not in found.warning
    (tmp_path / "debian-12-x86_64.tar").unlink()
    assert ostemplate.find(tmp_path, "debian-12-x86_64").warning == ""
    assert ostemplate.find(tmp_path, "debian-12-x86_64.tar.zst").path.name.endswith(".zst")
    assert ostemplate.find(tmp_path, f"{tmp_path}/debian-12-x86_64.tar.gz").name == "debian-12-x86_64"
    with pytest.raises(UsageError, match='did you mean "debian-12-x86_64"'):
        ostemplate.find(tmp_path, "debian-12-x86_65")
    with pytest.raises(UsageError):
        ostemplate.find(tmp_path, "./no-such")


def test_limits_in_openvzs_keys_and_units() -> None:
    own = {
        "PHYSPAGES": "0:65536", "SWAPPAGES": "0:512M", "NUMPROC": "240:250", "CPUS": "2", "CPULIMIT": "50%",
        "CPUUNITS": "2000", "IOPRIO": "4", "DISKSPACE": "1048576:2G", "DISKINODES": "200000:220000",
    }  # fmt: skip
    assert limits_of(Conf("101", own)) == Limits(
        memory_mib=256,
        swap_mib=512,
        pids=250,
        cpus=0.5,
        cpu_weight=200,
        io_weight=100,
        disk_mib=2048,
        inodes=220000,
    )
    endless = {
        "PHYSPAGES": "0:9223372036854775807",
        "NUMPROC": "unlimited",
        "CPULIMIT": "0",
        "SWAPPAGES": "0:1G",
    }
    assert limits_of(Conf("101", endless)) == Limits()
    with pytest.raises(UsageError, match="NUMPROC"):
        limits_of(Conf("101", {"NUMPROC": "many"}))
    assert not_kept(
        Conf("101", {"KMEMSIZE": "1:2", "NUMFILE": "unlimited", "NUMPTY": "0:9223372036854775807"})
    ) == ["KMEMSIZE"]


@pytest.mark.parametrize(
    ("text", "bytes_"), [("1", 1), ("2k", 2048), ("1.5G", 3 << 29), ("3P", 3 * 4096), ("unlimited", None)]
)
def test_sizes(text: str, bytes_: int | None) -> None:
    assert size(text) == bytes_


def test_what_vzctls_options_write() -> None:
    rows = {
        "--memory": ("512M", "0:512M"), "--swap": ("1073741824", "0:1024M"), "--pids": ("100", "100:100"),
        "--diskspace": ("1048576:2G", "1048576K:2097152K"), "--cpulimit": ("150%", "150"),
        "--onboot": ("YES", "yes"),
        "--hostname": ("a.example.org.", "a.example.org"),
    }  # fmt: skip
    by_flag = {flag: option for option in OPTIONS for flag in option.flags}
    for flag, (given, written) in rows.items():
        assert parsed(by_flag[flag], given) == written
    assert parsed(by_flag["--nameserver"], ["192.0.2.1", "inherit"]) == "192.0.2.1 inherit"
    for flag, given in (
        ("--memory", "512"), ("--hostname", "a b"), ("--hostname", "$(id)"), ("--onboot", "maybe"),
        ("--cpulimit", "-1"), ("--nameserver", "x"), ("--ioprio", "8"), ("--net", "bridge"),
    ):  # fmt: skip
        with pytest.raises(UsageError, match=flag):
            parsed(by_flag[flag], given)
    assert option_of("PHYSPAGES") is by_flag["--ram"]


def test_addresses_are_added_and_taken_away() -> None:
    before = Conf("101", {"IP_ADDRESS": "192.0.2.1 2001:db8::1"})
    change = Request(add=(address("192.0.2.2/32"), address("192.0.2.1")), drop=(address("2001:DB8:0::1"),))
    assert change.changed(before) == {"IP_ADDRESS": "192.0.2.1 192.0.2.2"}
    assert Request(drop_all=True).changed(before) == {"IP_ADDRESS": ""}
    assert dropped(["all", "192.0.2.1"]) == ((address("192.0.2.1"),), True)
    with pytest.raises(UsageError, match=r"no address 192\.0\.2\.9"):
        Request(drop=(address("192.0.2.9"),)).changed(before)


def test_passwords() -> None:
    assert password("root:a:b", lambda user: "") == ("root", "a:b")
    assert password("joe", lambda user: f"of {user}") == ("joe", "of joe")
    for text in ("root:", "-x:y", "a b:c", ":x", "root:a\nb"):
        with pytest.raises(UsageError):
            password(text, lambda user: "")


def test_sizes_are_shown_as_they_are_given() -> None:
    for text in ("0", "512", "256M", "17.5M", "2G", "1.5T", "64K"):
        assert sizes.shown(sizes.size(text) or 0) == text
