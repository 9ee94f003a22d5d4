"""A merged overlay packs as a plain copy of it does, though its inodes and devices are made up."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.pack_trees import as_packed, differences, facts, nasty_tree

ROOT = Path(__file__).parents[2]

CHANGE_AND_PACK = """
set -e
mount -t overlay overlay -o "lowerdir=$1,upperdir=$2,workdir=$3" "$4"
echo more >> "$4/usr/bin/uno"     # copied up: no longer linked with "one"
rm "$4/etc/block"                 # a whiteout in the upper directory
rm -r "$4/tmp"; mkdir "$4/tmp"    # an opaque directory
ln "$4/etc/over" "$4/etc/over-too"
"$6" -c 'import os, sys; os.setxattr(sys.argv[1], "user.note", b"changed")' "$4/usr/bin/two"
cp -a "$4" "$5"
exec "$6" -c "$7" "$4" "$8"
"""

PACK = """
import sys
from pathlib import Path
from tests.pack_trees import packed
packed(Path(sys.argv[1]), Path(sys.argv[2]))
"""


@pytest.mark.root
def test_a_merged_overlay_packs_as_its_copy(tmp_path: Path) -> None:
    lower, upper, work, merged, copy = (
        tmp_path / name for name in ("lower", "upper", "work", "merged", "copy")
    )
    nasty_tree(lower)
    for folder in (upper, work, merged):
        folder.mkdir()
    words = [lower, upper, work, merged, copy, sys.executable, PACK, tmp_path / "merged.tar.gz"]
    done = subprocess.run(
        ["unshare", "--mount", "sh", "-c", CHANGE_AND_PACK, "sh", *map(str, words)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    argv = [sys.executable, "-c", PACK, str(copy), str(tmp_path / "copy.tar.gz")]
    subprocess.run(argv, cwd=ROOT, check=True)
    (tmp_path / "out").mkdir()
    options = ("--numeric-owner", "--acls", "--xattrs", "--xattrs-include=*", "--delay-directory-restore")
    subprocess.run(["tar", *options, "-xpzf", tmp_path / "merged.tar.gz", "-C", tmp_path / "out"], check=True)
    assert differences(as_packed(copy), facts(tmp_path / "out")) == []
    assert (tmp_path / "merged.tar.gz").read_bytes() == (tmp_path / "copy.tar.gz").read_bytes()
