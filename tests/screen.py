"""A terminal as a person has it: what is typed goes in, what is shown is waited for."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import struct
import termios
from collections.abc import Mapping, Sequence


class Screen:
    """What came on a terminal."""

    def __init__(self, master: int) -> None:
        self.master = master
        self.text = b""

    def expect(self, words: bytes, timeout_s: float = 120) -> None:
        """Wait for words; what follows them is kept for the next time."""
        while words not in self.text:
            assert select.select([self.master], [], [], timeout_s)[0], self.text
            self.text += os.read(self.master, 4096)
        self.text = self.text.partition(words)[2]

    def type(self, keys: bytes) -> None:
        """Press keys."""
        os.write(self.master, keys)

    def resize(self, rows: int, columns: int) -> None:
        """Change the window's size."""
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def drain(self, timeout_s: float = 120) -> None:
        """Read until the program at the other side has gone."""
        try:
            while select.select([self.master], [], [], timeout_s)[0]:
                if not os.read(self.master, 4096):
                    return
        except OSError:
            return
        raise AssertionError("the program does not end")


def spawn(argv: Sequence[str], env: Mapping[str, str]) -> tuple[int, Screen]:
    """Start a program on a terminal of its own: its process id, and the screen."""
    pid, master = pty.fork()
    if pid == 0:
        os.execve(argv[0], list(argv), dict(env))
    return pid, Screen(master)
