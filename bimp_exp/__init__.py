"""Experiments on pruning and retraining neural networks, and the parts of them that are of use in other programs.

``from bimp_exp import ALLR`` imports what ALLR needs and nothing else; ``import bimp_exp`` alone imports nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bimp_exp.pruning.report import PruneReport as PruneReport
    from bimp_exp.pruning.report import snapshot as snapshot
    from bimp_exp.pruning.weights import prunable as prunable
    from bimp_exp.schedule.acc_allr import AccALLR as AccALLR
    from bimp_exp.schedule.allr import ALLR as ALLR
    from bimp_exp.schedule.allr_d1 import ALLRd1 as ALLRd1
    from bimp_exp.schedule.allr_d2 import ALLRd2 as ALLRd2
    from bimp_exp.schedule.clr import CLR as CLR
    from bimp_exp.schedule.ft import FT as FT
    from bimp_exp.schedule.llr import LLR as LLR
    from bimp_exp.schedule.lrw import LRW as LRW
    from bimp_exp.schedule.slr import SLR as SLR
    from bimp_exp.selector.erk import ERK as ERK
    from bimp_exp.selector.filter_l2 import FilterL2 as FilterL2
    from bimp_exp.selector.global_ import Global as Global
    from bimp_exp.selector.lamp import LAMP as LAMP
    from bimp_exp.selector.random import Random as Random
    from bimp_exp.selector.uniform import Uniform as Uniform
    from bimp_exp.selector.uniform_plus import UniformPlus as UniformPlus

__version__ = "0.1.0"

PUBLIC = {
    "ALLR": "schedule.allr", "ALLRd1": "schedule.allr_d1", "ALLRd2": "schedule.allr_d2", "AccALLR": "schedule.acc_allr",
    "CLR": "schedule.clr", "FT": "schedule.ft", "LLR": "schedule.llr", "LRW": "schedule.lrw", "SLR": "schedule.slr",
    "ERK": "selector.erk", "FilterL2": "selector.filter_l2", "Global": "selector.global_", "LAMP": "selector.lamp",
    "Random": "selector.random", "Uniform": "selector.uniform", "UniformPlus": "selector.uniform_plus",
    "PruneReport": "pruning.report", "snapshot": "pruning.report", "prunable": "pruning.weights",
}  # fmt: skip
"""The public names and the modules that define them."""


def __getattr__(name: str) -> Any:
    if name not in PUBLIC:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{PUBLIC[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *PUBLIC})
