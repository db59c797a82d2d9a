"""What the paper says of retraining schedules and budgets (Sections 2.1, 3.1, 3.2, Appendix B)."""

from __future__ import annotations

from math import inf

from bimp_exp.paper.claim import ON_PAR, Claim
from bimp_exp.paper.columns import best, extreme, row
from bimp_exp.paper.measures import best_or_second, difference, short_and_dense, shrinks
from bimp_exp.paper.measures_figures import spread_of, within_budget

FIXED = ("ft", "lrw", "slr", "clr", "llr", "allr")
TABLES = tuple(f"t{number:02d}" for number in range(4, 22))
TUNED = ("t04", "t05", "t06", "t07")

CLAIMS = (
    Claim(
        name="C1",
        section="3.1",
        sentence="ALLR is able to consistently improve upon previous approaches",
        sources=TABLES,
        measured="ALLR - the best other schedule, chosen on validation; mean over all columns",
        measure=difference(row("allr"), best(FIXED[:-1], least=3)),
    ),
    Claim(
        name="C2",
        section="3.1",
        sentence="ALLR is best or second best",
        sources=TABLES,
        measured="share of columns in which at most one schedule is above ALLR; 0.8 or more",
        measure=best_or_second("allr", FIXED),
        bound=0.8,
    ),
    Claim(
        name="C3",
        section="3.1",
        sentence="LLR has a slight advantage over CLR",
        sources=TABLES,
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
        sources=TABLES,
        measured="SLR - LRW",
        measure=difference(row("slr"), row("lrw")),
    ),
    Claim(
        name="C6",
        section="2.1",
        sentence="CLR outperforms SLR",
        sources=TABLES,
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
)
