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

from tmplbuild.recipes.additions import Hook, Login, Overlay, User, Variant
from tmplbuild.recipes.afterwards import Leftovers
from tmplbuild.recipes.archive import Archive as Archive
from tmplbuild.recipes.kinds import (
    NAME,
    FileName,
    Fingerprint,
    Glob,
    Mode,
    Path,
    Role,
    Seconds,
    Section,
    Sha256,
    Text,
    Url,
    Word,
)


class Image(Section, frozen=True, kw_only=True):
    """What the template is.

    Keys:
        distro: the distribution, in lower case ("debian").
        release: its release as people number it ("12").
        suite: the release's name in the archive ("bookworm").
        arches: architectures in the distribution's own words (amd64, i386); the first is the default.
        name: the template's name without suffix. OpenVZ's form is DISTRO-RELEASE-ARCH.
        title: one line for people.
        eol: day on which the last support ends; `recipe lint` warns before it.
        rolling: a release that never ends, so that it has no `eol`.
    """

    distro: str
    release: str
    suite: str
    arches: Annotated[tuple[str, ...], Meta(min_length=1)]
    name: FileName = NAME
    title: str = ""
    eol: datetime.date | None = None
    rolling: bool = False


class Bootstrap(Section, frozen=True, kw_only=True):
    """What the tree begins with: the smallest system that can configure itself, shared by all recipes of the
    same suites; or one that somebody has packed.

    A packed tree is verified by `sha256` or by a signed list of digests beside it (`keys`), then unpacked
    and upgraded in a booted VE: it must have an init, and a package manager that knows the archives.

    Keys:
        method: how it is made; "deb", "apt-rpm", "rpm-md", "apk", "alpm" and "slackware" unpack packages
            without the host's package manager; "tarball" takes a root file system of this very release at
            `urls`; "template" takes the template of an earlier release (the recipe `upgrade.from`), which
            lies in the template cache or at `urls`, and upgrades it to this one.
        priorities: packages of these priorities are taken, beside the Essential ones.
        include: further packages.
        background: as in `install`.
        ready: as in `install`.
        merged_usr: make /bin, /sbin and /lib links into /usr before the first package is unpacked.
        urls: addresses of the tarball, tried in order; MIRROR=rootfs=ADDRESS names another directory.
        sha256: the tarball's digest; for a template of the cache, where no manifest of ours beside it
            tells it.
        sums: the file beside the tarball that lists SHA-256 digests, as sha256sum(1) writes them.
        signature: the file beside it with the detached signature of `sums`.
        keys: fingerprints of the primary keys that may sign `sums`; the certificates lie in
            keys/FINGERPRINT.asc beside the recipe or its parent.
        timeout_s: longest time that the packages' own scripts may take.
    """

    method: Literal["deb", "apt-rpm", "rpm-md", "apk", "alpm", "slackware", "tarball", "template"]
    priorities: tuple[str, ...] = ("required",)
    include: tuple[str, ...] = ()
    background: tuple[str, ...] = ()
    ready: tuple[str, ...] = ()
    merged_usr: bool = True
    urls: tuple[Url, ...] = ()
    sha256: Annotated[str, Meta(pattern="^([0-9a-f]{64})?$", description="a SHA-256, 64 hex digits")] = ""
    sums: FileName = "SHA256SUMS"
    signature: FileName = "SHA256SUMS.gpg"
    keys: tuple[Fingerprint, ...] = ()
    timeout_s: Seconds = 900


class Install(Section, frozen=True, kw_only=True):
    """The packages of this template.

    Keys:
        packages: what is installed, with all that it depends on.
        files: packages beside the recipe by their paths, of which nobody's signature is asked; what they
            depend on comes from the archives. Each must be newer than what these have of its name (with
            "slackpkg" they must have none).
        digests: the sha256 that each of `files` must have, by its path; what lies there, if not given.
        exclude: never taken, even where something recommends it; where something needs it, it is an error.
        prefer: of several packages that satisfy a dependency the first one named here is taken.
        recommends: take what packages recommend, too.
        first: packages whose scripts and triggers run before the others' (with what they need).
        idle: programs that do nothing when the packages' own scripts call them: those whose work is done
            again, or thrown away, later. With words after it: only calls whose arguments begin so.
        background: programs, or packages' own scripts where the package manager keeps them, that go on in
            the background: those that take long, make no users, and whose work no other script looks at.
        ready: programs in Perl that packages' own scripts call often: what they load is loaded once.
        timeout_s: longest time that the packages' own scripts may take.
    """

    packages: tuple[str, ...] = ()
    files: tuple[str, ...] = ()
    digests: dict[str, Sha256] = {}
    exclude: tuple[str, ...] = ()
    prefer: tuple[str, ...] = ()
    recommends: bool = False
    first: tuple[str, ...] = ()
    idle: tuple[str, ...] = ()
    background: tuple[str, ...] = ()
    ready: tuple[str, ...] = ()
    timeout_s: Seconds = 1800


