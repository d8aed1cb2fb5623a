"""The one dictionary of metrics: what each number means, its unit, which way is better, and how it is computed.

The report's glossary is generated from it. A record may hold no metric that is not in it.
"""

from __future__ import annotations

import re

from harness.schema.metric import Metric
from harness.schema.metrics_of_learning import LEARNING
from harness.schema.prediction import KINDS

__all__ = ["METRICS", "Metric", "metric"]


def _metrics(*metrics: Metric) -> dict[str, Metric]:
    names = [metric.name for metric in metrics]
    assert len(names) == len(set(names)), "a metric has one definition"
    return dict(zip(names, metrics, strict=True))


METRICS: dict[str, Metric] = _metrics(
    Metric(
        "step_s",
        "s",
        "lower",
        "Seconds of one optimizer step, all micro-batches and the wait for data included.",
        "median over the timed window of each rank's step times; the slowest rank",
    ),
    Metric(
        "step_cpu_s",
        "s",
        "lower",
        "CPU seconds of one optimizer step, all threads of the rank's process, summed over ranks.",
        "sum over ranks of the median over the timed window",
    ),
    Metric(
        "round_s",
        "s",
        "lower",
        "Seconds of one round of a benchmark of pytest-benchmark ÷ its iterations: of what its function does once.",
        "as its file has it; rounds that one process ran are one round, their median",
        "https://pytest-benchmark.readthedocs.io/en/latest/usage.html",
    ),
    Metric(
        "round_cpu_s",
        "s",
        "lower",
        "CPU seconds of one round of a benchmark of pytest-benchmark ÷ its iterations, all threads and processes.",
        "as round_s; only where the harness's plug-in for pytest was at work",
    ),
    Metric(
        "samples_per_s",
        "1/s",
        "higher",
        "Samples trained per second by all ranks together.",
        "samples of ALL ranks in the timed window ÷ wall seconds of the window on the slowest rank",
    ),
    Metric(
        "<unit>s_per_s",
        "1/s",
        "higher",
        "Units of useful work (tokens, images) trained per second by all ranks together; padding is not counted.",
        "samples_per_s × useful units per sample",
        pattern=r"(?!sample)[a-z_]+s_per_s",
    ),
    Metric("window_s", "s", "neither", "Wall seconds of the timed window.", "slowest rank, evaluations left out"),
    Metric("window_samples", "1", "neither", "Samples of all ranks in the timed window.", "sum over ranks"),
    *(
        Metric(
            f"{part}_s", "s", "lower", f"Seconds of a step {what}.", "median over the phase window; the slowest rank"
        )
        for part, what in (
            ("data_wait", "spent waiting for its data"),
            ("forward", "in the forward passes"),
            ("backward", "in the backward passes, communication overlapped with them included"),
            ("forward_backward", "in both passes, where a strategy runs them in turn or side by side"),
            ("optimizer", "in clipping, the optimizer's update, the schedule and clearing gradients"),
        )
    ),
    Metric(
        "peak_allocated_bytes",
        "B",
        "lower",
        "Most bytes of tensors alive at one time on a device. Accelerators: the allocator's peak in the timed window. "
        "CPU: tensor bytes counted in steps of their own after the window.",
        "largest rank",
        "https://docs.pytorch.org/docs/stable/generated/torch.cuda.memory.max_memory_allocated.html",
    ),
    Metric(
        "peak_reserved_bytes",
        "B",
        "lower",
        "Most bytes the accelerator's caching allocator held in the timed window. Absent on CPU, where there is none.",
        "largest rank",
    ),
    Metric(
        "peak_rss_bytes",
        "B",
        "lower",
        "Kernel's high-water mark of a rank's resident memory in the timed window: tensors, libraries and interpreter. "
        "No measure of tensors alone.",
        "largest rank",
        "https://docs.kernel.org/filesystems/proc.html",
    ),
    *(
        Metric(
            f"memory_{kind}_bytes",
            "B",
            "lower",
            f"Bytes of {what} at the moment of peak tensor memory on CPU.",
            "largest rank",
        )
        for kind, what in (
            ("parameters", "parameters"),
            ("gradients", "gradients"),
            ("optimizer", "optimizer state"),
            ("activations", "activations kept for the backward pass"),
            ("other", "all other tensors: buffers, inputs, temporaries"),
        )
    ),
    Metric(
        "predicted_peak_bytes",
        "B",
        "neither",
        "Most bytes of tensors on a device, predicted from shapes and the strategy's rule; nothing measured is in it.",
        "largest rank; the larger of the peaks of forward and backward passes and of the update",
    ),
    Metric(
        "predicted_<kind>_bytes",
        "B",
        "neither",
        "The part of predicted_peak_bytes that is of one kind, as in memory_<kind>_bytes.",
        "of the same rank and moment",
        pattern=rf"predicted_({'|'.join(KINDS)})_bytes",
    ),
    Metric(
        "communicated_bytes",
        "B",
        "lower",
        "Payload of all collectives of a step on one rank, counted in a step of its own: numel × element size of the "
        "larger of what goes in and comes out. Not bytes on a wire: those depend on the algorithm.",
        "rank with the most",
        "https://github.com/NVIDIA/nccl-tests/blob/master/doc/PERFORMANCE.md",
    ),
    Metric(
        "communicated_<collective>_bytes",
        "B",
        "lower",
        "The part of communicated_bytes that is of one kind of collective (all_reduce, all_gather, reduce_scatter, …).",
        "of the same rank",
        pattern=r"communicated_[a-z0-9_]+_bytes",
    ),
    Metric(
        "comm_s",
        "s",
        "lower",
        "Seconds of a step in which data travel between ranks, under the profiler, in a trial of its own.",
        "|union of communication| in a trace of three steps ÷ 3; the slowest rank",
        "https://docs.pytorch.org/docs/stable/profiler.html",
    ),
    Metric(
        "comm_exposed_s",
        "s",
        "lower",
        "The part of comm_s in which the rank computes nothing: what communication really costs.",
        "|union of communication − union of computation| in a trace of three steps ÷ 3; the slowest rank",
    ),
    Metric(
        "energy_j",
        "J",
        "lower",
        "Energy of the trial's devices in the timed window, evaluations left out. NVIDIA: whole boards, by the "
        "driver's energy counter, else its power integrated. CPU: the packages of the whole machine (RAPL), all else "
        "that runs on it included, memory modules not. Absent, with the reason in the record, where it cannot be read.",
        "sum over devices, one reading each; on CPU rank 0 reads for all",
        "https://docs.nvidia.com/deploy/nvml-api/ and https://docs.kernel.org/power/powercap/powercap.html",
    ),
    Metric(
        "power_w",
        "W",
        "lower",
        "Mean power of the trial's devices in the timed window, of the same readings as energy_j.",
        "sum over devices of joules ÷ seconds between the readings",
    ),
    Metric(
        "joules_per_sample",
        "J",
        "lower",
        "Energy of all devices per sample trained in the timed window.",
        "energy_j ÷ window_samples",
    ),
    Metric(
        "model_flops",
        "FLOP",
        "neither",
        "Floating-point operations that a step of the unwrapped model needs: matrix products and convolutions of "
        "forward and backward. What a technique computes again is not in it; a causal mask is not taken off.",
        "flops_per_sample × global_batch",
        "https://github.com/pytorch/pytorch/blob/main/torch/utils/flop_counter.py",
    ),
    Metric(
        "mfu",
        "1",
        "higher",
        "Model FLOPs utilisation: share of what the devices could compute by their datasheet, dense, in the precision "
        "used. Absent for devices whose datasheet the harness does not hold, CPUs among them.",
        "model_flops ÷ (step_s × devices used × datasheet peak)",
        "https://arxiv.org/abs/2204.02311",
    ),
    Metric(
        "mfu_measured",
        "1",
        "higher",
        "Model FLOPs utilisation against what square matrix products reach on this machine in the precision used. On "
        "CPU a device is one rank's cores, measured while nothing else of the run is at work.",
        "model_flops ÷ (step_s × devices used × measured peak)",
    ),
    Metric(
        "parameters", "1", "neither", "Trainable parameters of the unwrapped model.", "counted once, tied weights once"
    ),
    *LEARNING,
    Metric("warmup_steps", "1", "neither", "Steps before the timed window opened."),
    Metric(
        "skipped_steps",
        "1",
        "lower",
        "Optimizer steps that gradient scaling left out because of overflow, all of the trial.",
    ),
    Metric(
        "loss_scale", "1", "neither", "Gradient scaler's scale at the end of the timed window; absent without scaling."
    ),
    Metric(
        "first_step_s",
        "s",
        "lower",
        "Seconds from the start of the trial to the end of its first training step, building the model included.",
    ),
    Metric(
        "compile_s",
        "s",
        "lower",
        "Seconds spent compiling (torch.compile), before the timed window; absent where nothing was compiled.",
        "PyTorch's clock of compiling forward and backward passes; the slowest rank",
        "https://docs.pytorch.org/docs/stable/torch.compiler.html",
    ),
    Metric(
        "trial_s", "s", "lower", "Wall seconds of the whole trial.", "start of the processes to the end of the last"
    ),
    Metric(
        "harness_overhead_s",
        "s",
        "lower",
        "Wall seconds of the trial that are neither warm-up, timed steps nor evaluation.",
        "trial_s − warm-up − timed window − evaluations",
    ),
    Metric(
        "harness_cpu_s",
        "s",
        "lower",
        "CPU seconds of the trial's processes that are neither warm-up, timed steps nor evaluation.",
        "sum over ranks",
    ),
)


def metric(name: str) -> Metric:
    """The definition of a metric, patterns such as `tokens_per_s` and `eval_accuracy` resolved.

    Raises KeyError for a name that the dictionary does not hold.
    """
    if name in METRICS:
        return METRICS[name]
    for known in METRICS.values():
        if known.pattern and re.fullmatch(known.pattern, name):
            return known
    raise KeyError(name)
