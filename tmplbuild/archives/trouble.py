"""What to tell a user of downloads that failed."""

from __future__ import annotations

from collections.abc import Sequence

from tmplbuild.errors import FetchError, TmplbuildError, VerifyError


class MissingError(FetchError):
    """Every mirror answered, and none has the file."""


def failure(
    address: str,
    path: str,
    wrong: Sequence[str],
    troubles: Sequence[str],
    missing: Sequence[str],
    *,
    denied: bool = False,
) -> TmplbuildError:
    """The error for a file that no mirror gave; `denied`: one at least of them did not let us in."""
    why = "\n".join([*wrong, *troubles, *missing])
    where = f"{address}/{path}"
    if wrong:
        return VerifyError(
            "the bytes that came are not those that the archive vouches for",
            where=where,
            why=why,
            hint="the mirror is damaged or half updated: try again later, or use another one (MIRROR=)",
        )
    if troubles:
        return FetchError(
            "a file could not be downloaded",
            where=where,
            why=why,
            hint="check the network and the proxy variables, or use another mirror (MIRROR=)",
        )
    if denied:
        return FetchError(
            "the archive does not let us in",
            where=where,
            why=why,
            hint="it wants to know who asks: archives.NAME.credentials in the recipe, and its secrets",
        )
    return MissingError(
        "no mirror has a file that is needed",
        where=where,
        why=why,
        hint="the release may have moved to another archive, or the mirror is incomplete: "
        "use another one (MIRROR=)",
    )


def reason(error: BaseException) -> str:
    """The innermost cause in few words: what requests and urllib3 wrap around it says nothing more."""
    inner: BaseException = error
    for _ in range(8):
        args = [arg for arg in inner.args if isinstance(arg, BaseException)]
        deeper = args[0] if args else getattr(inner, "reason", None)
        if not isinstance(deeper, BaseException):
            break
        inner = deeper
    text = str(getattr(inner, "strerror", None) or inner)
    return text.rpartition(">: ")[2] or type(inner).__name__
