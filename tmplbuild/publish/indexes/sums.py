"""SHA256SUMS of the files with fixed names, for importctl and machinectl (systemd:src/import/pull-common.c).

systemd wants lines of digest, two blanks and name, and looks for SHA256SUMS beside the file; with
SHA256SUMS.gpg it verifies. Each build's own directory has the same for its dated files.
"""

from __future__ import annotations

from collections.abc import Iterable

from tmplbuild.publish.indexes.catalog import Catalog
from tmplbuild.publish.indexes.vztmpl import fixed

NAME = "SHA256SUMS"


def files(catalog: Catalog) -> dict[str, bytes]:
    """The sums at the mirror's root."""
    rows = [(name, file.sha256) for build in catalog.state.current() for name, file in fixed(build)]
    return {NAME: sums(rows)}


def sums(rows: Iterable[tuple[str, str]]) -> bytes:
    """Lines as sha256sum(1) writes them."""
    return "".join(f"{sha256}  {name}\n" for name, sha256 in sorted(rows)).encode()
