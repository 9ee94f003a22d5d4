"""Secrets by name. A recipe says `secret:NAME`; what it stands for is found on the machine that builds.

It is looked for in this order:

    1. the environment          TMPLBUILD_SECRET_NAME, in capitals, dashes and dots as underscores
    2. a credential of systemd  $CREDENTIALS_DIRECTORY/NAME (systemd.exec(5), LoadCredential=)
    3. a file                   /etc/tmplbuild/secrets/NAME, or below $TMPLBUILD_SECRETS; it may be read by
                                its owner alone

One newline at the end of a file is no part of it. Only `Secret.text` and `Secret.data` give the value away:
it is in no repr, no comparison and no message; who prints what a command said puts a `Veil` before it.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tmplbuild.errors import HostError

PLACE = Path("/etc/tmplbuild/secrets")
PREFIX = "secret:"
NAME = r"[a-z0-9][a-z0-9._-]*"
"""How a secret may be called."""

_ENVIRONMENT = "TMPLBUILD_SECRET_"
_LARGEST = 1 << 20
_SHORTEST_HIDDEN = 4  # a shorter one is found by chance in everything
_MASK = b"***"


@dataclass(frozen=True, slots=True)
class Secret:
    """A secret that was found; `origin` tells where."""

    name: str
    origin: str
    data: bytes = field(repr=False, compare=False)

    @property
    def text(self) -> str:
        """The value as text. Raises HostError for one that is no UTF-8."""
        try:
            return self.data.decode()
        except UnicodeDecodeError:
            raise HostError(f"the secret {self.name} is no text", where=self.origin) from None


def name_of(reference: str) -> str | None:
    """The name in `secret:NAME`; None for a text that is no such reference."""
    name = reference.removeprefix(PREFIX)
    return name if name != reference and re.fullmatch(NAME, name) else None


def names(environ: Mapping[str, str] | None = None) -> list[str]:
    """The names of the secrets that this machine has, as `plain` has them."""
    environ = os.environ if environ is None else environ
    folders = [environ.get("CREDENTIALS_DIRECTORY"), environ.get("TMPLBUILD_SECRETS") or str(PLACE)]
    found = [path.name for folder in folders if folder for path in _entries(Path(folder))]
    variables = [name for name, value in environ.items() if name.startswith(_ENVIRONMENT) and value]
    found += [name.removeprefix(_ENVIRONMENT).lower() for name in variables]
    return sorted({plain(name) for name in found if re.fullmatch(NAME, name)})


def plain(name: str) -> str:
    """A name without what its variable does not tell: dashes and dots are underscores."""
    return re.sub("[.-]", "_", name)


def _entries(folder: Path) -> list[Path]:
    try:
        return list(folder.iterdir())
    except OSError:  # not there, or not for us
        return []


def find(name: str, environ: Mapping[str, str] | None = None) -> Secret:
    """The secret of that name.

    Parameters:
        environ: the environment; os.environ if not given.

    Raises HostError where there is none, where it is empty, or where others may read its file.
    """
    environ = os.environ if environ is None else environ
    variable = variable_of(name)
    if value := environ.get(variable, ""):
        return Secret(name, f"${variable}", value.encode("utf-8", "surrogateescape"))
    folder = environ.get("CREDENTIALS_DIRECTORY")
    # systemd has seen to who may read a credential
    if folder and (found := _read(name, Path(folder) / name, private=False)):
        return found
    place = Path(environ.get("TMPLBUILD_SECRETS") or PLACE)
    if found := _read(name, place / name, private=True):
        return found
    raise HostError(
        f"there is no secret {name}",
        where=f"${variable}, {'$CREDENTIALS_DIRECTORY, ' if folder else ''}{place / name}",
        hint=f"install -m 600 /dev/stdin {place / name}, then type it and end with Ctrl-D",
    )


def text_of(reference: str) -> str:
    """The text of the secret that `secret:NAME` names. Raises as `find` does."""
    return find(reference.removeprefix(PREFIX)).text


def variable_of(name: str) -> str:
    """The variable of the environment that may hold the secret."""
    return _ENVIRONMENT + plain(name).upper()


def _read(name: str, path: Path, *, private: bool) -> Secret | None:
    try:
        # a pipe or a terminal of that name must not keep the build waiting
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise HostError(
            f"the secret {name} cannot be read", where=str(path), why=str(error.strerror)
        ) from error
    try:
        about = os.fstat(fd)
        if not stat.S_ISREG(about.st_mode):
            raise HostError(f"the secret {name} is no file", where=str(path))
        if private and about.st_mode & 0o077:
            raise HostError(
                f"others may read the secret {name}",
                where=str(path),
                why=f"its mode is {stat.S_IMODE(about.st_mode):04o}",
                hint=f"chmod 600 {path}, and change the secret if somebody may have seen it",
            )
        with open(fd, "rb", closefd=False) as file:
            data = file.read(_LARGEST + 1)
    finally:
        os.close(fd)
    if len(data) > _LARGEST:
        raise HostError(f"the secret {name} is larger than {_LARGEST >> 20} MiB", where=str(path))
    data = data.removesuffix(b"\n")
    if not data:
        raise HostError(f"the secret {name} is empty", where=str(path))
    return Secret(name, str(path), data)


class Veil:
    """Takes the values of secrets, and each of their lines, out of a stream of bytes: *** stands in their
    place. What is so short that it is found by chance (below 4 bytes) stays."""

    def __init__(self, secrets: Iterable[Secret]) -> None:
        values = {line for one in secrets for line in (one.data, *one.data.splitlines())}
        self._values = sorted((v for v in values if len(v) >= _SHORTEST_HIDDEN), key=len, reverse=True)
        self._held = b""

    def feed(self, data: bytes) -> bytes:
        """What may be shown now; the end is held back for as long as it may be the beginning of a value."""
        text = self._hidden(self._held + data)
        keep = max((self._begun(text, value) for value in self._values), default=0)
        self._held = text[len(text) - keep :]
        return text[: len(text) - keep]

    def end(self) -> bytes:
        """What was held back."""
        rest, self._held = self._held, b""
        return rest

    @property
    def longest(self) -> int:
        """The length of the longest value, bytes."""
        return max(map(len, self._values), default=0)

    def hides(self, text: bytes) -> bool:
        """Whether a text holds a value."""
        return any(value in text for value in self._values)

    def _hidden(self, text: bytes) -> bytes:
        for value in self._values:
            text = text.replace(value, _MASK)
        return text

    @staticmethod
    def _begun(text: bytes, value: bytes) -> int:
        """How many bytes at the end of the text are the beginning of the value."""
        longest = min(len(text), len(value) - 1)
        return next((size for size in range(longest, 0, -1) if text.endswith(value[:size])), 0)
