"""tmplbuild builds, updates and publishes OS templates (see docs/architecture.md)."""

__version__ = "0.1.0"
