"""Every point where the published code, or the paper, differs from what this project does by default, each with its name.

``conventions=clean`` has all of them off, ``conventions=paper`` all of them on; any of them can be set alone. The numbers in
brackets are rows of the table in docs/method.md, Disagreements.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Conventions:
    """True follows the published code, or what the paper says it did."""

    augment_validation: bool
    """[18] The validation images keep the training augmentation."""
    recalibrate_batch_norm: bool
    """[15] The training metric right after pruning is measured in train mode on augmented images, which re-estimates the
    batch-norm statistics of the pruned network before validation and test are measured and before it is retrained."""
    stability_against_dense: bool
    """[15] Pruning stability compares with the dense model's test metric in every cycle, not with the one just before."""
    unclipped_stability: bool
    """[15] Pruning stability may leave [0, 1]."""
    count_per_cycle: bool
    """[25] Each cycle removes round(p * remaining) weights, so that the last may miss round(S * N)."""
    prune_every_weight: bool
    """[26] The ``weight`` of every module but BatchNorm2d is prunable, so other normalisation and embeddings too."""
    padding_blind_multiply_adds: bool
    """[19] Multiply-adds as in shrinkbench: output size ceil(in / stride) for any padding, groups ignored."""
    slr_keeps_last_warmup_rate: bool
    """[27] SLR and stepped: the last rate of the original warm-up is not replaced by the peak."""
    slr_index_in_floating_point: bool
    """[28] SLR and stepped: the index is int(k * (L / N)), for some sizes one too low."""
    rank_all_parameters: bool
    """[10] GSM and LC rank all parameters, biases and batch-norm included, for int((1 - S) * N) places."""
    double_weight_decay: bool
    """[13] CS and DST: weight decay acts twice on the weights, and for CS on s as well."""
    gmp_count_per_event: bool
    """[25] Hard GMP: each event removes round(p * remaining) weights, so that the last may miss round(S * N)."""
    dnw_strict_threshold: bool
    """[12] DNW keeps what is strictly larger than the int(S * N)-th smallest magnitude, so ties with it go too."""
    mean_of_rates: bool
    """[29] Images per second is the mean over steps of their rates, not all images over all time."""
    renda_paper_cycles: bool
    """[16] Renda's baseline takes 10 cycles to 90 %, as the paper says, though 20 % a cycle would need 11; 14 to 95, 18 to 98 %."""
    mean_over_classes: bool
    """[30] Training and validation accuracy are means over the classes of their shares, as torchmetrics has it by default; the test
    accuracy counts images, as ours all do."""