class File(Section, frozen=True, kw_only=True):
    """A file, directory or link that is made. Give one of `text`, `source`, `link` and `directory`.

    Keys:
        text: what the file holds.
        source: the file beside the recipe (or its parent) whose content it gets.
        link: what the symbolic link points to.
        directory: make a directory; one that is there keeps what it holds.
        mode: permission bits; 0644 for a file, 0755 for a directory.
        uid: owner, a number.
        gid: group, a number.
    """

    text: Text | None = None
    source: str | None = None
    link: str | None = None
    directory: bool = False
    mode: Mode | None = None
    uid: int = 0
    gid: int = 0


class Edit(Section, frozen=True, kw_only=True):
    """A change to lines of a file; nothing happens where the file is not there. Give one of `replace`,
    `delete`, `comment` for the lines that match, or `append`.

    Keys:
        path: the file.
        match: a Python regular expression, searched in each line.
        replace: what takes the place of the part that matched; \\1 is its first group.
        delete: remove the lines.
        comment: put # before the lines, unless it is there.
        append: a line that is added at the end, unless the file has it.
    """

    path: Path
    match: Text = ""
    replace: Text | None = None
    delete: bool = False
    comment: bool = False
    append: Text = ""


class Configure(Section, frozen=True, kw_only=True):
    """What makes the tree this template: sources list, files, edits, commands.

    Keys:
        sources: how the package manager's list of archives is written: "deb822" is a
            /etc/apt/sources.list.d/NAME.sources, "list" is /etc/apt/sources.list, "apt-rpm" is
            /etc/apt/sources.list.d/NAME.list with each vendor's fingerprints in vendors.list.d, "dnf" is
            /etc/yum.repos.d/NAME.repo with the pinned certificates in /etc/pki/rpm-gpg, "zypper" the
            same in /etc/zypp/repos.d, "apk" is /etc/apk/repositories, "pacman" is
            /etc/pacman.d/mirrorlist, "slackpkg" is /etc/slackpkg/mirrors.
        overlays: directories beside the recipe whose files are taken, by name.
        files: files by path; they outweigh those of overlays.
        edits: changes to lines, in order.
        users: accounts by name.
        commands: argument lists, run one after the other inside the tree, isolated, without init.
        timeout_s: longest time that one command may take.
    """

    sources: Literal["deb822", "list", "apt-rpm", "dnf", "zypper", "apk", "pacman", "slackpkg"] = "deb822"
    overlays: dict[str, Overlay] = {}
    files: dict[Path, File] = {}
    edits: tuple[Edit, ...] = ()
    users: dict[Login, User] = {}
    commands: tuple[tuple[Text, ...], ...] = ()
    timeout_s: Seconds = 300


class Strip(Section, frozen=True, kw_only=True):
    """What a container must not have.

    Keys:
        purge: packages removed with their configuration, if they are installed.
        mask: systemd units that are masked, whether they are there or not.
        disable: systemd units whose enabling links go.
        rc_disable: sysvinit services whose start links become stop links.
        remove: paths that go.
        edits: changes to lines, in order.
        timeout_s: longest time that removing the packages may take.
    """

    purge: tuple[str, ...] = ()
    mask: tuple[str, ...] = ()
    disable: tuple[str, ...] = ()
    rc_disable: tuple[str, ...] = ()
    remove: tuple[Glob, ...] = ()
    edits: tuple[Edit, ...] = ()
    timeout_s: Seconds = 300


class Clean(Section, frozen=True, kw_only=True):
    """What use leaves behind. It runs before the live upgrade and after it.

    Keys:
        truncate: files that are emptied; owner and mode stay.
        empty: directories whose content goes.
        remove: paths that go.
        files: files that are then put into their neutral state (machine-id, resolv.conf).
    """

    truncate: tuple[Glob, ...] = ()
    empty: tuple[Glob, ...] = ()
    remove: tuple[Glob, ...] = ()
    files: dict[Path, File] = {}


class Upgrade(Section, frozen=True, kw_only=True, rename={"from_": "from"}):
    """The dist-upgrade in the booted VE, and how an earlier release is brought to this one.

    The keys from `from` to `after` count only where this release is made out of an earlier one's
    template: by `tmplbuild upgrade`, or with bootstrap.method = "template". The order then is: package
    lists, `before`, `first`, `minimal`, dist-upgrade, packages of the recipe that are still missing,
    autoremove, `after`.

    Keys:
        manager: the package manager's table.
        mask: systemd units masked while it runs, by links in /run: the template keeps none.
        idle: programs that do nothing when packages' scripts call them: those whose work stage clean removes
            again. Where the program's own package moves, it is left as it is.
        autoremove: remove what was pulled in and nothing needs any more.
        boot_timeout_s: longest time until the init says that it is ready.
        timeout_s: longest time that one command of the package manager may take.
        stop_timeout_s: longest time for a clean stop.
        from: the recipe of the release that this one can be made out of ("debian-12").
        before: argument lists, run one after the other in the VE before anything is upgraded.
        first: packages that are upgraded before all others (the package manager itself).
        minimal: then upgrade what can be upgraded without new packages and without removing any.
        after: argument lists, run one after the other in the VE at the end.
        compare: the recipe whose last good build the result is compared with, where it was not made of
            packages.
    """

    manager: Literal["apt-deb", "apt-rpm", "dnf", "zypper", "apk", "pacman", "slackpkg"]
    mask: tuple[str, ...] = ()
    idle: tuple[str, ...] = ()
    autoremove: bool = True
    boot_timeout_s: Seconds = 120
    timeout_s: Seconds = 3600
    stop_timeout_s: Seconds = 90
    from_: str = ""
    before: tuple[tuple[Text, ...], ...] = ()
    first: tuple[str, ...] = ()
    minimal: bool = False
    after: tuple[tuple[Text, ...], ...] = ()
    compare: str = ""


