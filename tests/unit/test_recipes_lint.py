"""What lint says of a recipe whose types are right."""

from __future__ import annotations

import datetime
import shutil
from pathlib import Path

import pytest

from tests.unit.recipe_files import KEY, tiny
from tmplbuild.recipes import lint
from tmplbuild.recipes.catalogue import shipped_root
from tmplbuild.recipes.certificate import fingerprint_of

TODAY = datetime.date(2026, 6, 1)
GOOD = 'eol = 2030-01-01\n[leftovers]\nsuffixes = [".old"]\n'


def findings(root: Path, child: str = "", *, key: bool = True, rules: tuple[str, ...] = ()) -> list[str]:
    """What is said of the tiny recipe with these lines, each as LEVEL: KEY: TEXT."""
    if key:
        (root / "tiny/keys").mkdir(parents=True, exist_ok=True)
        shutil.copy(shipped_root() / f"debian/keys/{KEY}.asc", root / f"tiny/keys/{KEY}.asc")
    found = lint(tiny(root, child), rules=rules, today=TODAY)
    return [str(item).replace(f"{root}/tiny/", "") for item in found]


def test_a_good_recipe_has_no_findings(tmp_path: Path) -> None:
    assert findings(tmp_path, GOOD) == []


@pytest.mark.parametrize(
    ("eol", "wanted"),
    [
        ("", "warning: 1.toml:3: image.eol: missing; the last day of support"),
        ("eol = 2026-05-31\n", "warning: 1.toml:6: image.eol: support ended on 2026-05-31"),
        ("eol = 2026-08-30\n", "image.eol: support ends in 90 days, on 2026-08-30"),
    ],
)
def test_the_end_of_support_is_told(tmp_path: Path, eol: str, wanted: str) -> None:
    (found,) = findings(tmp_path, eol + '[leftovers]\nsuffixes = [".old"]\n')
    assert wanted in found


def test_a_missing_key_file_is_an_error(tmp_path: Path) -> None:
    (found,) = findings(tmp_path, GOOD, key=False)
    assert found.startswith(
        f"error: _base.toml:10: archives.tiny.keys[0]: keys/{KEY}.asc is not there; export it"
    )


def test_a_key_file_with_another_key_is_an_error(tmp_path: Path) -> None:
    other = "B8B80B5B623EAB6AD8775C45B7C5D7D6350947F8"
    (tmp_path / "tiny/keys").mkdir(parents=True)
    shutil.copy(shipped_root() / f"debian/keys/{other}.asc", tmp_path / f"tiny/keys/{KEY}.asc")
    (found,) = findings(tmp_path, GOOD, key=False)
    assert found.endswith(f"{KEY}.asc holds another key; its fingerprint is {other}")


def test_a_key_file_that_holds_none_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "tiny/keys").mkdir(parents=True)
    (tmp_path / f"tiny/keys/{KEY}.asc").write_text("hello")
    (found,) = findings(tmp_path, GOOD, key=False)
    assert found.endswith("is no certificate; it is no OpenPGP certificate")


