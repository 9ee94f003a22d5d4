"""OpenVZ's configuration files: read as a shell reads them, edited without losing anything."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tmplbuild import vzconf

TEXT = """\
# global
VIRTUOZZO=yes
  export TEMPLATE=/vz/template   # where
VE_PRIVATE="$TEMPLATE/private/$VEID"
IPTABLES="ipt_REJECT ipt_tos \\
ipt_limit"
odd() { echo; }
NAME='it''s $HOME'
NAME=last # wins
"""


def values(text: str) -> dict[str, str | None]:
    return {found.name: found.value for found in vzconf.assignments(text)}


def test_values_are_those_that_a_shell_has(tmp_path: Path) -> None:
    found = values(TEXT)
    assert found["TEMPLATE"] == "/vz/template"
    assert found["VE_PRIVATE"] == "/vz/template/private/$VEID"
    assert found["NAME"] == "last"
    file = tmp_path / "conf"
    file.write_text(TEXT.replace("$VEID", "V"))
    script = f'. {file}; printf "%s|%s|%s" "$VE_PRIVATE" "$IPTABLES" "$NAME"'
    shell = subprocess.run(["/bin/sh", "-c", script], capture_output=True, text=True, check=True).stdout
    ours = values(file.read_text())
    assert shell == "|".join(str(ours[name]) for name in ("VE_PRIVATE", "IPTABLES", "NAME"))


@given(st.dictionaries(st.from_regex(r"\A[A-Z_][A-Z0-9_]{0,5}\Z"), st.text(
    st.characters(codec="utf-8", exclude_characters="\0\r"), max_size=12), max_size=5))  # fmt: skip
def test_what_is_written_is_read_again(wanted: dict[str, str]) -> None:
    wanted = {name: value.replace("$VEID", "").replace("${VEID}", "") for name, value in wanted.items()}
    assert values(vzconf.edited("# a comment\n", dict(wanted))) == wanted


@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash: apt-get install bash")
def test_a_shell_reads_what_we_write() -> None:
    value = "a \"b\" 'c' $HOME `id` \\ d"
    text = vzconf.edited("", {"X": value})
    done = subprocess.run(["bash", "-c", f'{text}printf %s "$X"'], capture_output=True, text=True, check=True)
    assert done.stdout == value


def test_an_edit_keeps_comments_order_and_unknown_keys() -> None:
    after = vzconf.edited(TEXT, {"TEMPLATE": "/new", "NEW": "x y", "NAME": None, "ABSENT": None})
    assert after == (
        TEXT.replace("/vz/template   #", '"/new"   #')
        .replace("NAME='it''s $HOME'\n", "")
        .replace("NAME=last # wins\n", "")
        + 'NEW="x y"\n'
    )


def test_a_value_of_several_lines_is_replaced_whole() -> None:
    assert vzconf.edited('A=1\nB="x\ny"\nC=2\n', {"B": "z"}) == 'A=1\nB="z"\nC=2\n'


def test_the_last_of_two_gets_the_value_and_the_other_goes() -> None:
    assert vzconf.edited("A=1\n# c\nA=2", {"A": "3"}) == '# c\nA="3"'


def test_open_quotes_are_told_and_can_be_mended(tmp_path: Path) -> None:
    file = tmp_path / "conf"
    file.write_text('A="open\nB=2\n')
    with pytest.raises(vzconf.Malformed, match="conf:1: A: no closing quotation"):
        vzconf.read(file, ["A"])
    assert vzconf.read(file, ["B"]) == {"B": ("2", 2)}
    assert vzconf.edited(file.read_text(), {"A": "x"}) == 'A="x"\nB=2\n'
