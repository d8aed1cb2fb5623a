"""DeepSpeed's ZeRO: its engine averages, clips and updates; the optimizer within is the recipe's own."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field

from harness.strategies import Construct, Groups, Place, Setting, Wrapped, register

if TYPE_CHECKING:
    from torch import Tensor, nn
    from torch.optim import Optimizer

FP32_BYTES = 4
Stage = Literal[1, 2, 3]


def _impossible(setting: Setting, *, stage: int = 2, **_options: object) -> str | None:
    if stage == 3 and "compile" in setting.techniques:
        return (
            "compile: under stage 3 DeepSpeed's hooks fetch every module's parameters while its block runs, and "
            "torch.compile leaves such blocks uncompiled"
        )
    if setting.precision == "fp16":
        return (
            "DeepSpeed clips and updates by itself, so that torch's gradient scaler cannot unscale its gradients "
            "before; its own fp16 keeps half-precision weights, which is another precision"
        )
    if setting.precision not in ("fp32", "tf32", "bf16"):
        return (
            "DeepSpeed takes fp32 parameters and sets up other formats by its own configuration, which this strategy "
            f"does not do for {setting.precision}"
        )
    return None


@register(
    "deepspeed",
    processes="per_device",
    min_devices=2,
    equivalence="reordered",
    updates="flat",
    impossible=_impossible,
    requires=("deepspeed",),
    source="https://arxiv.org/abs/1910.02054",
)
def deepspeed(
    model: nn.Module,
    place: Place,
    *,
    stage: Stage = 2,
    bucket_cap_mb: Annotated[float, Field(gt=0)] = 25.0,
    persistence_threshold: Annotated[int, Field(ge=0)] = 0,
) -> Wrapped:
    """DeepSpeed's engine with ZeRO: divides optimizer state (stage 1), gradients too (2), parameters too (3).

    stage: of ZeRO; bucket_cap_mb: MiB of fp32 gradients per reduction, allocated whatever the model's size (as for ddp;
    DeepSpeed's own default is 1907); persistence_threshold: parameters of fewer numbers stay whole on every rank under
    stage 3 (DeepSpeed's own default is 100000, which is every parameter of a small model: nothing would be divided).
    On CPU its shared-memory all-reduce is off: it would be compiled first, for minutes, and a compilation that is
    killed leaves a lock behind that hangs all later ones. Collectives are gloo's.
    """
    numbers = max(1, int(bucket_cap_mb * 2**20 / FP32_BYTES))
    zero = {
        "stage": stage,
        "reduce_bucket_size": numbers,
        "allgather_bucket_size": numbers,
        "stage3_param_persistence_threshold": persistence_threshold,
    }
    return _Engine(model, place, zero).wrapped


class _Engine:
    """The engine, which exists once the recipe's optimizer does, and what the training asks of it."""

    def __init__(self, model: nn.Module, place: Place, zero: dict[str, Any]):
        self._model, self._place, self._zero = model, place, zero
        stage = zero["stage"]
        self._made: Any = None
        expected: dict[str, Any] = {
            "wrapper": "DeepSpeedEngine",
            "world_size": place.world_size,
            "zero_stage": stage,
            "sharded": stage == 3,
            "optimizer_state_share": (0.0, 1 / place.world_size + 0.25),
            "shared_memory_op": False,
        }
        if stage == 3 and not zero["stage3_param_persistence_threshold"]:
            expected["local_share"] = (0.0, 1 / place.world_size + 0.1)
        self.wrapped = Wrapped(
            model,
            self.sync,
            expected,
            optimizer=self.optimizer,
            backward=self.backward,
            update=self.update,
            observed=self.observed,
        )

    def configuration(self) -> dict[str, Any]:
        """What DeepSpeed is told. Source: https://www.deepspeed.ai/docs/config-json/"""
        told: dict[str, Any] = {
            "train_micro_batch_size_per_gpu": 1,  # only for its own reports of speed, which are not made
            "gradient_accumulation_steps": self._place.accumulation,
            "zero_allow_untested_optimizer": True,
            "zero_optimization": self._zero,
        }
        if self._place.device.kind != "cpu" and self._place.autocast is not None:
            # On accelerators the engine switches off an autocast around it, unless it is told to do it itself.
            told["torch_autocast"] = {"enabled": True, "dtype": self._place.autocast}
        return told

    def optimizer(self, groups: Groups, construct: Construct) -> Optimizer:
        """Make the recipe's optimizer and the engine around it; the engine's groups are views of the optimizer's."""
        import deepspeed
        import deepspeed.ops

        logging.getLogger("DeepSpeed").setLevel(logging.WARNING)
        if self._place.device.kind == "cpu":
            # No operation may be compiled. Filled in before DeepSpeed does: finding out costs half a second a rank.
            vars(deepspeed.ops)["__compatible_ops__"] = {}
        os.environ.setdefault("LOCAL_RANK", str(self._place.device.index))
        deepspeed.init_distributed()
        plain = construct(groups)
        for group in plain.param_groups:  # which are about to become flat parts of this rank
            group["whole"] = sum(parameter.numel() for parameter in group["params"])
        self._made, *_ = deepspeed.initialize(
            model=self._model, optimizer=plain, config=self.configuration(), dist_init_required=False
        )
        self.wrapped.model = self._made
        return plain

    @contextmanager
    def sync(self, last: bool) -> Iterator[None]:
        """Around forward and backward of a micro-batch: tell the engine whether the update comes after it."""
        self._made.set_gradient_accumulation_boundary(last)
        yield

    def backward(self, loss: Tensor) -> None:
        """Backward pass of a micro-batch; the loss is of its share of the step already."""
        self._made.backward(loss, scale_wrt_gas=False)

    def update(self, largest: float | None) -> Tensor:
        """Clip, update, clear, as the engine does it; returns the whole gradient's L2 norm before clipping."""
        import torch

        engine = self._made
        engine.optimizer.clip_grad = largest or 0.0
        engine.step()
        return torch.as_tensor(engine.get_global_grad_norm())

    def observed(self) -> dict[str, Any]:
        """What engine, ZeRO's optimizer and parameters are like after a step."""
        from deepspeed.comm import comm

        return {
            "wrapper": type(self._made).__name__,
            "zero_stage": stage_of(getattr(self._made, "optimizer", None)),
            **division(list(self._model.parameters())),
            "shared_memory_op": getattr(comm.cdb, "shm_comm_op", None) is not None,
        }


def stage_of(optimizer: Any) -> int:
    """Stage of ZeRO that the live optimizer carries out; 0: none."""
    name = type(optimizer).__name__
    if name == "DeepSpeedZeroOptimizer_Stage3":
        return 3
    if name == "DeepSpeedZeroOptimizer":
        return 2 if optimizer.partition_gradients else 1
    return 0


def division(parameters: list[Any]) -> dict[str, Any]:
    """Whether parameters are divided, and the share of their numbers that is in memory here between steps.

    DeepSpeed's parameters know their whole size (`ds_numel`) and keep their part in `ds_tensor`; while gathered they
    hold all.
    """
    whole = sum(getattr(parameter, "ds_numel", parameter.numel()) for parameter in parameters)
    divided = [parameter for parameter in parameters if hasattr(parameter, "ds_tensor") and parameter.numel() == 0]
    kept = sum(parameter.ds_tensor.numel() for parameter in divided)
    kept += sum(parameter.numel() for parameter in parameters)
    return {"sharded": bool(divided), "local_share": kept / max(whole, 1)}
