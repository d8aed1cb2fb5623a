"""The protocol of one trial on one rank, from build to extras. `worker` starts it and says how it ended."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch

from harness import monitors
from harness.measure.applied import NotApplied, check, compare, live_facts, watched_forward
from harness.measure.artifacts import leave_artifacts
from harness.measure.dropout import Dropout, dropout_streams, without_dropout
from harness.measure.evaluation import evaluate
from harness.measure.fit import fit
from harness.measure.job import Job, trace_folder, write_result
from harness.measure.loop import Laps, run_laps
from harness.measure.parity import loosest
from harness.measure.progress import NAN, Progress, progress_path
from harness.measure.regularized_facts import prove_stop, proved_in_the_end, watched_step
from harness.measure.series import keep_series, overflow_steps
from harness.measure.steady import WARMUP_MAX, warmup_state
from harness.measure.stopping import Stopping, stopping_of
from harness.measure.trace import SETTLING_STEPS, trace
from harness.measure.training import Training, build_training
from harness.recipes.build import group_facts
from harness.recipes.optimizers import registry as optimizers
from harness.recipes.schedules import Adaptive
from harness.schema.record import Evaluation, Phase, RankResult, Warmup
from harness.strategies import compilation
from harness.strategies import registry as strategies
from harness.strategies.precision import precisions
from harness.strategies.techniques import techniques
from harness.workloads import registry as workloads
from harness.workloads.order import sample_indices


class Session:
    """State of one rank's trial: the training, what was found so far, and the clocks."""

    def __init__(self, job: Job, result: RankResult):
        self.job, self.result, self.trial = job, result, job.trial
        self.laps = Laps()
        """all steps of the trial, warm-up included"""
        self.monitors = [entry.function() for entry in monitors.registry.entries()]
        self.training_cpu_s = 0.0
        self.training_wall_s = 0.0
        """CPU and wall seconds in warm-up, timed window and evaluation"""
        self.stopping = Stopping(None, "", "")
        self.progress: Progress | None = None
        """of the first rank, where its trial may be watched"""

    @contextmanager
    def phase(self, phase: Phase) -> Iterator[None]:
        """Say on disk that this phase has begun, and note when it ended."""
        self.result.phase = phase
        write_result(self.job.result_path(), self.result)
        if self.progress is not None:
            self.progress.begin(phase)
        yield
        self.result.marks[phase] = time.monotonic() - self.job.started
        self.result.cpu_marks[phase] = time.process_time()

    @contextmanager
    def counted_as_training(self) -> Iterator[None]:
        """What happens inside is warm-up, timed steps or evaluation; the rest of the trial is overhead."""
        wall, cpu = time.monotonic(), time.process_time()
        yield
        self.training_wall_s += time.monotonic() - wall
        self.training_cpu_s += time.process_time() - cpu


def measure(job: Job, result: RankResult) -> None:
    """Run the trial and fill the result in. Raises NotApplied, Diverged, or whatever training raised."""
    session = Session(job, result)
    if job.rank == 0:
        session.progress = Progress(progress_path(Path(job.folder)), job.trial.steps)
    with session.phase(Phase.BUILD):
        training = build_training(job.trial, job.rank, job.world_size, job.local_rank)
        tell_progress(session, training)
        training.wants_grad_norm = True
        session.stopping = stopping_of(training)
        describe(training, result)
    if job.trial.kind == "fit":
        fit(session, training)
        result.phase = Phase.DONE
        return
    with session.phase(Phase.WARMUP), session.counted_as_training(), without_dropout(training) as dropout:
        warmup = warm_up(session, training, dropout)
        result.facts["warmup"] = warmup.model_dump()
    training.wants_grad_norm = False
    keep_series(session.laps, training, result, timed=False)
    if job.trial.kind == "measure":
        window(session, training)
        prove(session, training, dropout)
        training.device.lift_memory_limit()  # what monitors do beside training is not the trial's
        with session.phase(Phase.EXTRA):
            extras(session, training)
            leave_artifacts(job, training, result)
    elif job.trial.kind == "trace":
        with session.phase(Phase.EXTRA):
            trace(training, trace_folder(Path(job.folder), job.rank), result)
    result.metrics["harness_cpu_s"] = time.process_time() - session.training_cpu_s
    result.facts["training_wall_s"] = session.training_wall_s
    result.phase = Phase.DONE


