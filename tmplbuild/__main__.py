"""`python -m tmplbuild`."""

from tmplbuild.cli import command

command()
