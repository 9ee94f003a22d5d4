"""set: addresses, names, limits, passwords; for now, and with --save for good."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from tmplbuild.cli.parser import Verbs
from tmplbuild.cli.ve.common import add_ve, manager_of, say
from tmplbuild.errors import UsageError

if TYPE_CHECKING:
    from tmplbuild.vz.request import Request


def add(verbs: Verbs) -> None:
    """Add the verb of this module."""
    parser = verbs.add_parser(
        "set",
        help="change a container",
        description="Change a container: while it runs at once, and with --save in its configuration, too. "
        "Files of one that does not run are written right away.",
    )
    add_ve(parser)
    add_settings(parser, removal=True)
    parser.add_argument("--name", help="a name by which it can be called; '' takes it away")
    parser.add_argument("--save", action="store_true", help="keep it in the container's configuration")
    parser.set_defaults(run=run_set)


def add_settings(parser: argparse.ArgumentParser, *, removal: bool) -> None:
    """The options that become values of VEID.conf.

    Parameters:
        removal: there may be something to take away.
    """
    from tmplbuild.vz.options import OPTIONS

    group = parser.add_argument_group("settings")
    _repeatable(group, "--ipadd", "ADDR", "give it an address (may be given several times)")
    if removal:
        _repeatable(group, "--ipdel", "ADDR|all", "take an address away, or all")
    for option in OPTIONS:
        group.add_argument(
            *option.flags,
            dest=f"set_{option.key}",
            metavar=option.metavar,
            action="append" if option.many else "store",
            help=option.text,
        )
    text = "set a user's password; without one it is asked for, or read from standard input"
    _repeatable(group, "--userpasswd", "USER[:PASSWORD]", text)


def _repeatable(group: argparse._ArgumentGroup, flag: str, metavar: str, text: str) -> None:
    group.add_argument(flag, metavar=metavar, action="append", default=[], help=text)


def request_of(args: argparse.Namespace) -> Request:
    """What the options of `add_settings` ask for. Raises UsageError."""
    from tmplbuild.vz.addresses import address
    from tmplbuild.vz.options import OPTIONS, parsed
    from tmplbuild.vz.request import Request, dropped, password

    values: dict[str, str | None] = {}
    for option in OPTIONS:
        given = getattr(args, f"set_{option.key}")
        if given is not None:
            values[option.key] = parsed(option, given)
    drop, drop_all = dropped(getattr(args, "ipdel", []))
    return Request(
        values=values,
        add=tuple(address(word) for word in args.ipadd),
        drop=drop,
        drop_all=drop_all,
        passwords=tuple(password(text, _ask) for text in args.userpasswd),
    )


def _ask(user: str) -> str:
    if not sys.stdin.isatty():
        return sys.stdin.readline().rstrip("\n")
    import getpass

    first = getpass.getpass(f"New password of {user}: ")
    if first != getpass.getpass("Once more: "):
        raise UsageError("the passwords differ")
    return first


def run_set(args: argparse.Namespace) -> int:
    """Change a container."""
    from tmplbuild.vz.request import Request

    request = request_of(args)
    if request == Request() and args.name is None:
        raise UsageError("nothing is to be set", hint="tmplbuild ve set --help shows what can be")
    outcome = manager_of(args).set(args.veid, request, save=args.save, name=args.name)
    if outcome.later:
        keys = ", ".join(sorted(set(outcome.later)))
        print(f"warning: {args.veid} takes up {keys} at its next start", file=sys.stderr)
    kept = "saved" if args.save else "set, not saved"
    say(
        args,
        f"{args.veid}: {kept}",
        veid=args.veid,
        saved=args.save,
        changed=outcome.changed,
        later=outcome.later,
    )
    return 0
