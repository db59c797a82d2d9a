"""Figure 1: what the retraining schedules make of the rate of dense training; no run is needed."""

from __future__ import annotations

from bimp_exp.lr import Stepped
from bimp_exp.paper.draw import LINEAR, Panel, Point
from bimp_exp.paper.figures import Drawing
from bimp_exp.schedule.allr import ALLR
from bimp_exp.schedule.base import PruneReport
from bimp_exp.schedule.clr import CLR
from bimp_exp.schedule.ft import FT
from bimp_exp.schedule.llr import LLR
from bimp_exp.schedule.lrw import LRW
from bimp_exp.schedule.slr import SLR


def schedules() -> Drawing:
    """The rates of 60 epochs of retraining after 200 dense ones with the stepped rate of Table 3 (CIFAR-10)."""
    steps = 100  # an epoch
    original = Stepped(initial=0.1, warmup_epochs=0, milestones=[0.45, 0.9], gamma=0.1).schedule(200 * steps, steps)
    report = PruneReport(
        fraction=0.9,
        removed_norm=0.3 * 0.9**0.5,
        norm_all=1.0,
        norm_prunable=1.0,
        length_ratio=0.3,
        train_metric_dense=1.0,
        train_metric_pruned=1.0,
    )
    made = {
        "FT": FT(),
        "LRW": LRW(),
        "SLR": SLR(warmup=0.1, keep_last_warmup_rate=False, index_in_floating_point=False),
        "CLR": CLR(warmup=0.1),
        "LLR": LLR(warmup=0.1),
        "ALLR, d = 0.3": ALLR(warmup=0.1, norm="all"),
    }
    lines = {}
    for label, schedule in made.items():
        rates = schedule(original, 60 * steps, report)
        lines[label] = [Point(x=step / steps, mean=rates(step)) for step in range(0, 60 * steps, steps // 2)]
    return Drawing(panels=[Panel(title="", lines=lines, scale=LINEAR)], x="epoch of retraining", y="learning rate")
