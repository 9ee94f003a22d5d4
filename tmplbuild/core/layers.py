"""From directories at rest to one mounted tree, as a descriptor that is attached nowhere.

`merged` is for files that are looked at or changed from outside, with their own ids, and needs no mount
point. `stacked` is for layers that have to be mounted themselves first, with a VE's owners or out of an
image: that takes a helper process with a mount namespace of its own, and goes with it. Mount options:
`index` and `metacopy` off, for a layer must hold whole files; `redirect_dir` off, for a layer must stay
readable without the mount that made it.
"""

from __future__ import annotations

import errno
import os
from contextlib import ExitStack

from tmplbuild.core import images, linux

_OPTIONS = tuple((name, "off") for name in ("index", "metacopy", "redirect_dir", "xino"))
_LONGEST = 255  # bytes of one option's value (fsconfig(2))


def private_mounts() -> None:
    """Give the calling process mounts of its own; the host's later ones still come through."""
    linux.unshare(linux.CLONE_NEWNS)
    linux.mount("none", "/", flags=linux.MS_REC | linux.MS_SLAVE)


def whole(directory: str, *, userns: int = 0) -> int:
    """A detached copy of the mount at `directory`, with its owners seen through `userns` (0: as they are)."""
    return _mapped(linux.open_tree(directory), userns)


def _mapped(fd: int, userns: int) -> int:
    if userns:
        try:
            linux.mount_setattr(fd, linux.MOUNT_ATTR_IDMAP, userns=userns)
        except OSError:
            os.close(fd)
            raise
    return fd


def merged(lower: list[str], upper: str, work: str, *, read_only: bool, volatile: bool = False) -> int:
    """A detached overlay mount of the layers, with owners as they are; the calling process's mounts
    and working directory stay as they were. Parameters as for `stacked`.

    More than fourteen layers need Linux 6.7.
    """
    if read_only and upper:
        lower, upper, work = [upper, *lower], "", ""
    if not upper and len(lower) == 1:
        return _frozen(whole(lower[0]))
    with ExitStack() as opened:

        def short(path: str) -> str:
            fd = os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
            opened.callback(os.close, fd)
            return f"/proc/self/fd/{fd}"

        paths = [short(path) for path in lower]
        together = ":".join(paths)
        options = list(_OPTIONS)
        if len(together) <= _LONGEST:
            options.append(("lowerdir", together))
        else:
            options += [("lowerdir+", path) for path in paths]
        if upper:
            options += [("upperdir", short(upper)), ("workdir", short(work))]
        flags = ("volatile",) if upper and volatile else ()
        attributes = 0 if upper else linux.MOUNT_ATTR_RDONLY
        fd = linux.new_mount("overlay", attributes, flags=flags, options=options)
    if upper and os.fstatvfs(fd).f_flag & os.ST_RDONLY:
        os.close(fd)
        raise _read_only(str(options))
    return fd


def stacked(
    lower: list[str],
    upper: str,
    work: str,
    scratch: str,
    *,
    image: str = "",
    userns: int = 0,
    uid: int = 0,
    read_only: bool,
    volatile: bool = False,
) -> int:
    """A detached overlay mount of the layers (kernel: Documentation/filesystems/overlayfs.rst).

    Parameters:
        lower: the read-only layers, topmost first.
        upper, work: where changes go; `upper` may be "" for a read-only tree.
        scratch: a directory to mount things on.
        image: a file whose file system has `upper` and `work` instead.
        userns: descriptor of the user namespace through which owners are seen (0: as they are).
        uid: the host's id of that namespace's root.
        read_only: nothing can be changed; `upper` becomes the topmost lower layer.
        volatile: as in `model.Rootfs`.
    """
    if read_only and upper:
        lower, upper, work = [upper, *lower], "", ""
    if not upper and not image and len(lower) == 1:
        return _frozen(whole(lower[0], userns=userns))
    # All layers are opened before anything is mounted: one of them may lie where `scratch` is.
    parts = {f"l{number}": whole(layer, userns=userns) for number, layer in enumerate(lower)}
    names = list(parts)
    changes = ""
    if image:
        parts["u"] = _mapped(images.opened(image), userns)
        changes = f",upperdir=u/{images.UPPER},workdir=u/{images.WORK}"
        if read_only:
            names, changes = [f"u/{images.UPPER}", *names], ""
    elif upper:
        base = os.path.commonpath([os.path.dirname(upper), os.path.dirname(work)])
        parts["u"] = whole(base, userns=userns)
        changes = f",upperdir={_inside(base, upper)},workdir={_inside(base, work)}"
        changes += ",volatile" if volatile else ""
    linux.mount("tmpfs", scratch, "tmpfs", options="mode=0700,size=1m")
    for name, layer in parts.items():
        os.mkdir(f"{scratch}/{name}")
        linux.move_mount(layer, f"{scratch}/{name}")
        os.close(layer)
    options = ",".join(f"{key}={value}" for key, value in _OPTIONS) + f",lowerdir={':'.join(names)}{changes}"
    _mount_as(uid if userns else 0, scratch, options, read_only=not changes)
    fd = linux.open_tree(f"{scratch}/merged")
    linux.umount(f"{scratch}/merged")
    return fd


def _frozen(fd: int) -> int:
    linux.mount_setattr(fd, linux.MOUNT_ATTR_RDONLY)
    return fd


def _inside(base: str, path: str) -> str:
    """The path below the mounted `u`, escaped as overlayfs reads its options."""
    text = f"u/{os.path.relpath(path, base)}"
    for sign in ("\\", ",", ":"):
        text = text.replace(sign, "\\" + sign)
    return text


def _mount_as(uid: int, scratch: str, options: str, *, read_only: bool) -> None:
    """Mount the overlay at scratch/merged from within scratch, so that its options stay short.

    overlayfs works on the layers with the mounter's ids. Root itself has no place in an id-mapped
    layer, so the VE's root must mount, with our capabilities (else: EOVERFLOW, silently read-only).
    """
    os.mkdir(f"{scratch}/merged")
    os.chdir(scratch)
    try:
        if uid:
            linux.prctl(linux.PR_SET_SECUREBITS, linux.SECBIT_NO_SETUID_FIXUP)
            linux.set_fs_ids(uid, uid)
        linux.mount("overlay", "merged", "overlay", linux.MS_RDONLY if read_only else 0, options)
    finally:
        if uid:
            linux.set_fs_ids(0, 0)
            linux.prctl(linux.PR_SET_SECUREBITS, 0)
        os.chdir("/")
    if not read_only and os.statvfs(f"{scratch}/merged").f_flag & os.ST_RDONLY:
        raise _read_only(options)


def _read_only(options: str) -> OSError:
    return OSError(errno.EROFS, "the overlay came up read-only", options)
