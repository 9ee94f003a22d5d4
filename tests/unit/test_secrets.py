"""Secrets: where they are looked for, who may read them, and that no output gives them away."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tmplbuild.errors import HostError
from tmplbuild.secrets import Secret, Veil, find, name_of


def place(folder: Path, name: str, data: bytes, mode: int = 0o600) -> Path:
    path = folder / name
    path.write_bytes(data)
    path.chmod(mode)
    return path


def test_the_environment_then_a_credential_then_a_file(tmp_path: Path) -> None:
    credentials, files = tmp_path / "c", tmp_path / "f"
    credentials.mkdir()
    files.mkdir()
    place(credentials, "repo-token", b"from systemd\n", 0o440)
    place(files, "repo-token", b"from a file\n")
    place(files, "only.here", b"two\nlines\n")
    env = {
        "TMPLBUILD_SECRET_REPO_TOKEN": "from the environment",
        "CREDENTIALS_DIRECTORY": str(credentials),
        "TMPLBUILD_SECRETS": str(files),
    }
    assert find("repo-token", env).text == "from the environment"
    del env["TMPLBUILD_SECRET_REPO_TOKEN"]
    assert find("repo-token", env).text == "from systemd"
    assert find("only.here", env).data == b"two\nlines"
    del env["CREDENTIALS_DIRECTORY"]
    assert find("repo-token", env).text == "from a file"


def test_a_secret_that_is_not_there_says_where_it_was_looked_for(tmp_path: Path) -> None:
    with pytest.raises(HostError) as caught:
        find("api-key", {"TMPLBUILD_SECRETS": str(tmp_path)})
    assert caught.value.where == f"$TMPLBUILD_SECRET_API_KEY, {tmp_path}/api-key"
    assert "install -m 600" in caught.value.hint


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604])
def test_a_file_that_others_may_read_is_refused(tmp_path: Path, mode: int) -> None:
    place(tmp_path, "key", b"hunter2", mode)
    with pytest.raises(HostError, match="others may read the secret key") as caught:
        find("key", {"TMPLBUILD_SECRETS": str(tmp_path)})
    assert "hunter2" not in str(caught.value)


def test_what_is_no_secret_s_file_is_refused(tmp_path: Path) -> None:
    env = {"TMPLBUILD_SECRETS": str(tmp_path)}
    place(tmp_path, "empty", b"\n")
    with pytest.raises(HostError, match="is empty"):
        find("empty", env)
    (tmp_path / "folder").mkdir()
    with pytest.raises(HostError):
        find("folder", env)
    os.mkfifo(tmp_path / "pipe", 0o600)
    with pytest.raises(HostError, match="is no file"):
        find("pipe", env)
    place(tmp_path, "large", b"x" * ((1 << 20) + 2))
    with pytest.raises(HostError, match="larger than 1 MiB"):
        find("large", env)
    place(tmp_path, "binary", b"\xff\xfe")
    with pytest.raises(HostError, match="is no text"):
        _ = find("binary", env).text


def test_references() -> None:
    assert name_of("secret:repo-token") == "repo-token"
    assert name_of("repo-token") is None
    assert name_of("secret:") is None
    assert name_of("secret:../x") is None
    assert name_of("secret:Upper") is None


def test_a_secret_is_in_no_repr() -> None:
    assert "hunter2" not in repr(Secret("key", "$X", b"hunter2"))


@given(
    st.lists(st.sampled_from([b"hunter2", b"hunt", b"er2", b"line one", b"\n", b"x", b"hh"]), max_size=12),
    st.integers(1, 9),
)
def test_no_piece_of_output_gives_a_secret_away(parts: list[bytes], size: int) -> None:
    whole = b"".join(parts)
    veil = Veil([Secret("a", "", b"hunter2"), Secret("b", "", b"line one\nline two")])
    shown = b"".join(veil.feed(whole[at : at + size]) for at in range(0, len(whole), size)) + veil.end()
    assert shown == whole.replace(b"hunter2", b"***").replace(b"line one", b"***")
    assert veil.hides(b"so hunter2!")
    assert not veil.hides(shown)
