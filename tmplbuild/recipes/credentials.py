"""How an archive knows its customers."""

from __future__ import annotations

from tmplbuild.recipes.kinds import SecretReference, Section


class Credentials(Section, frozen=True, kw_only=True):
    """How an archive knows its customers. What is told to it stands in no recipe, only what it is called: it
    is found on the machine that builds (an environment variable, a credential of systemd, a private file:
    tmplbuild.secrets), and goes to this archive's mirrors alone, over https.

    It is no part of a layer's key, and the template gets none of it.

    Keys:
        user: the user's name, for HTTP's basic authentication.
        password: that user's password.
        certificate: the client's certificate, PEM (dnf's sslclientcert).
        key: its private key, PEM, without a passphrase (dnf's sslclientkey).
        authority: the file beside the recipe with the certificates, PEM, of who vouches for the server
            (dnf's sslcacert); nothing: those that this machine trusts.
    """

    user: SecretReference = ""
    password: SecretReference = ""
    certificate: SecretReference = ""
    key: SecretReference = ""
    authority: str = ""

    @property
    def used(self) -> bool:
        """Whether the archive asks for any."""
        return any((self.user, self.password, self.certificate, self.key, self.authority))
