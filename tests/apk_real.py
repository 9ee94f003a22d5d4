"""The real apk, where somebody has built it: not in Debian, so tests that ask it are skipped without.

git clone https://gitlab.alpinelinux.org/alpine/apk-tools; make LUA=no   → TMPLBUILD_APK=.../src/apk
"""

from __future__ import annotations

import gzip
import io
import os
import re
import subprocess
import tarfile
from collections.abc import Iterable, Sequence
from pathlib import Path

APK = os.environ.get("TMPLBUILD_APK", "")


def tarball(files: dict[str, bytes]) -> bytes:
    """A gzip member with these files in a tar that has no end, as abuild makes them."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size, info.mtime, info.mode = len(data), 1_700_000_000, 0o644
            tar.addfile(info, io.BytesIO(data))
        end = tar.offset
    return gzip.compress(out.getvalue()[:end], mtime=0)


def chosen(place: Path, stanzas: Iterable[str], names: Sequence[str]) -> set[str] | None:
    """NAME-VERSION of what the real apk would install from an unsigned list; None where it refuses."""
    repo = place / "repo/x86_64"
    repo.mkdir(parents=True, exist_ok=True)
    text = "\n".join(f"{stanza}\n" for stanza in stanzas).encode()
    (repo / "APKINDEX.tar.gz").write_bytes(tarball({"DESCRIPTION": b"test", "APKINDEX": text}))
    root = place / "root"
    root.mkdir(exist_ok=True)
    words = [APK, "--root", root, "--arch", "x86_64", "--allow-untrusted", "--no-network", "add"]
    words += ["--repositories-file", "/dev/null", "--repository", place / "repo"]
    subprocess.run([*words, "--initdb"], capture_output=True, check=True)
    words += ["--simulate", *names]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode:
        return None
    return {f"{name}-{number}" for name, number in re.findall(r"Installing (\S+) \((\S+)\)", done.stdout)}
