"""Settings: where things lie and how much of the machine may be used. Nothing here changes a template.

Each setting is taken from the first of these that names it:

    1. an option of the command line          --cache DIR
    2. the environment                        TMPLBUILD_TEMPLATE_CACHE=DIR
    3. /etc/tmplbuild/tmplbuild.toml          template_cache = "DIR"
    4. OpenVZ's vz_dir/vz.conf (vz.conf(5))   TEMPLATE=, VE_ROOT=, VE_PRIVATE=
    5. the default; of a user other than root below $XDG_STATE_HOME and $XDG_CACHE_HOME
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path

from tmplbuild import cacheconf, fleetconf, nightlyconf, vzconf
from tmplbuild.cacheconf import Keep
from tmplbuild.errors import UsageError
from tmplbuild.fleetconf import FleetSettings
from tmplbuild.nightlyconf import Nightly
from tmplbuild.pubconf import PublishSettings, read_publish
from tmplbuild.tomlfile import Fault, Node, Unreadable, did_you_mean, quote, read

CONFIG = Path("/etc/tmplbuild/tmplbuild.toml")
PREFIX = "TMPLBUILD_"

UID_BASE = 0x70000000
"""First id of 65536 that nobody uses: the range 0x70000000 to 0x7ffdffff is unused by systemd, and
above those of subuid(5), Incus and nspawn (https://systemd.io/UIDS-GIDS/)."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What holds for this run.

    template_cache: where finished templates go and `vzctl create --ostemplate` looks.
    cache_dir: downloaded packages and indexes; may be deleted at any time.
    state_dir: layers and logs.
    run_dir: locks and the state of running VEs.
    ve_root: below it VEs are mounted while they run, each under its veid.
    ve_private: below it lie the private areas of VEs, each under its veid.
    vz_dir: OpenVZ's configuration: vz.conf, conf/VEID.conf, conf/ve-NAME.conf-sample, names/NAME.
    dists: directory of the machine's own dist configurations, which come before those of the tool.
    uid_base: host id that root of a VE has; 65536 ids from there on belong to VEs.
    jobs: how many things are done at once.
    history: how many good builds of each template are remembered (not their files).
    store_patience_s: how long a fleet's store that does not answer is asked again, seconds.
    mirror: addresses, or ROLE=ADDRESS, parted by blanks, that take the place of the recipes' mirrors.
    recipes: directories of recipes that are looked in first.
    cache: how much of what only saves time is kept (only in the file, as the table [cache]).
    fleet, nightly: the settings' tables of that name, which only the file has.
    publish: the mirror (only in the file, as the table [publish]).
    origin: for each setting that is no default, what named it.
    """

    template_cache: Path
    cache_dir: Path
    state_dir: Path
    run_dir: Path
    ve_root: Path
    ve_private: Path
    vz_dir: Path = Path("/etc/vz")
    dists: Path = Path("/etc/tmplbuild/dists")
    uid_base: int = UID_BASE
    jobs: int = 1
    history: int = 60
    store_patience_s: int = 300
    mirror: str = ""
    recipes: tuple[Path, ...] = ()
    cache: Keep = field(default_factory=Keep)
    fleet: FleetSettings = field(default_factory=FleetSettings)
    nightly: Nightly = field(default_factory=Nightly)
    publish: PublishSettings = field(default_factory=PublishSettings)
    origin: Mapping[str, str] = field(default_factory=dict, compare=False)


def load_settings(
    config: Path | None = None,
    flags: Mapping[str, object] | None = None,
    *,
    environ: Mapping[str, str] | None = None,
    vz_conf: Path | None = None,
) -> Settings:
    """The settings that hold, each from the first source that names it.

    Parameters:
        config: a file to read instead of /etc/tmplbuild/tmplbuild.toml (or of $TMPLBUILD_CONFIG); it
            must be there.
        flags: settings from the command line, by name; text or the setting's own type. Relative paths
            are taken from the working directory, as in the environment.
        environ: the environment; os.environ if not given.
        vz_conf: a file to read instead of vz.conf in the `vz_dir` that holds.

    Raises UsageError with every fault of all sources.
    """
    environ = os.environ if environ is None else environ
    faults: list[str] = []
    chosen: dict[str, object] = dict(_defaults(environ))
    origin: dict[str, str] = {}
    named = config or (Path(environ[PREFIX + "CONFIG"]) if environ.get(PREFIX + "CONFIG") else None)
    ours = (
        _from_toml(named or CONFIG, named is not None, faults),
        _from_environ(environ, faults),
        _from_flags(flags or {}, faults),
    )
    vz_dir = next((values["vz_dir"] for values, _ in reversed(ours) if "vz_dir" in values), chosen["vz_dir"])
    assert isinstance(vz_dir, Path)
    faults_of_vz: list[str] = []
    for values, sources in (_from_vz(vz_conf or vz_dir / "vz.conf", faults_of_vz), *ours):
        chosen |= values
        origin |= sources
    faults[:0] = faults_of_vz
    if faults:
        count = "a fault" if len(faults) == 1 else f"{len(faults)} faults"
        raise UsageError(f"the settings have {count}", why="\n".join(faults), hint="see tmplbuild(1), FILES")
    return Settings(**chosen, origin=origin)  # type: ignore[arg-type]


def as_environment(settings: Settings) -> dict[str, str]:
    """The variables that make another run of the tool take these settings, whatever its file says."""
    values = {name: getattr(settings, name) for name in _KINDS}
    values["recipes"] = ":".join(map(str, settings.recipes))
    return {PREFIX + name.upper(): str(value) for name, value in values.items()}


_Read = tuple[dict[str, object], dict[str, str]]


def _defaults(environ: Mapping[str, str]) -> dict[str, object]:
    jobs = len(os.sched_getaffinity(0))
    if os.geteuid() == 0:
        places = {
            "template_cache": "/var/lib/vz/template/cache",
            "cache_dir": "/var/cache/tmplbuild",
            "state_dir": "/var/lib/tmplbuild",
            "run_dir": "/run/tmplbuild",
            "ve_root": "/var/lib/vz/root",
            "ve_private": "/var/lib/vz/private",
            "vz_dir": "/etc/vz",
            "dists": "/etc/tmplbuild/dists",
        }
        return {"jobs": jobs} | {name: Path(place) for name, place in places.items()}
    home = Path(environ.get("HOME") or "/")
    state = Path(environ.get("XDG_STATE_HOME") or home / ".local/state") / "tmplbuild"
    run = environ.get("XDG_RUNTIME_DIR")
    return {
        "jobs": jobs,
        "template_cache": state / "template/cache",
        "cache_dir": Path(environ.get("XDG_CACHE_HOME") or home / ".cache") / "tmplbuild",
        "state_dir": state,
        "run_dir": Path(run) / "tmplbuild" if run else state / "run",
        "ve_root": state / "root",
        "ve_private": state / "private",
        "vz_dir": Path("/etc/vz"),
        "dists": Path("/etc/tmplbuild/dists"),
    }


def _from_vz(path: Path, faults: list[str]) -> _Read:
    values: dict[str, object] = {}
    sources: dict[str, str] = {}
    if not path.exists():
        return values, sources
    try:
        found = vzconf.read(path, _VZ.keys())
    except vzconf.Malformed as error:
        faults.append(str(error))
        return values, sources
    for key, (text, line) in found.items():
        name, below = _VZ[key]
        folder = text.removesuffix("/").removesuffix("/$VEID")
        if "$" in folder or not folder.startswith("/"):
            faults.append(f"{path}:{line}: {key}: expected an absolute path, found {quote(text)}")
        values[name], sources[name] = Path(folder) / below, f"{path}:{line}"
    return values, sources


def _from_toml(path: Path, must: bool, faults: list[str]) -> _Read:
    if not must and not path.exists():
        return {}, {}
    values: dict[str, object] = {}
    sources: dict[str, str] = {}
    try:
        tree = read(path)
    except Unreadable as error:
        faults.append(str(error.fault))
        return {}, {}
    assert isinstance(tree.value, dict)
    for key, node in tree.value.items():
        fault = None
        if key == "mirrors":
            values["mirror"], fault = _mirrors(node)
            sources["mirror"] = str(node.place)
        elif key == "cache":
            values[key], sources[key] = cacheconf.from_table(node, faults), str(node.place)
        elif key == "fleet":
            values[key], sources[key] = fleetconf.from_table(node, faults), str(node.place)
        elif key == "nightly":
            values[key], sources[key] = nightlyconf.from_table(node, faults), str(node.place)
        elif key == "publish":
            values["publish"], wrong = read_publish(node)
            sources["publish"] = str(node.place)
            faults += map(str, wrong)
        elif key in _KINDS:
            try:
                values[key], sources[key] = _KINDS[key](node.plain(), False), str(node.place)
            except ValueError as error:
                fault = Fault(node.place, key, str(error))
        else:
            known = [*_KINDS, "mirrors", "cache", "fleet", "nightly", "publish"]
            hint = did_you_mean(key, known) or "there are " + ", ".join(known)
            fault = Fault(node.place, key, "unknown setting", hint)
        if fault:
            faults.append(str(fault))
    if {"mirror", "mirrors"} <= tree.value.keys():
        faults.append(
            str(Fault(tree.value["mirrors"].place, "mirrors", "mirror is set too", "set one of them"))
        )
    return values, sources


def _mirrors(node: Node) -> tuple[str, Fault | None]:
    """[mirrors]: an address, or a list of them, by archive role."""
    words: list[str] = []
    if not isinstance(node.value, dict):
        return "", Fault(node.place, "mirrors", "expected a table of addresses by archive")
    for role, item in node.value.items():
        addresses = item.plain() if isinstance(item.value, list) else [item.plain()]
        assert isinstance(addresses, list)
        for address in addresses:
            try:
                words.append(f"{role}={_mirror(address, False)}")
            except ValueError as error:
                return "", Fault(item.place, f"mirrors.{role}", str(error))
    return " ".join(words), None


def _from_environ(environ: Mapping[str, str], faults: list[str]) -> _Read:
    given: dict[str, object] = {}
    for name in _KINDS:
        if text := environ.get(PREFIX + name.upper()):
            given[name] = text.split(":") if name == "recipes" else text
    return _texts(given, lambda name: PREFIX + name.upper(), faults)


def _from_flags(flags: Mapping[str, object], faults: list[str]) -> _Read:
    return _texts(flags, lambda name: "--" + _FLAGS.get(name, name.replace("_", "-")), faults)


def _texts(given: Mapping[str, object], called: Callable[[str], str], faults: list[str]) -> _Read:
    values: dict[str, object] = {}
    sources: dict[str, str] = {}
    for name, value in given.items():
        try:
            values[name] = _KINDS[name](value, True)
            sources[name] = called(name)
        except ValueError as error:
            faults.append(f"{called(name)}: {error}")
    return values, sources


def _path(value: object, relative: bool) -> Path:
    """An absolute path. `relative`: it may be given from the working directory."""
    if isinstance(value, Path | str) and str(value) and "\0" not in str(value):
        path = Path(value).expanduser()
        if relative or path.is_absolute():
            return Path(os.path.abspath(path))
    raise ValueError(f"expected an absolute path, found {_show(value)}")


def _paths(value: object, relative: bool) -> tuple[Path, ...]:
    if isinstance(value, str) or not isinstance(value, Sequence):
        raise ValueError(f"expected a list of paths, found {_show(value)}")
    return tuple(_path(item, relative) for item in value)


def _jobs(value: object, text: bool) -> int:
    return _number(value, text, 1, 1024)


def _history(value: object, text: bool) -> int:
    return _number(value, text, 1, 100_000)


def _patience(value: object, text: bool) -> int:
    return _number(value, text, 0, 86400)


def _uid(value: object, text: bool) -> int:
    return _number(value, text, 65536, 2**32 - 2 - 65536)


def _number(value: object, text: bool, low: int, high: int) -> int:
    number = value
    if text and isinstance(value, str) and value.strip().isdecimal():
        number = int(value.strip()[:20])
    if isinstance(number, int) and not isinstance(number, bool) and low <= number <= high:
        return number
    raise ValueError(f"expected a whole number from {low} to {high}, found {_show(value)}")


def _mirror(value: object, _: bool) -> str:
    if isinstance(value, str):
        addresses = [
            word.partition("=")[2] if "=" in word.partition("/")[0] else word for word in value.split()
        ]
        if all(address.startswith(("http://", "https://", "file://")) for address in addresses):
            return " ".join(value.split())
    raise ValueError(f"expected an address (http://...), found {_show(value)}")


def _show(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return quote(value) if isinstance(value, str) else str(value)


_VZ = {"TEMPLATE": ("template_cache", "cache"), "VE_ROOT": ("ve_root", ""), "VE_PRIVATE": ("ve_private", "")}
_FLAGS = {"template_cache": "cache"}
_KINDS: dict[str, Callable[[object, bool], object]] = {
    "template_cache": _path,
    "cache_dir": _path,
    "state_dir": _path,
    "run_dir": _path,
    "ve_root": _path,
    "ve_private": _path,
    "vz_dir": _path,
    "dists": _path,
    "uid_base": _uid,
    "jobs": _jobs,
    "history": _history,
    "store_patience_s": _patience,
    "mirror": _mirror,
    "recipes": _paths,
}
_TABLES = {"cache", "fleet", "nightly", "publish"}
assert _KINDS.keys() == {found.name for found in fields(Settings)} - _TABLES - {"origin"}
