"""A night of three templates, killed at random instants, comes to the same templates and leaves nothing."""

from __future__ import annotations

import os
import random
import shutil
from contextlib import suppress
from pathlib import Path

import pytest

from tests.kills import Nights

pytestmark = [pytest.mark.root, pytest.mark.network, pytest.mark.live, pytest.mark.slow]

KILLS = int(os.environ.get("TMPLBUILD_TEST_KILLS", "12"))
"""`python -m benchmarks.kills` does it 200 times."""


def test_killed_at_random_instants(tmp_path: Path, packages: Path) -> None:
    seed = random.randrange(2**31)  # each failure names it
    own = tmp_path / "packages"  # other tests work in theirs meanwhile, and have files in the making there
    for file in packages.glob("packages/*/[0-9a-f]*"):
        (own / file.relative_to(packages)).parent.mkdir(parents=True, exist_ok=True)
        with suppress(OSError):
            os.link(file, own / file.relative_to(packages))
    nights = Nights(tmp_path / "shop", own, seed)
    nights.undisturbed()
    nights.until(KILLS)
    assert nights.kills >= KILLS
    shutil.rmtree(nights.shop.place)
