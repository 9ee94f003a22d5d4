"""Packing one tree: against `tar | gzip -6` and `tar | pigz -6`, and against itself the night after.

    python -m benchmarks.pack [--tree DIR] [--runs 5] [--level N]

The first comparison is of the packer at gzip's own level; the second, at the level of recipes, whose
members a build compresses ahead and keeps (docs/adr/0007-pack-ahead.md): "nothing changed" is then also
what packing takes when all was compressed ahead.

Without --tree, a Debian tree is made by mmdebstrap from this machine's apt sources, once, and kept
in --place. All runs are pinned to the same two CPUs. Exit status 1 if a goal is missed.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import zlib
from functools import partial
from pathlib import Path

from benchmarks.ratio import Way, compare, holds, peak_kib
from tmplbuild.archives.mirrors import host_mirror
from tmplbuild.artifact.members import MemberCache
from tmplbuild.artifact.pack import Packed, pack
from tmplbuild.core.tree import Tree
from tmplbuild.events import silent
from tmplbuild.managers.dpkg import listed_paths
from tmplbuild.recipes.model import Pack as PackSection

EPOCH = 1_750_000_000
INCLUDE = (
    "bash-completion,bind9-dnsutils,bzip2,ca-certificates,cron,curl,dbus,file,ifupdown,iputils-ping,less,"
    "locales,logrotate,lsof,man-db,nano,net-tools,openssh-server,perl,python3,rsyslog,strace,systemd-sysv,"
    "tcpdump,telnet,traceroute,vim-tiny,wget,xz-utils"
)
CHANGED = (
    "openssl",
    "libssl3",
    "curl",
    "libcurl4",
    "openssh-server",
    "openssh-client",
    "tzdata",
    "perl-base",
)


def make_tree(place: Path) -> Path:
    """A Debian 12 tree of some 240 packages; made once."""
    tree = place / "tree"
    if not tree.exists():
        draft = place / "tree.draft"
        subprocess.run(["rm", "-rf", "--one-file-system", draft], check=True)
        mirror = host_mirror("debian")
        if mirror is None:
            raise SystemExit("no Debian archive is named in /etc/apt: give --tree DIR")
        argv = ["nice", "mmdebstrap", "--variant=important", f"--include={INCLUDE}", "bookworm"]
        subprocess.run([*argv, draft, mirror], check=True)
        draft.rename(tree)
    return tree


def ours(tree: Path, target: Path, level: int, members: MemberCache | None) -> Packed:
    """What a build does: read the package database, pack."""
    with Tree(tree) as opened, open(target, "wb") as out:
        return pack(
            opened,
            out,
            epoch=EPOCH,
            owners=listed_paths(opened),
            level=level,
            members=members,
            jobs=2,
            emit=silent,
        )


def piped(tree: Path, target: Path, compressor: str) -> list[str]:
    """`tar | COMPRESSOR` with the options that make a comparable archive."""
    options = "--numeric-owner --xattrs --xattrs-include=security.capability --format=pax --sort=name"
    options += " --pax-option=delete=atime,delete=ctime"
    return ["bash", "-o", "pipefail", "-c", f'tar {options} -C "{tree}" -c . | {compressor} > "{target}"']


def updated(tree: Path, copy: Path) -> list[str]:
    """A hard-linked copy in which some packages have new files, as after an upgrade; their names.

    Every file of the packages in `CHANGED` gets another last byte.
    """
    subprocess.run(["cp", "-al", tree, copy], check=True)
    with Tree(copy) as opened:
        owners = listed_paths(opened)
    found = set()
    for path, package in owners.items():
        file = copy / path.lstrip("/")
        if package in CHANGED and file.is_file() and not file.is_symlink():
            data = file.read_bytes()
            state = file.stat()
            draft = file.with_name(file.name + ".new")
            draft.write_bytes(data[:-1] + bytes([data[-1] ^ 1]) if data else b"new")
            draft.chmod(state.st_mode & 0o7777)
            draft.rename(file)
            found.add(package)
    return sorted(found)


def against_peers(tree: Path, work: Path, level: int, runs: int) -> bool:
    """The full pack, nothing kept, against both pipelines."""
    mine, by_gzip, by_pigz = work / "ours.tar.gz", work / "gzip.tar.gz", work / "pigz.tar.gz"
    found = compare(
        f"pack to tar.gz, nothing kept (level {level}, 2 CPUs)",
        [
            Way("tmplbuild", partial(ours, tree, mine, level, None)),
            Way("tar | gzip -6", piped(tree, by_gzip, "gzip -6")),
            Way("tar | pigz -6 -p 2", piped(tree, by_pigz, "pigz -6 -p 2")),
        ],
        runs=runs,
    )
    for one in found:
        print(f"  {one.name:18} kept {one.cpu / one.wall:.2f} CPUs busy")  # ours under 1.9: others had them
    own = mine.stat().st_size
    for path in (mine, by_gzip, by_pigz):
        print(f"  {path.name:12} {path.stat().st_size:12,} bytes  {path.stat().st_size / own:.4f}x")
    good = [
        holds("times faster than gzip -6", found[1].wall / found[0].wall, at_least=5),
        holds("times faster than pigz -6", found[2].wall / found[0].wall, at_least=2),
        holds("size against gzip -6's", own / by_gzip.stat().st_size, at_most=1),
        holds("peak memory of this process, MiB", peak_kib() / 1024, at_most=200),
    ]
    return all(good)


def again(tree: Path, work: Path, level: int, runs: int) -> bool:
    """The night after: nothing changed, and some packages changed; whether the goals hold."""
    copy = work / "updated"
    names = updated(tree, copy)
    kept = MemberCache(work / "kept")
    ours(tree, work / "base.tar.gz", level, kept)
    one_night = work / "night"

    def put_back() -> None:
        shutil.rmtree(one_night, ignore_errors=True)
        shutil.copytree(kept.directory, one_night)

    def night() -> None:
        done = ours(copy, work / "night.tar.gz", level, MemberCache(one_night))
        counts.append((done.members, done.reused, done.size))

    counts: list[tuple[int, int, int]] = []
    found = compare(
        f"the night after (level {level}; {len(names)} packages changed: {', '.join(names)})",
        [
            Way("full, nothing kept", partial(ours, tree, work / "a.tar.gz", level, None)),
            Way("some packages changed", night, before=put_back),
            Way("nothing changed", partial(ours, tree, work / "b.tar.gz", level, kept)),
        ],
        runs=runs,
    )
    members, reused, size = counts[-1]
    changed = size - shared_bytes(work / "base.tar.gz", work / "night.tar.gz")
    print(f"  changed packages: {reused} of {members} members reused; a client that has the old file")
    print(f"  fetches {changed:,} of {size:,} bytes ({100 * changed / size:.1f} %)")
    by_gzip = (work / "gzip.tar.gz").stat().st_size
    ours(copy, work / "whole.tar.gz", level, None)
    same = (work / "whole.tar.gz").read_bytes() == (work / "night.tar.gz").read_bytes()
    print(f"  {'ok  ' if same else 'MISS'} the repacked file is the fully packed one, to the byte")
    good = [
        same,
        holds("full pack / repack", found[0].wall / found[1].wall, at_least=4),
        holds("size against gzip -6's", (work / "base.tar.gz").stat().st_size / by_gzip, at_most=0.96),
    ]
    return all(good)


def shared_bytes(old: Path, new: Path) -> int:
    """Bytes of `new` that lie in gzip members which `old` has too."""
    had = set(gzip_members(old))
    return sum(len(one) for one in gzip_members(new) if one in had)


def gzip_members(path: Path) -> list[bytes]:
    """The members of a .gz file, as they stand in it."""
    data, found = path.read_bytes(), []
    while data:
        one = zlib.decompressobj(wbits=31)
        one.decompress(data)
        found.append(data[: len(data) - len(one.unused_data)])
        data = one.unused_data
    return found


def main() -> int:
    """Run both comparisons."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.pack", description=__doc__)
    parser.add_argument("--tree", type=Path, help="the tree to pack (default: made by mmdebstrap)")
    parser.add_argument(
        "--place", type=Path, default=Path("/var/tmp/tmplbuild-bench"), help="where it is kept"
    )
    parser.add_argument("--runs", type=int, default=5, help="runs of each way (default 5)")
    parser.add_argument(
        "--level", type=int, default=6, help="of the first comparison, libdeflate's (default 6)"
    )
    asked = parser.parse_args()
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:2])
    asked.place.mkdir(parents=True, exist_ok=True)
    tree = asked.tree or make_tree(asked.place)
    with tempfile.TemporaryDirectory(dir=asked.place) as work:
        good = against_peers(tree, Path(work), asked.level, asked.runs)
        good &= again(tree, Path(work), PackSection().level, asked.runs)
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