class Check(Section, frozen=True, kw_only=True):
    """The lint of the finished tree, and its boot test.

    The boot test creates a VE from the tree that is packed, gives it a host name, an address and a name
    server, wants no failed unit, installs a package, stops it, and boots it again.

    Keys:
        waive: reason why a rule does not hold here, by the rule's id.
        network: way in which the boot test gives the VE an address.
        unwanted_processes: regular expressions that no process's command line may match.
        install: packages that the boot test installs.
        boot: whether the boot test is done.
        boot_timeout_s: longest time until the init says that it is ready.
    """

    waive: dict[str, str] = {}
    network: Literal["ifupdown", "networkd", "etcnet", "slackware", "none"] = "none"
    unwanted_processes: tuple[str, ...] = ()
    install: tuple[str, ...] = ()
    boot: bool = True
    boot_timeout_s: Seconds = 120


class Pack(Section, frozen=True, kw_only=True):
    """How the tree becomes NAME.tar.gz.

    Keys:
        level: of compression, by libdeflate: from fast (1) to small (12). What is packed once is kept, so
            that a high level costs time only in the first build; 10 is 4.5 % smaller than gzip -6.
    """

    level: Annotated[int, Meta(ge=1, le=12)] = 10


class Delta(Section, frozen=True, kw_only=True):
    """What one consumer's files have otherwise than the template; it is applied when they are packed.

    Keys:
        remove: paths that are left out, with all that is below them.
        files: files by path, in place of those of the template or beside them.
    """

    remove: tuple[Path, ...] = ()
    files: dict[Path, File] = {}


class Publish(Section, frozen=True, kw_only=True):
    """What the consumers of a mirror get otherwise. NAME.tar.gz is always the template itself.

    Keys:
        proxmox: the .tar.zst, for Proxmox VE.
        lxc: rootfs.tar.xz, for LXC; Incus and LXD may take it, too.
        incus: the squashfs, for Incus and LXD.
        oci: the layer of the OCI archive.
        wsl: the .wsl file, for Windows.
    """

    proxmox: Delta = Delta()
    lxc: Delta = Delta()
    incus: Delta = Delta()
    oci: Delta = Delta()
    wsl: Delta = Delta()


class Limits(Section, frozen=True, kw_only=True):
    """What a VE of the build may use.

    Keys:
        memory_mib: memory, MiB.
        pids: processes and threads.
        cpus: processors, which may be a fraction.
        disk_mib: what one stage may write, MiB.
        wall_s: longest time that one VE may run, as a stage has it.
        idle_s: longest time that it may run without using a processor.
    """

    memory_mib: Annotated[int, Meta(ge=64)] = 4096
    pids: Annotated[int, Meta(ge=32)] = 4096
    cpus: Annotated[float, Meta(gt=0)] | None = None
    disk_mib: Annotated[int, Meta(ge=64)] | None = None
    wall_s: Seconds | None = None
    idle_s: Seconds | None = None


class Recipe(Section, frozen=True, kw_only=True):
    """A whole recipe, flattened: `extends` resolved, placeholders filled for one architecture.

    Keys:
        image: what the template is.
        archives: where packages come from, by role.
        bootstrap: the smallest system.
        install: packages.
        configure: files, edits, commands.
        strip: what goes.
        clean: what is made neutral.
        upgrade: the live dist-upgrade.
        leftovers: configuration beside the one in use.
        check: lint and boot test.
        pack: compression.
        publish: what the consumers of a mirror get otherwise.
        limits: of the VEs that build.
        hooks: executables that run between stages, by name, in the order in which they stand.
        variants: templates of their own that differ by features.
        rebuild_after_days: days after which a base is built anew rather than upgraded again.
    """

    image: Image
    archives: Annotated[dict[Role, Archive], Meta(min_length=1)]
    bootstrap: Bootstrap
    install: Install = Install()
    configure: Configure = Configure()
    strip: Strip = Strip()
    clean: Clean = Clean()
    upgrade: Upgrade
    leftovers: Leftovers = Leftovers()
    check: Check = Check()
    pack: Pack = Pack()
    publish: Publish = Publish()
    limits: Limits = Limits()
    hooks: dict[Word, Hook] = {}
    variants: dict[Word, Variant] = {}
    rebuild_after_days: Annotated[int, Meta(ge=1)] = 7


def plain(section: Section) -> dict[str, Any]:
    """A section as JSON values: what layer keys and manifests are made of."""
    value: dict[str, Any] = msgspec.to_builtins(section)
    return value
