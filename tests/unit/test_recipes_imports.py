"""Recipes of other builders: what becomes of each part, and that nothing is dropped in silence."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.conftest import Run
from tmplbuild.errors import RecipeError, TmplbuildError, UsageError
from tmplbuild.recipes import load
from tmplbuild.recipes.catalogue import shipped_root
from tmplbuild.recipes.imports import Draft, read_foreign

ROOTS = [shipped_root()]

DAB = """\
# a mail gateway
Suite: bookworm
CacheDir: ../cache
Source: http://ftp.debian.org/debian SUITE main contrib
Source: http://ftp.debian.org/debian SUITE-updates main
Source: http://security.debian.org SUITE-security main
Source: http://repo.example/debian SUITE pool
Depends: postfix, openssh-server, exim4 | sendmail, libc6 (>= 2.36)
Architecture: amd64
Name: debian-12-mail
Version: 12.0-1
Section: mail
Maintainer: Somebody <somebody@example.org>
Description: A mail gateway
 that is described
 in more words.
"""

DISTROBUILDER = """\
image:
  distribution: ubuntu
  release: noble
  description: Ubuntu for our site

source:
  downloader: debootstrap
  keys:
    - 0xf6ecb3762474eda9d21b7022871920d1991bc93c

packages:
  manager: apt
  sets:
    - packages: [vim, openssh-server]
      action: install
    - packages: [acpid]
      action: install
      types: [vm]
    - packages: [only-in-cloud]
      action: install
      variants: [cloud]
    - packages: [nano, os-prober]
      action: remove
      flags: [--purge]
  repositories:
    - name: sources.list
      url: deb http://archive.ubuntu.com/ubuntu {{ image.release }} main
    - name: site
      url: deb http://repo.example/site noble main

files:
  - path: /etc/hostname
    generator: hostname
  - path: /etc/site.conf
    generator: dump
    mode: 0640
    gid: 4
    content: |-
      one = "1"
      two = '\\2'
  - path: /etc/machine-id
    generator: dump
  - path: /etc/old
    generator: remove
  - path: /etc/made
    generator: dump
    pongo: true
    content: "{{ image.release }}"
  - path: /etc/copied
    generator: copy
    source: /srv/file

actions:
  - trigger: post-packages
    action: |-
      #!/bin/bash
      set -eu
      echo "done" > /etc/done
  - trigger: post-files
    releases: [focal]
    action: |-
      #!/bin/sh
      echo not here
"""


def draft(tmp_path: Path, text: str, **options: Any) -> Draft:
    path = tmp_path / "foreign"
    path.write_text(text)
    return read_foreign(path, ROOTS, **options)


def made(tmp_path: Path, found: Draft) -> Any:
    """The recipe that the draft's text is, loaded."""
    path = tmp_path / "recipes/site/1.toml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(found.text())
    return load(str(path), roots=ROOTS).recipe


def left(found: Draft) -> set[str]:
    return {row.key for row in found.left}


def test_dab(tmp_path: Path) -> None:
    found = draft(tmp_path, DAB)
    recipe = made(tmp_path, found)
    assert found.parent.name == "debian-12"
    assert recipe.image.name == "debian-12-mail_12.0-1_amd64"
    assert recipe.image.title == "A mail gateway"
    assert set(recipe.install.packages) - set(found.parent.recipe.install.packages) == {
        "postfix",
        "exim4",
        "libc6",
    }
    assert left(found) == {
        "Cachedir: ../cache",
        "Section: mail",
        "Maintainer: Somebody <somebody@example.org>",
        "Description",
        "Source: http://ftp.debian.org/debian SUITE main contrib",
        "Source: http://repo.example/debian SUITE pool",
        "Depends: exim4 | sendmail",
        "Depends: libc6 (>= 2.36)",
        "Makefile",
    }
    comments = [line for line in found.text().splitlines() if line.startswith("#   ")]
    assert len(comments) == len(found.left)


def test_a_name_of_dab_gets_the_distribution_before_it(tmp_path: Path) -> None:
    found = draft(tmp_path, "Suite: noble\nName: web\nVersion: 1\n")
    assert made(tmp_path, found).image.name == "ubuntu-24.04-web_1_amd64"


def test_distrobuilder(tmp_path: Path) -> None:
    found = draft(tmp_path, DISTROBUILDER)
    parent, recipe = found.parent.recipe, made(tmp_path, found)
    assert found.parent.name == "ubuntu-24.04"
    assert recipe.image.title == "Ubuntu for our site"
    assert set(recipe.install.packages) - set(parent.install.packages) == {"vim"}
    assert set(parent.install.packages) - set(recipe.install.packages) == {"nano"}
    assert set(recipe.strip.purge) - set(parent.strip.purge) == {"os-prober"}
    site = recipe.configure.files["/etc/site.conf"]
    assert (site.text, site.mode, site.uid, site.gid) == ("one = \"1\"\ntwo = '\\2'\n", "0640", 0, 4)
    assert set(recipe.configure.files) - set(parent.configure.files) == {"/etc/site.conf"}
    assert set(recipe.strip.remove) - set(parent.strip.remove) == {"/etc/old"}
    new = recipe.configure.commands[len(parent.configure.commands) :]
    assert new == (("bash", "-c", 'set -eu\necho "done" > /etc/done\n'),)
    assert left(found) == {
        "packages.sets[3].flags",
        "packages.repositories site",
        "files /etc/hostname (hostname)",
        "files /etc/made (dump)",
        "files /etc/copied (copy)",
    }


