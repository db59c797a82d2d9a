"""The evaluation loop. Evaluating changes nothing of a network."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import nn

from bimp_exp.runtime import Runtime
from bimp_exp.task.base import Batch, Metric, Task
from bimp_exp.training.state import Score


def evaluate(
    model: nn.Module,
    batches: Iterable[Batch],
    *,
    task: Task,
    metric: Metric | None = None,
    runtime: Runtime,
    device: torch.device,
    train_mode: bool = False,
) -> Score:
    """Loss and metric of ``model`` on ``batches``; the model is left as it was, flags and buffers included.

    metric: None: the task's.
    train_mode: measure in train mode, as the published code does with training images; as a side effect this
        re-estimates the batch-norm statistics.
    """
    modes = [(module, module.training) for module in model.modules()]
    model.train(train_mode)
    forward = runtime.forward(model, device)
    loss = torch.zeros((), dtype=torch.float64, device=device)
    metric = metric or task.metric
    statistics = metric.new_statistics(device)
    num_targets: Any = 0
    with torch.no_grad():
        for batch in batches:
            with runtime.autocast(device):
                outputs = forward(batch.inputs)
                judged = task.predict(model, batch, outputs)
            total, num = task.loss_sum(outputs, batch)
            loss += total
            num_targets = num_targets + num
            metric.add(statistics, judged, batch)
    for module, mode in modes:
        module.training = mode
    return Score(
        loss=loss.item() / int(num_targets),
        metric=metric.value(statistics),
        details=metric.details(statistics),
    )
