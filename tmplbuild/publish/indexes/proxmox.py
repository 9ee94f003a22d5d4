"""For Proxmox VE: aplinfo.dat(.gz) as `pveam` reads it; proxmox.txt has commands for "Download from URL".

pveam's sources are fixed in its code (PVE/APLInfo.pm), so a mirror of ours is reached by the API call that
proxmox.txt spells out, or by whoever patches that list. An incomplete record makes pveam drop the whole
file: Package, Type, OS, Version and Infopage must be there, and Version must begin with a digit. It
knows md5 and sha512, and downloads nothing without one of them.
"""

from __future__ import annotations

import gzip
import shlex

from tmplbuild.publish.indexes.catalog import Catalog
from tmplbuild.publish.model import Build, File

NAME = "aplinfo.dat"
COMMANDS = "proxmox.txt"


def files(catalog: Catalog) -> dict[str, bytes]:
    """aplinfo.dat, aplinfo.dat.gz and, where the mirror's address is known, proxmox.txt."""
    chosen = [(build, file) for build in catalog.state.current() if (file := archive(build))]
    records = "\n".join(_record(catalog, build, file) for build, file in chosen).encode()
    found = {NAME: records, f"{NAME}.gz": gzip.compress(records, mtime=0)}
    if catalog.settings.url:
        found[COMMANDS] = "".join(_command(catalog, build, file) for build, file in chosen).encode()
    return found


def archive(build: Build) -> File | None:
    """What Proxmox is pointed to."""
    return build.file("tar.zst") or build.file("tar.gz")


def _record(catalog: Catalog, build: Build, file: File) -> str:
    page = catalog.settings.url or "https://www.proxmox.com/"
    package = f"{build.distro}-{build.release}-{build.variant}"
    fields = {
        "Package": package,
        "Version": build.build.replace("_", "."),
        "Type": "lxc",
        "OS": f"{build.distro}-{build.release}",
        "Section": "system",
        "Architecture": build.arch,
        "Infopage": page,
        "Location": file.path,
        "sha512sum": file.sha512,
        "Description": f"{build.title} ({build.variant})",
    }
    lines = [f"{key}: {value}\n" for key, value in fields.items()]
    return "".join([*lines, f" Build {build.build}\n"])


def words(address: str, file: File) -> list[str]:
    """The command, quoted for a shell, by which Proxmox VE fetches a file and checks it."""
    call = ["pvesh", "create", "/nodes/$(hostname)/storage/local/download-url", "--content", "vztmpl"]
    call += ["--filename", shlex.quote(file.name), "--url", shlex.quote(address)]
    return [*call, "--checksum-algorithm", "sha256", "--checksum", file.sha256]


def _command(catalog: Catalog, build: Build, file: File) -> str:
    command = " ".join(words(catalog.absolute(file.path), file))
    return f"# {build.title}, {build.arch}, build {build.build}\n{command}\n"
