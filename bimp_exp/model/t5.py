"""T5, an encoder and a decoder with relative positions (Raffel et al. 2020), as transformers has it.

60.5 million parameters in the size ``t5-small``; the paper's Table 3 says 77 million, which counts the embedding that is also the
output layer twice.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from bimp_exp.errors import ConfigError, DataError
from bimp_exp.extras import extra
from bimp_exp.task.translation import EOS, PAD, Pairs
from bimp_exp.types import Count, Share


class T5(nn.Module):
    """Pairs of token ids -> logits [B, T, V]. The embedding is the output layer, too, and so is not prunable.

    num_embeddings: rows of the embedding; None: as many as the tokenizer has ids.
    d_model: width. d_kv: of a head. d_ff: of a feed-forward layer. num_layers: of the encoder, and of the decoder.
    weights: folder with config.json and model.safetensors, as Hugging Face has it; None: random ones.
    """

    task: ClassVar[str] = "translation"

    def __init__(
        self,
        num_embeddings: Count | None,
        d_model: Count,
        d_kv: Count,
        d_ff: Count,
        num_layers: Count,
        num_heads: Count,
        dropout: Share,
        weights: str | None,
        *,
        vocab_size: int,
    ) -> None:
        super().__init__()
        rows = vocab_size if num_embeddings is None else num_embeddings
        if rows < vocab_size:
            raise ConfigError(f"model.num_embeddings={rows} must be at least {vocab_size}, the ids of the tokenizer")
        os.environ.setdefault("HF_HUB_OFFLINE", "1")  # read by the import: nothing is ever downloaded
        with extra("tasks", "model=t5"):
            from transformers import T5Config, T5ForConditionalGeneration
        config = T5Config(
            vocab_size=rows,
            d_model=d_model,
            d_kv=d_kv,
            d_ff=d_ff,
            num_layers=num_layers,
            num_heads=num_heads,
            dropout_rate=dropout,
            decoder_start_token_id=PAD,
            pad_token_id=PAD,
            eos_token_id=EOS,
        )
        self.t5: Any = T5ForConditionalGeneration(config)
        if weights is not None:
            _load(self.t5, Path(weights).expanduser())

    def forward(self, pairs: Pairs) -> Tensor:
        source, decoder = pairs
        mask = None if source.is_meta else (source != PAD).long()  # transformers looks into it, where there are values
        with parametrize.cached():  # a feed-forward layer of transformers reads its weight three times
            logits: Tensor = self.t5(
                input_ids=source, attention_mask=mask, decoder_input_ids=decoder, use_cache=False
            ).logits
        return logits

    def generate(self, source: Tensor, *, max_length: int, beams: int) -> Tensor:
        """Ids int64 [B, L] of at most ``max_length`` tokens, without what the decoder starts from; PAD after EOS."""
        with parametrize.cached():  # else every weight would be computed anew for every token
            ids: Tensor = self.t5.generate(
                input_ids=source,
                attention_mask=(source != PAD).long(),
                max_new_tokens=max_length,
                num_beams=beams,
                do_sample=False,
            )
        return ids[:, 1:]


TIED = ("encoder.embed_tokens.weight", "decoder.embed_tokens.weight", "lm_head.weight")
FIXED = ("feed_forward_proj", "layer_norm_epsilon", "relative_attention_max_distance", "tie_word_embeddings")
"""Entries of config.json that no key of ours configures and no tensor's shape tells."""


def _load(t5: Any, folder: Path) -> None:
    """Copy the weights in ``folder`` into ``t5``; DataError where they do not fit. A network without values is only compared."""
    from bimp_exp.model import weights

    key = f"model.weights={folder}"
    if not folder.is_dir():
        raise DataError(f"{key}: there is no such folder")
    found = next((f for f in (folder / "model.safetensors", folder / "pytorch_model.bin") if f.is_file()), None)
    if found is None:
        raise DataError(f"{key}: has neither model.safetensors nor pytorch_model.bin")
    _check_config(t5.config, folder / "config.json", key)
    key = f"model.weights={found}"
    state = weights.read(found, key)
    shared = state.get("shared.weight")
    for name in TIED:
        if name in state and (shared is None or not torch.equal(state[name], shared)):
            raise DataError(f"{key}: {name} is not the embedding there, {OTHERS}")
        if shared is not None:
            state[name] = shared
    weights.check(state, t5, key)
    if not t5.shared.weight.is_meta:
        t5.load_state_dict(state)


OTHERS = "as in T5 v1.1 and Flan-T5; only T5 itself is read"


def _check_config(ours: Any, file: Path, key: str) -> None:
    """DataError where ``file`` is of another kind of network than ``ours``, if the weights would not show it."""
    try:
        theirs = json.loads(file.read_text())
        given = {name: theirs[name] for name in FIXED if name in theirs}
    except FileNotFoundError:
        raise DataError(f"{key}: has no config.json") from None
    except (OSError, ValueError, TypeError):
        raise DataError(f"{key}: config.json is damaged") from None
    for name, value in given.items():
        if value != getattr(ours, name):
            raise DataError(f"{key}: {name} is {value} in config.json, {OTHERS}")
