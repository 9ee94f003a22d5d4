"""Packages into a tree, the part that bootstrap and install share.

Three moves: the package files become prepared ones and a plan; the tree is filled and dpkg's
database says "unpacked"; then the tree's own dpkg configures them in a VE without init. Nothing of
the host's package manager takes part, and nothing that a script starts outlives the VE.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path

from tmplbuild.archives.deb.prepared import is_prepared, prepare
from tmplbuild.archives.model import Package
from tmplbuild.core.crew import share
from tmplbuild.core.tree import Tree
from tmplbuild.errors import StageError
from tmplbuild.events import Progress
from tmplbuild.managers import dpkgdb
from tmplbuild.managers.debpackage import DebPackage, understand
from tmplbuild.managers.debplan import settle
from tmplbuild.managers.debunpack import unpack
from tmplbuild.managers.dpkg import ADMIN, installed
from tmplbuild.stages.context import Ctx, Shell

ENV = {
    "LC_ALL": "C",  # as fast as can be: thousands of short programs read no locale
    "DEBIAN_FRONTEND": "noninteractive",
    "DEBCONF_NONINTERACTIVE_SEEN": "true",
    "TERM": "dumb",
}
_POLICY = "/usr/sbin/policy-rc.d"
_DENY = "#!/bin/sh\n# Services are not started while the tree is made.\nexit 101\n"
# its database is locked by whoever asks it (debconf-devel(7)); a second one would not wait
TAKE_TURNS = ("/usr/share/debconf/frontend",)
_WAITING = f"{ADMIN}/tmplbuild"
# One shell runs them all. tmp.ci is dpkg's own place for the control members of the package at hand, where
# debconf looks, too.
_RUN_PREINST = f"""\
cd /
export DPKG_MAINTSCRIPT_NAME=preinst DPKG_MAINTSCRIPT_PACKAGE_REFCOUNT=1 DPKG_ADMINDIR={ADMIN} DPKG_ROOT=
while read -r DPKG_MAINTSCRIPT_PACKAGE DPKG_MAINTSCRIPT_ARCH; do
    export DPKG_MAINTSCRIPT_PACKAGE DPKG_MAINTSCRIPT_ARCH
    ln -sfn {_WAITING}/"$DPKG_MAINTSCRIPT_PACKAGE" {ADMIN}/tmp.ci || exit
    {ADMIN}/tmp.ci/preinst install < /dev/null || {{
        status=$?
        echo "preinst of $DPKG_MAINTSCRIPT_PACKAGE: exit status $status"
        exit $status
    }}
