"""The sentences of the paper that its tables and figures are to show, each with the statistic that answers it.

A claim is a number per seed (``paper.measures``) and what the paper says of its mean. Names as in docs/reproduction.md.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf
from typing import Literal

from bimp_exp.paper.columns import best, extreme, row
from bimp_exp.paper.measures import (
    Measure,
    at,
    best_or_second,
    collapses,
    difference,
    narrows,
    on,
    short_and_dense,
    shrinks,
    slower,
    spread_of,
    together,
    wins,
    within_budget,
    without_repeats,
)

FIXED = ("ft", "lrw", "slr", "clr", "llr", "allr")
OTHERS = FIXED[:-1]
RIVALS = ("gmp", "gsm", "lc", "dpf", "dnw", "cs", "str", "dst")
SELECTORS = ("global", "uniform", "uniform_plus", "erk", "lamp")
RATES = ("stepped", "linear", "cyclic")
GMP = tuple(f"gmp {rate}{mode}" for rate in RATES for mode in ("", ", hard", ", soft"))
ON_PAR = 0.3  # points

SCHEDULES = tuple(f"t{number:02d}" for number in range(4, 22))
TUNED = ("t04", "t05", "t06", "t07")
CRITERIA = ("f08", "f09", "f10", "f11")


@dataclass(frozen=True, kw_only=True)
class Claim:
    """A sentence of the paper.

    section, sentence: where it stands, and what it says, shortened.
    sources: the tables (t04) and figures (f03) whose runs answer it.
    measured: the number of a seed, in words; of ``measure``.
    says: that its mean over seeds is ``above`` the bound, or ``within`` (-bound, bound).
    """

    name: str
    section: str
    sentence: str
    sources: tuple[str, ...]
    measured: str
    measure: Measure
    says: Literal["above", "within"] = "above"
    bound: float = 0.0


CLAIMS = (
    Claim(
        name="C1",
        section="3.1",
        sentence="ALLR is able to consistently improve upon previous approaches",
        sources=SCHEDULES,
        measured="ALLR - the best other schedule, chosen on validation; mean over all columns",
        measure=difference(row("allr"), best(OTHERS)),
    ),
    Claim(
        name="C2",
        section="3.1",
        sentence="ALLR is best or second best",
        sources=SCHEDULES,
        measured="share of columns in which at most one schedule is above ALLR; 0.8 or more",
        measure=best_or_second("allr", FIXED),
        bound=0.8,
    ),
    Claim(
        name="C3",
        section="3.1",
        sentence="LLR has a slight advantage over CLR",
        sources=SCHEDULES,
        measured="LLR - CLR",
        measure=difference(row("llr"), row("clr")),
    ),
    Claim(
        name="C4",
        section="3.1",
        sentence="linear and cosine schedules clearly outperform constant and stepped ones",
        sources=TUNED,
        measured="the worse of linear and cosine - the better of constant and stepped",
        measure=difference(extreme(("linear", "cosine"), min), extreme(("constant", "stepped"), max)),
    ),
    Claim(
        name="C5",
        section="2.1",
        sentence="SLR outperforms LRW",
        sources=SCHEDULES,
        measured="SLR - LRW",
        measure=difference(row("slr"), row("lrw")),
    ),
    Claim(
        name="C6",
        section="2.1",
        sentence="CLR outperforms SLR",
        sources=SCHEDULES,
        measured="CLR - SLR",
        measure=difference(row("clr"), row("slr")),
    ),
    Claim(
        name="C7",
        section="3.1",
        sentence="in short retraining at medium sparsity, CLR and LLR are not competitive to FT and LRW",
        sources=("t08",),
        measured="FT - LLR, one shot, at the lowest sparsity, in the shorter half of the budgets",
        measure=difference(row("ft"), row("llr"), short_and_dense),
    ),
    Claim(
        name="C8a",
        section="3.1",
        sentence="ALLR's advantage is noticeable in small budgets, for larger ones the schedules converge",
        sources=("t04", "t06", "t07", "t08"),
        measured="what ALLR - LLR loses whenever a one-shot budget doubles",
        measure=shrinks(row("allr"), row("llr")),
    ),
    Claim(
        name="C8b",
        section="3.1",
        sentence="for larger budgets the schedules converge",
        sources=("t04", "t06", "t07", "t08"),
        measured="what the range of SLR, CLR, LLR and ALLR loses whenever a one-shot budget doubles",
        measure=shrinks(extreme(FIXED[2:], max), extreme(FIXED[2:], min)),
    ),
    Claim(
        name="C10a",
        section="3.2",
        sentence="IMP meets the baseline of Renda et al. after only around 100 epochs of retraining",
        sources=("f03", "f05"),
        measured="ALLR in at most 0.6 T (120 epochs), chosen on validation - the baseline; mean over sparsities",
        measure=within_budget("allr", "renda", 0.6),
        bound=-ON_PAR,
    ),
    Claim(
        name="C10b",
        section="B.2",
        sentence="LLR reaches the baseline with far fewer epochs",
        sources=("f04",),
        measured="LLR in at most 1.8 T (360 epochs), chosen on validation - the baseline; mean over sparsities",
        measure=within_budget("llr", "renda", 1.8),
        bound=-ON_PAR,
    ),
    Claim(
        name="C11",
        section="3.2",
        sentence="ALLR continues to improve and exceeds the stepped baseline",
        sources=("f03", "f05"),
        measured="ALLR with the largest total - the baseline; mean over sparsities",
        measure=within_budget("allr", "renda", inf),
    ),
    Claim(
        name="C13",
        section="3.2",
        sentence="IMP takes well to budgeting the initial training",
        sources=("f06", "f07"),
        measured="half of the dense training - all of it; mean over sparsities, one shot and iterative",
        measure=difference(row("0.5 T"), row("1 T")),
        bound=-0.5,
    ),
    Claim(
        name="C14",
        section="3.2",
        sentence="the target sparsity has little influence on how much the initial training can be compressed",
        sources=("f06", "f07"),
        measured="largest - smallest over the columns of (half of the dense training - all of it)",
        measure=spread_of("0.5 T", "1 T"),
        says="within",
        bound=0.5,
    ),
    Claim(
        name="C15",
        section="3.3",
        sentence="BIMP outperforms many of the pruning-stable methods",
        sources=("t02", "t23", "t24"),
        measured="number of rivals below BIMP, minus 5; mean over columns",
        measure=wins("bimp", RIVALS, 5, without_repeats),
    ),
    Claim(
        name="C16",
        section="3.3",
        sentence="BIMP outperforms GMP",
        sources=("t23",),
        measured="BIMP - GMP at 90, 95 and 99 %",
        measure=difference(row("bimp"), row("gmp"), at(0.9, 0.95, 0.99)),
    ),
    Claim(
        name="C17a",
        section="3.3",
        sentence="on ImageNet, DNW is consistently on par with or better than BIMP",
        sources=("t02",),
        measured="DNW - BIMP on ImageNet",
        measure=difference(row("dnw"), row("bimp"), on("ImageNet")),
        bound=-ON_PAR,
    ),
    Claim(
        name="C17b",
        section="3.3",
        sentence="DNW needs roughly twice as long as BIMP",
        sources=("t02",),
        measured="images per second of BIMP / those of DNW on ImageNet, minus 1.5",
        measure=slower("dnw", "bimp", 1.5),
    ),
    Claim(
        name="C18",
        section="3.3",
        sentence="DPF is a strong competitor of BIMP",
        sources=("t23", "t24"),
        measured="DPF - BIMP",
        measure=difference(row("dpf"), row("bimp")),
        says="within",
        bound=0.5,
    ),
    Claim(
        name="C19",
        section="C.1",
        sentence="AccALLR and ALLR often lie within the standard deviation of each other",
        sources=("t25",),
        measured="AccALLR - ALLR",
        measure=difference(row("acc_allr"), row("allr")),
        says="within",
        bound=ON_PAR,
    ),
    Claim(
        name="C20",
        section="C.1",
        sentence="ALLR always matches the better one of its variants with only d1 or d2",
        sources=("t27",),
        measured="ALLR - the better of ALLR with d1 alone and with d2 alone",
        measure=difference(row("allr"), extreme(("allr_d1", "allr_d2"), max)),
        bound=-ON_PAR,
    ),
    *(
        Claim(
            name=f"C21{letter}",
            section="C.2",
            sentence=f"the global criterion is at least on par with the best one at any sparsity ({schedule.upper()})",
            sources=CRITERIA[:3],
            measured=f"global - the best other criterion, chosen on validation, both with {schedule.upper()}",
            measure=difference(
                row(f"{schedule} global"), best([f"{schedule} {name}" for name in SELECTORS[1:]], least=1)
            ),
            bound=-ON_PAR,
        )
        for letter, schedule in (("a", "ft"), ("b", "slr"))
    ),
    Claim(
        name="C22",
        section="C.2",
        sentence="SLR compresses the differences between the criteria",
        sources=CRITERIA,
        measured="range over criteria with FT - range with SLR",
        measure=narrows(SELECTORS, "ft", "slr"),
    ),
    *(
        Claim(
            name=f"C23{letter}",
            section="C.2",
            sentence=f"beyond 99 % the global criterion empties layers in one shot, not in cycles ({schedule.upper()})",
            sources=("f11",),
            measured="share of seeds in which layers are emptied in one shot beyond 99 %, and never in three cycles; more than a half",
            measure=collapses(f"{schedule} global", 0.99),
            bound=0.5,
        )
        for letter, schedule in (("a", "ft"), ("b", "slr"))
    ),
    Claim(
        name="C25",
        section="C.3",
        sentence="there is surprisingly little difference between hard and soft pruning",
        sources=("t28",),
        measured="GMP hard - soft, mean of the stepped, linear and cyclic rates",
        measure=together(*(difference(row(f"gmp {rate}, hard"), row(f"gmp {rate}, soft")) for rate in RATES)),
        says="within",
        bound=0.5,
    ),
    Claim(
        name="C26",
        section="C.3",
        sentence="restarting the rate after every pruning is detrimental at 90 %",
        sources=("t28",),
        measured="GMP linear - cyclic at 90 %, hard",
        measure=difference(row("gmp linear, hard"), row("gmp cyclic, hard"), at(0.9)),
    ),
    Claim(
        name="C27",
        section="C.3",
        sentence="BIMP is above all variants of GMP",
        sources=("t28", "t29"),
        measured="BIMP - the best variant of GMP, chosen on validation",
        measure=difference(row("bimp"), best(GMP, least=1)),
    ),
)
