"""apt and dpkg, as called in a VE: apt-get(8), apt.conf(5), dpkg(1)."""

from __future__ import annotations

from types import MappingProxyType

from tmplbuild.managers import Installed, Manager, Place, dpkg


def _progress(line: bytes) -> tuple[str, float] | None:
    """Reads apt's APT::Status-Fd lines: `pmstatus:PACKAGE:PERCENT:TEXT`."""
    kind, _, rest = line.partition(b":")
    if kind not in (b"pmstatus", b"dlstatus"):
        return None
    _, _, rest = rest.partition(b":")
    percent, _, text = rest.partition(b":")
    try:
        return text.decode("utf-8", "replace").strip(), min(float(percent) / 100, 1.0)
    except ValueError:
        return None


# The status goes to a descriptor of its own that leads to the same place: apt closes the one that it is
# told before it starts dpkg, which needs its output.
def _installed(place: Place) -> list[Installed]:
    with place.tree() as tree:
        return [Installed(one.name, one.version, one.arch, one.source) for one in dpkg.installed(tree)]


def _owners(place: Place) -> dict[str, str]:
    with place.tree() as tree:
        return dpkg.listed_paths(tree)


_APT = (
    *("sh", "-c", 'exec "$0" "$@" 3>&1'),
    "apt-get",
    "-q",
    "-y",
    *("-o", "APT::Status-Fd=3"),
    *("-o", "DPkg::Lock::Timeout=60"),
    *("-o", "Acquire::Retries=3"),
    *("-o", "Acquire::http::Timeout=30"),
    *("-o", "Acquire::Languages=none"),
    *("-o", "Dpkg::Use-Pty=false"),
    # a layer is synced to disk as a whole, or not used after a crash
    *("-o", "Dpkg::Options::=--force-unsafe-io"),
    *("-o", "Dpkg::Options::=--force-confdef"),
    *("-o", "Dpkg::Options::=--force-confold"),
)

TABLE = Manager(
    name="apt-deb",
    env=MappingProxyType(
        {
            "DEBIAN_FRONTEND": "noninteractive",
            "DEBIAN_PRIORITY": "critical",
            "DEBCONF_NONINTERACTIVE_SEEN": "true",
            "UCF_FORCE_CONFFOLD": "1",
            "NEEDRESTART_SUSPEND": "1",
            "APT_LISTCHANGES_FRONTEND": "none",
        }
    ),
    # Error-Mode: without it apt-get update ends with status 0 when every address failed
    update=(*_APT, "-o", "APT::Update::Error-Mode=any", "update"),
    download=(*_APT, "--download-only", "dist-upgrade"),
    upgrade=(*_APT, "dist-upgrade"),
    autoremove=(*_APT, "--purge", "autoremove"),
    clean=("apt-get", "clean"),
    audits=(("dpkg", "--audit"), ("apt-get", "-q", "check")),
    purge=("dpkg", "--purge"),
    install=(*_APT, "--no-install-recommends", "install"),
    minimal=(*_APT, "--without-new-pkgs", "upgrade"),
    no_recommends=("--no-install-recommends",),
    strict_autoremove=(
        *("-o", "APT::AutoRemove::RecommendsImportant=false"),
        *("-o", "APT::AutoRemove::SuggestsImportant=false"),
    ),
    recommends=("--install-recommends",),
    purging=("--purge",),
    manual=("apt-mark", "showmanual"),
    mark_auto=("apt-mark", "auto"),
    progress=_progress,
    installed=_installed,
    owners=_owners,
    listed=dpkg.listed_paths,
    silent=(("dpkg", "--audit"),),
)
