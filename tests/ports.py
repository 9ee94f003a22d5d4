"""A port for a server that has to be told one."""

from __future__ import annotations

import socket
import subprocess
import time


def free_port(host: str = "127.0.0.1") -> int:
    """A TCP port that nobody else gets for a minute, which a server has time to take.

    A connection to it has just ended (TIME-WAIT): the kernel then gives the port to nobody who wants any
    port, nor to a connection, and lets who names it have it, with SO_REUSEADDR, as servers do. A port that
    was only looked for may be another's by the time when the server wants it.
    """
    with socket.create_server((host, 0)) as listener:
        port: int = listener.getsockname()[1]
        with socket.create_connection((host, port)) as caller:
            listener.accept()[0].close()  # who ends first waits
            caller.recv(1)
    return port


def await_port(server: subprocess.Popen[bytes], port: int, host: str = "127.0.0.1") -> None:
    """Wait until a server that was started takes connections."""
    while server.poll() is None:
        with socket.socket() as probe:
            if probe.connect_ex((host, port)) == 0:
                return
        time.sleep(0.02)
    raise AssertionError(f"the server ended with {server.returncode}")
