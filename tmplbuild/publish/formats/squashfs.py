"""TEMPLATE_BUILD.squashfs for Incus and LXD, by tar2sqfs(1), which reads the passing stream.

mksquashfs -tar refuses names that begin with two dots and leaves out the root directory's own entry;
tar2sqfs keeps owners, modes, times, hard links, devices and extended attributes. ACLs have no place in a
squashfs (linux/fs/squashfs/xattr_id.c: user, trusted and security only).
"""

from __future__ import annotations

import os
import shutil
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType

from tmplbuild.publish.draft import Draft, feed

PROGRAM = "tar2sqfs"


class _Sink:
    def __init__(self, draft: Draft) -> None:
        self._draft = draft
        self._name = draft.dated("squashfs")
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="squashfs")
        self._pipe = -1
        self._ended: Future[None] | None = None

    def __enter__(self) -> _Sink:
        reading, self._pipe = os.pipe()
        draft = self._draft
        argv = [PROGRAM, "-q", "-s", "-c", "zstd", "-X", f"level={draft.settings.zstd_level}", "-b", "1M"]
        argv += ["-j", str(max(draft.jobs, 1)), str(draft.place / self._name)]
        self._ended = self._pool.submit(feed, draft, argv, reading)
        return self

    def write(self, data: bytes, /) -> None:
        view = memoryview(data)
        try:
            while view:
                view = view[os.write(self._pipe, view) :]
        except BrokenPipeError:
            self._result()  # which tells why the program ended
            raise

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            os.close(self._pipe)
            if error is None:
                self._result()
                self._draft.adopt(self._name, "squashfs")
        finally:
            self._pool.shutdown()

    def _result(self) -> None:
        assert self._ended is not None
        self._ended.result()


def sink(draft: Draft) -> _Sink:
    """Takes the tar stream."""
    return _Sink(draft)


def missing() -> str:
    """What has to be installed first; "" if nothing."""
    return "" if shutil.which(PROGRAM) else f"{PROGRAM} is not installed (apt install squashfs-tools-ng)"
