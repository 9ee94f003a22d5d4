"""Each package's own signature, FILE.asc: beside the signed list, which knows it by its MD5 alone."""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import partial

from tmplbuild.archives import openpgp
from tmplbuild.archives.fetch import Beside, Voucher
from tmplbuild.archives.model import Package
from tmplbuild.recipes.model import Archive


def vouchers(archives: Mapping[str, Archive], keys_dir: openpgp.KeysDir, now: float) -> dict[str, Voucher]:
    """What the packages of each archive have to pass whose recipe says that they are signed."""
    return {
        role: partial(_vouch, openpgp.Keyring(archive.keys, keys_dir, archive.weak_keys), now)
        for role, archive in archives.items()
        if archive.signed != "index"
    }


def _vouch(keys: openpgp.Keyring, now: float, package: Package, fd: int, beside: Beside) -> None:
    content = os.pread(fd, os.fstat(fd).st_size, 0)
    what = f"the package {package.name}"
    keys.verify_detached(content, beside(".asc", b""), now=now, where=package.filename, what=what)
