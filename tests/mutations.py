"""Bugs of this field, each as a change of one place of the code, and the tests that are to notice it (``tests/mutate.py``).

Those of masks, counts, rates, data and methods are here; those of what a run stores, continues and trusts in
``tests/mutations_of_runs.py``. ``where`` and ``old`` are as in ``tests/plant.py``.
"""

from __future__ import annotations

from tests.mutations_of_runs import MUTATIONS as OF_RUNS
from tests.plant import Mutation

METHODS = ("tests/test_methods.py",)
OPTIONS = ("tests/test_method_options.py",)
TRAINING = ("tests/test_training.py",)
SCHEDULES = ("tests/test_schedules.py",)
SELECTORS = ("tests/test_selector.py",)
BUDGET = ("tests/test_budget.py",)
METRICS = ("tests/test_metrics.py",)
VECTOR = ("tests/test_vector.py",)
DEVICE = ("tests/test_second_device.py",)
TOYS = ("tests/test_execution.py",)
COMBINATIONS = ("tests/test_combinations.py",)
EXPERIMENT = "tests/test_experiment.py::"
PRUNING = (EXPERIMENT + "test_pruning_touches_prunable_weights_only_and_masks_nest",)
MOMENTUM = (EXPERIMENT + "test_momentum_starts_anew_once_and_then_stays",)
D1 = (EXPERIMENT + "test_d1_is_the_norm_of_what_was_removed",)
BETTER = (EXPERIMENT + "test_the_better_network_by_validation_is_the_run_s",)
CONVENTIONS = (EXPERIMENT + "test_the_conventions_of_the_paper_change_what_they_say",)

