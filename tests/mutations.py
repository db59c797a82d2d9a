"""Bugs of this field, each as an exact edit of one file, and the tests that are to notice it (``tests/mutate.py`` plants them)."""

from __future__ import annotations

from typing import NamedTuple

METHODS = ("tests/test_methods.py",)
TRAINING = ("tests/test_training.py",)
SCHEDULES = ("tests/test_schedules.py",)
SELECTORS = ("tests/test_selector.py",)
EXPERIMENT = "tests/test_experiment.py::"
RESUME = ("tests/test_resume.py::test_killed_at_any_instant_every_method_ends_with_the_same_bits",)
KEYS = ("tests/test_numerics.py",)
TOYS = ("tests/test_execution.py",)
COMBINATIONS = ("tests/test_combinations.py",)


class Mutation(NamedTuple):
    """``old``, which ``file`` has exactly once, becomes ``new``; ``tests`` are the files, or tests, that should fail then."""

    name: str
    bug: str
    file: str
    old: str
    new: str
    tests: tuple[str, ...]


MUTATIONS = [
    # Masks
    Mutation("mask-forgotten", "the mask is not applied after the optimiser's step", "bimp_exp/training/loop.py",
             "torch._foreach_mul_(weights, keep)", "pass", TRAINING),
    Mutation("mask-before-step", "gradients are masked before the step, momentum revives weights", "bimp_exp/training/loop.py",
             """            optimizer.step()
            if keep:
                with torch.no_grad():
                    torch._foreach_mul_(weights, keep)
""", """            if keep:
                with torch.no_grad():
                    torch._foreach_mul_([w.grad for w in weights], keep)
            optimizer.step()
""", TRAINING),
    Mutation("mask-lost-retraining", "retraining does not get the masks", "bimp_exp/run/train_phase.py",
             "masked=[(run.weights[weight], mask) for weight, mask in run.masks.items()]", "masked=[]",
             (EXPERIMENT + "test_pruning_touches_prunable_weights_only_and_masks_nest",)),
    Mutation("mask-lost-finetune", "the pattern of a rival's final prune is lost before its fine-tuning", "bimp_exp/pruning/weights.py",
             "{name: weight.detach() != 0 for", "{name: weight.detach() == weight.detach() for", COMBINATIONS),
    Mutation("mask-regrown", "what is pruned already competes again in the next cycle", "bimp_exp/selector/base.py",
             ".masked_fill(~join([masks[name] for name in scores]), PRUNED_SCORE)", "", SELECTORS),
    Mutation("ties-last", "of equal scores on a GPU the last goes first", "bimp_exp/selector/_smallest.py",
             "(ties.cumsum(0) <= count - below.sum())", "(ties.flip(0).cumsum(0).flip(0) <= count - below.sum())",
             ("tests/test_vector.py",)),
    Mutation("memory-order", "weights on a GPU are ranked as they lie in memory", "bimp_exp/selector/_vector.py",
             ".index_select(0, order[0])", "", ("tests/test_vector.py",)),
    Mutation("waits-each-step", "the host asks the device how much was pruned, at every step", "bimp_exp/method/gradual.py",
             "prune.num_pruned(masks) if masks else 0", "prune.num_pruned(masks or context.all_kept)",
             ("tests/test_second_device.py",)),
    Mutation("masks-contiguous", "masks lie in memory otherwise than channels-last weights: a kernel for each",
             "bimp_exp/training/loop.py", "torch.empty_like(weight).copy_(mask)", "mask.to(weight).contiguous()",
             ("tests/test_second_device.py",)),
    Mutation("momentum-reset", "the momentum starts anew in every cycle", "bimp_exp/run/execute.py",
             "if phase.cycle == 1:", "if phase.cycle >= 1:",
             (EXPERIMENT + "test_momentum_starts_anew_once_and_then_stays",)),
    Mutation("momentum-carried", "the momentum of dense training goes on into the first cycle", "bimp_exp/run/execute.py",
             "if phase.cycle == 1:", "if phase.cycle == -1:",
             (EXPERIMENT + "test_momentum_starts_anew_once_and_then_stays",)),
    # Counts
    Mutation("count-truncated", "S N is truncated, not rounded", "bimp_exp/pruning/weights.py",
             "round(phase.sparsity * num_weights)", "int(phase.sparsity * num_weights)", ("tests/test_budget.py",)),
    Mutation("density-for-sparsity", "the share that stays is taken for the share that goes", "bimp_exp/pruning/weights.py",
             "round(phase.sparsity * num_weights)", "round((1 - phase.sparsity) * num_weights)", ("tests/test_budget.py",)),
    Mutation("density-reported", "density is reported as sparsity", "bimp_exp/pruning/metrics.py",
             "_ratio(sum(c.num_zeros for c in counts)", "_ratio(sum(c.num_weights - c.num_zeros for c in counts)",
             ("tests/test_metrics.py",)),
    Mutation("fraction-linear", "each cycle removes S / J of what is left", "bimp_exp/budget.py",
             "return 1 - math.pow(1 - sparsity, 1 / cycles)", "return sparsity / cycles", ("tests/test_budget.py",)),
    Mutation("sparsity-linear", "the sparsities of the cycles lie on a line", "bimp_exp/budget.py",
             "1 - math.pow(1 - sparsity, j / cycles)", "sparsity * j / cycles", ("tests/test_budget.py",)),
    Mutation("budget-exceeded", "BIMP retrains T epochs on top of T_0", "bimp_exp/budget.py",
             "left = self.epochs - self.dense_epochs", "left = self.epochs", ("tests/test_budget.py",)),
    Mutation("batch-norm-pruned", "the weights of batch-norm are prunable", "bimp_exp/pruning/weights.py",
             "nn.Conv3d, nn.Linear)", "nn.Conv3d, nn.Linear, nn.BatchNorm2d)", ("tests/test_metrics.py",)),
    Mutation("biases-pruned", "biases are prunable", "bimp_exp/pruning/weights.py",
             """            weights[f"{name}.weight" if name else "weight"] = weight
""", """            weights[f"{name}.weight" if name else "weight"] = weight
            if isinstance(getattr(module, "bias", None), nn.Parameter):
                weights[f"{name}.bias"] = module.bias
""", ("tests/test_metrics.py",)),
    Mutation("speedup-overall", "the speed-up follows from the sparsity of the whole network", "bimp_exp/pruning/metrics.py",
             "math.fsum(num * (c.num_weights - c.num_zeros) / c.num_weights for num, c in used)",
             "dense * (1 - sparsity(by_name.values()))", ("tests/test_metrics.py",)),
    # Selectors
    Mutation("signed-magnitude", "weights are ranked by w, not |w|", "bimp_exp/selector/global_.py",
             "torch._foreach_abs(list(weights.values()))", "list(weights.values())", SELECTORS),
    Mutation("lamp-without-itself", "the sum of a LAMP score leaves the weight itself out", "bimp_exp/selector/lamp.py",
             "(squares / from_large_end)", "(squares / (from_large_end - squares))", SELECTORS),
    Mutation("erk-uncapped", "ERK does not stop at a density of 1", "bimp_exp/selector/erk.py",
             "if keep[whole] <= left[whole]:", "if True:", SELECTORS),
    Mutation("uniform-plus-last", "Uniform+ does not spare the last layer", "bimp_exp/selector/uniform_plus.py",
             "last - round(self.last_keeps * layers[-1].num_weights)", "last", SELECTORS),
    Mutation("uniform-plus-first", "Uniform+ does not spare the first convolution", "bimp_exp/selector/uniform_plus.py",
             "spared = 1 if layers[0].is_conv else 0", "spared = 0", SELECTORS),
    Mutation("selector-reseeded", "random pruning ignores its seed", "bimp_exp/selector/random.py",
             'derive(self.seed, "selector")', 'derive(0, "selector")', SELECTORS),
    Mutation("filter-l1", "filters are ranked by L1", "bimp_exp/selector/filter_l2.py",
             ".flatten(1), dim=1,", ".flatten(1), ord=1, dim=1,", SELECTORS),
    # Learning rates
    Mutation("warmup-late", "the warm-up is a step ahead", "bimp_exp/schedule/_rates.py",
             "math.cos(math.pi * i / num_warmup_steps)", "math.cos(math.pi * (i + 1) / num_warmup_steps)", SCHEDULES),
    Mutation("warmup-linear", "the warm-up of retraining is linear", "bimp_exp/schedule/_rates.py",
             "peak * (1 - math.cos(math.pi * i / num_warmup_steps)) / 2", "peak * i / num_warmup_steps", SCHEDULES),
    Mutation("linear-to-zero", "the last step of a linear schedule runs at rate 0", "bimp_exp/lr.py",
             "peak * (1 - i / num_steps)", "peak * (1 - i / max(1, num_steps - 1))", SCHEDULES),
    Mutation("lrw-first", "LRW replays the first rates", "bimp_exp/schedule/_rates.py",
             "first = original.num_steps - num_steps", "first = 0", SCHEDULES),
    Mutation("slr-float", "the index of SLR is computed in floating point", "bimp_exp/schedule/_rates.py",
             "if index_in_floating_point else i * length // num_steps", "if num_steps else 0", SCHEDULES),
    Mutation("clr-to-zero", "CLR falls to 0, not eta_T", "bimp_exp/schedule/clr.py",
             "lr.cosine(original.peak, n, original.floor)", "lr.cosine(original.peak, n)", SCHEDULES),
    Mutation("ft-peak", "FT runs at eta_1", "bimp_exp/schedule/ft.py", "original.floor", "original.peak", SCHEDULES),
    Mutation("rate-per-epoch", "the rate changes from epoch to epoch only", "bimp_exp/training/loop.py",
             "rate, step_start = lr(at.done), ", "rate, step_start = lr(before), ", TRAINING),
    Mutation("allr-min", "ALLR takes the smaller of d1 and d2", "bimp_exp/schedule/allr.py",
             "max(report.d1(self.norm), report.d2)", "min(report.d1(self.norm), report.d2)", SCHEDULES),
    Mutation("allr-unclipped", "d2 may exceed 1", "bimp_exp/pruning/report.py",
             "return min(self.length_ratio, 1.0)", "return self.length_ratio", SCHEDULES),
    Mutation("allr-budget", "d2 compares with T, not T_0", "bimp_exp/run/prune_phase.py",
             "epochs=run.plan.phases[0].phase.epochs", "epochs=run.plan.budget_epochs", TOYS),
    Mutation("allr-total-sparsity", "s of d1 is the total sparsity, not this cycle's fraction", "bimp_exp/run/prune_phase.py",
             "fraction=phase.fraction,", "fraction=phase.sparsity,",
             (EXPERIMENT + "test_d1_is_the_norm_of_what_was_removed",)),
    Mutation("allr-norm-after", "||W|| is taken after pruning", "bimp_exp/pruning/report.py",
             "weights.norm(before.values())", "weights.norm(after.values())",
             (EXPERIMENT + "test_d1_is_the_norm_of_what_was_removed",)),
    Mutation("acc-allr-before", "AccALLR compares with the network before, not the dense one", "bimp_exp/run/prune_phase.py",
             'train_metric_dense=dense["train"]', 'train_metric_dense=before["train"]',
             (EXPERIMENT + "test_acc_allr_is_driven_by_the_training_accuracy_of_the_dense_network",)),
    # Data and evaluation
    Mutation("evaluate-training", "evaluation in training mode", "bimp_exp/training/loop.py",
             "model.train(train_mode)", "model.train()", TRAINING),
    Mutation("loss-over-batches", "the loss of an evaluation is a mean of batch means", "bimp_exp/training/loop.py",
             """        for images, labels in batches:
            with runtime.autocast(device):
                outputs = forward(images)
            loss += F.cross_entropy(outputs.float(), labels, reduction="sum")
            num_correct += (outputs.argmax(1) == labels).sum()
            num_images += len(labels)
    for module, mode in modes:
        module.training = mode
    return Score(loss=loss.item() / num_images""", """        for num_batches, (images, labels) in enumerate(batches, start=1):
            with runtime.autocast(device):
                outputs = forward(images)
            loss += F.cross_entropy(outputs.float(), labels)
            num_correct += (outputs.argmax(1) == labels).sum()
            num_images += len(labels)
    for module, mode in modes:
        module.training = mode
    return Score(loss=loss.item() / num_batches""", TRAINING),
    Mutation("validation-augmented", "validation images are augmented", "bimp_exp/run/execute.py",
             "augment_validation=x.conventions.augment_validation", "augment_validation=True", TOYS),
    Mutation("validation-trained-on", "validation images are among those trained on", "bimp_exp/dataset/base.py",
             "train=part(order[: self.num_fit_images])", "train=part(order)", ("tests/dataset/test_base.py",)),
    Mutation("test-chooses", "the network is chosen by its test accuracy", "bimp_exp/run/execute.py",
             'if scores["validation"] > best:', 'if scores["test"] > max((c["test"] for c in self.candidates[:-1]), default=-1):',
             (EXPERIMENT + "test_the_better_network_by_validation_is_the_run_s",)),
    Mutation("test-reported", "the better test accuracy is reported", "bimp_exp/run/execute.py",
             'key=lambda c: float(c["validation"])', 'key=lambda c: float(c["test"])',
             (EXPERIMENT + "test_the_better_network_by_validation_is_the_run_s",)),
    Mutation("tie-costs-more", "of two equally good networks the one that cost more is chosen", "bimp_exp/run/execute.py",
             'if scores["validation"] > best:', 'if scores["validation"] >= best:',
             (EXPERIMENT + "test_the_better_network_by_validation_is_the_run_s",)),
    Mutation("test-every-epoch", "the test images are looked at after every epoch", "bimp_exp/run/train_phase.py",
             'validation = run.measure.evaluate("validation")', 'validation = run.measure.evaluate("test")',
             (EXPERIMENT + "test_the_test_images_are_used_around_pruning_and_at_the_end_of_a_phase_only",)),
    Mutation("recalibrated", "batch-norm is re-estimated before measuring, whatever the conventions", "bimp_exp/run/prune_phase.py",
             "recalibrate=c.recalibrate_batch_norm", "recalibrate=True",
             (EXPERIMENT + "test_pruning_touches_prunable_weights_only_and_masks_nest",)),
    Mutation("order-repeats", "the same data order in every epoch", "bimp_exp/dataset/data.py",
             'derive(seed, "data", epoch)', 'derive(seed, "data")', TRAINING),
    Mutation("order-of-phases", "the same data order in every phase", "bimp_exp/run/train_phase.py",
             "seed=derive(x.seed, name)", "seed=x.seed", TOYS),
    Mutation("noise-repeats", "dropout draws the same in every epoch", "bimp_exp/training/loop.py",
             'derive(seed, "noise", number)', 'derive(seed, "noise")', TRAINING),
    Mutation("seeds-shared", "initial weights and data order come from one stream", "bimp_exp/seeds.py",
             "(seed, *name)", "(seed, *name[1:])", TOYS),
    Mutation("last-batch-dropped", "the last, smaller batch of an epoch is dropped", "bimp_exp/training/loop.py",
             """    steps_per_epoch = -(-len(data.train) // batch_size)
    while at.done < lr.num_steps:
        number, inside = divmod(at.done, steps_per_epoch)
        before = number * steps_per_epoch
        order = data.epoch(seed=seed, epoch=number, batch_size=batch_size)
        num_steps = min(len(order), lr.num_steps - before)
""", """    steps_per_epoch = len(data.train) // batch_size
    while at.done < lr.num_steps:
        number, inside = divmod(at.done, steps_per_epoch)
        before = number * steps_per_epoch
        order = data.epoch(seed=seed, epoch=number, batch_size=batch_size)
        num_steps = min(steps_per_epoch, lr.num_steps - before)
""", TRAINING),
    # Continuing
    Mutation("masks-lost-on-load", "a run that continues has no masks", "bimp_exp/run/execute.py",
             'self.masks, self.attest.masks = here(state["masks"]), here(state["masks_attested"])',
             "self.masks, self.attest.masks = {}, {}", RESUME),
    Mutation("momentum-lost-on-load", "a run that continues has no momentum", "bimp_exp/run/execute.py",
             'self.optimizer.load_state_dict(state["optimizer"])', "pass", RESUME),
    Mutation("noise-lost-on-load", "dropout starts anew in an epoch that continues", "bimp_exp/training/loop.py",
             "set_noise(at.noise)", "pass", TRAINING),
    Mutation("seed-not-in-key", "runs of two seeds share what they compute", "bimp_exp/run/keys.py",
             '"seed", "runtime")', '"runtime")', KEYS),
    Mutation("dataset-not-in-key", "runs on other images share what they compute", "bimp_exp/run/keys.py",
             '("dataset", "model", "optim",', '("model", "optim",', KEYS),
    # Optimiser and methods
    Mutation("nesterov-always", "Nesterov without weight decay", "bimp_exp/optim.py",
             "nesterov=self.weight_decay > 0 and self.momentum > 0", "nesterov=self.momentum > 0", TRAINING),
    Mutation("cs-s-decays", "weight decay acts on the s of CS", "bimp_exp/method/cs.py",
             "return [] if self.double_weight_decay else auxiliary_parameters(context)", "return []", METHODS),
    Mutation("cs-s-decays-in-runs", "a run forgets what weight decay is to leave alone", "bimp_exp/run/execute.py",
             "self.model.parameters(), x.method.parameters_without_weight_decay(self.context), ", "self.model.parameters(), ", TOYS),
    Mutation("str-s-undecayed", "weight decay leaves the s of STR alone, so that nothing drives it", "bimp_exp/method/str.py",
             "    def initial_value(self", """    def parameters_without_weight_decay(self, context: MethodContext) -> list[Tensor]:
        return [layer.own for layer in context.modules.values()]

    def initial_value(self""", METHODS),
    Mutation("str-hard", "STR thresholds hard, not soft", "bimp_exp/method/str.py",
             "weights.sign() * (weights.abs() - layers.spread(auxiliary.sigmoid())).relu()",
             "weights * (weights.abs() > layers.spread(auxiliary.sigmoid()))", METHODS),
    Mutation("cs-beta-late", "beta of CS is a step behind", "bimp_exp/method/cs.py",
             "(step + 1) / context.num_steps", "step / context.num_steps", METHODS),
    Mutation("cs-soft-end", "CS ends with weights whose s is not positive", "bimp_exp/method/cs.py",
             "s.detach() > 0 for", "s.detach() > -9 for", METHODS),
    Mutation("dst-sign", "the gradient of DST's step has the wrong sign", "bimp_exp/method/dst.py",
             "return gradients[0] * slope", "return -gradients[0] * slope", METHODS),
    Mutation("spread-shifted", "the gradient of a threshold is that of the piece before it", "bimp_exp/selector/_vector.py",
             ".diff(prepend=so_far.new_zeros(1))", ".diff(prepend=so_far.new_zeros(1)).roll(1)", METHODS),
    Mutation("joint-stale", "STR, CS and DST compute with the weights of the step before", "bimp_exp/method/_joint.py",
             "self.update_effective(context)\n\n    def detach", "pass\n\n    def detach", METHODS),
    Mutation("joint-penalty-lost", "the gradient of the penalty of CS and DST is lost", "bimp_exp/method/_joint.py",
             "        if parameter.grad is None:\n            parameter.grad = gradient", "        parameter.grad = gradient", METHODS),
    Mutation("dst-no-reset", "the thresholds of a layer that is nearly empty are not set back", "bimp_exp/method/dst.py",
             "enough = 100 * pieces.layer_of_weight.sums(kept) > pieces.layer_of_weight.sizes",
             "enough = pieces.layer_of_weight.sums(kept) >= 0", ("tests/test_method_options.py",)),
    Mutation("gmp-quadratic", "GMP follows a square, not a cube", "bimp_exp/method/gradual.py",
             "(1 - progress) ** 3", "(1 - progress) ** 2", METHODS),
    Mutation("gmp-momentum", "GMP leaves the momentum of pruned weights", "bimp_exp/method/gmp.py",
             "momentum.mul_(module.mask)", "pass", METHODS),
    Mutation("gmp-always-hard", "no weight that soft GMP has pruned returns", "bimp_exp/method/gmp.py",
             'if self.mode == "hard" else {}', "if self.mode else {}", METHODS),
    Mutation("gmp-late", "GMP prunes a step after the end of an epoch", "bimp_exp/method/gradual.py",
             "divmod(step + 1,", "divmod(step,", METHODS),
    Mutation("dpf-masked-gradient", "the gradient of DPF is masked", "bimp_exp/method/_parametrize.py",
             "_Instead.apply(weight, self.effective)", "weight * getattr(self, 'mask', 1.0)", METHODS),
    Mutation("gmp-unmasked-gradient", "what GMP has pruned gets a gradient of the data", "bimp_exp/method/gmp.py",
             "torch._foreach_mul_(list(gradients.values()), [modules[name].mask for name in gradients])", "pass",
             ("tests/test_method_options.py",)),
    Mutation("dpf-unrefreshed", "DPF keeps its mask between two steps of the sparsity", "bimp_exp/method/dpf.py",
             "refreshes = (step + 1) % self.refresh == 0", "refreshes = False", METHODS),
    Mutation("dnw-stale", "the mask of DNW is a step old", "bimp_exp/method/dnw.py",
             "return _above_threshold(context)", "return None if step % 2 == 0 else _above_threshold(context)", METHODS),
    Mutation("gsm-magnitude", "GSM ranks by |w|, not |w g|", "bimp_exp/method/gsm.py",
             "self.survivors(context, torch._foreach_mul)", "self.survivors(context, lambda w, g: w)", METHODS),
    Mutation("lc-decays-large", "LC decays the large weights", "bimp_exp/method/lc.py",
             "torch._foreach_mul(weights, keep)", "torch._foreach_sub(weights, torch._foreach_mul(weights, keep))", METHODS),
    Mutation("wr-not-rewound", "weight rewinding leaves the weights as they are", "bimp_exp/method/wr.py",
             "context.model.load_state_dict({name: context.state[_key(num_steps, name)] for name in names})", "pass",
             ("tests/test_wr.py",)),
]  # fmt: skip
