"""Metrics of what is learned: losses, held-out metrics, the gap between them, and when the target was reached."""

from __future__ import annotations

from harness.schema.metric import Metric

LEARNING = (
    Metric(
        "loss", "1", "lower", "Training loss at the last timed step.", "mean over the global batch, reduced over ranks"
    ),
    Metric(
        "grad_norm",
        "1",
        "neither",
        "L2 norm of the whole gradient before clipping, at the last step where it was taken.",
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
