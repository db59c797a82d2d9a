"""Packages that only some tasks need: without them everything else works."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from bimp_exp.errors import ConfigError


@contextmanager
def extra(name: str, wanted_by: str) -> Iterator[None]:
    """Around imports: ConfigError that names the ``name`` of the extra where a package of it is not installed.

    wanted_by: the configuration that needs it, ``dataset=wmt16``.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        cause = error if error.name else error.__cause__  # transformers raises one of its own
        package = (getattr(cause, "name", None) or "another package").partition(".")[0]
        raise ConfigError(f"{wanted_by} needs {package}: pip install 'bimp-exp[{name}]'") from None
