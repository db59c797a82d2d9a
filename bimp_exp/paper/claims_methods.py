"""What the paper says of BIMP and its rivals, of ALLR's factors and of pruning criteria (Section 3.3, Appendix C)."""

from __future__ import annotations

from bimp_exp.paper.claim import ON_PAR, Claim
from bimp_exp.paper.columns import best, extreme, row
from bimp_exp.paper.measures import at, difference, on, slower, together, wins, without_repeats
from bimp_exp.paper.measures_figures import collapses, narrows

RIVALS = ("gmp", "gsm", "lc", "dpf", "dnw", "cs", "str", "dst")
SELECTORS = ("global", "uniform", "uniform_plus", "erk", "lamp")
CRITERIA = ("f08", "f09", "f10", "f11")
RATES = ("stepped", "linear", "cyclic")
GMP = tuple(f"gmp {rate}{mode}" for rate in RATES for mode in ("", ", hard", ", soft"))

CLAIMS = (
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
            measured="share of seeds with layers emptied in one shot beyond 99 % and in no cycles; above one half",
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
