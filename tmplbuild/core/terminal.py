"""The caller's terminal lent to a shell in a VE: keys one way, bytes the other, the window's size."""

from __future__ import annotations

import fcntl
import os
import selectors
import signal
import socket
import sys
import termios
import tty
from collections.abc import Iterator
from contextlib import contextmanager

from tmplbuild.core import wire
from tmplbuild.errors import HostError, UsageError


def serve(connection: socket.socket) -> int:
    """Relay between our terminal and the one that the monitor sends, until the shell ends.

    Every key, Ctrl-C included, goes to the VE. Returns the shell's exit status. Raises UsageError
    without a terminal, EOFError when the VE ends.
    """
    if not os.isatty(0):
        raise UsageError(
            "A shell needs a terminal.", why="standard input is none", hint="run one command instead"
        )
    message, fds = wire.receive(connection)
    if "error" in message:
        raise HostError("The VE cannot be entered.", why=str(message["error"]))
    master = fds[0]
    sys.stdout.flush()
    try:
        with _raw(0), _window(master):
            return _relay(connection, master)
    finally:
        os.close(master)


def _relay(connection: socket.socket, master: int) -> int:
    with selectors.DefaultSelector() as selector:
        for source in (0, master, connection.fileno()):
            selector.register(source, selectors.EVENT_READ)
        while True:
            for key, _events in selector.select():
                if key.fd == 0:
                    keys = os.read(0, 4096)
                    if keys:
                        _write_all(master, keys)
                    else:
                        selector.unregister(0)
                elif key.fd == master:
                    if not _show(master):
                        selector.unregister(master)
                else:
                    return _ended(connection, master)


def _ended(connection: socket.socket, master: int) -> int:
    message, _fds = wire.receive(connection)
    os.set_blocking(master, False)
    while _show(master):
        pass
    status = int(str(message["status"]))
    return os.waitstatus_to_exitcode(status) if os.WIFEXITED(status) else 128 + os.WTERMSIG(status)


def _show(master: int) -> bool:
    """Copy one piece to our terminal. False when there is none (left)."""
    try:
        data = os.read(master, 65536)
    except OSError:
        return False  # EIO: every program on the other side is gone; EAGAIN: nothing now
    _write_all(1, data)
    return bool(data)


def _write_all(fd: int, data: bytes) -> None:
    while data:
        data = data[os.write(fd, data) :]


@contextmanager
def _raw(fd: int) -> Iterator[None]:
    before = termios.tcgetattr(fd)
    tty.setraw(fd)
    try:
        yield
    finally:
        termios.tcsetattr(fd, termios.TCSADRAIN, before)


@contextmanager
def _window(master: int) -> Iterator[None]:
    """Give the VE's terminal our window's size, now and whenever it changes."""

    def copy_size(number: int, frame: object) -> None:
        size = fcntl.ioctl(0, termios.TIOCGWINSZ, b"\0" * 8)
        fcntl.ioctl(master, termios.TIOCSWINSZ, size)

    copy_size(0, None)
    before = signal.signal(signal.SIGWINCH, copy_size)
    try:
        yield
    finally:
        signal.signal(signal.SIGWINCH, before)