def test_filters_are_applied_for_what_is_asked(tmp_path: Path) -> None:
    found = draft(tmp_path, DISTROBUILDER, release="20.04", variant="cloud")
    recipe = made(tmp_path, found)
    assert found.parent.name == "ubuntu-20.04"
    assert "only-in-cloud" in recipe.install.packages
    assert recipe.configure.commands[-1] == ("sh", "-c", "echo not here\n")
    assert recipe.image.name == "ubuntu-20.04-cloud-imported-x86_64"


@pytest.mark.parametrize(
    ("text", "kind", "says"),
    [
        ("", RecipeError, "neither"),
        ("hello\n", RecipeError, "neither"),
        ("Suite: sid-of-old\n", UsageError, "no recipe is for debian sid-of-old"),
        ("Suite: bookworm\nno colon here\n", RecipeError, ":2"),
        ("Suite: bookworm\nName: a\nName: b\n", RecipeError, "given twice"),
        ("image: [\n", RecipeError, "not YAML"),
        ("image:\n  distribution: 5\n  release: [1]\n", RecipeError, "image.release"),
        ("image:\n  distribution: gentoo\n  release: x\n", UsageError, "no recipe is for gentoo x"),
        ("image: &a\n  distribution: debian\nfiles: [*a]\n", RecipeError, "aliases are not read"),
        ("image:\n  distribution: !!python/object:os.system x\n", RecipeError, "not YAML"),
    ],
)
def test_what_cannot_be_read(tmp_path: Path, text: str, kind: type[TmplbuildError], says: str) -> None:
    with pytest.raises(kind) as caught:
        draft(tmp_path, text)
    error = caught.value
    assert says in " ".join(map(str, (error.what, error.where, error.why, error.hint)))


@settings(max_examples=30)
@given(st.text(max_size=200))
def test_any_text_is_read_or_refused(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    path = tmp_path_factory.getbasetemp() / "any"
    for head in ("Suite: bookworm\n", "image:\n  distribution: debian\n  release: bookworm\n"):
        path.write_text(head + text)
        try:
            found = read_foreign(path, ROOTS)
        except TmplbuildError:
            continue
        tomllib.loads(found.text())


def test_the_verb_writes_the_recipe_and_lists_what_is_left(run: Run, tmp_path: Path) -> None:
    (tmp_path / "dab.conf").write_text(DAB)
    words = ("recipe", "import", str(tmp_path / "dab.conf"), "debian-12-mail", "--to", str(tmp_path / "mine"))
    dry = run(*words, "--dry-run")
    assert dry.status == 0
    assert not (tmp_path / "mine").exists()
    done = run(*words)
    assert done.status == 0, done.err
    assert (tmp_path / "mine/debian/12-mail.toml").read_text() == dry.out
    assert "not converted: Source: http://repo.example/debian SUITE pool" in done.out
    lint = run("recipe", "lint", "debian-12-mail", "--recipes", str(tmp_path / "mine"))
    assert lint.status == 0, lint.out
    found = json.loads(run(*words[:3], "debian-12-other", *words[4:], "--json").out)
    assert {row["key"] for row in found["left"]} == left(read_foreign(tmp_path / "dab.conf", ROOTS))


EVERY_KEY = """\
image:
  name: ubuntu-disco
  distribution: ubuntu
  release: noble
  architecture: x86_64
  expiry: 30d
  variant: default
  serial: "1"
source:
  downloader: debootstrap
  url: http://archive.ubuntu.com/ubuntu
mappings:
  architecture_map: debian
packages:
  manager: apt
  update: true
  cleanup: true
  sets:
    - packages: [vim]
      action: install
      early: true
  repositories:
    - name: site
      url: deb http://repo.example/site noble main
      type: apt
      key: |-
        -----BEGIN PGP PUBLIC KEY BLOCK-----
files:
  - generator: copy
    source: motd
    path: /etc/motd
    templated: true
actions:
  - trigger: post-update
    action: |-
      #!/bin/sh
      true
environment:
  clear_defaults: true
  variables:
    - key: COLOUR
      value: blue
    - key: GONE
      set: false
targets:
  incus:
    vm: {}
simplestreams:
  distro_name: x
"""


def test_every_key_of_distrobuilder_converts_or_is_listed(tmp_path: Path) -> None:
    path = tmp_path / "all.yaml"
    path.write_text(EVERY_KEY)
    draft = read_foreign(path, ROOTS)
    listed = {row.key: row.why for row in draft.left}
    for key in (
        "image.name",
        "image.architecture",
        "image.expiry",
        "image.serial",
        "source.url",
        "mappings",
        "packages.update",
        "packages.cleanup",
        "packages.sets.early",
        "packages.repositories site",
        "packages.repositories.type",
        "packages.repositories.key",
        "files /etc/motd (copy)",
        "files.templated",
        "actions post-update",
        "environment.clear_defaults",
        "environment.variables GONE",
        "targets.incus",
        "simplestreams",
    ):
        assert key in listed, key
    assert draft.commands == [["env", "COLOUR=blue", "sh", "-c", "true\n"]]
    assert "vim" in draft.text() or "vim" in draft.parent.recipe.install.packages
    assert "[hooks.NAME]" in listed["actions post-update"]
    assert "configure.overlays" in listed["files /etc/motd (copy)"]
