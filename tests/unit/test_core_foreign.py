"""Programs of other processors: what is told where they cannot run, and how QEMU is registered."""

from __future__ import annotations

import os
import platform
import struct
from pathlib import Path

import pytest

from tmplbuild.core import foreign
from tmplbuild.errors import HostError


def elf(path: Path, *, static: bool) -> Path:
    """The head of a 64-bit program, with or without the loader of shared libraries."""
    head = b"\x7fELF\x02\x01\x01" + bytes(9) + struct.pack("<HHIQQQ", 2, 62, 1, 0, 64, 0)
    head += struct.pack("<IHHHHHH", 0, 64, 56, 1, 0, 0, 0)
    path.write_bytes(head + struct.pack("<I", 1 if static else 3) + bytes(52))
    path.chmod(0o755)
    return path


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine of x86_64 with a new kernel, binfmt_misc, no registrations and no QEMU."""
    monkeypatch.setattr(platform, "machine", lambda: "x86_64")
    monkeypatch.setattr(platform, "release", lambda: "6.12.1-test")
    monkeypatch.setattr(foreign, "_PLACE", tmp_path / "binfmt")
    monkeypatch.setattr(foreign, "_kernel_has_it", lambda: True)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    (tmp_path / "bin").mkdir()
    (tmp_path / "binfmt").mkdir()
    return tmp_path


def test_what_is_foreign(host: Path) -> None:
    assert not foreign.is_foreign("x86_64")
    assert not foreign.is_foreign("x86"), "a 64-bit kernel runs them"
    assert foreign.is_foreign("aarch64")


def test_without_an_emulator_the_fix_is_told(host: Path) -> None:
    with pytest.raises(HostError, match="programs of aarch64 cannot be run") as caught:
        foreign.emulator("aarch64")
    assert caught.value.why == "qemu-aarch64-static is not installed"
    assert caught.value.hint == "apt-get install qemu-user-static"
    elf(host / "bin/qemu-aarch64", static=False)
    with pytest.raises(HostError):
        foreign.emulator("aarch64")  # its libraries are not in a VE


def test_a_new_kernel_gives_a_ve_a_registration_of_its_own(host: Path) -> None:
    elf(host / "bin/qemu-aarch64-static", static=True)
    found = foreign.emulator("aarch64")
    assert found.program == str(host / "bin/qemu-aarch64-static")
    # what Debian's qemu-user-static registers, but for the name and the interpreter
    assert found.line == (
        r":tmplbuild-aarch64:M::\x7f\x45\x4c\x46\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\xb7\x00"
        r":\xff\xff\xff\xff\xff\xff\xff\x00\xff\xff\xff\xff\xff\xff\xff\xff\xfe\xff\xff\xff:{}:OCPF"
    )


def test_numbers_are_in_the_processor_s_own_order() -> None:
    assert r"\x00\x02\x00\x16:" in foreign.registration(foreign.CPUS["s390x"])


def test_an_old_kernel_takes_what_the_host_has(host: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "release", lambda: "6.1.0-1-amd64")
    elf(host / "bin/qemu-aarch64-static", static=True)
    with pytest.raises(HostError) as caught:
        foreign.emulator("aarch64")
    assert "6.1.0-1-amd64" in caught.value.why
    assert "update-binfmts --enable qemu-aarch64" in caught.value.hint
    magic = "7f454c460201010000000000000000000200b700"
    row = host / "binfmt/qemu-aarch64"
    text = f"enabled\ninterpreter /usr/bin/x\nflags: {{}}\noffset 0\nmagic {magic}\nmask ff\n"
    row.write_text(text.format("OC"))
    with pytest.raises(HostError):
        foreign.emulator("aarch64")
    row.write_text(text.format("OCF"))
    assert foreign.emulator("aarch64") == foreign.Emulator("aarch64", "qemu-aarch64")
    row.write_text(text.format("OCF").replace("enabled", "disabled"))
    with pytest.raises(HostError):
        foreign.emulator("aarch64")


def test_an_unknown_processor_is_told(host: Path) -> None:
    assert foreign.is_foreign("loongarch64")
    with pytest.raises(HostError, match="programs of loongarch64"):
        foreign.emulator("loongarch64")


def test_a_file_that_is_no_program_is_passed_over(host: Path) -> None:
    path = host / "bin/qemu-aarch64-static"
    path.write_text("#!/bin/sh\n")
    os.chmod(path, 0o755)
    with pytest.raises(HostError):
        foreign.emulator("aarch64")
