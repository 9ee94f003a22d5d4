"""The example of docs/core.md runs."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.core_trees import debian, layers

pytestmark = [pytest.mark.root, pytest.mark.trees, pytest.mark.live]


def test_the_example(tmp_path: Path) -> None:
    page = Path(__file__).resolve().parents[2] / "docs/core.md"
    blocks = re.findall(r"```python\n(.*?)```", page.read_text(), re.DOTALL)
    assert len(blocks) == 1
    layers(tmp_path)
    code = blocks[0].replace("/run/mine", str(tmp_path / "run")).replace("/var/lib/mine", str(tmp_path))
    exec(compile(code, str(page), "exec"), {"BASE": debian("systemd"), "LAYER": tmp_path})
