"""What names in rpm's database mean, whoever reads it: the tree's own rpm (`rpm`), or `rpmdb`, as files."""

from __future__ import annotations

PUBKEY = "gpg-pubkey"
"""What rpm lists an imported key as."""


def source_of(name: str) -> str:
    """The source package of a SOURCERPM ("bash-5.2-alt1.src.rpm" is of bash)."""
    return name.rsplit("-", 2)[0]
