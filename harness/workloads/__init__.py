"""Workloads: a task at named sizes, its data, loss, held-out metric, target and unit of work. One file each."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from harness.schema.registry import Registry
from harness.schema.suite import Recipe
from harness.strategies import ModelFacts

if TYPE_CHECKING:
    from torch import Tensor, nn

    Batch: TypeAlias = tuple[Tensor, ...]


@dataclass(frozen=True)
class WorkloadFacts:
    """What planning and the page must know of a workload without building it.

    sizes: name → keyword arguments of the model (also shown in the page); unit: of useful work, singular; metric: name
    of the held-out metric without `eval_`; target: value of it that counts as learned; recipe: complete default;
    recipes: size → keys of the recipe that are others at that size; global_batch, micro_batch: defaults; requires:
    packages that hold the data, as they are imported; source, licence: of the data; model: what is said of the model
    to those who divide or convert it.
    """

    sizes: Mapping[str, Mapping[str, Any]]
    unit: str
    metric: str
    better: Literal["higher", "lower"]
    target: float
    recipe: Recipe
    global_batch: int = 16
    micro_batch: int = 8
    requires: tuple[str, ...] = ()
    source: str = ""
    licence: str = ""
    recipes: Mapping[str, Recipe] = field(default_factory=dict)
    model: ModelFacts = field(default_factory=ModelFacts)

    def recipe_for(self, size: str) -> Recipe:
        """Return the complete default recipe at a size."""
        return self.recipes.get(size, Recipe()).over(self.recipe)


@dataclass(frozen=True)
class Workload:
    """A workload built at one size: everything a training process needs.

    build: () → model on CPU, randomly initialised from torch's global generator, which the caller seeds;
    train, held_out: tensors whose first dimension is the sample; a batch is `tuple(t[indices] for t in train)`;
    loss: (model, batch) → scalar, mean over the samples of the batch;
    evaluate: (model, batch) → name → (sum, count) of held-out metrics, by name without `eval_`;
    units_per_sample: useful units in a sample; blocks: classes of the repeated layers;
    trivial: name → the held-out metric's value of a predictor that learned nothing; data_hash: sha256 of the data.
    """

    build: Callable[[], nn.Module]
    train: Batch
    held_out: Batch
    loss: Callable[[nn.Module, Batch], Tensor]
    evaluate: Callable[[nn.Module, Batch], dict[str, tuple[Tensor, int]]]
    units_per_sample: float = 1.0
    blocks: tuple[type[nn.Module], ...] = ()
    trivial: dict[str, float] = field(default_factory=dict)
    data_hash: str = ""


registry: Registry[WorkloadFacts] = Registry("workload", "harness.workloads", WorkloadFacts, "harness.workloads")
register = registry.register
