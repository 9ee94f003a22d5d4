"""The kernel's settings that VEs with addresses want."""

from __future__ import annotations

from pathlib import Path

from tmplbuild.core.sysctls import RECOMMENDED, found


def test_what_is_set_otherwise_is_told_with_the_line_to_set(tmp_path: Path) -> None:
    for row in RECOMMENDED:
        path = tmp_path / row.name.replace(".", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{row.wanted}\n")
    assert all(row.is_set for row in found(tmp_path))
    (tmp_path / "net/ipv4/ip_forward").write_text("0\n")
    assert [row.line for row in found(tmp_path) if not row.is_set] == ["net.ipv4.ip_forward = 1"]


def test_more_than_enough_is_well(tmp_path: Path) -> None:
    path = tmp_path / "fs/inotify/max_user_instances"
    path.parent.mkdir(parents=True)
    for value, is_set in (("128", False), ("2048", True), ("65536", True)):
        path.write_text(value)
        assert all(row.is_set for row in found(tmp_path)) == is_set


def test_a_kernel_without_a_setting_lacks_nothing(tmp_path: Path) -> None:
    assert all(row.is_set for row in found(tmp_path))
