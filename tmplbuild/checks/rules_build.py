"""Rules: nothing of the way in which it was built is left in the tree."""

from __future__ import annotations

import re

from tmplbuild.checks.rule import Faults, rule
from tmplbuild.checks.subject import Subject
from tmplbuild.managers import dpkg

BUILDER_FILES = (
    "/debootstrap", "/.dockerenv", "/run/.containerenv", "/.host", "/.in", "/.out", "/.fakedata",
    "/.install-log", "/.empty", "/.tmplbuild*", "/usr/bin/qemu-*-static", "/usr/libexec/qemu-binfmt",
    "/sbin/defenv", "/root/anaconda-ks.cfg", "/root/original-ks.cfg", "/root/install.log*",
    "/usr/bin/qemu-*-binfmt", "/etc/apt/apt.conf.d/99mmdebstrap", "/etc/dpkg/dpkg.cfg.d/99mmdebstrap",
    "/var/lib/mmdebstrap", "/var/log/bootstrap.log", "/etc/apt/apt.conf.d/*tmplbuild*",
    "/etc/dpkg/dpkg.cfg.d/*tmplbuild*",
)  # fmt: skip
FAKED = ("/sbin/start-stop-daemon", "/sbin/initctl", "/sbin/udevd", "/usr/sbin/invoke-rc.d", "/bin/systemctl",
         "/usr/bin/ischroot")  # fmt: skip
SCRIPTS_BY_NATURE = frozenset({"invoke-rc.d"})
APT_CONFS = ("/etc/apt/apt.conf", "/etc/apt/apt.conf.d/*")
APT_PROXY = re.compile(r"\bProxy(-Auto-Detect)?\s+\"(?!DIRECT\"|false\"|none\"|\")([^\"]*)\"", re.IGNORECASE)
PROXY_SETTINGS = (
    "/etc/environment", "/etc/profile", "/etc/profile.d/*", "/etc/wgetrc", "/etc/yum.conf",
    "/etc/dnf/dnf.conf", "/etc/yum.repos.d/*", "/etc/sysconfig/proxy", "/etc/pip.conf", "/etc/curlrc",
    "/root/.curlrc", "/root/.wgetrc", "/root/.pip/pip.conf", "/root/.config/pip/pip.conf", "/etc/rpm/macros",
    "/etc/default/*", "/root/.bashrc", "/etc/systemd/system.conf", "/etc/systemd/system.conf.d/*",
    "/etc/bash.bashrc", "/etc/zypp/zypp.conf", "/etc/security/pam_env.conf", "/etc/gitconfig",
    "/root/.gitconfig",
)  # fmt: skip
PROXY_SETTING = re.compile(
    r"\s*(?:export\s+)?(?:set\s+)?[\w%\"=]*?(?:https?|ftp|all)?_?proxy\s*[=:\s]\s*[\"']?(\w+://[^\s\"']+)",
    re.IGNORECASE,
)
SOURCES = (
    "/etc/apt/sources.list", "/etc/apt/sources.list.d/*", "/etc/yum.repos.d/*", "/etc/zypp/repos.d/*",
    "/etc/pacman.d/mirrorlist", "/etc/pacman.conf", "/etc/apk/repositories", "/etc/xbps.d/*",
    "/etc/slackpkg/mirrors",
)  # fmt: skip
LOCAL_SOURCE = re.compile(
    r"(\w+)://(localhost|127\.[\d.]+|\[::1\]|10\.[\d.]+|192\.168\.[\d.]+|172\.(1[6-9]|2\d|3[01])\.[\d.]+)(?=[:/\s\"']|$)"
    r"|(?<![\w/])(file|copy|cdrom):[/\[]"
)
SEARCHED = ("/etc", "/root", "/var/lib", "/usr/local", "/opt", "/srv", "/var/log", "/var/cache")
# Names that a build machine may have and that every system has in its files, too.
COMMON_NAMES = frozenset({
    "alpine", "alt", "arch", "build", "builder", "buildd", "centos", "container", "ct", "debian", "default",
    "docker", "fedora", "guest", "host", "hostname", "linux", "localhost", "localdomain", "lxc", "machine",
    "main", "master", "node", "none", "openvz", "pve", "root", "runner", "sandbox", "server", "service",
    "system", "template", "test", "ubuntu", "unknown", "user", "users", "virtual", "vm", "vps", "worker",
    "gateway", "kernel", "local", "public",
})  # fmt: skip
# What packages say of themselves, and certificates: a machine may well be named by a word in them.
NOT_WRITTEN_HERE = re.compile(
    r"/var/lib/(dpkg/(info/|status|available)|apt/lists/|ucf/|rpm/)|/var/cache/debconf/templates\.dat"
    r"|/etc/(ssl|pki)/.*\.(pem|crt)$"
)


