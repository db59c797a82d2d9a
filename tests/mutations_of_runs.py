"""Bugs in what a run stores, continues, mirrors and trusts, and in what conf/ says; as those of ``tests/mutations.py``."""

from __future__ import annotations

from tests.plant import Mutation

TRAINING = ("tests/test_training.py",)
RESTORE = ("tests/test_restore.py",)
KEYS = ("tests/test_keys.py",)
NEUTRAL = ("tests/test_neutral.py",)
CODE = ("tests/test_code.py",)
INVARIANTS = ("tests/test_invariants.py",)
PROCESS = ("tests/test_process.py",)
STORE = "tests/test_resume.py::"
TRUST = ("tests/test_trust.py::test_what_a_file_must_not_say_is_refused",)
TRACKING = ("tests/test_tracking.py",)
TOYS = ("tests/test_execution.py",)
ALGORITHM = ("tests/test_algorithm.py",)
EXPERIMENT = "tests/test_experiment.py::"
CONVENTIONS = (EXPERIMENT + "test_the_conventions_of_the_paper_change_what_they_say",)

MUTATIONS = [
    # Continuing
    Mutation("masks-lost-on-load", "a run that continues has no masks", "bimp_exp.run.state:restored_state",
             'net.masks = here(stored["masks"])', "net.masks = {}", RESTORE),
    Mutation("momentum-lost-on-load", "a run that continues has no momentum", "bimp_exp.run.state:restored_state",
             'net.optimizer.load_state_dict(stored["optimizer"])', "pass", RESTORE),
    Mutation("noise-lost-on-load", "dropout starts anew in an epoch that continues", "bimp_exp.training.loop:fit",
             "set_rng_state(state.rng_state)", "pass", TRAINING),
    Mutation("method-state-lost-on-load", "a method that continues has forgotten its state", "bimp_exp.run.state:restored_state",
             'state.context.state.update(here(stored["method"]))', "pass", RESTORE),
    Mutation("attested-masks-lost-on-load", "after a restart no mask is compared with the one before",
             "bimp_exp.run.state:restored_state", 'masks=here(stored["masks_attested"])', "masks={}", RESTORE),
    Mutation("candidate-lost-on-load", "a run that continues has lost its better network", "bimp_exp.run.state:restored_state",
             'here(stored["chosen"])', "{}", RESTORE),
    Mutation("losses-lost-on-load", "an epoch that continues forgets the statistics of its first steps",
             "bimp_exp.training.loop:fit", "state.losses, state.statistics = state.losses.to(device), state.statistics.to(device)",
             "state.losses, state.statistics = state.losses.to(device), task.new_statistics(device)", RESTORE),
    Mutation("evaluated-lost-on-load", "the ledger of a run that continues misses what was evaluated before",
             "bimp_exp.run.state:RunLog.load", 'Counter(dumped["images_evaluated"])', "Counter()", RESTORE),
    Mutation("pruned-twice", "a phase that continues prunes once more", "bimp_exp.run.execute:_compute",
             'PhaseProgress.load(partly["underway"])', "_begin(env, planned, state, evaluator, log)", RESTORE),
    Mutation("points-twice", "what another process has logged meanwhile stays in the log", "bimp_exp.run.execute:execute",
             """
             log.restart(state.log)
             result = build_result(env, state, log, started)
             """, "result = build_result(env, state, log, started)", ("tests/test_writer.py",)),
    # Phases in the store
    Mutation("damage-unnoticed", "a checkpoint is read whatever its checksum says", "bimp_exp.store.phases:content",
             "len(found) != about['size'] or hashlib.sha256(found).hexdigest() != about['sha256']", "False",
             (STORE + "test_a_damaged_checkpoint_falls_back_to_the_one_before",)),
    Mutation("foreign-checkpoint", "a checkpoint of another configuration is continued", "bimp_exp.store.phases:content",
             "about['key'] != key", "False", (STORE + "test_a_checkpoint_of_another_configuration_is_refused_by_name",)),
    Mutation("previous-lost", "the checkpoint before the last is not kept", "bimp_exp.store.phases:Phases.save_partial",
             'newest.replace(newest.with_name("partial.previous.pt"))', "pass",
             (STORE + "test_a_damaged_checkpoint_falls_back_to_the_one_before",)),
    Mutation("full-disk-fatal", "a checkpoint that cannot be written ends the run", "bimp_exp.store.phases:_write",
             "return False", "raise", (STORE + "test_where_no_checkpoint_can_be_written_the_run_goes_on",)),
    Mutation("lease-of-the-dead", "the lease of a process that was killed is respected", "bimp_exp.lease:_alive",
             "return False", "return True", (STORE + "test_the_lease_of_a_killed_process_is_taken_over_at_once",)),
    Mutation("lease-unasked", "two processes compute the same phase", "bimp_exp.lease:Lease.take",
             "there is not None and not _expired(path, there)", "False",
             (STORE + "test_the_lease_of_a_killed_process_is_taken_over_at_once",)),
    Mutation("other-run-overwritten", "a folder with a run of another configuration is used", "bimp_exp.results.writer:claim",
             "_check_same(folder, before, config, finished=finished)", "pass",
             (STORE + "test_a_folder_with_a_run_of_another_configuration_is_refused",)),
    # Keys of phases
    Mutation("seed-not-in-key", "runs of two seeds share what they compute", "bimp_exp.run.keys:phase_keys",
             '"seed"', '"optim"', KEYS),
    Mutation("dataset-not-in-key", "runs on other images share what they compute", "bimp_exp.run.keys:phase_keys",
             '"dataset"', '"optim"', KEYS),
    Mutation("facts-not-in-key", "what the files hold and what computes is in no key", "bimp_exp.run.keys:phase_keys",
             "{**first, **facts}", "first", KEYS),
    Mutation("before-not-in-key", "a cycle is shared whatever came before it", "bimp_exp.run.keys:phase_keys",
             '{"before": found[-1], **how}', "how", KEYS),
    Mutation("algorithm-not-in-key", "results of an older algorithm are taken for new ones", "bimp_exp.run.keys:phase_keys",
             "ALGORITHM", "1", KEYS),
    Mutation("code-not-in-key", "results of older code are taken for new ones", "bimp_exp.run.keys:phase_keys",
             'code_hash(code)', '""', KEYS),
    Mutation("peak-not-in-key", "schedules that differ in their peak share the damage that they report",
             "bimp_exp.run.keys:_rates_hash", "[rates.peak, *(rates(step) for step in range(rates.num_steps))]",
             "[rates(step) for step in range(rates.num_steps)]", KEYS),
    Mutation("looks-ahead-not-in-key", "runs that rewind by other lengths share dense training", "bimp_exp.run.keys:phase_keys",
             "constant(config['method']['_target_'], 'looks_ahead')", "False", KEYS),
    Mutation("selector-not-in-key", "runs of two selectors share their cycles", "bimp_exp.run.keys:_retraining",
             "{} if plan.prunes_while_training else {'selector': config['selector']}", "{}", KEYS),
    Mutation("neutral-key-lost", "another number of workers has other keys", "bimp_exp.config.neutral:",
             '"dataset.num_workers"', '"dataset.root"', KEYS),
    Mutation("neutral-memory-lost", "keeping memory has other keys", "bimp_exp.config.neutral:",
             '"runtime.keep_memory"', '"runtime.threads"', NEUTRAL),
    Mutation("neutral-node-lost", "another place for MLflow has other keys", "bimp_exp.config.neutral:is_neutral",
             "range(1, len(parts) + 1)", "range(len(parts), len(parts) + 1)", NEUTRAL),
    Mutation("neutral-too-much", "images that are flipped share the results of those that are not",
             "bimp_exp.config.neutral:_without_neutral", 'f"{place}{key}" not in NEUTRAL',
             'f"{place}{key}" not in NEUTRAL | {"dataset.flip"}', KEYS),
    Mutation("user-module-not-followed", "an edit of what the user's module imports is not noticed", "bimp_exp.run.code:reached",
             "todo += [(imported, True) for imported in _imports(module, path)]", "pass", CODE),
    Mutation("our-module-not-followed", "an edit of what a method imports is not noticed", "bimp_exp.run.code:reached",
             "todo += [(imported, False) for imported in _imports(module, path)]", "pass", CODE),
    Mutation("installed-not-counted", "another version of a package that the user names is not noticed",
             "bimp_exp.run.code:reached", "installed[package] = _version(package)", "pass", CODE),
    Mutation("message-counted", "rewording an error makes all be computed anew", "bimp_exp.run.code:_Bare.visit_Raise",
             "ast.Raise(None, None)", "node", CODE),
    Mutation("docstring-counted", "a docstring makes all be computed anew", "bimp_exp.run.code:_Bare.visit_Expr",
             "isinstance(node.value, ast.Constant)", "False", CODE),
    # Invariants
    Mutation("revived-unnoticed", "a pruned weight that is not 0 is not noticed", "bimp_exp.run.invariants:Invariants.check_masks",
             "bool((zeros[name] | mask).all())", "bool((zeros[name] | mask).any())", INVARIANTS),
    Mutation("regrown-unnoticed", "a mask that grows is not noticed", "bimp_exp.run.invariants:Invariants.check_masks",
             "mask & ~self.masks[name]", "self.masks[name] & ~mask & ~self.masks[name]", INVARIANTS),
    Mutation("missed-sparsity-unnoticed", "a missed sparsity is not noticed", "bimp_exp.run.invariants:Invariants.check_count",
             "wanted - found <= slack and (at_least or found - wanted <= slack)", "found - wanted <= slack", INVARIANTS),
    Mutation("untouched-unchecked", "a pruning that changes batch-norm is not noticed", "bimp_exp.run.prune_phase:prune",
             "invariants.check_unprunable(unprunable, pruning.unprunable_state(net.model, net.weights))", "pass",
             (EXPERIMENT + "test_pruning_touches_prunable_weights_only_and_masks_nest",)),
    # The process, and what a file may name
    Mutation("settings-stay", "a run leaves its settings to the process", "bimp_exp.run.process:Process.close",
             "ends.callback(self._put_back)", "pass", PROCESS),
    Mutation("setting-not-put-back", "one setting is not put back", "bimp_exp.run.process:Process.start",
             'self._set(settings, "float32_matmul_precision", "highest")',
             'settings["float32_matmul_precision"][1]("highest")', PROCESS),
    Mutation("workers-stay", "processes that decode images outlive their run", "bimp_exp.run.process:Process.close",
             "ends.callback(each.close)", "pass", PROCESS),
    Mutation("nested-target", "a _target_ inside an argument is imported unseen", "bimp_exp.config.trust:_nodes",
             "yield from _nodes(inner, where, (*path, str(key)))",
             "if not path:\n    yield from _nodes(inner, where, (*path, str(key)))", TRUST),
    Mutation("target-in-list", "a _target_ inside a list is imported unseen", "bimp_exp.config.trust:_nodes",
             "value = {str(i): entry for i, entry in enumerate(value)}", "pass", TRUST),
    Mutation("re-export-trusted", "what a trusted module imports is trusted, too", "bimp_exp.config.trust:_check_target",
             "home = _home(target)", "home = target",
             ("tests/test_trust.py::test_a_module_is_accepted_once_it_is_named_and_what_it_imports_is_not",)),
    # Mirror and ledger
    Mutation("mirrored-twice", "a point that is written again is another one", "bimp_exp.tracking.mlflow_runs:MLflowRuns.log_lines",
             "mirror.info.start_time + number", "int(1000 * time.time()) + number", TRACKING),
    Mutation("changed-history-kept", "points of an undone attempt stay in MLflow", "bimp_exp.tracking.mlflow_runs:_contradicts",
             "announced is not None and _announce(lines[:int(announced.split()[0])]) != announced", "False", TRACKING),
    Mutation("backward-uncounted", "the ledger counts the backward pass once, not twice", "bimp_exp.results.ledger:ledger",
             "2 * forward", "forward", (EXPERIMENT + "test_the_ledger_counts_what_was_done",)),
    Mutation("extra-pass-uncounted", "the pass that AccALLR needs is not in the ledger", "bimp_exp.run.execute:_begin",
             "env.plan.retraining.extra_pass", "False", (EXPERIMENT + "test_the_ledger_counts_what_was_done",)),
    # While retraining
    Mutation("regulariser-of-the-first-phase", "while retraining, a method is told the steps of the first phase",
             "bimp_exp.run.execute:_hooks", "replace(context, num_steps=planned.num_steps)", "context",
             ("tests/test_user_code.py::test_a_regulariser_acts_while_retraining_if_it_says_so",)),
    Mutation("regulariser-only-dense", "no method acts while retraining", "bimp_exp.run.execute:_hooks",
             "method.acts_while_retraining", "False",
             ("tests/test_user_code.py::test_a_regulariser_acts_while_retraining_if_it_says_so",)),
    # What the options of conf/ say
    Mutation("conf-allr-norm", "ALLR divides by the norm of the prunable weights alone", "conf/schedule/allr.yaml:norm",
             "all", "prunable", TOYS),
    Mutation("conf-momentum", "SGD has less momentum than the paper's", "conf/optim/sgd.yaml:momentum", "0.9", "0.8", ALGORITHM),
    Mutation("conf-recalibrated", "the clean conventions re-estimate batch-norm before measuring",
             "conf/conventions/clean.yaml:recalibrate_batch_norm", "false", "true", CONVENTIONS),
]  # fmt: skip
