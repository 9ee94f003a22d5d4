"""Writing dpkg's database (and apt's marks) as dpkg would leave it after unpacking.

The layout is dpkg's own (deb(5), deb-triggers(5), dpkg(1) FILES; its lib/dpkg/dump.c, infodb-*.c and
trigdeferred.c): `status`, `info/` with one file for each control member, a list and the
digests; `triggers/` with who is interested in what; `triggers/Unincorp` with what happened that
configured packages have yet to hear of. dpkg reads all of it when it configures the packages.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from tmplbuild.core.placing import Placer
from tmplbuild.core.tree import Tree
from tmplbuild.errors import StageError, VerifyError
from tmplbuild.managers.debpackage import DebPackage
from tmplbuild.managers.debunpack import Installed, Outcome, Rules
from tmplbuild.managers.dpkg import ADMIN, INFO, STATUS, diversions, installed

_TRIGGERS = f"{ADMIN}/triggers"
_EXTENDED_STATES = "/var/lib/apt/extended_states"
_NOT_KEPT = frozenset({"control"})
_INTERESTS = {"interest": "", "interest-await": "", "interest-noawait": "/noawait"}


def register(
    tree: Tree, packages: Sequence[DebPackage], lost: Sequence[frozenset[str]], outcome: Outcome, epoch: int
) -> None:
    """Enter `packages` as unpacked and not yet configured.

    Parameters:
        lost: by package, the relative paths that another package took over.
        outcome: what unpacking found in the tree.
        epoch: the time that files which come from no package get, seconds.

    Raises StageError for a package that is there already.
    """
    _make_folders(tree)
    before = tree.read_text(STATUS) if tree.is_file(STATUS) else ""
    present = {_instance(package.name, package.arch, package.multi_arch) for package in installed(tree)}
    for package in packages:
        if package.instance in present:
            raise StageError(f"package {package.name} is in the tree already", where=STATUS)
    with Placer(tree.fd) as placer:
        for package, gone in zip(packages, lost, strict=True):
            _write_info(placer, package, gone, epoch)
    for owner, paths in outcome.taken.items():
        _drop_from_list(tree, owner, paths)
    _add_triggers(tree, packages, was_configured=bool(present))
    stanzas = [_stanza(package, outcome.new_conffiles.get(package.instance, set())) for package in packages]
    text = before.rstrip("\n") + "\n\n" if before.strip() else ""
    tree.write(STATUS, text + "\n\n".join(stanzas) + "\n\n", mode=0o644)


def mark_automatic(tree: Tree, auto: frozenset[str], arch: str) -> None:
    """Tell apt which packages were only pulled in (extended_states; apt-mark(8)).

    Parameters:
        auto: their names; all others that are installed are wanted for themselves.
        arch: what stands for packages of architecture "all": the tree's own.
    """
    rows = [
        f"Package: {package.name}\n"
        f"Architecture: {arch if package.arch == 'all' else package.arch}\nAuto-Installed: 1\n\n"
        for package in installed(tree)
        if package.name in auto
    ]
    tree.write(_EXTENDED_STATES, "".join(rows), mode=0o644)


def read_installed(tree: Tree) -> Installed:
    """Whose each path of the tree is, by the lists of installed packages."""
    owner: dict[str, str] = {}
    versions = {
        _instance(package.name, package.arch, package.multi_arch): package.version
        for package in installed(tree)
    }
    for instance in versions:
        for line in _lines(tree, f"{INFO}/{instance}.list"):
            owner[line.strip("/")] = instance
    return Installed(owner, versions)


def read_rules(tree: Tree) -> Rules:
    """The tree's diversions and overrides. Raises StageError for an owner that the tree does not know."""
    diverted = {one.path.lstrip("/"): (one.to.lstrip("/"), one.package) for one in diversions(tree)}
    overrides: dict[str, tuple[int, int, int]] = {}
    users, groups = _ids(tree, "/etc/passwd"), _ids(tree, "/etc/group")
    for line in _lines(tree, f"{ADMIN}/statoverride"):
        parts = line.split(" ", 3)
        try:
            uid, gid = _id(parts[0], users), _id(parts[1], groups)
            overrides[parts[3].lstrip("/")] = (uid, gid, int(parts[2], 8))
        except (IndexError, KeyError, ValueError):
            raise StageError(
                "dpkg's database is damaged", where=f"{ADMIN}/statoverride", why=f"the line {line!r}"
            ) from None
    return Rules(diverted, overrides)


# -- the parts ---------------------------------------------------------------------------------------


def _make_folders(tree: Tree) -> None:
    for name in ("alternatives", "info", "parts", "triggers", "updates"):
        tree.mkdir(f"{ADMIN}/{name}")
    if not tree.is_file(f"{INFO}/format"):
        tree.write(f"{INFO}/format", "1\n", mode=0o644)
    for name in ("diversions", "triggers/Unincorp"):
        if not tree.is_file(f"{ADMIN}/{name}"):
            tree.write(f"{ADMIN}/{name}", b"", mode=0o644)


