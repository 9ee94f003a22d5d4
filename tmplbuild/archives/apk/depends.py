"""Dependencies of Alpine's packages: `name`, `name>=1.2`, `so:libc.so.1`, `!name<2`; parted by blanks."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

from tmplbuild.archives.apk import version

_ITEM = re.compile(
    r"(?P<no>!?)(?P<name>[^\s!<>=~@]+)(?P<tag>@[^\s<>=~]+)?(?:(?P<op>[<>=~]+)(?P<version>\S+))?\Z"
)
_OPERATORS = frozenset({"<", "<=", "<~", "=", "~", "=~", "~=", ">~", ">=", ">"})


@dataclass(frozen=True, slots=True)
class Dep:
    """One of them; `conflict`: what must not be there. Without an operator any version fits."""

    name: str
    op: str = ""
    version: str = ""
    conflict: bool = False

    def __str__(self) -> str:
        return f"{'!' * self.conflict}{self.name}{self.op}{self.version}"

    def fits(self, provided: str) -> bool:
        """Whether it allows a provider of its name in this version ("" for one that has none)."""
        if not self.op:
            return not self.conflict
        if not provided:
            return self.conflict
        return version.satisfies(provided, self.op, self.version) != self.conflict


@lru_cache(maxsize=65536)
def parse(field: str) -> tuple[Dep, ...]:
    """All of a field. Raises ValueError for what is none."""
    return tuple(map(_dep, field.split()))


def _dep(text: str) -> Dep:
    found = _ITEM.match(text)
    if found is None:
        raise ValueError(f"not a dependency: {text!r}")
    op, bound = found["op"] or "", found["version"] or ""
    if op and (op not in _OPERATORS or not version.is_version(bound)):
        raise ValueError(f"not a dependency: {text!r}")
    return Dep(found["name"], op, bound, bool(found["no"]))