@rule(
    "policy-rc-d-left",
    "No policy-rc.d in the tree",
    why="It forbids packages to start their services: in a container an installed server would never run.",
    fix="Remove /usr/sbin/policy-rc.d.",
)
def policy_rc_d_left(subject: Subject) -> Faults:
    if subject.view.lstat("/usr/sbin/policy-rc.d"):
        yield "/usr/sbin/policy-rc.d", "it keeps services from being started"


@rule(
    "diversion-left",
    "No diversions that a builder made",
    why="Builders divert start-stop-daemon, initctl or init to keep services quiet; left so, services "
    "cannot start.",
    fix="dpkg-divert --remove --rename PATH.",
    families=("dpkg",),
)
def diversion_left(subject: Subject) -> Faults:
    for one in dpkg.diversions(subject.view):
        if not one.package:
            yield one.path, f"diverted by hand to {one.to}"


@rule(
    "fake-program",
    "Programs that start services are the real ones",
    why="A stand-in that does nothing makes every installed service stay down.",
    fix="Put the real program back (remove the diversion, reinstall dpkg or upstart).",
)
def fake_program(subject: Subject) -> Faults:
    for path in FAKED:
        entry = subject.view.stat(path)
        if entry and entry.name not in SCRIPTS_BY_NATURE and subject.view.read(path, 2) == b"#!":
            yield entry.path, "a script stands where a program belongs"
    for entry in subject.view.glob("/sbin/*.REAL", "/usr/sbin/*.REAL", "/usr/bin/*.REAL"):
        yield entry.path, "a program that was moved out of the way"


@rule(
    "builder-remains",
    "No files of a builder",
    why="They are of no use in a container, and some tools behave differently where they see them.",
    fix="Remove them.",
)
def builder_remains(subject: Subject) -> Faults:
    for entry in subject.view.glob(*BUILDER_FILES):
        if entry.path not in subject.shipped:
            yield entry.path, "left by a tool that built the tree"


@rule(
    "proxy-left",
    "No proxy is set",
    why="The build's proxy does not answer elsewhere: packages could not be installed.",
    fix="Remove the setting.",
)
def proxy_left(subject: Subject) -> Faults:
    for entry in subject.view.glob(*APT_CONFS):
        text = "\n".join(_settings(subject, entry.path))
        for proxy in APT_PROXY.finditer(text):
            yield entry.path, f"apt's proxy is {proxy[2][:80]}"
    for entry in subject.view.glob(*PROXY_SETTINGS):
        for line in _settings(subject, entry.path):
            if match := PROXY_SETTING.match(line):
                yield entry.path, f"a proxy is set: {match[1][:80]}"


@rule(
    "source-of-build",
    "Package sources are addresses that everybody can reach",
    why="A source on the build machine, its disk or its private network is unreachable elsewhere.",
    fix="Name the distribution's public archive.",
)
def source_of_build(subject: Subject) -> Faults:
    for entry in subject.view.glob(*SOURCES):
        for line in _settings(subject, entry.path):
            # A key of the repository may lie on disk: gpgkey=file:///etc/pki/...
            if re.match(r"\s*(gpgkey|sslcacert|SigLevel|include)\b", line, re.IGNORECASE):
                continue
            if match := LOCAL_SOURCE.search(line):
                yield entry.path, f"it names {match[0]}"


@rule(
    "build-url-left",
    "No address of the build is named",
    why="The build's mirror may be private or gone; its name tells about the builder's network.",
    fix="Write the public address; remove caches and lists that were made from the other.",
)
def build_url_left(subject: Subject) -> Faults:
    needles = [url.rstrip("/").encode() for url in subject.build_urls if url.strip("/")]
    if needles:
        for entry, content in subject.text_files(*SEARCHED):
            for needle in needles:
                if needle in content:
                    yield entry.path, f"it names {needle.decode('utf-8', 'replace')}"


@rule(
    "build-host-name",
    "The build machine is not named",
    why="It tells where the template was made, and makes builds differ from machine to machine.",
    fix="Find what wrote it (hostname, mailname, keys' comments, debconf answers) and reset it.",
)
def build_host_name(subject: Subject) -> Faults:
    names = {subject.host_name, subject.host_name.partition(".")[0]}
    wanted = sorted(name for name in names if len(name) > 3 and name.lower() not in COMMON_NAMES)
    if not wanted:
        return
    words = b"|".join(re.escape(name.encode()) for name in wanted)
    pattern = re.compile(rb"(?<![\w-])(" + words + rb")(?![\w-])", re.IGNORECASE)
    for entry, content in subject.text_files(*SEARCHED):
        match = pattern.search(content)
        if match and not NOT_WRITTEN_HERE.match(entry.path) and not subject.as_shipped(entry):
            yield entry.path, f"it names {match[1].decode('utf-8', 'replace')}"


def _settings(subject: Subject, path: str) -> list[str]:
    """The lines that are no comments."""
    entry = subject.view.stat(path)
    if entry is None or entry.kind != "file":
        return []
    return [line for line in subject.view.lines(path) if not line.lstrip().startswith(("#", "//", ";"))]