@pytest.mark.parametrize(
    ("lines", "wanted"),
    [
        (
            '[install]\nexclude = ["two"]',
            'error: _base.toml:16: install.packages[1]: "two" is in install.exclude',
        ),
        (
            '[install]\nadd.packages = ["a b"]',
            '1.toml:10: install.packages[3]: "a b" is no name of a package',
        ),
        ('[strip]\npurge = ["one"]', 'install.packages[0]: "one" is in strip.purge too'),
        ('[bootstrap]\ninclude = ["xx"]\n[install]\nexclude = ["xx"]', '[0]: "xx" is in install.exclude too'),
        ('[strip]\nmask = ["foo"]', 'strip.mask[0]: "foo" is no name of a unit; did you mean "foo.service"?'),
        (
            '[strip]\nmask = ["a.timer", "a.timer"]',
            'warning: 1.toml:10: strip.mask[1]: "a.timer" is in the list 2',
        ),
        ('[upgrade]\nmask = ["a.txt"]', 'upgrade.mask[0]: "a.txt" is no name of a unit'),
        ('[strip]\nremove = ["/*"]', 'strip.remove[0]: "/*" is the whole tree'),
        ('[clean]\nempty = ["/"]', 'clean.empty[0]: "/" is the whole tree'),
        ('[[strip.edits]]\npath = "/a"', "error: 1.toml:9: strip.edits[0]: does nothing"),
        ('[[strip.edits]]\npath = "/a"\nmatch = "x"', "strip.edits[0]: match without an action"),
        ('[[strip.edits]]\npath = "/a"\ndelete = true', "strip.edits[0]: delete without match"),
        (
            '[[strip.edits]]\npath = "/a"\nmatch = "x"\ndelete = true\ncomment = true',
            "strip.edits[0]: delete and comment are given",
        ),
        (
            '[[strip.edits]]\npath = "/a"\nmatch = "("\ndelete = true',
            "error: 1.toml:11: strip.edits[0].match: not a regular expression: missing )",
        ),
        (
            '[[strip.edits]]\npath = "/a"\nmatch = "x"\nreplace = \'\\1\'',
            "1.toml:12: strip.edits[0].replace: not a regular expression: invalid group reference 1",
        ),
        ('[configure.files]\n"/a" = {}', 'configure.files."/a": says nothing'),
        ('[configure.files]\n"/a" = { text = "", link = "b" }', 'files."/a": text and link are given'),
        ('[clean.files]\n"/a" = { mode = "0644", link = "b" }', 'clean.files."/a".mode: a link has no mode'),
        ('[configure.files]\n"/a".source = "files/a"', 'files."/a".source: files/a is not there'),
        (
            '[configure.files]\n"/a".text = "{relase}"',
            'warning: 1.toml:10: configure.files."/a".text: {relase} stays',
        ),
        ("[configure]\ncommands = [[]]", "configure.commands[0]: names no command"),
        ('[archives.tiny]\nmirrors = ["ftp://x"]', 'mirrors[0]: "ftp://x" is no address'),
        ('[archives.tiny]\nmodules = ["a:1"]', "archives.tiny.modules: has no effect with apt-deb"),
        (f'[archives.tiny]\nweak_keys = ["{KEY}"]', "weak_keys[0]: has no effect with apt-deb"),
        (f'[archives.tiny]\nweak_keys = ["{"A" * 40}"]', "weak_keys[0]: is none of the archive's keys"),
        ('[check]\nwaive.no-such = "why"', "error: 1.toml:10: check.waive.no-such: there is no such rule"),
        ('[check]\nwaive.udv = "why"', 'check.waive.udv: there is no such rule; did you mean "udev"?'),
        ('[check]\nwaive.udev = " "', "check.waive.udev: has no reason"),
        ("[check]\nunwanted_processes = ['[']", "check.unwanted_processes[0]: not a regular expression"),
    ],
)
def test_a_finding(tmp_path: Path, lines: str, wanted: str) -> None:
    (found,) = findings(tmp_path, f"{GOOD}{lines}\n", rules=("udev", "kernel"))
    assert wanted in found


@pytest.mark.parametrize(
    ("lines", "wanted"),
    [
        ("suffixes = []", "warning: 1.toml:8: leftovers.suffixes: names nothing"),
        ('suffixes = [""]', 'leftovers.suffixes[0]: "" would match too much'),
        ('suffixes = [".a"]\nunfinished = [".a"]', 'unfinished[0]: ".a" is in leftovers.suffixes too'),
    ],
)
def test_a_finding_in_leftovers(tmp_path: Path, lines: str, wanted: str) -> None:
    (found,) = findings(tmp_path, f"eol = 2030-01-01\n[leftovers]\n{lines}\n")
    assert wanted in found


def test_waivers_are_not_looked_at_without_the_rules(tmp_path: Path) -> None:
    assert findings(tmp_path, GOOD + '[check]\nwaive.anything = "why"\n') == []


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "no OpenPGP certificate"),
        (b"\x99\x01\x0d\x04short", "cut off"),
        (b"\xc6\x04\x06abc", "not of version 4"),
        (b"\xc2\x04\x04abc", "does not begin with a public key"),
        (b"-----BEGIN PGP PUBLIC KEY BLOCK-----\n\n%%\n-----END PGP", "no OpenPGP certificate"),
        (b"-----BEGIN PGP PUBLIC KEY BLOCK-----\n\nabcde\n-----END PGP", "the armor is damaged"),
    ],
)
def test_what_is_no_certificate_is_told(data: bytes, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        fingerprint_of(data)
