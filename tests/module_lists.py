"""Lists of modules (modules.yaml) as distributions publish them: modulemd version 2, and default streams."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence


def stream(
    title: str,
    packages: Iterable[str],
    *,
    version: int = 1,
    needs: Mapping[str, Sequence[str]] | None = None,
    plain: Iterable[str] = (),
    context: str = "abcd1234",
) -> str:
    """A document about a stream.

    Parameters:
        title: MODULE:STREAM.
        packages: as NAME-EPOCH:VERSION-RELEASE.ARCH.
        needs: streams by module.
        plain: names of packages that left the module.
    """
    module, _, name = title.partition(":")
    requires = {"platform": ["el9"], **{key: list(value) for key, value in (needs or {}).items()}}
    gone = f"  demodularized:\n    rpms: {json.dumps(list(plain))}\n" if plain else ""
    return (
        f"---\ndocument: modulemd\nversion: 2\ndata:\n  name: {module}\n  stream: {json.dumps(name)}\n"
        f"  version: {version}\n  context: {context}\n  arch: x86_64\n  summary: {module}\n"
        f"  description: >-\n    {module},\n    folded\n  license:\n    module: [MIT]\n    content: [MIT]\n"
        f"  dependencies:\n  - buildrequires:\n      platform: [el9]\n    requires: {json.dumps(requires)}\n"
        f"{gone}  artifacts:\n    rpms: {json.dumps(list(packages))}\n...\n"
    )


def default(title: str, modified: int = 202001010000) -> str:
    """A document that makes a stream its module's default one."""
    module, _, name = title.partition(":")
    return (
        f"---\ndocument: modulemd-defaults\nversion: 1\ndata:\n  module: {module}\n  modified: {modified}\n"
        f"  stream: {json.dumps(name)}\n  profiles: {{}}\n...\n"
    )
