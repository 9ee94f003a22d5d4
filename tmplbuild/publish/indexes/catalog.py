"""What every index is made of."""

from __future__ import annotations

from dataclasses import dataclass

from tmplbuild.pubconf import PublishSettings
from tmplbuild.publish.model import Build, State


@dataclass(frozen=True, slots=True)
class Catalog:
    """A state that is to be served, and the settings. `key` is the armored certificate that signs, or b""."""

    state: State
    settings: PublishSettings
    key: bytes = b""

    def builds(self) -> tuple[Build, ...]:
        """All builds that indexes name: by template, newest first."""
        return tuple(build for name in self.state.templates() for build in self.state.listed(name))

    def absolute(self, path: str) -> str:
        """A path of the mirror as an address; as it is where no address is set."""
        return f"{self.settings.url}/{path}" if self.settings.url else path
