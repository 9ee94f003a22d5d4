"""Addresses of VEs, as options and VEID.conf have them."""

from __future__ import annotations

import ipaddress

from tmplbuild.errors import UsageError

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


def address(text: str) -> Address:
    """An address of one machine; a prefix as vzctl takes it is read and not used: venet0 is routed.

    Raises UsageError.
    """
    try:
        return ipaddress.ip_interface(text).ip
    except ValueError as error:
        raise UsageError(f"{text!r} is no address", hint="such as 192.0.2.101 or 2001:db8::101") from error
