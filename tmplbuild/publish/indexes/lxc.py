"""meta/1.0/index-system and index-user for LXC's download template (lxc/lxc:templates/lxc-download.in).

Lines of distribution, release, architecture, variant, build and directory. Only the current build is named:
the template takes the line, not the newest.
"""

from __future__ import annotations

from tmplbuild.publish.indexes.catalog import Catalog

NAMES = ("meta/1.0/index-system", "meta/1.0/index-user")


def files(catalog: Catalog) -> dict[str, bytes]:
    """Both lists; what a system and a user can run is the same."""
    lines = [
        f"{build.distro};{build.release};{build.arch};{build.variant};{build.build};/{build.folder}/\n"
        for build in catalog.state.current()
        if build.file("lxc") and build.file("tar.xz")
    ]
    return dict.fromkeys(NAMES, "".join(lines).encode())
