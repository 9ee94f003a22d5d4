"""A command in a VE: from a fork of the monitor to the command itself.

The fork joins the command's control group and the VE's namespaces and forks again, for only a child
is in the new process namespace; then it ends, and the child falls to the monitor.
"""

from __future__ import annotations

import os
import socket

from tmplbuild.core import birth, cgroup, inside, linux, wire

SPACES = (
    linux.CLONE_NEWUSER
    | linux.CLONE_NEWNS
    | linux.CLONE_NEWPID
    | linux.CLONE_NEWUTS
    | linux.CLONE_NEWIPC
    | linux.CLONE_NEWNET
    | linux.CLONE_NEWCGROUP
)
NOT_FOUND, NOT_RUN = 127, 126


def spawn(
    pidfd: int,
    spaces: int,
    joins: list[str],
    request: wire.Message,
    fds: list[int],
    how: birth.Plain,
    client: socket.socket | None,
) -> int:
    """Start a command in the VE whose init is `pidfd`.

    Parameters:
        spaces: the VE's own namespaces (SPACES, or without the network).
        joins: the control groups' files to write to.
        request: "argv", "env" (complete), "cwd", "user", "tty", "stdin" (whether fds begins with it).
        fds: [stdin,] stdout, stderr; none for a terminal, whose master end is sent to `client`.

    Returns the process id as the host has it. Raises OSError.
    """
    reader, writer = os.pipe()
    fork = os.fork()
    if fork == 0:
        try:
            os.close(reader)
            _cross(writer, pidfd, spaces, joins, request, fds, how, client)
        finally:
            os._exit(NOT_RUN)
    os.close(writer)
    with open(reader, "rb") as file:
        word = file.read()
    os.waitpid(fork, 0)
    if not word.isdigit():
        raise OSError(word.decode("utf-8", "replace") or "the VE is gone")
    return int(word)


def _cross(
    writer: int,
    pidfd: int,
    spaces: int,
    joins: list[str],
    request: wire.Message,
    fds: list[int],
    how: birth.Plain,
    client: socket.socket | None,
) -> None:
    try:
        linux.die_with_parent()
        cgroup.join(joins)
        linux.setns(pidfd, spaces)
        birth.become_root()
        pid = os.fork()
    except OSError as error:
        os.write(writer, f"{error.filename or 'enter'}: {error.strerror}".encode())
        return
    if pid:
        os.write(writer, str(pid).encode())
        os._exit(0)
    os.close(writer)
    try:
        _become(request, fds, how, client)
    except OSError as error:
        os.write(2, f"tmplbuild: {error}\n".encode("utf-8", "replace"))
    finally:
        os._exit(NOT_RUN)


def _become(request: wire.Message, fds: list[int], how: birth.Plain, client: socket.socket | None) -> None:
    """Set up the process and become the command."""
    os.chdir("/")
    os.setsid()
    _connect(request, fds, client)
    birth.become_plain(how)
    env = _strings(request["env"])
    uid, gid, groups, home, name = look_up_user(str(request["user"]))
    for key, value in (("HOME", home), ("USER", name), ("LOGNAME", name)):
        env.setdefault(key, value)
    os.setgroups(groups)
    os.setresgid(gid, gid, gid)
    os.setresuid(uid, uid, uid)
    os.chdir(str(request["cwd"]))
    argv = request["argv"]
    assert isinstance(argv, list)
    _run([str(word) for word in argv], env)


def _connect(request: wire.Message, fds: list[int], client: socket.socket | None) -> None:
    if request["tty"]:
        master, slave, _path = inside.open_terminal()
        if client is not None:
            wire.send(client, {"terminal": True}, [master])
        os.close(master)
        linux.take_terminal(slave)
        given = [slave, slave, slave]
    elif request["stdin"]:
        given = fds[:3]
    else:
        given = [os.open("/dev/null", os.O_RDONLY), *fds[:2]]
    # Copies above all of them first: one may already have the number that another is to get.
    high = [os.dup(fd) for fd in given]
    for number, fd in enumerate(high):
        os.dup2(fd, number)
    linux.close_from(3)


def _strings(value: object) -> dict[str, str]:
    return {str(key): str(text) for key, text in value.items()} if isinstance(value, dict) else {}


def _run(argv: list[str], env: dict[str, str]) -> None:
    """Become the command, with a shell's statuses where that cannot be."""
    try:
        birth.become(argv, env)
    except OSError as error:
        os.write(2, f"tmplbuild: {argv[0]}: {error.strerror}\n".encode("utf-8", "replace"))
        os._exit(NOT_FOUND if isinstance(error, FileNotFoundError) else NOT_RUN)


def look_up_user(user: str) -> tuple[int, int, list[int], str, str]:
    """(uid, gid, groups, home, name) of a user by the VE's own passwd(5) and group(5).

    `user` is a name, "UID" or "UID:GID". Raises OSError for a name that is not there.
    """
    if user in ("root", "0"):
        return 0, 0, _groups("root", 0), "/root", "root"
    uid_text, _, gid_text = user.partition(":")
    for row in _rows("/etc/passwd", 7):
        if uid_text in (row[0], row[2]):
            gid = int(gid_text or row[3])
            return int(row[2]), gid, _groups(row[0], gid), row[5], row[0]
    if not uid_text.isdigit() or not (gid_text or "0").isdigit():
        raise OSError(2, f"there is no user {uid_text!r} in the VE")
    gid = int(gid_text or uid_text)
    return int(uid_text), gid, [gid], "/", uid_text


def _groups(name: str, gid: int) -> list[int]:
    found = {gid}
    for row in _rows("/etc/group", 4):
        if name in row[3].split(","):
            found.add(int(row[2]))
    return sorted(found)


def _rows(path: str, width: int) -> list[list[str]]:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            rows = [line.rstrip("\n").split(":") for line in file]
    except FileNotFoundError:
        return []
    return [row for row in rows if len(row) == width and row[2].isdigit()]
