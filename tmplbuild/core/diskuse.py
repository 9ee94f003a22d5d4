"""What a VE's own files take on the disk, where no file system counts it for us.

Counted are blocks as du(1) counts them, each file once, and files that were removed but are still open
in the VE.
"""

from __future__ import annotations

import os

from tmplbuild.core import cgroup

_BLOCK = 512  # the unit of st_blocks (stat(2))


class Measured:
    """The use of a directory, measured by walking it, and only when something on its disk has changed.

    Parameters:
        directory: what takes the VE's changes.
        group: the VE's control group, for removed files that its processes hold open.
    """

    def __init__(self, directory: str, group: str) -> None:
        self._directory = directory
        self._group = group
        self._seen: tuple[int, int] | None = None
        self._held = (0, 0)

    def held(self) -> tuple[int, int]:
        """(bytes, inodes) in use."""
        state = os.statvfs(self._directory)
        now = (state.f_bfree, state.f_ffree)
        if now != self._seen:
            self._seen = now
            self._held = self._walk()
        return self._held

    def _walk(self) -> tuple[int, int]:
        linked: set[int] = set()
        blocks = inodes = 0
        todo = [self._directory]
        while todo:
            try:
                entries = list(os.scandir(todo.pop()))
            except OSError:
                continue  # removed meanwhile
            for entry in entries:
                try:
                    state = entry.stat(follow_symlinks=False)
                    is_folder = entry.is_dir(follow_symlinks=False)
                except OSError:
                    continue
                if is_folder:
                    todo.append(entry.path)
                elif state.st_nlink > 1:
                    if state.st_ino in linked:
                        continue
                    linked.add(state.st_ino)
                blocks += state.st_blocks
                inodes += 1
        more_blocks, more = self._removed()
        return (blocks + more_blocks) * _BLOCK, inodes + more

    def _removed(self) -> tuple[int, int]:
        """(blocks, number) of files that have no name any more, but a process of the VE has them open.

        Through an overlay they bear its device's number: known by their having no name.
        """
        seen: dict[tuple[int, int], int] = {}
        for pid in cgroup.all_pids(self._group):
            try:
                names = os.listdir(f"/proc/{pid}/fd")
            except OSError:
                continue
            for name in names:
                try:
                    state = os.stat(f"/proc/{pid}/fd/{name}")
                except OSError:
                    continue
                if state.st_nlink == 0:
                    seen[state.st_dev, state.st_ino] = state.st_blocks
        return sum(seen.values()), len(seen)
