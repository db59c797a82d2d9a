"""Every random stream of a run has its own seed, derived from the run's seed and a name."""

from __future__ import annotations

import hashlib


def derive(seed: int, *name: str | int) -> int:
    """A 63-bit seed for the stream ``name``: equal names give equal streams, others independent ones.

    The first 8 bytes of sha256("seed/name/..."), big-endian, without the lowest bit.
    """
    text = "/".join(str(part) for part in (seed, *name))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1
