"""From a resolved configuration to the object that it describes, so that no other package needs to know Hydra."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bimp_exp.errors import UserError


def build(config: Mapping[str, Any]) -> Any:
    """The object that ``_target_`` and its arguments describe; UserError where it refuses them. Imports what it names."""
    from hydra.errors import InstantiationException
    from hydra.utils import instantiate

    try:
        return instantiate(config, _convert_="all")
    except InstantiationException as error:
        if isinstance(error.__cause__, UserError):
            raise error.__cause__ from None
        raise
