"""Figures and foreign text as people read them."""

from __future__ import annotations

import unicodedata

_HIDDEN = {"Cc", "Cf", "Cs", "Zl", "Zp"}  # controls, format characters (bidi tricks), surrogates, separators


def printable(text: str) -> str:
    """`text` on one line and without anything that a terminal would obey.

    Names from tar files and the output of commands inside a VE are not ours: an escape sequence
    in them must not reach the user's terminal. What is not shown is written as \\x1b or \\u202e.
    """
    if text.isprintable():
        return text
    return "".join(_visible(char) for char in text.expandtabs(8))


def _visible(char: str) -> str:
    if unicodedata.category(char) not in _HIDDEN:
        return char
    code = ord(char)
    if 0xDC80 <= code <= 0xDCFF:  # a byte that was not UTF-8 (surrogateescape)
        return f"\\x{code - 0xDC00:02x}"
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"


def seconds(value: float) -> str:
    """A duration: "0.4 s", "12 s", "3 min 05 s", "1 h 02 min"."""
    if value < 9.95:
        return f"{max(value, 0.0):.1f} s"
    whole = round(value)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02} min"


def size(count: float) -> str:
    """Bytes in powers of 1000, three digits: "0 B", "4.1 kB", "104 MB"."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < (1000 if unit == "B" else 999.5):
            break
        count /= 1000
    else:
        unit = "TB"
    digits = 0 if unit == "B" else 2 if count < 9.995 else 1 if count < 99.95 else 0
    return f"{count:.{digits}f} {unit}"


def rate(count: float, duration: float) -> str:
    """Bytes a second: "13.8 MB/s"; empty where no time has passed."""
    return f"{size(count / duration)}/s" if duration > 0 else ""


def plural(count: int, one: str, many: str = "") -> str:
    """ "1 package", "3 packages"."""
    return f"{count} {one}" if count == 1 else f"{count} {many or one + 's'}"


def on(host: str) -> str:
    """ " on w2"; nothing for this machine ("")."""
    return f" on {printable(host)}" if host else ""
