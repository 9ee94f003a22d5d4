"""What is done about configuration after an upgrade."""

from __future__ import annotations

from typing import Literal

from tmplbuild.recipes.kinds import Glob, Path, Section


class Leftovers(Section, frozen=True, kw_only=True):
    """Configuration that an upgrade left beside the one in use.

    What is found is decided by its cause (who changed the file in use), recorded, and removed. The
    recipe's own files and edits are made again on new versions; other changes are merged.

    Keys:
        roots: directories that are searched. Outside /etc only what a package calls its configuration
            is decided about; the rest is reported and stays.
        managers: package managers whose leftovers are known by name, and so are names that only their
            unfinished transactions leave, which fail the build.
        suffixes: further endings.
        unfinished: further endings that fail the build.
        on_conflict: of changes that cannot be merged, what stays: the file in use (with a warning), the
            package's new version (with a warning), or neither: the build fails.
        keyed: files whose lines have a key, of which none is lost: passwd and its kin (passwd, group,
            shadow, gshadow, subuid, subgid, shells, services, by name).
        machine_state: files that are the machine's own and no package's; what is in use stays.
        secrets: files whose content is not shown in a report; nor is that of files that not all may read.
    """

    roots: tuple[Path, ...] = ("/",)
    managers: tuple[Literal["dpkg", "ucf", "rpm", "pacman", "apk", "slackware"], ...] = ()
    suffixes: tuple[str, ...] = ()
    unfinished: tuple[str, ...] = ()
    on_conflict: Literal["keep", "new", "fail"] = "keep"
    keyed: tuple[Glob, ...] = (
        "/etc/passwd",
        "/etc/group",
        "/etc/shadow",
        "/etc/gshadow",
        "/etc/subuid",
        "/etc/subgid",
        "/etc/shells",
        "/etc/services",
        "/etc/tcb/*/shadow",
    )
    machine_state: tuple[Glob, ...] = (
        "/etc/adjtime",
        "/etc/fstab",
        "/etc/hostname",
        "/etc/hosts",
        "/etc/ld.so.cache",
        "/etc/localtime",
        "/etc/mtab",
        "/etc/resolv.conf",
    )
    secrets: tuple[Glob, ...] = (
        "/etc/shadow",
        "/etc/gshadow",
        "/etc/tcb/**",
        "/etc/**/*key*",
        "/etc/**/*secret*",
        "/etc/**/*.pem",
        "/etc/ppp/*-secrets",
    )
