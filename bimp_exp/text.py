"""Numbers as people write them."""

from __future__ import annotations


def counted(number: float | str, noun: str) -> str:
    """A number and what it counts.

    >>> counted(1, "run"), counted(0, "run"), counted(2, "run")
    ('1 run', '0 runs', '2 runs')
    """
    return f"{number} {noun}{'' if str(number) == '1' else 's'}"


def duration(seconds: float) -> str:
    """Two digits, in the unit that suits.

    >>> duration(4), duration(60), duration(300), duration(9000), duration(432000)
    ('4 seconds', '60 seconds', '5 minutes', '2.5 hours', '120 hours')
    """
    for size, unit in ((1, "second"), (60, "minute")):
        if seconds < 100 * size:
            return counted(f"{seconds / size:.2g}", unit)
    return counted(f"{float(f'{seconds / 3600:.2g}'):g}", "hour")
