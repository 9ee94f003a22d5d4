"""What a recipe may say: the types that TOML is decoded into, and nothing else.

Every struct refuses unknown keys. The docstrings are the reference: `tmplbuild recipe schema`
exports them as JSON Schema. A stage is handed its own section and nothing more, so that what it
cannot see cannot influence it (the section is part of its layer's key; see `tmplbuild.engine`).
"""

from __future__ import annotations

import datetime
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

Path = Annotated[str, Meta(pattern="^/", description="an absolute path in the tree")]
Glob = Annotated[
    str,
    Meta(pattern="^/", description="an absolute path in the tree; *, ?, [..] within a name, ** any depth"),
]
Seconds = Annotated[int, Meta(ge=1, description="seconds")]
Mode = Annotated[str, Meta(pattern="^[0-7]{3,4}$", description="permission bits, octal")]
Text = Annotated[str, Meta(extra={"braces": True})]
"""Free text: words in braces that are no placeholders are text, not mistakes."""
Fingerprint = Annotated[str, Meta(pattern="^[0-9A-F]{40}$", description="OpenPGP fingerprint, 40 hex digits")]

NAME = "{distro}-{release}-{ve_arch}"
"""What a template is called where its recipe does not say."""


class Section(msgspec.Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    """Base of all sections."""


class Image(Section, frozen=True, kw_only=True):
    """What the template is.

    `distro`, `release`, `suite` and `arch` may be written as {distro} ... in any other string of
    the recipe. `name` is the template's name without suffix; {ve_arch} is OpenVZ's word for the
    architecture (x86_64, x86, aarch64). `arches` are the distribution's own words, the first the
    default.
    """

    distro: str
    release: str
    suite: str
    arches: Annotated[tuple[str, ...], Meta(min_length=1)]
    name: str = NAME
    title: str = ""
    eol: datetime.date | None = None


class Archive(Section, frozen=True, kw_only=True):
    """One upstream package archive.

    `mirrors` are tried in order; "host" is the address that this machine's own apt sources name
    for this archive. `public` is the address that the template's own sources list gets (http, so
    that the build can serve it from verified bytes). `keys` are the fingerprints of the primary
    keys that may sign it; the certificates lie in `keys/FINGERPRINT.asc` beside the recipe.
    """

    mirrors: Annotated[tuple[str, ...], Meta(min_length=1)]
    public: Annotated[str, Meta(pattern="^http://")]
    suites: Annotated[tuple[str, ...], Meta(min_length=1)]
    components: Annotated[tuple[str, ...], Meta(min_length=1)]
    keys: Annotated[tuple[Fingerprint, ...], Meta(min_length=1)]


class Bootstrap(Section, frozen=True, kw_only=True):
    """The smallest system that can configure itself, shared by all recipes of the same suites.

    `include` are packages beside the Essential ones and those of `priorities`. `merged_usr`
    makes /bin, /sbin and /lib links into /usr before the first package is unpacked.
    """

    method: Literal["deb"]
    priorities: tuple[str, ...] = ("required",)
    include: tuple[str, ...] = ()
    merged_usr: bool = True
    timeout_s: Seconds = 900


class Install(Section, frozen=True, kw_only=True):
    """The packages of this template. `exclude` are never taken, even where something recommends them.

    `prefer` settles alternatives: of several packages that satisfy a dependency the first one
    named here is taken.
    """

    packages: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    prefer: tuple[str, ...] = ()
    recommends: bool = False
    timeout_s: Seconds = 1800


class File(Section, frozen=True, kw_only=True):
    """A file, directory or link that `configure` makes: give `text`, `source` (a file beside the
    recipe), `link` or `directory = true`. Owner root unless `uid`/`gid` say otherwise."""

    text: Text | None = None
    source: str | None = None
    link: str | None = None
    directory: bool = False
    mode: Mode | None = None
    uid: int = 0
    gid: int = 0


class Edit(Section, frozen=True, kw_only=True):
    """A change to lines of a file: each line that matches `match` (a Python regular expression,
    searched) is replaced by `replace` (with \\1 groups), or removed if `delete`, or turned into a
    comment if `comment`. Nothing happens where the file is not there. `append` is a line added at
    the end unless it is there."""

    path: Path
    match: Text = ""
    replace: Text | None = None
    delete: bool = False
    comment: bool = False
    append: Text = ""


class Configure(Section, frozen=True, kw_only=True):
    """What makes the tree this template: sources list, files, edits, commands.

    `sources` says how the package manager's list of archives is written ("deb822": one
    /etc/apt/sources.list.d/NAME.sources; "list": /etc/apt/sources.list). `commands` are argument
    lists run inside the tree, isolated, no init.
    """

    sources: Literal["deb822", "list"] = "deb822"
    files: dict[Path, File] = {}
    edits: tuple[Edit, ...] = ()
    commands: tuple[tuple[Text, ...], ...] = ()
    timeout_s: Seconds = 300


class Strip(Section, frozen=True, kw_only=True):
    """What a container must not have.

    `purge`: packages removed with their configuration if installed; `mask`: systemd units masked
    (whether they are there or not), `disable`: units whose enabling links go; `rc_disable`:
    sysvinit services whose start links go; `remove`: paths; `edits`: lines.
    """

    purge: tuple[str, ...] = ()
    mask: tuple[str, ...] = ()
    disable: tuple[str, ...] = ()
    rc_disable: tuple[str, ...] = ()
    remove: tuple[Glob, ...] = ()
    edits: tuple[Edit, ...] = ()
    timeout_s: Seconds = 300


class Clean(Section, frozen=True, kw_only=True):
    """What use leaves behind: `truncate` files (owner and mode kept), `empty` directories,
    `remove` paths; `files` are then put into their neutral state (machine-id, resolv.conf...)."""

    truncate: tuple[Glob, ...] = ()
    empty: tuple[Glob, ...] = ()
    remove: tuple[Glob, ...] = ()
    files: dict[Path, File] = {}


class Upgrade(Section, frozen=True, kw_only=True):
    """The dist-upgrade in the booted VE: `manager` names the package manager's table."""

    manager: Literal["apt-deb"]
    mask: tuple[str, ...] = ()
    autoremove: bool = True
    boot_timeout_s: Seconds = 120
    timeout_s: Seconds = 3600
    stop_timeout_s: Seconds = 90


class Leftovers(Section, frozen=True, kw_only=True):
    """Configuration that an upgrade left beside the one in use. `suffixes` are the endings looked
    for below `roots`; an unfinished transaction's (`unfinished`) fail the build."""

    roots: tuple[Path, ...] = ("/etc", "/usr", "/var/lib")
    suffixes: tuple[str, ...] = ()
    unfinished: tuple[str, ...] = ()


class Check(Section, frozen=True, kw_only=True):
    """The lint of the finished tree, and the boot test of the packed file.

    `waive` maps a rule's id to the reason why it does not hold here. The boot test creates a VE
    from the packed file, gives it a host name, an address and a name server in the way of
    `network`, wants no failed unit and no process that matches `unwanted_processes` (regular
    expressions on command lines), installs `install`, stops it, and boots it again.
    """

    waive: dict[str, str] = {}
    network: Literal["ifupdown", "none"] = "none"
    unwanted_processes: tuple[str, ...] = ()
    install: tuple[str, ...] = ()
    boot: bool = True
    boot_timeout_s: Seconds = 120


class Pack(Section, frozen=True, kw_only=True):
    """How the tree becomes NAME.tar.gz: `level` of libdeflate, 1 to 12."""

    level: Annotated[int, Meta(ge=1, le=12)] = 6


class Limits(Section, frozen=True, kw_only=True):
    """What a build VE may use: memory in MiB, processes, CPUs."""

    memory_mib: Annotated[int, Meta(ge=64)] = 4096
    pids: Annotated[int, Meta(ge=32)] = 4096
    cpus: Annotated[float, Meta(gt=0)] | None = None


class Recipe(Section, frozen=True, kw_only=True):
    """A whole recipe, flattened: `extends` resolved, placeholders filled for one architecture.

    `rebuild_after_days`: a base older than this is built anew rather than upgraded again.
    """

    image: Image
    archives: Annotated[dict[str, Archive], Meta(min_length=1)]
    bootstrap: Bootstrap
    install: Install = Install()
    configure: Configure = Configure()
    strip: Strip = Strip()
    clean: Clean = Clean()
    upgrade: Upgrade
    leftovers: Leftovers = Leftovers()
    check: Check = Check()
    pack: Pack = Pack()
    limits: Limits = Limits()
    rebuild_after_days: Annotated[int, Meta(ge=1)] = 7


def plain(section: Section) -> dict[str, Any]:
    """A section as JSON values: what layer keys and manifests are made of."""
    value: dict[str, Any] = msgspec.to_builtins(section)
    return value
