"""The answers to the paper's claims: claims.md and claims.csv, ours beside what the printed numbers give."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from bimp_exp.paper import claims_methods, claims_schedules, columns
from bimp_exp.paper.claim import Claim
from bimp_exp.paper.claim_tests import Answer, Tested, above, answer, inside
from bimp_exp.paper.columns import PRINTED, Column
from bimp_exp.paper.measures import Statistic
from bimp_exp.paper.page_text import table
from bimp_exp.paper.published import numbers
from bimp_exp.report.statistics import holm

CLAIMS: tuple[Claim, ...] = (*claims_schedules.CLAIMS, *claims_methods.CLAIMS)
RULE = (
    "Each claim is one number per seed, its mean over the columns of the tables named. Supported: one-sided p < 0.05 in the"
    " direction that the paper says, after Holm over the claims that could be evaluated; contradicted: likewise the other way;"
    " else undecided. Columns share dense networks and are no replicates. Printed: the same of the printed means."
)


@dataclass(frozen=True, kw_only=True)
class Answered:
    """A claim, what our runs give (None without them) with the p values after Holm, and what the printed means give."""

    claim: Claim
    ours: Statistic | None
    tested: Tested | None
    p_support: float | None
    p_contradict: float | None
    verdict: Answer | None
    printed: Statistic | None


def answers(found: Mapping[str, Sequence[Column]]) -> list[Answered]:
    """The answer to every claim; found: columns of our runs by table or figure, under "" those that belong to none."""
    printed = columns.printed(numbers())
    ours = {claim.name: claim.measure(_of(claim, found)) for claim in CLAIMS}
    tested = {}
    for claim in CLAIMS:
        statistic = ours[claim.name]
        if statistic is not None:
            test = above if claim.says == "above" else inside
            tested[claim.name] = test(list(statistic.per_seed.values()), claim.bound)
    support = _holm({name: test.p_support for name, test in tested.items()})
    contradict = _holm({name: test.p_contradict for name, test in tested.items()})
    return [
        Answered(
            claim=claim,
            ours=ours[claim.name],
            tested=tested.get(claim.name),
            p_support=support.get(claim.name),
            p_contradict=contradict.get(claim.name),
            verdict=answer(support.get(claim.name), contradict.get(claim.name)) if claim.name in tested else None,
            printed=claim.measure([c for c in printed if f"t{int(c.source):02d}" in claim.sources]),
        )
        for claim in CLAIMS
    ]


def _of(claim: Claim, found: Mapping[str, Sequence[Column]]) -> list[Column]:
    return [column for name in (*claim.sources, "") for column in found.get(name, ())]


def _holm(p: Mapping[str, float | None]) -> dict[str, float]:
    known = {name: value for name, value in p.items() if value is not None}
    return dict(zip(known, holm(list(known.values())), strict=True))


def markdown(answered: Sequence[Answered], *, commands: Sequence[str], notes: Sequence[str]) -> str:
    """The page; claims that our runs do not touch are listed at the end."""
    head = [
        "claim",
        "answer",
        "ours",
        "95 % interval",
        "seeds",
        "columns that agree",
        "p for",
        "p against",
        "printed",
        "printed columns",
    ]
    rows = [
        [
            each.claim.name,
            each.verdict or "",
            f"{each.tested.mean:+.2f}",
            "" if each.tested.low is None else f"{each.tested.low:+.2f} to {each.tested.high:+.2f}",
            str(each.tested.n),
            f"{each.ours.agreeing} of {each.ours.columns}",
            "" if each.p_support is None else f"{each.p_support:.3g}",
            "" if each.p_contradict is None else f"{each.p_contradict:.3g}",
            f"{each.printed.per_seed[PRINTED]:+.2f}" if each.printed else "figure only",
            f"{each.printed.agreeing} of {each.printed.columns}" if each.printed else "",
        ]
        for each in answered
        if each.tested and each.ours
    ]
    text = ["# Claims of the paper", "", *(f"    {command}" for command in commands), ""]
    text += [line for note in notes for line in (note, "")]
    text += [*table([head, *rows]), "", RULE, "", "## What is measured", ""]
    text += [
        f"- **{each.claim.name}** ({_where(each.claim)}) {each.claim.sentence}: {_measured(each.claim)}"
        for each in answered
    ]
    missing = [each.claim.name for each in answered if each.tested is None]
    text += ["", f"Without runs that answer them: {', '.join(missing)}."] if missing else []
    return "\n".join(text) + "\n"


def _where(claim: Claim) -> str:
    return f"{'Appendix' if claim.section[0].isalpha() else 'Section'} {claim.section}; {_range(claim.sources)}"


def _range(sources: Sequence[str]) -> str:
    names = [f"{'Table' if name[0] == 't' else 'Figure'} {int(name[1:])}" for name in sources]
    return f"{names[0]} to {names[-1]}" if len(names) > 4 else ", ".join(names)


def _measured(claim: Claim) -> str:
    says = f"above {claim.bound:g}" if claim.says == "above" else f"between {-claim.bound:g} and {claim.bound:g}"
    return f"{claim.measured}; {says}."


def csv(answered: Sequence[Answered]) -> str:
    """Every digit, a line for each claim."""
    rows = [
        {
            "claim": each.claim.name,
            "sentence": each.claim.sentence,
            "measured": each.claim.measured,
            "says": each.claim.says,
            "bound": each.claim.bound,
            "verdict": each.verdict or "not run",
            "n": each.tested.n if each.tested else 0,
            "mean": each.tested.mean if each.tested else None,
            "low": each.tested.low if each.tested else None,
            "high": each.tested.high if each.tested else None,
            "p_support": each.tested.p_support if each.tested else None,
            "p_contradict": each.tested.p_contradict if each.tested else None,
            "p_support_holm": each.p_support,
            "p_contradict_holm": each.p_contradict,
            "columns": each.ours.columns if each.ours else 0,
            "agreeing": each.ours.agreeing if each.ours else 0,
            "per_seed": " ".join(f"{seed}:{value:.6g}" for seed, value in each.ours.per_seed.items())
            if each.ours
            else "",
            "printed": each.printed.per_seed[PRINTED] if each.printed else None,
            "printed_columns": each.printed.columns if each.printed else 0,
            "printed_agreeing": each.printed.agreeing if each.printed else 0,
        }
        for each in answered
    ]
    return pd.DataFrame(rows).to_csv(index=False)
