"""The kinds of values that a recipe has, and the base of its sections."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

Path = Annotated[str, Meta(pattern="^/", description="an absolute path in the tree")]
Glob = Annotated[
    str,
    Meta(pattern="^/", description="an absolute path in the tree; *, ?, [..] within a name, ** any depth"),
]
Seconds = Annotated[int, Meta(ge=1, description="seconds")]
Mode = Annotated[str, Meta(pattern="^[0-7]{3,4}$", description="permission bits, octal")]
Text = Annotated[str, Meta(extra={"braces": True})]
"""Free text: words in braces that are no placeholders are text, not mistakes."""
Fingerprint = Annotated[
    str, Meta(pattern="^[0-9A-F]{40}$", description="an OpenPGP fingerprint, 40 hex digits")
]
KeyId = Annotated[
    str,
    Meta(
        pattern="^([0-9A-F]{40}|[0-9a-f]{64})$",
        description="an OpenPGP fingerprint, 40 hex digits, or the SHA-256 of an RSA public key, 64",
    ),
]
ModuleStream = Annotated[
    str,
    Meta(
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._+-]*:[A-Za-z0-9][A-Za-z0-9._+-]*$",
        description="a module and its stream, such as postgresql:16",
    ),
]
Sha256 = Annotated[str, Meta(pattern="^[0-9a-f]{64}$", description="a SHA-256, 64 hex digits")]
Url = Annotated[
    str,
    Meta(
        pattern="^(https?|file)://.*/[^/?#]+$",
        description="a file's address: http://, https:// or file://",
    ),
]
Role = Annotated[
    str,
    Meta(pattern="^[a-z0-9][a-z0-9.-]*$", description="an archive's role: lower case, digits, dots, dashes"),
]
Word = Annotated[
    str,
    Meta(pattern="^[a-z0-9][a-z0-9._-]*$", description="a name: lower case, digits, dots, dashes"),
]
SecretReference = Annotated[
    str,
    Meta(
        pattern="^(secret:[a-z0-9][a-z0-9._-]*)?$",
        description="the name of a secret, such as secret:deploy-password",
    ),
]
FileName = Annotated[
    str,
    Meta(
        pattern=r"^[A-Za-z0-9{][A-Za-z0-9._+{}-]*$",
        description="a file name of letters, digits, dots, dashes and underscores",
    ),
]

NAME = "{distro}-{release}-{ve_arch}"
"""What a template is called where its recipe does not say."""


class Section(msgspec.Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    """Base of all sections."""
