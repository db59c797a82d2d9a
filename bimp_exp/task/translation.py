"""Translation of sentences: cross-entropy over target tokens, and BLEU of what the network generates.

Imports no PyTorch until something is computed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, Protocol

from bimp_exp.extras import extra
from bimp_exp.task.base import Batch, build
from bimp_exp.types import Count, Share

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

PAD, EOS, UNKNOWN = 0, 1, 2  # ids of T5
IGNORED = -100  # label of a padded place
EXAMPLE_TOKENS = 128  # of source and target, that multiply-adds are counted for


class Pairs(NamedTuple):
    """What a network is given: source ids int64 [B, S] and decoder inputs int64 [B, T], both padded with PAD.

    The decoder's inputs are the labels one place later, with PAD in the first place.
    """

    source: Tensor
    decoder: Tensor


class Wanted(NamedTuple):
    """labels: int64 [B, T], IGNORED where padded. references: the texts themselves; () while training."""

    labels: Tensor
    references: Sequence[str]


class Tokenizer(Protocol):
    """Text to ids and back; PAD and EOS have the ids of T5."""

    @property
    def vocab_size(self) -> int: ...

    def encode(self, text: str) -> list[int]:
        """Ids without EOS."""
        ...

    def decode(self, ids: Sequence[int]) -> str:
        """The text up to the first EOS, without special tokens and without blanks around it."""
        ...


@dataclass(frozen=True)
class TokenAccuracy:
    """Share of the target tokens that the largest logit predicts, given all tokens before them. statistics: int64 [2]."""

    name: ClassVar[str] = "token_accuracy"
    signature: ClassVar[None] = None

    def new_statistics(self, device: torch.device) -> Tensor:
        """Zeros, int64 [2]."""
        import torch

        return torch.zeros(2, dtype=torch.int64, device=device)

    def add(self, statistics: Tensor, outputs: Tensor, batch: Batch) -> None:
        """outputs: logits [B, T, V]."""
        labels = batch.targets.labels
        statistics[0] += (outputs.argmax(-1) == labels).sum()
        statistics[1] += (labels != IGNORED).sum()

    def value(self, statistics: Tensor) -> float:
        """In [0, 1]."""
        right, num = statistics.tolist()
        return float(right / num)

    def details(self, statistics: Tensor) -> dict[str, float | None]:
        """None."""
        return {}


@dataclass(frozen=True)
class Bleu:
    """BLEU / 100 of a corpus with one reference for each sentence, as sacrebleu computes it (Post 2018).

    statistics: int64 [11]; matches and n-grams of the orders 1 to 4, the lengths of hypotheses and references, and how many
    hypotheses equal their reference.
    """

    name: ClassVar[str] = "BLEU"

    @cached_property
    def _sacrebleu(self) -> Any:
        # Effective order matters for the score of a sentence alone, which is not used; without it sacrebleu warns of every one.
        with extra("tasks", "task=translation"):
            from sacrebleu import BLEU

        return BLEU(effective_order=True)

    @property
    def signature(self) -> str:
        """Of sacrebleu, for the corpus."""
        with extra("tasks", "task=translation"):
            from sacrebleu import BLEU

        metric = BLEU()
        metric.corpus_score(["a"], [["a"]])
        return str(metric.get_signature())

    def new_statistics(self, device: torch.device) -> Tensor:
        """Zeros, int64 [11]."""
        import torch

        return torch.zeros(11, dtype=torch.int64, device=device)

    def add(self, statistics: Tensor, outputs: Sequence[str], batch: Batch) -> None:
        """outputs: a hypothesis for every item."""
        import torch

        rows = []
        for hypothesis, reference in zip(outputs, batch.targets.references, strict=True):
            score = self._sacrebleu.sentence_score(hypothesis, [reference])
            rows.append([*score.counts, *score.totals, score.sys_len, score.ref_len, hypothesis == reference])
        statistics += torch.tensor(rows, dtype=torch.int64).sum(0).to(statistics.device)

    def value(self, statistics: Tensor) -> float:
        """In [0, 1]."""
        return float(self._score(statistics).score / 100)

    def details(self, statistics: Tensor) -> dict[str, float | None]:
        """Brevity penalty, the four precisions, and the share of hypotheses that equal their reference."""
        score, numbers = self._score(statistics), statistics.tolist()
        precisions = {f"precision_{n}": value / 100 for n, value in enumerate(score.precisions, 1)}
        return {"brevity_penalty": score.bp, **precisions, "num_exact": numbers[10]}

    def _score(self, statistics: Tensor) -> Any:
        numbers = statistics.tolist()
        return self._sacrebleu.compute_bleu(
            correct=numbers[:4],
            total=numbers[4:8],
            sys_len=numbers[8],
            ref_len=numbers[9],
            smooth_method="exp",
            effective_order=False,
        )


@dataclass(frozen=True, kw_only=True)
class Translation:
    """A sentence for a sentence.

    inputs: Pairs. targets: Wanted. outputs: logits [B, T, V]. Beside ``forward``, a network must have
    ``generate(source, max_length=, beams=)``, which gives ids int64 [B, L].

    beams: hypotheses that are kept while generating; 1: the likeliest token is taken each time.
    label_smoothing: share of the target's probability that is spread evenly over the vocabulary while training.
    max_length: tokens of a source, a target and a hypothesis, EOS included.
    """

    name: ClassVar[str] = "translation"
    generates: ClassVar[bool] = True
    shows: ClassVar[bool] = True
    metric: ClassVar[Bleu] = Bleu()
    validation_metric: ClassVar[Bleu] = metric
    training_metric: ClassVar[TokenAccuracy] = TokenAccuracy()

    beams: Count
    label_smoothing: Share
    max_length: int
    tokenizer: Tokenizer

    def build(self, model: Callable[..., nn.Module]) -> nn.Module:
        """``model(vocab_size=...)``; ConfigError where sacrebleu, which comes later, is not installed."""
        _ = self.metric.signature
        return build(model, vocab_size=self.tokenizer.vocab_size)

    def example(self, num: int, *, like: Tensor | None = None) -> Pairs:
        """EXAMPLE_TOKENS, or ``max_length`` if that is less, of source and target."""
        import torch

        length = min(EXAMPLE_TOKENS, self.max_length)
        device = None if like is None else like.device
        source, decoder = (torch.full((num, length), EOS, device=device) for _ in range(2))
        return Pairs(source, decoder)

    def loss(self, outputs: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
        """Mean cross-entropy over the target tokens."""
        total, num = self._cross_entropy(outputs, batch, self.label_smoothing)
        return total / num, num

    def loss_sum(self, outputs: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
        """Sum of the cross-entropies."""
        return self._cross_entropy(outputs, batch, 0.0)

    def logits(self, outputs: Tensor) -> Tensor:
        """All of them."""
        return outputs

    def predict(self, model: Any, batch: Batch, outputs: Tensor) -> list[str]:
        """What ``model`` generates from the sources."""
        ids = model.generate(batch.inputs.source, max_length=self.max_length, beams=self.beams)
        return [self.tokenizer.decode(row) for row in ids.tolist()]

    def show(self, batch: Batch, predicted: Sequence[str]) -> list[dict[str, str]]:
        """source, target and predicted, as texts."""
        sources = [self.tokenizer.decode(row) for row in batch.inputs.source.tolist()]
        parts = zip(sources, batch.targets.references, predicted, strict=True)
        return [{"source": source, "target": target, "predicted": one} for source, target, one in parts]

    def _cross_entropy(self, outputs: Tensor, batch: Batch, label_smoothing: float) -> tuple[Tensor, Tensor]:
        from torch.nn import functional as F

        labels = batch.targets.labels
        total = F.cross_entropy(
            outputs.float().flatten(0, 1),
            labels.flatten(),
            ignore_index=IGNORED,
            reduction="sum",
            label_smoothing=label_smoothing,
        )
        return total, (labels != IGNORED).sum()
