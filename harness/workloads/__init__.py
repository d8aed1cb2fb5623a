"""Workloads: a task at named sizes, its data, loss, held-out metric, target and unit of work. One file each."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from harness.schema.registry import Registry
from harness.schema.suite import Recipe
from harness.strategies import ModelFacts

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor, nn

    Batch: TypeAlias = tuple[Tensor, ...]


@dataclass(frozen=True)
class WorkloadFacts:
    """What planning and the page must know of a workload without building it.

    sizes: name → keyword arguments of the model (also shown in the page); unit: of useful work, singular; metric: name
    of the held-out metric without `eval_`; target: value of it that counts as learned; targets: size → another value,
    where sizes reach different ones; recipe: complete default; recipes: size → keys of the recipe that are others at
    that size; global_batch, micro_batch: defaults; requires: packages that hold or judge the data, as they are
    imported; size_requires: size → further ones for that size; source, licence: of the data; model: what is said of the
    model to those who divide or convert it; data_hashes: the recorded `Workload.data_hash`, by the version of what the
    data are in, "*" for all others: other data are refused, versions without a record are not.
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
    targets: Mapping[str, float] = field(default_factory=dict)
    recipes: Mapping[str, Recipe] = field(default_factory=dict)
    size_requires: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    model: ModelFacts = field(default_factory=ModelFacts)
    data_hashes: Mapping[str, str] = field(default_factory=dict)

    def target_for(self, size: str) -> float:
        """Return the value of the metric that counts as learned at a size."""
        return self.targets.get(size, self.target)

    def requires_for(self, size: str) -> tuple[str, ...]:
        """Return the packages that are needed at a size."""
        return (*self.requires, *self.size_requires.get(size, ()))

    def recipe_for(self, size: str) -> Recipe:
        """Return the complete default recipe at a size."""
        return self.recipes.get(size, Recipe()).over(self.recipe).over(Recipe(regularizers=()))


@dataclass(frozen=True)
class Predictions:
    """Held-out metrics that are no mean over samples (mAP, BLEU): all batches are predicted, then scored at once.

    predict: (model, batch) → anything, kept until all batches are there (tensors: move them to the CPU); score: what
    it returned, by batch in the order of the held-out samples → name → value, names without `eval_`; always: at every
    evaluation, else only after the last step, where predicting is too slow for more (greedy decoding).
    """

    predict: Callable[[nn.Module, Batch], Any]
    score: Callable[[Sequence[Any]], Mapping[str, float]]
    always: bool = True


@dataclass(frozen=True)
class Workload:
    """A workload built at one size: everything a training process needs."""

    build: Callable[[], nn.Module]
    """() → model on CPU, randomly initialised from torch's global generator, which the caller seeds"""
    train: Batch
    """tensors whose first dimension is the sample; a batch is `tuple(t[indices] for t in train)`"""
    held_out: Batch
    loss: Callable[[nn.Module, Batch], Tensor]
    """(model, batch) → scalar, mean over the samples of the batch"""
    evaluate: Callable[[nn.Module, Batch], dict[str, tuple[Tensor, int]]]
    """(model, batch) → name → (sum, count) of held-out metrics, by name without `eval_`"""
    units_per_sample: float | Tensor = 1.0
    """useful units in a training sample, padding not counted: one number, or one for each sample"""
    blocks: tuple[type[nn.Module], ...] = ()
    """classes of the repeated layers"""
    trivial: dict[str, float] = field(default_factory=dict)
    """name → the held-out metric's value of a predictor that learned nothing"""
    data_hash: str = ""
    """sha256 of the data"""
    data_version: str = ""
    """version of the package (or Python) that the data are in"""
    predictions: Predictions | None = None
    """further held-out metrics (see Predictions)"""
    classes: int = 0
    """where a batch is (picture, its class): how many classes there are; 0 elsewhere"""
    artifacts: Callable[[nn.Module, Path], Mapping[str, Path]] | None = None
    """(model in evaluation mode, folder) → what it is → file written there: a sample of what the model makes. Called
    once after training; every rank calls it, the files of rank 0 are kept"""

    def units_of(self, indices: np.ndarray[Any, Any]) -> float:
        """Mean useful units of the training samples with these indices."""
        if isinstance(self.units_per_sample, float | int):
            return float(self.units_per_sample)
        return float(self.units_per_sample[indices].double().mean())


registry: Registry[WorkloadFacts] = Registry("workload", "harness.workloads", WorkloadFacts, "harness.workloads")
register = registry.register