_SCIENCE = [
    # Masks
    Mutation("mask-forgotten", "the mask is not applied after the optimiser's step", "bimp_exp.training.loop:fit",
             "torch._foreach_mul_(weights, masks)", "pass", TRAINING),
    Mutation("mask-before-step", "gradients are masked before the step, momentum revives weights", "bimp_exp.training.loop:fit",
             """
             net.optimizer.step()
             if masks:
                 with torch.no_grad():
                     torch._foreach_mul_(weights, masks)
             """, """
             if masks:
                 with torch.no_grad():
                     torch._foreach_mul_([w.grad for w in weights], masks)
             net.optimizer.step()
             """, TRAINING),
    Mutation("mask-lost-retraining", "retraining does not apply the masks", "bimp_exp.training.loop:fit",
             "[torch.empty_like(net.weights[name]).copy_(mask) for name, mask in net.masks.items()]", "[]", PRUNING),
    Mutation("mask-lost-finetune", "the pattern of a rival's final prune is lost before its fine-tuning",
             "bimp_exp.pruning.weights:nonzero_masks", "weight.detach() != 0", "weight.detach() == weight.detach()", COMBINATIONS),
    Mutation("mask-regrown", "what is pruned already competes again in the next cycle", "bimp_exp.selector.base:one_threshold",
             "join(list(scores.values())).masked_fill(~join([masks[name] for name in scores]), PRUNED_SCORE)",
             "join(list(scores.values()))", SELECTORS),
    Mutation("mask-regrown-in-layer", "what is pruned already competes again in its layer", "bimp_exp.selector.base:prune_lowest",
             "scores.masked_fill(~mask, PRUNED_SCORE)", "scores", SELECTORS),
    Mutation("ties-last", "of equal scores on a GPU the last goes first", "bimp_exp.selector._smallest:_select_anywhere",
             "ties.cumsum(0)", "ties.flip(0).cumsum(0).flip(0)", VECTOR),
    Mutation("memory-order", "weights on a GPU are ranked as they lie in memory", "bimp_exp.selector._vector:join",
             "torch.cat([tensor.as_strided((tensor.numel(),), (1,)) for tensor in tensors]).index_select(0, order[0])",
             "torch.cat([tensor.as_strided((tensor.numel(),), (1,)) for tensor in tensors])", VECTOR),
    Mutation("waits-each-step", "the host asks the device how much was pruned, at every step", "bimp_exp.method.gradual:prune_to",
             "prune.num_pruned(masks) if masks else 0", "prune.num_pruned(masks or context.all_kept)", DEVICE),
    Mutation("masks-contiguous", "masks lie in memory otherwise than channels-last weights: a kernel for each",
             "bimp_exp.training.loop:fit", "torch.empty_like(net.weights[name]).copy_(mask)",
             "mask.to(net.weights[name]).contiguous()", DEVICE),
    Mutation("momentum-reset", "the momentum starts anew in every cycle", "bimp_exp.run.execute:_begin",
             "phase.cycle == 1", "phase.cycle >= 1", MOMENTUM),
    Mutation("momentum-carried", "the momentum of dense training goes on into the first cycle", "bimp_exp.run.execute:_begin",
             "phase.cycle == 1", "phase.cycle == -1", MOMENTUM),
    # Counts
    Mutation("count-truncated", "S N is truncated, not rounded", "bimp_exp.pruning.weights:target_count",
             "round(phase.sparsity * num_weights)", "int(phase.sparsity * num_weights)", BUDGET),
    Mutation("density-for-sparsity", "the share that stays is taken for the share that goes",
             "bimp_exp.pruning.weights:target_count", "phase.sparsity * num_weights", "(1 - phase.sparsity) * num_weights", BUDGET),
    Mutation("density-reported", "density is reported as sparsity", "bimp_exp.pruning.metrics:sparsity",
             "sum(c.num_zeros for c in counts)", "sum(c.num_weights - c.num_zeros for c in counts)", METRICS),
    Mutation("fraction-linear", "each cycle removes S / J of what is left", "bimp_exp.budget:fraction_per_cycle",
             "1 - math.pow(1 - sparsity, 1 / cycles)", "sparsity / cycles", BUDGET),
    Mutation("sparsity-linear", "the sparsities of the cycles lie on a line", "bimp_exp.budget:iterative",
             "1 - math.pow(1 - sparsity, j / cycles)", "sparsity * j / cycles", BUDGET),
    Mutation("budget-exceeded", "BIMP retrains T epochs on top of T_0", "bimp_exp.budget:BIMP.phases",
             "self.epochs - self.dense_epochs", "self.epochs", BUDGET),
    Mutation("batch-norm-pruned", "the weights of batch-norm are prunable", "bimp_exp.pruning.weights:",
             "(nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.Linear)", "(nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.Linear, nn.BatchNorm2d)",
             METRICS),
    Mutation("biases-pruned", "biases are prunable", "bimp_exp.pruning.weights:effective_prunable",
             'weights[f"{name}.{attribute}" if name else attribute] = weight', """
             weights[f"{name}.{attribute}" if name else attribute] = weight
             if isinstance(getattr(module, "bias", None), nn.Parameter):
                 weights[f"{name}.bias"] = module.bias
             """, METRICS),
    Mutation("speedup-overall", "the speed-up follows from the sparsity of the whole network",
             "bimp_exp.pruning.metrics:theoretical_speedup",
             "math.fsum(num * kept.get(name, 1.0) for name, num in multiply_adds.items() if num)",
             "dense * (1 - sparsity(by_name.values()))", METRICS),
    # Selectors
    Mutation("signed-magnitude", "weights are ranked by w, not |w|", "bimp_exp.selector.global_:Global.__call__",
             "torch._foreach_abs(list(weights.values()))", "list(weights.values())", SELECTORS),
    Mutation("lamp-without-itself", "the sum of a LAMP score leaves the weight itself out", "bimp_exp.selector.lamp:scores",
             "squares / from_large_end", "squares / (from_large_end - squares)", SELECTORS),
    Mutation("erk-uncapped", "ERK does not stop at a density of 1", "bimp_exp.selector.erk:ERK.counts",
             "keep[whole] <= left[whole]", "True", SELECTORS),
    Mutation("uniform-plus-last", "Uniform+ does not spare the last layer", "bimp_exp.selector.uniform_plus:UniformPlus.counts",
             "last - round(self.last_keeps * layers[-1].num_weights)", "last", SELECTORS),
    Mutation("uniform-plus-first", "Uniform+ does not spare the first convolution",
             "bimp_exp.selector.uniform_plus:UniformPlus.counts", "1 if layers[0].is_conv else 0", "0", SELECTORS),
    Mutation("selector-reseeded", "random pruning ignores its seed", "bimp_exp.selector.random:Random.__call__",
             "self.seed", "0", SELECTORS),
    Mutation("filter-l1", "filters are ranked by L1", "bimp_exp.selector.filter_l2:_without_filters",
             "dim=1", "dim=1, ord=1", SELECTORS),
    # Learning rates
    Mutation("warmup-late", "the warm-up is a step ahead", "bimp_exp.schedule._rates:with_warmup",
             "math.pi * i / num_warmup_steps", "math.pi * (i + 1) / num_warmup_steps", SCHEDULES),
    Mutation("warmup-linear", "the warm-up of retraining is linear", "bimp_exp.schedule._rates:with_warmup",
             "peak * (1 - math.cos(math.pi * i / num_warmup_steps)) / 2", "peak * i / num_warmup_steps", SCHEDULES),
    Mutation("linear-to-zero", "the last step of a linear schedule runs at rate 0", "bimp_exp.lr:linear",
             "i / num_steps", "i / max(1, num_steps - 1)", SCHEDULES),
    Mutation("lrw-first", "LRW replays the first rates", "bimp_exp.schedule._rates:tail",
             "original.num_steps - num_steps", "0", SCHEDULES),
    Mutation("slr-float", "the index of SLR is computed in floating point", "bimp_exp.schedule._rates:compress",
             "int(i * (length / num_steps)) if index_in_floating_point else i * length // num_steps",
             "int(i * (length / num_steps))", SCHEDULES),
    Mutation("clr-to-zero", "CLR falls to 0, not eta_T", "bimp_exp.schedule.clr:CLR.__call__", "original.floor", "0.0", SCHEDULES),
    Mutation("ft-peak", "FT runs at eta_1", "bimp_exp.schedule.ft:FT.__call__", "original.floor", "original.peak", SCHEDULES),
    Mutation("rate-per-epoch", "the rate changes from epoch to epoch only", "bimp_exp.training.loop:fit",
             "rates(step)", "rates(before)", TRAINING),
    Mutation("allr-min", "ALLR takes the smaller of d1 and d2", "bimp_exp.schedule.allr:ALLR.discount",
             "max(report.d1(self.norm), report.d2)", "min(report.d1(self.norm), report.d2)", SCHEDULES),
    Mutation("allr-unclipped", "d2 may exceed 1", "bimp_exp.pruning.report:PruneReport.d2",
             "min(self.length_ratio, 1.0)", "self.length_ratio", SCHEDULES),
    Mutation("allr-budget", "d2 compares with T, not T_0", "bimp_exp.run.prune_phase:prune",
             "env.plan.reference_epochs", "env.plan.budget_epochs", TOYS),
    Mutation("allr-total-sparsity", "s of d1 is the total sparsity, not this cycle's fraction",
             "bimp_exp.run.prune_phase:prune:PruneReport.measure", "phase.fraction", "phase.sparsity", D1),
    Mutation("allr-norm-after", "||W|| is taken after pruning", "bimp_exp.pruning.report:PruneReport.measure",
             "weights.norm(before.values())", "weights.norm(after.values())", D1),
    Mutation("acc-allr-before", "AccALLR compares with the network before, not the dense one", "bimp_exp.run.prune_phase:prune",
             "train_metric_dense=dense.train", "train_metric_dense=before.train",
             (EXPERIMENT + "test_acc_allr_is_driven_by_the_training_accuracy_of_the_dense_network",)),
    # Data and evaluation
    Mutation("evaluate-training", "evaluation in training mode", "bimp_exp.training.evaluation:evaluate",
             "model.train(train_mode)", "model.train()", TRAINING),
    Mutation("loss-over-batches", "the loss of an evaluation is a mean of batch means", "bimp_exp.training.evaluation:evaluate",
             """
             loss += total
             num_targets = num_targets + num
             """, """
             loss += total / num
             num_targets = num_targets + 1
             """, TRAINING),
    Mutation("statistics-of-last-batch", "an accuracy is divided by the images of the last batch",
             "bimp_exp.task.classification:Accuracy.add",
             "statistics[1] += batch.size", "statistics[1] = batch.size", TRAINING),
    Mutation("statistics-of-network-in-training", "the training accuracy of an epoch is that of its last step",
             "bimp_exp.training.loop:fit", "task.training_metric.add(state.statistics, outputs, batch)", """
             state.statistics = task.training_metric.new_statistics(device)
             task.training_metric.add(state.statistics, outputs, batch)
             """, TRAINING),
    Mutation("validation-augmented", "validation images are augmented", "bimp_exp.run.state:make_env",
             "augment_validation=x.conventions.augment_validation", "augment_validation=True", TOYS),
    Mutation("validation-trained-on", "validation images are among those trained on", "bimp_exp.dataset.images:InMemory.load",
             "train=part(order[: self.num_fit_items])", "train=part(order)", ("tests/dataset/test_base.py",)),
    Mutation("test-chooses", "the network is chosen by its test accuracy", "bimp_exp.run.state:RunState.add_candidate",
             "scores.validation > best", "scores.test > max((c.test for c in self.log.candidates[:-1]), default=-1)", BETTER),
    Mutation("test-reported", "the better test accuracy is reported", "bimp_exp.run.result:build_result",
             "candidate.validation", "candidate.test", BETTER),
    Mutation("tie-costs-more", "of two equally good networks the one that cost more is chosen",
             "bimp_exp.run.state:RunState.add_candidate", "scores.validation > best", "scores.validation >= best", BETTER),
    Mutation("test-every-epoch", "the test images are looked at after every epoch", "bimp_exp.run.train_phase:train",
             'evaluator.evaluate("validation")', 'evaluator.evaluate("test")',
             (EXPERIMENT + "test_the_test_images_are_used_around_pruning_and_at_the_end_of_a_phase_only",)),
    Mutation("recalibrated", "batch-norm is re-estimated before measuring, whatever the conventions",
             "bimp_exp.run.prune_phase:prune", "recalibrate=c.recalibrate_batch_norm", "recalibrate=True", CONVENTIONS),
    Mutation("stability-against-dense", "pruning stability is always taken against the dense network",
             "bimp_exp.run.prune_phase:prune", "dense if c.stability_against_dense else before", "dense",
             ("tests/test_run.py::test_each_pruning_compares_with_the_model_just_before",)),
    Mutation("order-repeats", "the same data order in every epoch", "bimp_exp.dataset.data:ImageData.epoch",
             'derive(seed, "data", epoch)', 'derive(seed, "data")', TRAINING),
    Mutation("order-of-phases", "the same data order in every phase", "bimp_exp.run.train_phase:train",
             "derive(x.seed, name)", "x.seed", TOYS),
    Mutation("noise-repeats", "dropout draws the same in every epoch", "bimp_exp.training.loop:fit",
             'derive(seed, "noise", number)', 'derive(seed, "noise")', TRAINING),
    Mutation("seeds-shared", "initial weights and data order come from one stream", "bimp_exp.seeds:derive",
             "(seed, *name)", "(seed, *name[1:])", TOYS),
    Mutation("last-batch-dropped", "the last, smaller batch of an epoch is dropped", "bimp_exp.dataset.data:ImageData.num_batches",
             "-(-len(self.train) // batch_size)", "len(self.train) // batch_size", TRAINING),
    # Optimiser and methods
    Mutation("nesterov-always", "Nesterov without weight decay", "bimp_exp.optim:SGD.build",
             "self.weight_decay > 0 and self.momentum > 0", "self.momentum > 0", TRAINING),
    Mutation("cs-s-decays", "weight decay acts on the s of CS", "bimp_exp.method.cs:CS.parameters_without_weight_decay",
             "[] if self.double_weight_decay else auxiliary_parameters(context)", "[]", METHODS),
    Mutation("cs-s-decays-in-runs", "a run forgets what weight decay is to leave alone", "bimp_exp.run.state:attach",
             "x.method.parameters_without_weight_decay(state.context)", "()", TOYS),
    Mutation("str-s-undecayed", "weight decay leaves the s of STR alone, so that nothing drives it", "bimp_exp.method.str:STR",
             "initial: Finite", """
             initial: Finite

             def parameters_without_weight_decay(self, context: MethodContext) -> list[Tensor]:
                 return [layer.own for layer in context.modules.values()]
             """, METHODS),
    Mutation("str-hard", "STR thresholds hard, not soft", "bimp_exp.method.str:STR.effective_weights",
             "weights.sign() * (weights.abs() - layers.spread(auxiliary.sigmoid())).relu()",
             "weights * (weights.abs() > layers.spread(auxiliary.sigmoid()))", METHODS),
    Mutation("cs-beta-late", "beta of CS is a step behind", "bimp_exp.method.cs:CS.on_step",
             "(step + 1) / context.num_steps", "step / context.num_steps", METHODS),
    Mutation("cs-soft-end", "CS ends with weights whose s is not positive", "bimp_exp.method.cs:CS.detach",
             "s.detach() > 0", "s.detach() > -9", METHODS),
    Mutation("dst-sign", "the gradient of DST's step has the wrong sign", "bimp_exp.method.dst:_Step.backward",
             "gradients[0] * slope", "-gradients[0] * slope", METHODS),
    Mutation("spread-shifted", "the gradient of a threshold is that of the piece before it",
             "bimp_exp.selector._vector:Segments.sums", "so_far.index_select(0, self.ends).diff(prepend=so_far.new_zeros(1))",
             "so_far.index_select(0, self.ends).diff(prepend=so_far.new_zeros(1)).roll(1)", METHODS),
    Mutation("joint-stale", "STR, CS and DST compute with the weights of the step before", "bimp_exp.method._joint:Joint.on_step",
             "self.update_effective(context)", "pass", METHODS),
    Mutation("joint-penalty-lost", "the gradient of the penalty of CS and DST is lost", "bimp_exp.method._joint:_accumulate",
             "parameter.grad is None", "True", METHODS),
    Mutation("dst-no-reset", "the thresholds of a layer that is nearly empty are not set back", "bimp_exp.method.dst:DST.on_step",
             "100 * pieces.layer_of_weight.sums(kept) > pieces.layer_of_weight.sizes",
             "pieces.layer_of_weight.sums(kept) >= 0", OPTIONS),
    Mutation("gmp-quadratic", "GMP follows a square, not a cube", "bimp_exp.method.gradual:gradual_sparsity",
             "(1 - progress) ** 3", "(1 - progress) ** 2", METHODS),
    Mutation("gmp-momentum", "GMP leaves the momentum of pruned weights", "bimp_exp.method.gmp:GMP.on_step",
             "momentum.mul_(module.mask)", "pass", METHODS),
    Mutation("gmp-always-hard", "no weight that soft GMP has pruned returns", "bimp_exp.method.gmp:GMP.hard_masks",
             'self.mode == "hard"', "True", METHODS),
    Mutation("gmp-late", "GMP prunes a step after the end of an epoch", "bimp_exp.method.gradual:pruning_after",
             "step + 1", "step", METHODS),
    Mutation("dpf-masked-gradient", "the gradient of DPF is masked", "bimp_exp.method._parametrize:Masked.forward",
             "_Instead.apply(weight, self.effective)", "weight * self.mask", METHODS),
    Mutation("gmp-unmasked-gradient", "what GMP has pruned gets a gradient of the data", "bimp_exp.method.gmp:GMP.on_gradients",
             "torch._foreach_mul_(list(gradients.values()), [modules[name].mask for name in gradients])", "pass", OPTIONS),
    Mutation("dpf-unrefreshed", "DPF keeps its mask between two steps of the sparsity", "bimp_exp.method.dpf:DPF.choose",
             "(step + 1) % self.refresh == 0", "False", METHODS),
    Mutation("dnw-stale", "the mask of DNW is a step old", "bimp_exp.method.dnw:DNW.choose",
             "_above_threshold(context) if self.strict_threshold else prune_to(context, context.num_pruned)",
             "None if step % 2 == 0 else prune_to(context, context.num_pruned)", METHODS),
    Mutation("gsm-magnitude", "GSM ranks by |w|, not |w g|", "bimp_exp.method.gsm:GSM.on_gradients",
             "torch._foreach_mul", "lambda w, g: w", METHODS),
    Mutation("lc-decays-large", "LC decays the large weights", "bimp_exp.method.lc:LC.on_gradients",
             "torch._foreach_mul(weights, keep)", "torch._foreach_sub(weights, torch._foreach_mul(weights, keep))", METHODS),
    Mutation("wr-not-rewound", "weight rewinding leaves the weights as they are", "bimp_exp.method.wr:WR.on_cycle",
             "context.model.load_state_dict({name: context.state[_key(num_steps, name)] for name in names})", "pass",
             ("tests/test_wr.py",)),
]  # fmt: skip

MUTATIONS = [*_SCIENCE, *OF_RUNS]
