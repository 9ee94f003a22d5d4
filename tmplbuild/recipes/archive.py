"""What a recipe may say of an archive: `tmplbuild.recipes.model` has it among its sections."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from tmplbuild.recipes.credentials import Credentials
from tmplbuild.recipes.kinds import Fingerprint, KeyId, ModuleStream, Section, Sha256, Text


class Archive(Section, frozen=True, kw_only=True):
    """One upstream package archive, named by its role.

    Keys:
        mirrors: addresses, tried in order; "host" is the one that this machine's own apt sources name
            for this archive. A mirror is no part of a layer's key: it decides nothing.
        public: address that the template's own sources list gets (http, so that the build can serve
            it from verified bytes).
        suites: suites that are used, of which a later version wins wherever it is.
        components: components of each suite; with "apt-deb" and "apt-rpm" alone, as others' suites are
            repositories.
        modules: module streams whose packages are seen beside those of the archive's default streams
            ("postgresql:16"); the template's dnf has them enabled. With "dnf" only.
        keys: fingerprints of the primary keys that may sign the archive; the certificates lie in
            keys/FINGERPRINT.asc beside the recipe or its parent. With "apk" SHA-256 digests of RSA public
            keys (of their SubjectPublicKeyInfo, DER), which lie in keys/SHA256.pub. Empty only with
            `keys_missing`.
        keys_missing: why no key can be pinned yet, and what to do: until `keys` has one, nothing is built.
        weak_keys: those of `keys` of which DSA, and signatures over SHA-1, are accepted all the same: whoever
            can pay for it may forge them. With "slackpkg", "dnf" and "zypper".
        signed: what the signatures are on: "index" (the signed file of each suite vouches for the packages),
            "packages" (the index is not signed, each package is), or "both". With "dnf", "zypper" and
            "pacman".
        credentials: what the archive wants to know of who asks.
        keyring: with "pacman", the file keys/KEYRING beside the recipe, which has the certificates of all who
            sign packages; `keys` are the master keys among them.
        certified_by: how many of `keys` must certify a key of the keyring before a package that it signed is
            believed.
        frozen: the sha256 of a suite's signed file (InRelease, base/release), by suite, for one that never
            changes any more and whose signature is too old to be accepted: it is believed by this digest.
        vendor: what apt-rpm calls the keys that it accepts for this archive (vendors.list(5)): the mark
            of its lines in the sources list. With "apk" the name that its signatures have for the first of
            `keys`, which is its file's in /etc/apk/keys: needed with `own_keys` and `build_only`.
        arches: architectures that this archive is for; empty: all. Of a recipe for another one the
            archive is no part, so that each architecture may have an archive of its own.
        build_only: packages are taken from it, and it is in no sources list of the template; while the
            booted tree is upgraded it is (but with "slackpkg", which knows one tree).
        own_keys: give the template the pinned certificates as /etc/apt/keyrings/ROLE-FINGERPRINT.asc
            (apt-rpm: in its keyring; apk: /etc/apk/keys; pacman: as a keyring of its own), for an archive
            whose keys the distribution's keyring package does not bring. dnf and zypper are always given
            them.
    """

    mirrors: Annotated[tuple[str, ...], Meta(min_length=1)]
    public: Annotated[str, Meta(pattern="^http://")]
    suites: Annotated[tuple[str, ...], Meta(min_length=1)]
    components: tuple[str, ...] = ()
    modules: tuple[ModuleStream, ...] = ()
    keys: tuple[KeyId, ...]
    keys_missing: Text = ""
    weak_keys: tuple[Fingerprint, ...] = ()
    signed: Literal["index", "packages", "both"] = "index"
    credentials: Credentials = Credentials()
    keyring: Annotated[str, Meta(pattern=r"^([A-Za-z0-9][A-Za-z0-9._-]*)?$", description="a file name")] = ""
    certified_by: Annotated[int, Meta(ge=1)] = 3
    frozen: dict[str, Sha256] = {}
    vendor: Annotated[
        str, Meta(pattern="^([A-Za-z0-9][A-Za-z0-9._@+-]*)?$", description="a vendor's id, a key's file name")
    ] = ""
    arches: tuple[str, ...] = ()
    build_only: bool = False
    own_keys: bool = False
