"""push: copies of a mirror elsewhere, by rsync (directories, ssh, rsyncd) or rclone (object storage, others).

The order is the mirror's own: files of builds, then the new generation, then the switch, and at last
deletions; so a copy that is read, or broken off, at any point is whole. With rsync links stay links, and the
switch is one rename there, too. A storage without links gets files in their place: archives first, then the
indexes, each replaced whole.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tmplbuild.core.process import run
from tmplbuild.errors import BusyError, FetchError, StageError, TmplbuildError, UsageError
from tmplbuild.events import Command, Emit, Note, Progress
from tmplbuild.pubconf import PublishSettings
from tmplbuild.publish.mirror import PART, Mirror

RCLONE = "rclone:"
_ATTEMPTS = 4
_WAIT_S = 2.0
_IDLE_S = 60
# rsync(1), EXIT VALUES: connections, protocol, timeouts, vanished or partly moved files; 255 is ssh's
_AGAIN = (5, 10, 12, 23, 24, 30, 35, 255)
_PASSED = ("SSH_AUTH_SOCK", "RSYNC_RSH", "RSYNC_PASSWORD", "RCLONE_CONFIG", "XDG_CONFIG_HOME")
_FULL = "No space left on device"
_PERCENT = re.compile(rb"(\d+)%")


@dataclass(frozen=True, slots=True)
class Delivered:
    """What became of a target: "done", "failed" (`why` tells), or with a dry run "would change" with a line
    for each change."""

    name: str
    address: str
    state: str
    why: str = ""
    changes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Pass:
    """One call of the program: what it does, in words, and its arguments."""

    what: str
    argv: tuple[str, ...]


def push(
    mirror: Mirror,
    conf: PublishSettings,
    wanted: Sequence[str],
    *,
    dry_run: bool = False,
    emit: Emit,
    sleep: Callable[[float], None] = time.sleep,
) -> list[Delivered]:
    """Bring the targets up to date; one that fails does not stop the others.

    Parameters:
        wanted: the targets' names; none: all.
        sleep: waits between attempts, seconds (tests have their own).

    Raises UsageError for a name that the settings do not have, BusyError while somebody publishes. What
    failed is told by the results (`failed` makes an error of them).
    """
    for name in wanted:
        if name not in conf.targets:
            known = ", ".join(conf.targets) or "none"
            raise UsageError(f'no target is called "{name}"', hint=f"publish.targets has {known}")
    names = list(wanted) or list(conf.targets)
    if not names:
        raise UsageError(
            "the settings name no target", hint='[publish.targets] NAME = "user@host:/srv/templates"'
        )
    with mirror.locked() as state:
        if not state.serial:
            raise UsageError("nothing has been published yet", where=str(mirror.root))
        return [_one(mirror, name, conf, dry_run, emit, sleep) for name in names]


def failed(results: Sequence[Delivered]) -> TmplbuildError | None:
    """The error that some results are, None if all went well."""
    bad = [one for one in results if one.state == "failed"]
    if not bad:
        return None
    good = [one.name for one in results if one.state != "failed"]
    return FetchError(
        f"the mirror did not reach {', '.join(one.name for one in bad)}",
        where=", ".join(one.address for one in bad),
        why="\n".join([*(one.why for one in bad), *([f"reached: {', '.join(good)}"] if good else [])]),
        hint="what the targets had is served on; tmplbuild mirror push tries again",
    )


def _one(
    mirror: Mirror,
    name: str,
    conf: PublishSettings,
    dry_run: bool,
    emit: Emit,
    sleep: Callable[[float], None],
) -> Delivered:
    address = conf.targets[name]
    passes = _rclone if address.startswith(RCLONE) else _rsync
    changes: list[str] = []
    try:
        for one in passes(mirror.root, address, conf, dry_run):
            changes += _run(one, name, emit, sleep)
    except BusyError:
        raise
    except TmplbuildError as error:
        emit(Note(f"{name}: {error.what}", "warning"))
        return Delivered(name, address, "failed", f"{name}: {_cause(error) or error.why or error.what}")
    if dry_run:
        return Delivered(name, address, "would change" if changes else "done", changes=tuple(changes))
    return Delivered(name, address, "done")


def _cause(error: TmplbuildError) -> str:
    """What the program said: the first thing that went wrong, which the others follow from, and the last."""
    tail: Sequence[str] = getattr(error, "tail", ())
    first = next((line for line in tail if _FULL in line or line.startswith("rsync: [")), "")
    return "\n".join(dict.fromkeys([*([first] if first else []), *tail[-3:]]))


def _run(one: _Pass, name: str, emit: Emit, sleep: Callable[[float], None]) -> list[str]:
    """Run one pass, again where that may help; what it printed, a line each."""
    env: Mapping[str, str] = {key: os.environ[key] for key in _PASSED if key in os.environ}
    for attempt in range(1, _ATTEMPTS + 1):
        emit(Command(one.argv))
        emit(Progress(f"{name}: {one.what}"))
        output: list[bytes] = []

        def show(data: bytes, _stream: str, output: list[bytes] = output) -> None:
            output.append(data)
            if found := _PERCENT.findall(data):
                emit(Progress(f"{name}: {one.what}", int(found[-1]) / 100))

        try:
            run(one.argv, what=one.what, env=env, output=show)
        except StageError as error:
            status = re.search(r"exit status (\d+)", error.why)
            passing = one.argv[0] == "rclone" or (status and int(status[1]) in _AGAIN)
            full = any(_FULL in line for line in error.tail)
            if attempt == _ATTEMPTS or full or not passing:
                raise
            sleep(_WAIT_S * 2 ** (attempt - 1))
            continue
        return _changes(b"".join(output))
    raise AssertionError("unreachable")


def _changes(output: bytes) -> list[str]:
    """The changes that a dry run names: rsync's itemized lines, rclone's notices."""
    lines = output.decode("utf-8", "backslashreplace").splitlines()
    found = [line[12:] for line in lines if re.match(r"[<>ch.*][fdLDS][^ ]{9} ", line)]
    found += [f"delete {line[12:]}" for line in lines if line.startswith("*deleting")]
    return found + [
        line.partition("NOTICE: ")[2] for line in lines if "NOTICE: " in line and "Skipped" in line
    ]


def _rsync(root: Path, address: str, conf: PublishSettings, dry_run: bool) -> Iterator[_Pass]:
    # -H: a .wsl is a link of the .tar.gz; times let `wget -N` and the next run see what is new
    argv = ["rsync", "-rltH", "--chmod=D755,F644", f"--timeout={_IDLE_S}", "--partial-dir=.rsync-partial"]
    argv += ["--delay-updates", f"--exclude=*{PART}"]
    argv += ["--dry-run", "--itemize-changes"] if dry_run else ["--info=progress2"]
    argv += [f"--bwlimit={conf.bandwidth}"] if conf.bandwidth else []
    if re.match(r"[^/:]+:(?!:)", address) and "://" not in address:
        argv += ["-e", "ssh -o BatchMode=yes -o ConnectTimeout=20"]
    source, target = f"{root}/", f"{address.rstrip('/')}/"
    trees = ["--include=/images/***", "--include=/.gen/***"]
    yield _Pass("files", (*argv, *trees, "--exclude=*", source, target))
    yield _Pass("names", (*argv, "--exclude=/.*.lock", "--exclude=/.current", "--exclude=*/", source, target))
    yield _Pass("the switch", (*argv, "--include=/.current", "--exclude=*", source, target))
    yield _Pass("deletions", (*argv, "--delete", *trees, "--exclude=*", source, target))


def _rclone(root: Path, address: str, conf: PublishSettings, dry_run: bool) -> Iterator[_Pass]:
    target = address.removeprefix(RCLONE).rstrip("/")
    argv = ["rclone", "--copy-links", "--retries", "1", "--low-level-retries", "3", "--stats-one-line"]
    argv += ["--contimeout", "20s", "--timeout", f"{_IDLE_S}s"]  # the rest of the retries are ours
    argv += ["--checksum"]  # indexes of equal length and second differ all the same
    argv += ["--dry-run"] if dry_run else ["--stats", "2s", "--stats-log-level", "NOTICE"]
    argv += ["--bwlimit", conf.bandwidth] if conf.bandwidth else []
    own = ["/.gen/**", "/.current/**", "/.tmplbuild.lock", "/images/**", "/assets/**", "/templates/**"]
    rest = [word for pattern in (*own, "/index.html") for word in ("--exclude", pattern)]
    archives = "/*.{tar.gz,tar.gz.asc,tar.xz,tar.zst,wsl}"
    # what is named always before what names it; of the pages, those of builds before those of templates
    yield _Pass("files", (*argv, "copy", f"{root}/images", f"{target}/images"))
    yield _Pass("archives", (*argv, "copy", "--include", archives, str(root), target))
    below = ["--include", "/assets/**", "--include", "/templates/*/**"]
    yield _Pass("pages of builds", (*argv, "copy", *below, str(root), target))
    yield _Pass("pages of templates", (*argv, "copy", "--include", "/templates/*", str(root), target))
    yield _Pass("indexes", (*argv, "copy", *rest, str(root), target))
    yield _Pass("the first page", (*argv, "copy", "--include", "/index.html", str(root), target))
    for folder in ("templates", "assets", "images"):
        if (root / folder).is_dir():
            yield _Pass("deletions", (*argv, "sync", f"{root}/{folder}", f"{target}/{folder}"))
