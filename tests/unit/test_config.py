"""Settings: which source wins, and what is said of wrong ones."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tmplbuild import config
from tmplbuild.config import UID_BASE, Settings, load_settings
from tmplbuild.errors import UsageError


def settings(
    folder: Path,
    *,
    toml: str | None = None,
    vz: str | None = None,
    env: dict[str, str] | None = None,
    flags: dict[str, object] | None = None,
) -> Settings:
    """The settings of these sources alone."""
    path = None
    if toml is not None:
        path = folder / "tmplbuild.toml"
        path.write_text(toml)
    vz_conf = folder / "vz.conf"
    if vz is not None:
        vz_conf.write_text(vz)
    environ = {"TMPLBUILD_CONFIG": str(path)} if path else {}
    return load_settings(None, flags, environ={**environ, **(env or {})}, vz_conf=vz_conf)


@pytest.fixture(autouse=True)
def _as_root_without_a_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(config, "CONFIG", tmp_path / "absent.toml")


def test_defaults_are_openvz_s_places(tmp_path: Path) -> None:
    found = settings(tmp_path)
    assert found.template_cache == Path("/var/lib/vz/template/cache")
    assert (found.ve_root, found.ve_private) == (Path("/var/lib/vz/root"), Path("/var/lib/vz/private"))
    assert found.cache_dir == Path("/var/cache/tmplbuild")
    assert found.state_dir == Path("/var/lib/tmplbuild")
    assert found.run_dir == Path("/run/tmplbuild")
    assert found.uid_base == UID_BASE
    assert found.jobs >= 1
    assert (found.mirror, found.recipes, found.origin) == ("", (), {})


def test_a_user_has_places_of_his_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    found = settings(tmp_path, env={"HOME": "/home/u", "XDG_STATE_HOME": "/s"})
    assert found.state_dir == Path("/s/tmplbuild")
    assert found.template_cache == Path("/s/tmplbuild/template/cache")
    assert found.cache_dir == Path("/home/u/.cache/tmplbuild")
    assert settings(tmp_path, env={"XDG_RUNTIME_DIR": "/run/user/1"}).run_dir == Path("/run/user/1/tmplbuild")


def test_each_source_overrules_the_next(tmp_path: Path) -> None:
    vz = "TEMPLATE=/vz/template\nVE_ROOT=/vz/root/$VEID\nVE_PRIVATE=/vz/private/$VEID\n"
    toml = 'template_cache = "/toml"\nve_root = "/toml-root"\njobs = 3\n'
    env = {"TMPLBUILD_TEMPLATE_CACHE": "/env", "TMPLBUILD_JOBS": "4"}
    by_vz = settings(tmp_path, vz=vz)
    assert (by_vz.template_cache, by_vz.ve_root) == (Path("/vz/template/cache"), Path("/vz/root"))
    by_toml = settings(tmp_path, vz=vz, toml=toml)
    assert (by_toml.template_cache, by_toml.ve_root) == (Path("/toml"), Path("/toml-root"))
    assert by_toml.ve_private == Path("/vz/private")
    by_env = settings(tmp_path, vz=vz, toml=toml, env=env)
    assert (by_env.template_cache, by_env.jobs) == (Path("/env"), 4)
    by_flag = settings(tmp_path, vz=vz, toml=toml, env=env, flags={"template_cache": "/flag", "jobs": 5})
    assert (by_flag.template_cache, by_flag.jobs) == (Path("/flag"), 5)
    assert by_flag.origin == {
        "template_cache": "--cache",
        "jobs": "--jobs",
        "ve_root": f"{tmp_path}/tmplbuild.toml:2",
        "ve_private": f"{tmp_path}/vz.conf:3",
    }


def test_an_empty_variable_says_nothing(tmp_path: Path) -> None:
    assert settings(tmp_path, env={"TMPLBUILD_JOBS": "", "TMPLBUILD_MIRROR": ""}).origin == {}


def test_mirrors_become_words_by_role(tmp_path: Path) -> None:
    toml = '[mirrors]\ndebian = "http://a/debian"\nother = ["https://b/x", "file:///c"]\n'
    assert settings(tmp_path, toml=toml).mirror == "debian=http://a/debian other=https://b/x other=file:///c"
    assert (
        settings(tmp_path, env={"TMPLBUILD_MIRROR": " http://a/  x=http://b/ "}).mirror
        == "http://a/ x=http://b/"
    )


def test_relative_paths_of_a_user_are_from_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    found = settings(
        tmp_path, flags={"template_cache": "out", "recipes": ["r"]}, env={"TMPLBUILD_CACHE_DIR": "c"}
    )
    assert found.template_cache == tmp_path / "out"
    assert found.recipes == (tmp_path / "r",)
    assert found.cache_dir == tmp_path / "c"
    assert settings(tmp_path, env={"TMPLBUILD_RECIPES": "/a:/b"}).recipes == (Path("/a"), Path("/b"))


@pytest.mark.parametrize(
    ("toml", "wanted"),
    [
        (
            "template_cach = 1",
            'tmplbuild.toml:1: template_cach: unknown setting; did you mean "template_cache"?',
        ),
        ('state_dir = "here"', '1: state_dir: expected an absolute path, found "here"'),
        ("\nstate_dir = 3", "2: state_dir: expected an absolute path, found 3"),
        ("jobs = 0", "jobs: expected a whole number from 1 to 1024, found 0"),
        ('jobs = "4"', 'jobs: expected a whole number from 1 to 1024, found "4"'),
        ("jobs = true", "found true"),
        ("uid_base = 0", "uid_base: expected a whole number from 65536"),
        ('mirror = "ftp://x"', 'mirror: expected an address (http://...), found "ftp://x"'),
        ('mirrors = "x"', "mirrors: expected a table of addresses by archive"),
        ("[mirrors]\ndebian = 1", "mirrors.debian: expected an address"),
        ('mirror = "http://a"\n[mirrors]\n', "mirrors: mirror is set too; set one of them"),
        ('recipes = "/x"', "recipes: expected a list of paths"),
        ("publish = 1", "publish: expected a table"),
        ('[publish]\nkey = "ABCD1234"', "publish.key: expected a key's whole fingerprint"),
        ('[publish]\nformats = ["zip"]', 'publish.formats: unknown format "zip"'),
        ('[publish]\nformat = ["oci"]', "publish.format: unknown setting; did you mean"),
        ('[publish]\nto = "mirror"', "publish.to: expected an absolute path"),
        ('[publish]\nurl = "mirror"', "publish.url: expected an address"),
        ("[publish]\nkeep = 0", "publish.keep: expected a whole number from 1 to 1000"),
        ("jobs = ", "not valid TOML"),
    ],
)
def test_a_wrong_setting_is_told_with_its_line(tmp_path: Path, toml: str, wanted: str) -> None:
    with pytest.raises(UsageError) as caught:
        settings(tmp_path, toml=toml)
    assert wanted in caught.value.why
    assert caught.value.exit_code == 2


def test_faults_of_all_sources_are_told_at_once(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="the settings have 5 faults") as caught:
        settings(
            tmp_path,
            toml="jobs = -1\nx = 1\n",
            vz="TEMPLATE=vz\n",
            env={"TMPLBUILD_JOBS": "many"},
            flags={"uid_base": "1"},
        )
    assert caught.value.why.splitlines() == [
        f'{tmp_path}/vz.conf:1: TEMPLATE: expected an absolute path, found "vz"',
        f"{tmp_path}/tmplbuild.toml:1: jobs: expected a whole number from 1 to 1024, found -1",
        f"{tmp_path}/tmplbuild.toml:2: x: unknown setting; there are "
        + ", ".join([*config._KINDS, "mirrors", "cache", "fleet", "nightly", "publish"]),
        'TMPLBUILD_JOBS: expected a whole number from 1 to 1024, found "many"',
        '--uid-base: expected a whole number from 65536 to 4294901758, found "1"',
    ]


def test_a_settings_file_that_is_named_must_be_there(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"absent\.toml: No such file"):
        load_settings(tmp_path / "absent.toml", environ={}, vz_conf=tmp_path / "vz.conf")


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ('TEMPLATE="/vz/my templates"\n', "/vz/my templates"),
        ("VZ=/big\nTEMPLATE=${VZ}/template # a comment\n", "/big/template"),
        ("export TEMPLATE='/x'\n", "/x"),
        ("# TEMPLATE=/no\nTEMPLATE=/a\nTEMPLATE=/b/\n", "/b"),
        ('IPTABLES="unfinished\nsome shell; code\nTEMPLATE=/x\n', "/x"),
    ],
)
def test_vz_conf_is_read_as_its_manual_says(tmp_path: Path, text: str, place: str) -> None:
    assert settings(tmp_path, vz=text).template_cache == Path(place) / "cache"


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("TEMPLATE='/x\n", "vz.conf:1: TEMPLATE: no closing quotation"),
        (
            "\nVE_ROOT=/vz/$VEID/root\n",
            'vz.conf:2: VE_ROOT: expected an absolute path, found "/vz/$VEID/root"',
        ),
        ("TEMPLATE=$UNSET\n", 'TEMPLATE: expected an absolute path, found ""'),
    ],
)
def test_a_line_of_vz_conf_that_we_cannot_use_is_told(tmp_path: Path, text: str, wanted: str) -> None:
    with pytest.raises(UsageError) as caught:
        settings(tmp_path, vz=text)
    assert wanted in caught.value.why
