"""What lint has to say of users, hooks and variants."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from typing import Literal, TypeAlias

from tmplbuild.recipes.lending import borrowed
from tmplbuild.recipes.load import LoadedRecipe
from tmplbuild.recipes.release import begins_packed
from tmplbuild.tomlfile import KeyPath, did_you_mean, quote

Row: TypeAlias = tuple[Literal["error", "warning"], KeyPath, str, str]
"""Level, key path, text, hint."""

_KEY_KINDS = ("ssh-", "ecdsa-", "sk-ssh-", "sk-ecdsa-")
_OURS = ("TMPLBUILD_", "SOURCE_DATE_EPOCH")


def rows(loaded: LoadedRecipe) -> Iterator[Row]:
    """All findings."""
    yield from _users(loaded)
    yield from _local(loaded)
    yield from _build_only(loaded)
    for name in loaded.recipe.hooks:
        yield from _hook(loaded, name)


def _users(loaded: LoadedRecipe) -> Iterator[Row]:
    users = loaded.recipe.configure.users
    numbers = Counter(user.uid for user in users.values() if user.uid is not None)
    for name, user in users.items():
        key: KeyPath = ("configure", "users", name)
        if user.uid is not None and numbers[user.uid] > 1:
            yield "error", (*key, "uid"), f"two users have the uid {user.uid}", ""
        if user.uid == 0 and name != "root":
            yield "error", (*key, "uid"), "0 is root's", "leave it out: the first free one is taken"
        for at, line in enumerate(user.authorized_keys):
            words = line.split()
            if "PRIVATE KEY" in line:
                yield "error", (*key, "authorized_keys", at), "is a private key", "give the .pub file's line"
            elif "\n" in line.strip() or not any(word.startswith(_KEY_KINDS) for word in words):
                hint = "such as ssh-ed25519 AAAA... somebody"
                yield "error", (*key, "authorized_keys", at), "is no line of authorized_keys", hint
        if user.system and user.authorized_keys and user.home is None:
            hint = "give it a home"
            yield "error", (*key, "authorized_keys"), "a system account has no home for them", hint


def _build_only(loaded: LoadedRecipe) -> Iterator[Row]:
    only = borrowed(loaded.recipe.archives)
    for role in only:
        key: KeyPath = ("archives", role, "build_only")
        if len(only) == len(loaded.recipe.archives):
            yield "error", key, "no archive would be left in the template", ""
    if loaded.recipe.upgrade.manager == "apk":
        for role, archive in loaded.recipe.archives.items():
            if (archive.own_keys or archive.build_only) and not archive.vendor:
                hint = (
                    "the name behind .SIGN.RSA in APKINDEX.tar.gz, such as somebody@example.org-5f0e.rsa.pub"
                )
                yield "error", ("archives", role, "vendor"), "apk has to know what its key is called", hint


def _local(loaded: LoadedRecipe) -> Iterator[Row]:
    install = loaded.recipe.install
    for at, name in enumerate(install.files):
        key: KeyPath = ("install", "files", at)
        if loaded.local_package(name) is None:
            hint = f"it is looked for beside {loaded.path} and its parents"
            yield "error", key, f"{name} is not there", hint
        elif begins_packed(loaded.recipe):
            yield "error", key, "local packages can only be given to trees that are made of packages", ""
    for name in install.digests:
        if name not in install.files:
            hint = did_you_mean(name, install.files)
            yield "error", ("install", "digests", name), "is none of install.files", hint


def _hook(loaded: LoadedRecipe, name: str) -> Iterator[Row]:
    hook = loaded.recipe.hooks[name]
    key: KeyPath = ("hooks", name)
    if bool(hook.after) == bool(hook.before):
        text = "after and before are given" if hook.after else "says nothing of when it runs"
        yield "error", key, text, 'give one of them, such as after = "configure"'
    if hook.before == "bootstrap":
        yield "error", (*key, "before"), "there is no tree before bootstrap", 'such as after = "bootstrap"'
    if hook.after == "check":
        yield "error", (*key, "after"), "what was checked is not changed any more", 'before = "check"'
    if "install" in (hook.after, hook.before) and begins_packed(loaded.recipe):
        word = "after" if hook.after else "before"
        hint = 'the tree begins packed: after = "bootstrap"'
        yield "error", (*key, word), "there is no stage install", hint
    if hook.booted and (hook.after == "bootstrap" or hook.before == "install"):
        yield "error", (*key, "booted"), "nothing boots yet", 'such as after = "clean"'
    path = loaded.find(hook.run)
    if path is None:
        hint = f"it is looked for beside {loaded.path} and its parents"
        yield "error", (*key, "run"), f"{hook.run} is not there", hint
    elif not os.access(path, os.X_OK):
        yield "error", (*key, "run"), f"{path} is not executable", f"chmod +x {path}"
    elif not path.read_bytes().startswith((b"#!", b"\x7fELF")):
        hint = "a script begins with #! and its interpreter, such as #!/bin/sh"
        yield "error", (*key, "run"), f"{path} is no program", hint
    for variable in hook.env:
        if variable.startswith(_OURS):
            yield "error", (*key, "env", variable), f"{quote(variable)} is set by tmplbuild", ""
