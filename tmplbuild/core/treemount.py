"""The helper behind `Core.tree`: mounts layers where nobody sees it and hands the mount over."""

from __future__ import annotations

import socket

from tmplbuild.core import layers, wire


def main(number: int) -> None:
    """Serve one request on socket `number`: layers in, a detached mount's descriptor out."""
    sock = socket.socket(fileno=number)
    config, _fds = wire.receive(sock)
    layers.private_mounts()
    lower = config["lower"]
    assert isinstance(lower, list)
    upper, work = str(config["upper"]), str(config["work"])
    try:
        fd = layers.stacked(
            [str(path) for path in lower],
            upper,
            work,
            str(config["scratch"]),
            image=str(config["image"]),
            read_only=bool(config["read_only"]),
        )
    except OSError as error:
        wire.send(sock, {"error": str(error)})
        return
    wire.send(sock, {"ok": True}, [fd])