def tell_progress(session: Session, training: Training) -> None:
    """Have the steps told. Their losses are where they are on the host and of the whole model: mostly, on CPU."""
    training.progress = session.progress
    if session.progress is not None and training.device.kind == "cpu" and training.wrapped.whole_loss is None:
        # a DTensor's value may take all ranks to be had
        session.progress.read = lambda loss: float(loss) if type(loss) is torch.Tensor else NAN


def describe(training: Training, result: RankResult) -> None:
    """What the parent must know of workload and strategy to make a record of the rank results."""
    trial = training.trial
    facts = workloads[trial.workload.name].facts
    classes = [strategies[trial.strategy.name].facts.equivalence, precisions[trial.precision.name].facts.equivalence]
    classes += [techniques[technique.name].facts.equivalence for technique in trial.techniques]
    if loosest(*classes) != "exact":
        assert trial.recipe.optimizer is not None
        classes.append(optimizers[trial.recipe.optimizer.name].facts.reordered)
    result.metrics["parameters"] = float(training.parameters)
    result.facts |= {
        "unit": facts.unit,
        "metric": facts.metric,
        "better": facts.better,
        "target": facts.target_for(trial.size),
        "equivalence": loosest(*classes, *filter(None, [training.wrapped.equivalence])),
        "data_hash": training.workload.data_hash,
        **group_facts(training.optimizer),
    }


def warm_up(session: Session, training: Training, dropout: Dropout) -> Warmup:
    """Train until steady: the first step proves that what was asked is applied, the first few are for parity.

    Rank 0 decides for all, since ranks that disagree would wait for one another for ever.
    """
    trial, parity_steps = session.trial, session.trial.parity_steps
    with watched_forward(training) as seen, watched_step(training, dropout) as proof:
        session.laps += run_laps(training, 1)
    session.result.metrics["first_step_s"] = time.monotonic() - session.job.started
    expected = training.expected | {"threads": session.job.threads, "dropout_streams": training.place.data_ranks}
    expected, seen = expected | proof.asked, seen | proof.found
    seen["dropout_streams"] = dropout_streams(training)
    session.result.facts |= dropout.facts()
    session.result.applied = check(expected, live_facts(training) | seen)
    if trial.kind == "reference":
        session.laps += run_laps(training, parity_steps - 1)
        return Warmup(steps=parity_steps, steady=False, rule="reference: parity steps only")
    if trial.kind == "trace":
        session.laps += run_laps(training, parity_steps - 1)
        dropout.restore()
        session.laps += run_laps(training, SETTLING_STEPS)
        return Warmup(
            steps=parity_steps + SETTLING_STEPS, steady=False, rule=f"trace: parity steps and {SETTLING_STEPS} more"
        )
    unsettled, compiling_s = parity_steps, compilation.seconds()
    while True:
        if training.steps_done >= parity_steps:
            training.wants_grad_norm = False
            dropout.restore()
        if compilation.seconds() != compiling_s:  # a step in which something was compiled is no sign of steadiness
            unsettled, compiling_s = max(unsettled, training.steps_done), compilation.seconds()
        fixed = trial.warmup_steps
        state = warmup_state(session.laps.step_s, unsettled, fixed)
        if training.agreed(state is not None):
            return state or Warmup(steps=training.steps_done, steady=True, rule="decided by rank 0")
        session.laps += run_laps(training, 1)
        evaluate_if_due(session, training)


