"""Metrics of what is learned: losses, held-out metrics, the gap between them, and when the target was reached."""

from __future__ import annotations

from harness.schema.metric import Metric

LEARNING = (
    Metric(
        "loss", "1", "lower", "Training loss at the last timed step.", "mean over the global batch, reduced over ranks"
    ),
    Metric(
        "loss_area",
        "1",
        "lower",
        "Area under the training loss, per step: what two versions are compared by, seed by seed. In comparisons only.",
        "mean of the training loss over the steps that every trial of the cell takes",
    ),
    Metric(
        "penalty",
        "1",
        "lower",
        "Penalties on the weights (L1, L2) at the last timed step, which are no part of loss; absent without any.",
        "sum over all penalised weights, each counted once, before the step's update",
    ),
    Metric(
        "grad_norm",
        "1",
        "neither",
        "L2 norm of the whole gradient, penalties included, before clipping, at the last step where it was taken.",
    ),
    Metric(
        "eval_<metric>",
        "",
        "neither",
        "The workload's held-out metric at the last evaluation; the workload says which way is better.",
        "all held-out samples, off the clock",
        pattern=r"eval_[a-z0-9_]+",
    ),
    Metric(
        "best_<metric>",
        "",
        "neither",
        "The workload's metric at the best evaluation of a trial that may stop early: what it is judged by.",
        "of the evaluations after the parity steps, the last that min_delta counts as better than the best before it",
        pattern=r"best_[a-z0-9_]+",
    ),
    Metric(
        "train_<metric>",
        "",
        "neither",
        "The workload's metric on training samples at the last evaluation, computed as on held-out ones.",
        "as many training samples as are held out, evenly over all",
        pattern=r"train_[a-z0-9_]+",
    ),
    Metric(
        "gap_<metric>",
        "",
        "lower",
        "Generalisation gap: how much worse the metric is on held-out samples than on training samples.",
        "train_<metric> − eval_<metric> where higher is better, eval_<metric> − train_<metric> elsewhere",
        pattern=r"gap_[a-z0-9_]+",
    ),
    Metric(
        "steps_to_target",
        "1",
        "lower",
        "Optimizer steps until the first evaluation that reaches the target; absent where none did.",
    ),
    Metric(
        "time_to_target_s",
        "s",
        "lower",
        "Training seconds until that evaluation, evaluations and set-up left out; absent where none did.",
    ),
)
