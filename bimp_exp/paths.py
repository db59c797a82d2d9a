"""Where the program's own files lie: the package, its configuration groups and its sweeps.

In a checkout ``conf/`` and ``sweeps/`` stand beside the package; a wheel holds them inside it.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

PACKAGE = Path(__file__).resolve().parent
INSTALLED = (PACKAGE / "conf").is_dir()
"""Whether the package was installed from a wheel, so that ROOT is site-packages and no repository of ours."""
ROOT = PACKAGE.parent
"""The folder that has to be on the import path for bimp_exp and hydra_plugins."""
DATA = PACKAGE if INSTALLED else ROOT
CONF = DATA / "conf"
SWEEPS = DATA / "sweeps"


def search_current_folder() -> None:
    """Let modules of the user's own be imported from the current folder, if nothing else that Python searches has the name."""
    if os.getcwd() not in sys.path:
        sys.path.append(os.getcwd())


def search_folder(folder: Path) -> None:
    """The same for ``folder``, also in the processes that this one starts."""
    if str(folder) not in sys.path:
        sys.path.append(str(folder))
        others = filter(None, [os.environ.get("PYTHONPATH")])
        os.environ["PYTHONPATH"] = os.pathsep.join([*others, str(folder)])
