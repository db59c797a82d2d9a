"""What the networks of a run make of some test items, for people to look at.

predictions.npz of pictures, predictions.json of texts; ``bimp_exp.report.predictions`` draws them.
"""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from bimp_exp.run.state import Env
from bimp_exp.store.phases import Phases

NUM_SHOWN = 8  # test items, the first ones


def predictions(env: Env, phases: Phases, final: nn.Module) -> dict[str, bytes]:
    """File name -> content; {} where the task shows nothing.

    Of the ``final`` network ("pruned") and, where a dense one was trained first, of that ("dense").
    """
    if not env.task.shows:
        return {}
    networks = {"pruned": final}
    if (env.plan.start or not env.plan.prunes_while_training) and len(env.keys) > 1:
        stored = phases.load(env.keys[0])
        if stored is not None:
            dense = env.experiment.network()
            dense.load_state_dict(stored["model"])
            networks = {
                "dense": dense.to(env.device).to(memory_format=env.experiment.runtime.memory_format),
                **networks,
            }
    shown = {name: _shown(env, network) for name, network in networks.items()}
    items = [
        {key: value for key, value in some[-1].items() if key != "predicted"}
        | {name: one["predicted"] for name, one in zip(shown, some, strict=True)}
        for some in zip(*shown.values(), strict=True)
    ]
    if all(isinstance(value, str) for value in items[0].values()):
        return {"predictions.json": json.dumps(items, ensure_ascii=False, indent=1).encode()}
    arrays = {f"{i}_{key}": value.numpy() for i, item in enumerate(items) for key, value in item.items()}
    written = io.BytesIO()
    np.savez_compressed(written, **arrays)
    return {"predictions.npz": written.getvalue()}


def _shown(env: Env, model: nn.Module) -> list[Mapping[str, Tensor | str]]:
    """Each of the items with what ``model``, in evaluation mode, predicts."""
    found: list[Any] = []
    model.eval()
    with torch.no_grad():
        for batch in env.data.first(env.data.test, NUM_SHOWN):
            with env.experiment.runtime.autocast(env.device):
                predicted = env.task.predict(model, batch, model(batch.inputs))
            found += env.task.show(batch, predicted)
    return found
