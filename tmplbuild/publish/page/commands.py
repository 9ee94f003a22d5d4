"""What a user of each client types to have a container of a build; all of it can be copied as it stands.

Without the mirror's own address in the settings the commands name `BASE`, in whose place the page's script
puts the address under which the page is read.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from tmplbuild.publish.indexes import KEY, Catalog, proxmox
from tmplbuild.publish.indexes.simplestreams import aliases
from tmplbuild.publish.model import Build, File

BASE = "https://MIRROR"
_CT = "101"
_NAME = "ct1"


@dataclass(frozen=True, slots=True)
class Use:
    """A client: `id` for addresses, `name` for people, `once` is typed before the first template, `lines` for
    this one, `note` what has to be known."""

    id: str
    name: str
    lines: tuple[str, ...]
    once: tuple[str, ...] = ()
    note: str = ""


def uses(catalog: Catalog, build: Build) -> list[Use]:
    """Every client that the build's files are for."""
    mirror = _Mirror(catalog, build)
    return [use for make in _CLIENTS for use in make(mirror)]


class _Mirror:
    """The words that commands are made of."""

    def __init__(self, catalog: Catalog, build: Build) -> None:
        self.catalog = catalog
        self.build = build
        self.base = catalog.settings.url or BASE
        self.key = build.key
        self.word = build.distro
        self.secure = self.base.startswith("https://")

    def at(self, path: str) -> str:
        return shlex.quote(f"{self.base}/{path}")

    def file(self, kind: str) -> File | None:
        return self.build.file(kind)


def _vzctl(it: _Mirror) -> Iterator[Use]:
    name = it.build.template
    gpg = (
        f"wget -qO- {it.at(KEY)} | gpg --import",
        f"echo GPG_KEY={it.key} >> /etc/vz/download.conf",
    )
    yield Use(
        "openvz",
        "OpenVZ (vzctl)",
        (f"vztmpl-dl {'--gpg-check ' if it.key else ''}{name}", f"vzctl create {_CT} --ostemplate {name}"),
        (
            f"echo TMPL_REPO_PREFIX={shlex.quote(it.base)} >> /etc/vz/download.conf",
            *(gpg if it.key else ()),
        ),
    )


def _proxmox(it: _Mirror) -> Iterator[Use]:
    file = proxmox.archive(it.build)
    if file is None:
        return
    words = proxmox.words(f"{it.base}/{file.path}", file)
    options = [" ".join(words[at : at + 2]) for at in range(3, len(words), 2)]
    download = " \\\n  ".join([" ".join(words[:3]), *options])
    create = f"pct create {_CT} local:vztmpl/{file.name} --hostname {_NAME}"
    yield Use(
        "proxmox",
        "Proxmox VE",
        (download, f"{create} --unprivileged 1 --net0 name=eth0,bridge=vmbr0,ip=dhcp"),
        note="The web interface takes the same address and checksum: CT Templates, Download from URL.",
    )


def _incus(it: _Mirror) -> Iterator[Use]:
    if not it.build.combined:
        return
    alias = min(aliases(it.build), key=len)
    note = "" if it.secure else "It speaks HTTPS only."
    for id_, name, program in (("incus", "Incus", "incus"), ("lxd", "LXD", "lxc")):
        yield Use(
            id_,
            name,
            (f"{program} launch templates:{alias} {_NAME}",),
            (f"{program} remote add templates {shlex.quote(it.base)} --protocol simplestreams",),
            note,
        )


def _lxc(it: _Mirror) -> Iterator[Use]:
    meta, root = it.file("lxc"), it.file("tar.xz")
    if meta is None or root is None:
        return
    build = it.build
    server = shlex.quote(it.base.partition("://")[2])
    what = f"-d {build.distro} -r {build.release} -a {build.arch} --variant {build.variant}"
    yield Use(
        "lxc",
        "LXC",
        (f"lxc-create -t download -n {_NAME} -- --server {server} {what}", f"lxc-start -n {_NAME}"),
        note="It speaks HTTPS only. Without it: fetch meta.tar.xz and rootfs.tar.xz, and "
        "lxc-create -t local -- -m meta.tar.xz -f rootfs.tar.xz.",
    )


def _systemd(it: _Mirror) -> Iterator[Use]:
    if not it.file("tar.xz"):
        return  # of the .tar.gz it reads the first member, and waits for ever
    verify = "" if it.key else "--verify=checksum "
    once = (f"curl -fsSL {it.at(KEY)} | gpg --dearmor > /etc/systemd/import-pubring.gpg",) if it.key else ()
    name = it.build.template
    yield Use(
        "systemd",
        "systemd-nspawn (importctl)",
        (f"importctl -m pull-tar {verify}{it.at(f'{name}.tar.xz')}", f"machinectl start {name}"),
        once,
        f"Before systemd 256: machinectl pull-tar {verify}...",
    )


def _oci(it: _Mirror) -> Iterator[Use]:
    file = it.file("oci")
    if file is None:
        return
    fetch = f"curl -fLO {it.at(file.path)}"
    build = it.build
    image = f"{build.distro}{'' if build.variant == 'default' else '-' + build.variant}:{build.release}"
    yield Use(
        "podman",
        "Podman",
        (fetch, f"podman load -i {file.name}", f"podman run -d --name {_NAME} docker.io/library/{image}"),
        note="Its init is systemd, which Podman knows how to start and to stop.",
    )
    yield Use(
        "docker",
        "Docker",
        (fetch, f"docker load -i {file.name}", f"docker run -it {image} /bin/bash"),
    )
    yield Use(
        "skopeo",
        "skopeo",
        (fetch, f"skopeo copy oci-archive:{file.name} docker://registry.example/{image}"),
    )


def _wsl(it: _Mirror) -> Iterator[Use]:
    file = it.file("wsl")
    if file is None:
        return
    yield Use(
        "wsl",
        "Windows (WSL)",
        (f"curl.exe -fLO {it.base}/{file.path}", f"wsl --install --from-file {file.name}"),
        note="From WSL 2.4.4 on; a double click on the file does the same.",
    )


def _tmplbuild(it: _Mirror) -> Iterator[Use]:
    trust = f"--key {it.key}" if it.key else "--trust-server"
    note = "Of a template that the cache has in an older version only what changed is fetched."
    yield Use(
        "tmplbuild",
        "tmplbuild",
        (f"tmplbuild fetch {it.build.template} --from {shlex.quote(it.base)} {trust}",),
        note=note,
    )


def _curl(it: _Mirror) -> Iterator[Use]:
    file = it.file("tar.gz")
    if file is None:
        return
    lines = [f"curl -fLO {it.at(file.path)}", f"echo '{file.sha256}  {file.name}' | sha256sum -c"]
    if it.key:
        lines += [f"curl -fLO {it.at(file.path + '.asc')}", f"gpg --verify {file.name}.asc {file.name}"]
    once = (f"curl -fsSL {it.at(KEY)} | gpg --import",) if it.key else ()
    yield Use("curl", "curl and sha256sum", tuple(lines), once)


_CLIENTS: tuple[Callable[[_Mirror], Iterator[Use]], ...] = (
    _vzctl, _proxmox, _incus, _lxc, _systemd, _oci, _wsl, _tmplbuild, _curl,
)  # fmt: skip