def _write_info(placer: Placer, package: DebPackage, lost: frozenset[str], epoch: int) -> None:
    head = f"{INFO.lstrip('/')}/{package.instance}"
    now = epoch * 1_000_000_000
    for name, member in sorted(package.prepared.control.items()):
        if name not in _NOT_KEPT:
            placer.file(
                f"{head}.{name}", (member.content,), mode=member.mode, uid=0, gid=0, mtime_ns=member.mtime_ns
            )
    placer.file(f"{head}.list", (_list(package, lost),), mode=0o644, uid=0, gid=0, mtime_ns=now)
    if "md5sums" not in package.prepared.control:
        # dpkg computes what the package leaves out
        placer.file(f"{head}.md5sums", (_md5sums(package),), mode=0o644, uid=0, gid=0, mtime_ns=now)


def _list(package: DebPackage, lost: frozenset[str]) -> bytes:
    paths = [f"/{entry.path}" if entry.path else "/." for entry in package.entries if entry.path not in lost]
    return _bytes("".join(f"{path}\n" for path in dict.fromkeys(paths)))


def _md5sums(package: DebPackage) -> bytes:
    sums = package.prepared.md5
    return _bytes(
        "".join(f"{sums[entry.path]}  {entry.path}\n" for entry in package.entries if entry.path in sums)
    )


def _drop_from_list(tree: Tree, owner: str, paths: set[str]) -> None:
    where = f"{INFO}/{owner}.list"
    kept = [line for line in _lines(tree, where) if line.lstrip("/") not in paths]
    tree.write(where, "".join(f"{line}\n" for line in kept))


def _stanza(package: DebPackage, new: set[str]) -> str:
    lines = [package.control, "Status: install ok unpacked"]
    rows = [_conffile_row(package, path, gone, path in new) for path, gone in package.conffiles().items()]
    if any(rows):
        lines += ["Conffiles:", *filter(None, rows)]
    return "\n".join(lines)


def _conffile_row(package: DebPackage, path: str, gone: bool, new: bool) -> str:
    if gone:
        return f" /{path} newconffile remove-on-upgrade"  # as dpkg notes it before and after it configures
    if path not in package.prepared.md5:
        return ""
    # "newconffile" is dpkg's word for one that still lies beside as .dpkg-new
    return f" /{path} {'newconffile' if new else package.prepared.md5[path]}"


def _add_triggers(tree: Tree, packages: Sequence[DebPackage], *, was_configured: bool) -> None:
    if was_configured:
        _tell_interested(tree, packages)
    by_name: dict[str, list[str]] = {}
    files: list[str] = []
    for package in packages:
        for word, name in _directives(package):
            if word not in _INTERESTS:
                continue
            who = package.instance + _INTERESTS[word]
            if name.startswith("/"):
                files.append(f"{name} {who}")
            else:
                by_name.setdefault(name, []).append(who)
    if files:
        where = f"{_TRIGGERS}/File"
        tree.write(where, "".join(f"{line}\n" for line in [*_lines(tree, where), *files]), mode=0o644)
    for name, interested in sorted(by_name.items()):
        where = f"{_TRIGGERS}/{name}"
        tree.write(where, "".join(f"{line}\n" for line in [*_lines(tree, where), *interested]), mode=0o644)


def _tell_interested(tree: Tree, packages: Sequence[DebPackage]) -> None:
    """Note the file triggers that unpacking activates, for those packages that are configured."""
    watched = {line.rpartition(" ")[0] for line in _lines(tree, f"{_TRIGGERS}/File")}
    touched: set[str] = set()
    for package in packages:
        for entry in package.entries:
            path = f"/{entry.path}"
            while path and path not in touched:
                touched.add(path)
                path = path.rpartition("/")[0]
    where = f"{_TRIGGERS}/Unincorp"
    # "-": nobody waits for it; the packages in question are all configured in the same run
    lines = [*_lines(tree, where), *(f"{name} -" for name in sorted(watched & touched))]
    tree.write(where, "".join(f"{line}\n" for line in lines), mode=0o644)


def _directives(package: DebPackage) -> Iterable[tuple[str, str]]:
    for line in package.script("triggers").decode("utf-8", "surrogateescape").splitlines():
        parts = line.partition("#")[0].split()
        if len(parts) == 2:
            word, name = parts
            if not name.startswith("/") and ("/" in name or name.startswith(".")):
                raise VerifyError("a package names an odd trigger", where=package.name, why=name)
            yield word, name


def _instance(name: str, arch: str, multi_arch: str) -> str:
    return f"{name}:{arch}" if multi_arch == "same" else name


def _lines(tree: Tree, path: str) -> list[str]:
    if not tree.is_file(path):
        return []
    return [line for line in tree.read_text(path).split("\n") if line]


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def _ids(tree: Tree, path: str) -> dict[str, int]:
    rows = [line.split(":") for line in _lines(tree, path)]
    return {row[0]: int(row[2]) for row in rows if len(row) > 2 and row[2].isdigit()}


def _id(name: str, known: Mapping[str, int]) -> int:
    return int(name[1:]) if name.startswith("#") else known[name]
