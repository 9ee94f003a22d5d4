"""What people add to a recipe: variants, features, overlays, users, hooks."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from tmplbuild.recipes.kinds import Path, Seconds, SecretReference, Section, Text, Word

Login = Annotated[
    str, Meta(pattern="^[a-z_][a-z0-9_-]{0,30}$", description="an account's name: lower case, digits, dashes")
]
Id = Annotated[int, Meta(ge=0, le=65533, description="a number from 0 to 65533")]
Variable = Annotated[
    str, Meta(pattern="^[A-Za-z_][A-Za-z0-9_]*$", description="the name of a variable of the environment")
]
Stage = Literal[
    "", "bootstrap", "install", "configure", "strip", "clean", "upgrade", "leftovers", "clean-again", "check"
]


class Variant(Section, frozen=True, kw_only=True):
    """A template of its own beside the recipe's: DISTRO-RELEASE-VARIANT. Declared in `_base.toml`, it is
    there for all releases.

    Keys:
        features: what is laid on the recipe, in order.
        title: what is added to the image's title.
    """

    features: Annotated[tuple[Word, ...], Meta(min_length=1)]
    title: str = ""


class Feature(Section, frozen=True, kw_only=True):
    """What a file `_features/NAME.toml` says of itself. All else in it is a delta, written as in a recipe;
    but to add what is there, or to drop what is not, is no error: a feature is laid on many recipes.

    Keys:
        title: what it brings, in a few words.
        needs: features that are laid before this one.
        conflicts: features that it does not go with.
    """

    title: str = ""
    needs: tuple[Word, ...] = ()
    conflicts: tuple[Word, ...] = ()


class Overlay(Section, frozen=True, kw_only=True):
    """A directory beside the recipe whose files go into the tree, each as if it stood in `configure.files`
    (which may give single ones another owner). Empty directories and links are taken, too.

    Keys:
        to: where in the tree they go.
        kept: owners and modes are taken as they lie in the directory; otherwise all is root's, 0755 what
            is executable and 0644 what is not: a checkout's owners and modes are chance.
    """

    to: Path = "/"
    kept: bool = False


class User(Section, frozen=True, kw_only=True):
    """An account that stage configure makes, or changes where it is there (root). Its password is locked,
    unless `password` says otherwise; a key lets in all the same.

    Keys:
        uid: its number; the first free one from 1000 (of a `system` account from 999 down) if not given.
        gid: its own group's number; the uid, or the first free one.
        groups: further groups, which must be there.
        home: its directory, made with what is in /etc/skel; /home/NAME if not given, and of a system
            account none is made.
        shell: what runs when it logs in; /bin/sh, and of a system account /usr/sbin/nologin, if not given.
        comment: its full name.
        authorized_keys: lines of ~/.ssh/authorized_keys.
        password: "secret:NAME", a secret that holds a hash as crypt(5) has it (mkpasswd makes one), never
            the password itself.
        system: an account for a service, not for a person.
    """

    uid: Id | None = None
    gid: Id | None = None
    groups: tuple[Login, ...] = ()
    home: Path | None = None
    shell: Path | None = None
    comment: Annotated[str, Meta(pattern="^[^:\n]*$", description="a line without colons")] = ""
    authorized_keys: tuple[Text, ...] = ()
    password: SecretReference = ""
    system: bool = False


class Hook(Section, frozen=True, kw_only=True):
    """An executable beside the recipe that changes the tree, as a step of its own: `plan` shows it as
    hook-NAME, it has a layer and a log, and it runs again when it, or what lies below it, has changed.

    It runs in the tree, as root of a VE without init and without network; `booted`, in the tree's own
    running system, with a proxy that reaches the recipe's archives. Its working directory is /. In its
    environment are TMPLBUILD_HOOK (its name), TMPLBUILD_DISTRO, TMPLBUILD_RELEASE, TMPLBUILD_SUITE,
    TMPLBUILD_ARCH, SOURCE_DATE_EPOCH, `env`, and, with `secrets`, TMPLBUILD_SECRETS: a directory in memory
    with a file for each. A secret's value is no part of the step's key; it is blotted out of what the hook
    prints, and a hook that leaves it in the tree fails.

    Keys:
        run: the executable, a path beside the recipe or its parent. It needs /bin/sh in the tree.
        after: the stage that it comes after. Give one of the two; hooks of one place run as they stand here.
        before: the stage that it comes before.
        args: its arguments.
        env: further variables.
        secrets: names of secrets that it is given.
        booted: run it in the booted tree.
        timeout_s: longest time that it may take.
    """

    run: str
    after: Stage = ""
    before: Stage = ""
    args: tuple[Text, ...] = ()
    env: dict[Variable, Text] = {}
    secrets: tuple[Word, ...] = ()
    booted: bool = False
    timeout_s: Seconds = 300
