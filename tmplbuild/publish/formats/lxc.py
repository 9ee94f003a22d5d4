"""meta.tar.xz for LXC's download and local templates (lxc/lxc:templates/lxc-download.in).

Its files: `config` and `config-user`, whose LXC_ words the template replaces; `templates`, the paths in the
root file system in which it replaces them too; `excludes-user`, what an unprivileged container cannot unpack;
`create-message`; `expiry`, after which a cached copy is fetched anew.
"""

from __future__ import annotations

from tmplbuild.publish.draft import Draft
from tmplbuild.publish.smalltar import tar_xz

_DAYS = 86400
_FRESH_DAYS = 30
_PERSONALITY = {"amd64": "linux64", "x86_64": "linux64", "i386": "linux32", "i586": "linux32"}


def write(draft: Draft) -> None:
    """Write meta.tar.xz."""
    epoch = draft.source.manifest.epoch
    draft.put("meta.tar.xz", "lxc", tar_xz(files(draft), epoch=epoch))


def files(draft: Draft) -> dict[str, bytes]:
    """The metadata, by name."""
    source = draft.source
    arch = _PERSONALITY.get(source.arch, source.ve_arch)
    include = "lxc.include = LXC_TEMPLATE_CONFIG/"
    config = f"{include}common.conf\nlxc.arch = {arch}\n"
    user = f"{include}common.conf\n{include}userns.conf\nlxc.arch = {arch}\n"
    message = (
        f"You just created {source.title} ({source.arch}), build {draft.build}.\n\n"
        "No password is set, and no SSH server may be there: use lxc-attach to get in.\n"
    )
    return {
        "config": config.encode(),
        "config-user": user.encode(),
        "create-message": message.encode(),
        "excludes-user": b"./dev/*\n",
        "expiry": f"{source.manifest.epoch + _FRESH_DAYS * _DAYS}\n".encode(),
        "templates": b"/etc/hostname\n/etc/hosts\n",
    }
