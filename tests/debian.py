"""The real Debian archive, for tests: as a recipe's section, and as a private apt sees it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tmplbuild.recipes.model import Archive

ROOT = Path(__file__).resolve().parents[1]


def debian_keys() -> Path:
    """The directory of Debian's certificates."""
    return ROOT / "recipes/debian/keys"


def debian_archives(codename: str) -> dict[str, Archive]:
    """The `archives` section of a Debian release, every key of Debian accepted."""
    keys = tuple(sorted(path.stem for path in debian_keys().glob("*.asc")))
    suites = {"debian": (codename, f"{codename}-updates"), "debian-security": (f"{codename}-security",)}
    return {
        role: Archive(
            mirrors=("host", f"http://deb.debian.org/{role}"),
            public=f"http://deb.debian.org/{role}",
            suites=names,
            components=("main",),
            keys=keys,
        )
        for role, names in suites.items()
    }


def private_apt(
    place: Path, sources: Sequence[tuple[str, str, str]], extra: str = "", arch: str = "amd64"
) -> Path:
    """An apt of its own below `place`, that knows nothing of the machine's: the path of its APT_CONFIG.

    Parameters:
        sources: address, suite and components of each entry.
        extra: further configuration.
    """
    folders = [
        "etc/apt/apt.conf.d",
        "etc/apt/preferences.d",
        "etc/apt/sources.list.d",
        "etc/apt/trusted.gpg.d",
    ]
    folders += ["var/lib/apt/lists/partial", "var/cache/apt/archives/partial", "var/lib/dpkg"]
    for folder in folders:
        (place / folder).mkdir(parents=True, exist_ok=True)
    (place / "var/lib/dpkg/status").touch()
    for key in debian_keys().glob("*.asc"):
        (place / "etc/apt/trusted.gpg.d" / key.name).write_bytes(key.read_bytes())
    rows = [f"deb {address} {suite} {components}\n" for address, suite, components in sources]
    (place / "etc/apt/sources.list").write_text("".join(rows))
    config = place / "apt.conf"
    config.write_text(
        f'Dir "{place}"; Dir::State::status "{place}/var/lib/dpkg/status"; APT::Architecture "{arch}";\n'
        f'APT::Architectures "{arch}"; APT::Sandbox::User ""; APT::Install-Recommends "0";\n'
        f'Acquire::Languages "none"; {extra}\n'
    )
    return config
