"""What the tests of each family ask of a recipe beside its own: a package that lies beside it, and needs one
of an archive that only the build has.

    add(recipes / "alpine/3.22.toml", {"beside.apk": data}, LENT.format(url=server.url) + 'suites = [...]')
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

PACKAGE = "beside-like"
NEEDS = "lent-like"
LENT = """\
[archives.lent]
mirrors = ["{url}/lent"]
public = "http://lent.example/lent"
build_only = true
"""
ADDRESS = "lent.example"


def add(recipe: Path, files: Mapping[str, bytes], archives: str, packages: Sequence[str] = ()) -> None:
    """Have a recipe ask for packages in files, and of further archives.

    Parameters:
        files: the packages by file name.
        archives: tables of the recipe.
        packages: names of others that it asks for.
    """
    for name, data in files.items():
        put(recipe, name, data)
    names = [f"packages/{name}" for name in files]
    feature = recipe.parent / "_features/beside.toml"
    feature.parent.mkdir(exist_ok=True)
    feature.write_text(
        f'[feature]\ntitle = "packages from elsewhere"\n[install]\nadd.files = {names}\n'
        f"add.packages = {list(packages)}\n{archives}"
    )
    recipe.write_text(f'features = ["beside"]\n{recipe.read_text()}')


def put(recipe: Path, name: str, data: bytes) -> None:
    """Lay a package beside a recipe, or another one in its place."""
    path = recipe.parent / "packages" / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(data)