def window(session: Session, training: Training) -> None:
    """The timed window: `steps` steps, paused for evaluations; fewer where early stopping ends it."""
    trial, result = session.trial, session.result
    watching = session.monitors
    timed = Laps()
    first = training.steps_done
    for monitor in watching:
        monitor.window_begins(training)
    with session.phase(Phase.TIMED), session.counted_as_training():
        while len(timed.step_s) < trial.steps:
            count = next_pause(training, first + trial.steps)
            for monitor in watching:
                monitor.stretch_begins(training)
            laps = run_laps(training, count)
            for monitor in watching:
                monitor.stretch_ends(training)
            timed += laps
            session.laps += laps
            keep_series(session.laps, training, result, timed=True)
            evaluate_if_due(session, training)
            if session.stopping.ends(training, result):
                break
    for monitor in watching:
        monitor.window_ends(training, result)
    steps = len(timed.step_s)
    result.facts["units_per_sample"] = units_per_sample(training, first, steps)
    result.facts |= session.stopping.facts(training, early=steps < trial.steps)
    ranks = training.place.world_size
    result.metrics |= {
        "step_s": statistics.median(timed.step_s),
        "step_cpu_s": statistics.median(timed.cpu_s),
        "window_s": timed.wall_s,
        "window_samples": trial.global_batch / ranks * steps,
    }
    if training.precision.scaling is not None:
        result.metrics["loss_scale"] = training.scales[-1]
        initial = float(training.precision.scaling["init_scale"])
        overflows = overflow_steps(initial, training.scales)
        result.metrics["skipped_steps"] = float(len(overflows))
        result.facts["overflow_steps"] = overflows


def prove(session: Session, training: Training, dropout: Dropout) -> None:
    """Facts that only a whole run tells. Raises NotApplied with all facts of the trial."""
    proof, stopping, result = proved_in_the_end(training, dropout), session.stopping, session.result
    if stopping.rule is not None:
        prove_stop(proof, stopping.rule, stopping.values, stopping.better, stopping.stopped)
    result.applied = [*result.applied, *compare(proof.asked, proof.found)]
    if not all(fact.ok for fact in result.applied):
        raise NotApplied(result.applied)


def units_per_sample(training: Training, first: int, steps: int) -> float:
    """Mean useful units of the samples that all ranks trained on in so many steps from `first` (0-based) on."""
    trial, samples = training.trial, training.workload.train[0].shape[0]
    taken = [sample_indices(trial.seed, first + step, trial.global_batch, samples) for step in range(steps)]
    return training.workload.units_of(np.concatenate(taken))


def extras(session: Session, training: Training) -> None:
    """Steps that monitors need for themselves. One that fails costs its own figures, never those of the window."""
    for monitor in session.monitors:
        try:
            monitor.after(training, session.result)
        except Exception as error:
            absent = session.result.facts.setdefault("absent", {})
            absent[type(monitor).__name__.lower()] = f"{type(error).__name__}: {error}"
            return


def next_pause(training: Training, last: int) -> int:
    """Steps from here to the next evaluation or to the end of the window."""
    step = training.steps_done + 1
    while step < last and not training.trial.evaluates_at(step, WARMUP_MAX):
        step += 1
    return step - training.steps_done


def evaluate_if_due(session: Session, training: Training) -> None:
    """Evaluate where the plan says so: after the same optimizer steps in every cell."""
    if not session.trial.evaluates_at(training.steps_done, WARMUP_MAX):
        return
    train_s, last = sum(session.laps.step_s), training.steps_done == session.trial.last_evaluation(WARMUP_MAX)
    found = Evaluation(step=training.steps_done, train_s=train_s, metrics=evaluate(training, last))
    session.result.evaluations.append(found)
    if training.steps_done > session.trial.parity_steps:  # until then all cells train as their reference does
        tell_schedule(training, found.metrics)
        session.stopping.show(found)


def tell_schedule(training: Training, metrics: dict[str, float]) -> None:
    """Show the workload's metric to a schedule that goes by it; rank 0 decides for all whether the rate falls."""
    multiplier, facts = training.schedule.lr_lambdas[0], workloads[training.trial.workload.name].facts
    if not isinstance(multiplier, Adaptive):
        return
    if training.agreed(multiplier.observe(metrics[f"eval_{facts.metric}"], facts.better)):
        multiplier.reduce()