done
"""
_PREINST_FAILED = re.compile(r"preinst of (\S+): (exit status \d+)$")
# What a run leaves that says when it was, or which machine it is: the same packages, the same tree.
_TRACES = (
    "/var/log/dpkg.log",
    "/var/log/alternatives.log",
    "/var/log/apt/history.log",
    "/var/log/apt/term.log",
    "/var/cache/ldconfig/aux-cache",
    "/var/lib/dbus/machine-id",
)
# preinst scripts that the others rely on: they make /etc/passwd and the directories of the tree
_FIRST = ("base-passwd", "base-files")
_FAILED = re.compile(r"dpkg: error processing package (\S+) \(--configure\):")
_SCRIPT = re.compile(r"(?:installed|new) (\S+) package (\S+) script subprocess (.*)")


def understood(ctx: Ctx, packages: Sequence[Package]) -> list[DebPackage]:
    """Each package's prepared form, made where it is missing; sorted by name.

    Raises what fetching, verifying and preparing raise.
    """
    ctx.emit(Progress("prepare the packages"))
    files = [(package, ctx.package_file(package)) for package in packages]
    new = [(package, file) for package, file in files if not is_prepared(file)]
    # the largest first, so that no process is left with one at the end
    new.sort(key=lambda item: -item[0].size)
    share(lambda item: _prepare(*item), new, _workers())
    made = [understand(package, prepare(file, package.sha256)) for package, file in files]
    return sorted(made, key=lambda package: package.instance)


def _prepare(package: Package, file: Path) -> None:
    prepare(file, package.sha256)


def fill(
    ctx: Ctx, tree: Tree, packages: Sequence[DebPackage], auto: frozenset[str], aliases: dict[str, str]
) -> None:
    """Unpack `packages` and register them as unpacked; `aliases` as `debplan.settle` wants them."""
    ctx.emit(Progress(f"unpack {len(packages)} packages"))
    rules = dpkgdb.read_rules(tree)
    plan = settle(packages, aliases, rules.diversions)
    outcome = unpack(
        tree.fd,
        packages,
        plan,
        rules=rules,
        installed=lambda: dpkgdb.read_installed(tree),
        workers=_workers(),
    )
    dpkgdb.register(tree, packages, plan.lost, outcome, ctx.epoch)
    dpkgdb.mark_automatic(tree, auto, ctx.arch)


def aliases_of(tree: Tree) -> dict[str, str]:
    """The top directories that are links into /usr."""
    found: dict[str, str] = {}
    for name in tree.listdir("/"):
        if tree.is_link(f"/{name}"):
            target = tree.readlink(f"/{name}").strip("/")
            if target == f"usr/{name}":
                found[name] = target
    return found


def wait_with_scripts(tree: Tree, packages: Sequence[DebPackage]) -> None:
    """Lay out the control members of packages whose preinst `run_preinst` is to run."""
    for package in packages:
        for name, member in package.prepared.control.items():
            tree.write(f"{_WAITING}/{package.name}/{name}", member.content, mode=member.mode)


def run_preinst(shell: Shell, packages: Sequence[DebPackage], timeout_s: float) -> None:
    """Run the preinst scripts, those of `_FIRST` first, then by name (dpkg(1), deb-preinst(5)).

    Raises StageError naming the package.
    """
    if not packages:
        return
    ordered = sorted(packages, key=lambda one: one.name not in _FIRST)
    names = "".join(f"{package.name} {package.arch}\n" for package in ordered).encode()
    try:
        shell.run(
            ["/bin/sh", "-c", _RUN_PREINST],
            what="run the packages' preinst scripts",
            env=ENV,
            stdin=names,
            timeout_s=timeout_s,
        )
    except StageError as error:
        failed = _PREINST_FAILED.search(error.tail[-1] if error.tail else "")
        if failed is None:
            raise
        raise _blamed(
            error, f"the preinst script of package {failed[1]} failed", failed[1], failed[2]
        ) from error


def configure(
    shell: Shell, timeout_s: float, only: Sequence[DebPackage] | None = None, *, triggers: bool = True
) -> None:
    """Have the tree's dpkg configure all that is unpacked, or `only` these.

    Parameters:
        triggers: run those that are pending, too; otherwise they wait.

    Raises StageError naming the package and the script that failed, with the end of its output.
    """
    # the first failure ends it: what it said is then the end of the output
    argv = ["dpkg", "--log=/dev/null", "--abort-after=1", "--force-confdef", "--force-confold"]
    argv += [] if triggers else ["--no-triggers"]
    if only is None:
        argv += ["--configure", "--pending"]
    elif only:
        argv += ["--configure", *(package.instance for package in only)]
    else:
        return
    try:
        shell.run(argv, what="configure the packages", env=ENV, timeout_s=timeout_s)
    except StageError as error:
        raise _named(error) from error


def begin(tree: Tree) -> None:
    """Make the tree such that no script starts a service (invoke-rc.d(8), policy-rc.d)."""
    tree.write(_POLICY, _DENY, mode=0o755)


def end(tree: Tree) -> None:
    """What scripts may do again after `begin`."""
    tree.remove(_POLICY)


def finish(tree: Tree, packages: Sequence[DebPackage]) -> None:
    """Take away what only the run needed, and see that every package is configured."""
    end(tree)
    tree.remove(_WAITING)
    tree.remove(f"{ADMIN}/tmp.ci")
    for path in _TRACES:
        tree.remove(path)
    if tree.is_file("/etc/machine-id"):
        tree.write("/etc/machine-id", b"", mode=0o644)
    wrong = [f"{one.name} ({one.state})" for one in installed(tree) if one.state != "installed"]
    missing = {one.name for one in packages} - {one.name for one in installed(tree)}
    if wrong or missing:
        raise StageError("not all packages are configured", why=", ".join([*wrong, *sorted(missing)]))


def _named(error: StageError) -> StageError:
    """The error with the package and script that dpkg's output names."""
    text = "\n".join(error.tail)
    package, script = _FAILED.search(text), _SCRIPT.search(text)
    if package is None:
        return error
    what = f"package {package[1]} could not be configured"
    if script is not None:
        what = f"the {script[2]} script of package {script[1]} failed"
    return _blamed(error, what, package[1], script[3] if script is not None else error.why)


def _blamed(error: StageError, what: str, package: str, why: str) -> StageError:
    return StageError(what, where=package, why=why, hint=error.hint, log=error.log, tail=error.tail)


def _workers() -> int:
    return max(1, min(4, len(os.sched_getaffinity(0))))
