"""doctor: what this host can and cannot do, with the fix."""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from tmplbuild.cli.options import settings_of
from tmplbuild.cli.parser import Verbs
from tmplbuild.errors import HostError

if TYPE_CHECKING:
    from tmplbuild.config import Settings
    from tmplbuild.core.sysctls import Sysctl

# A recipe always limits these (recipes.model.Limits), so that no script can take the whole machine.
_LIMITED = ("limit memory", "limit pids")
_ROOM = 4 * 10**9  # bytes that the layers of one template with room to spare take


@dataclasses.dataclass(frozen=True, slots=True)
class Finding:
    """One thing looked at. `needed`: a build is impossible without it."""

    name: str
    works: bool
    why: str = ""
    fix: str = ""
    needed: bool = False


def add(verbs: Verbs) -> None:
    """Add the verb of this module."""
    parser = verbs.add_parser(
        "doctor",
        help="tell whether this host can build",
        description="Try, in a child process, what a build needs: privileges, namespaces, overlayfs, "
        "idmapped mounts, cgroup limits, room on the disk, writable directories, emulators of other "
        "processors. Says what is missing and "
        "how to mend it, and which settings of the kernel VEs with addresses want. Exit status 0: can build, "
        "4: cannot.",
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Look at this host."""
    from tmplbuild.core import Core, sysctls

    settings = settings_of(args)
    probe = Core(settings.run_dir).probe(_existing(settings.state_dir))
    found = [
        Finding(row.name, row.works, row.why, row.fix, needed=row.name in _LIMITED) for row in probe.features
    ]
    found += [*_places(settings), _foreign()]
    settings_of_kernel = sysctls.found()
    usable = probe.usable and all(row.works for row in found if row.needed)
    if args.json:
        print(
            json.dumps(
                {
                    "usable": usable,
                    "mode": probe.mode,
                    "mode_reason": probe.mode_reason,
                    "features": [dataclasses.asdict(row) for row in found],
                    "sysctls": [dataclasses.asdict(row) for row in settings_of_kernel],
                },
                indent=2,
            )
        )
    else:
        _show(found, usable, f"{probe.mode}: {probe.mode_reason}", args)
        _advise([row for row in settings_of_kernel if not row.is_set])
    return 0 if usable else HostError.exit_code


def _places(settings: Settings) -> list[Finding]:
    rows = []
    for name in ("template_cache", "cache_dir", "state_dir", "run_dir"):
        path: Path = getattr(settings, name)
        there = _existing(path)
        works = os.access(there, os.W_OK)
        free = shutil.disk_usage(there).free
        fix = f"make {there} writable, or name another place in /etc/tmplbuild/tmplbuild.toml ({name})"
        if works and name == "state_dir" and free < _ROOM:
            rows.append(Finding(name, False, f"{path}: only {free / 1e9:.1f} GB are free", "make room"))
        else:
            why = f"{path}, {free / 1e9:.1f} GB free" if works else f"{there} cannot be written"
            rows.append(Finding(name, works, why, fix, needed=True))
    return rows


def _foreign() -> Finding:
    """For which other processors templates can be built: of their programs an emulator must run."""
    from tmplbuild.core import foreign

    works, lacking = [], []
    for arch in filter(foreign.is_foreign, foreign.CPUS):
        try:
            works.append(f"{arch} ({foreign.emulator(arch).name})")
        except HostError as error:
            lacking.append(error)
    if not works:
        return Finding("other processors", False, lacking[0].why, lacking[0].hint)
    return Finding("other processors", True, ", ".join(works))


def _existing(path: Path) -> Path:
    """The directory itself, or the nearest one above that is there."""
    while not path.is_dir():
        path = path.parent
    return path


def _advise(missing: list[Sysctl]) -> None:
    if missing:
        print("\nfor many VEs, or VEs with addresses, put these lines into /etc/sysctl.d/99-vz.conf,")
        print("then run `sysctl --system`:")
        width = max(len(row.line) for row in missing)
        print(*(f"  {row.line:<{width}}  # now {row.found}: {row.why}" for row in missing), sep="\n")


def _show(found: list[Finding], usable: bool, mode: str, args: argparse.Namespace) -> None:
    from tmplbuild.ui.style import Ink, is_unicode, wants_colour
    from tmplbuild.ui.words import printable

    ink = Ink(wants_colour(sys.stdout, args.color))
    good, bad = ("✔", "✘") if is_unicode(sys.stdout) else ("+", "x")
    width = max(len(row.name) for row in found)
    for row in found:
        mark = ink(good, "green") if row.works else ink(bad, "red" if row.needed else "yellow")
        print(f"{mark} {row.name:<{width}}  {printable(row.why)}".rstrip())
        if not row.works and row.fix:
            print(f"  {'':<{width}}  {ink('fix:', 'cyan')} {printable(row.fix)}")
    print(f"\nlayers: {printable(mode)}" if usable else "")
    print(ink("this host can build", "green") if usable else ink("this host cannot build", "red", "bold"))
