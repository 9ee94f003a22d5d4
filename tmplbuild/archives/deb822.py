"""Control data, deb822(5): `Name: value` lines, continuation lines begin with a blank."""

from __future__ import annotations


def stanza(text: str) -> dict[str, str]:
    """One stanza's fields, names in lower case; of a field named twice the first stays.

    A multi-line value keeps its line ends; the blank that begins each of its lines is removed.
    """
    return {name.lower(): value for name, value in pairs(text)}


def pairs(text: str) -> list[tuple[str, str]]:
    """One stanza's fields as spelled and in order; of a field named twice the first stays."""
    found: list[tuple[str, list[str]]] = []
    seen: set[str] = set()
    keep = False
    for line in text.split("\n"):
        if line[:1] in (" ", "\t"):
            if keep:
                found[-1][1].append(line[1:])
            continue
        name, colon, value = line.partition(":")
        keep = bool(colon) and name.lower() not in seen and not line.startswith("#")
        if keep:
            seen.add(name.lower())
            found.append((name, [value.strip()]))
    return [(name, "\n".join(lines).rstrip("\n")) for name, lines in found]


def stanzas(text: str) -> list[dict[str, str]]:
    """All stanzas of a file, comment lines left out."""
    lines = [line for line in text.split("\n") if not line.startswith("#")]
    blocks = "\n".join("" if not line.strip() else line for line in lines).split("\n\n")
    return [fields for block in blocks if (fields := stanza(block.strip("\n")))]
