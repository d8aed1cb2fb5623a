"""Parity: the first steps of a trial against one process in fp32 with the same data and the same initial weights.

Both the loss and the gradient norm are compared. The loss alone is blind: gradients that are summed over ranks
instead of averaged change AdamW's loss by 1e-5 only, because its update does not depend on their scale.
Pure: no torch; the worker, the parent and tests use the same rule.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

from harness.schema.record import Parity
from harness.strategies import Equivalence

Values = Sequence[float | None]


@dataclass(frozen=True)
class Tolerance:
    """Largest relative differences that still count as the same maths.

        allowed(step) = min(value at the first step × growth^(step − 1), most)

    growth: by what differences of rounding are multiplied from step to step. Training amplifies them: two threads in
    place of one change a ResNet's gradient norm by 1e-7 at the first step and by 1.4e-4 at the fifth (AdamW divides
    small gradients by their own size). Faults are not small at the first step, and stay under no such curve.
    """

    loss: float
    grad_norm: float
    growth: float = 1.0
    most: float = math.inf

    def allowed(self, name: str, step: int) -> float:
        """Tolerance of `loss` or `grad_norm` at a 1-based step."""
        first: float = getattr(self, name)
        return min(first * self.growth ** (step - 1), max(first, self.most))


GROWTH = 4.0
MOST = 1e-2
TOLERANCES: dict[Equivalence, Tolerance] = {
    "exact": Tolerance(loss=2e-6, grad_norm=1e-5, growth=GROWTH, most=MOST),
    "reordered": Tolerance(loss=5e-6, grad_norm=2e-5, growth=GROWTH, most=MOST),
    "approximate": Tolerance(loss=2e-2, grad_norm=2.5e-1),
}
"""By class of equivalence, from the strictest to the loosest."""

FLOOR = 1e-6
"""Differences of values smaller than this are measured against it: a relative difference to zero says nothing."""


def loosest(*classes: str) -> Equivalence:
    """The loosest of these classes: what a combination of strategy, precision and techniques can promise."""
    order = list(TOLERANCES)
    return max((cast(Equivalence, name) for name in classes), key=order.index, default="exact")


def check_parity(
    loss: Values,
    grad_norm: Values,
    reference_loss: Values,
    reference_grad_norm: Values,
    equivalence: str,
    skipped: Sequence[int] = (),
) -> Parity:
    """Compare the first steps of a trial with those of its reference.

        error(step) = |value − reference| ÷ max(|reference|, 1e-6) ≤ allowed(step); kept: the step nearest to failing

    loss, grad_norm: by step from the first on; None where not taken. skipped: 1-based steps whose update gradient
    scaling left out: the weights differ from the reference's after the first of them, so the comparison ends there.
    A loss that is not finite fails. Without any step to compare, or without one gradient norm, nothing is claimed:
    unchecked, with the reason.
    """
    tolerance = TOLERANCES[loosest(equivalence)]
    steps = min(len(loss), len(reference_loss), min(skipped, default=len(loss)))
    found = Parity(
        status="unchecked",
        equivalence=equivalence,
        steps=steps,
        loss_tolerance=tolerance.allowed("loss", max(steps, 1)),
        grad_norm_tolerance=tolerance.allowed("grad_norm", max(steps, 1)),
        loss=_leading(loss[:steps]),
        grad_norm=_leading(grad_norm[:steps]),
        reference_loss=_leading(reference_loss[:steps]),
        reference_grad_norm=_leading(reference_grad_norm[:steps]),
    )
    if steps == 0:
        return found.model_copy(update={"reason": "no step to compare"})
    if len(found.loss) < steps:
        reason = f"loss at step {len(found.loss) + 1} is not finite"
        return found.model_copy(update={"status": "failed", "reason": reason})
    worst_loss = _worst("loss", loss[:steps], reference_loss, tolerance)
    worst_norm = _worst("grad_norm", _but(grad_norm[:steps], skipped), reference_grad_norm, tolerance)
    update: dict[str, object] = {"loss_error": worst_loss.error, "grad_norm_error": worst_norm.error}
    if worst_loss.error is not None:
        update["loss_tolerance"] = worst_loss.allowed
    if worst_norm.error is not None:
        update["grad_norm_tolerance"] = worst_norm.allowed
    return found.model_copy(update=update | _verdict(equivalence, worst_loss, worst_norm))


@dataclass(frozen=True)
class _Worst:
    """The relative difference that is largest for what is allowed, and where; error None: nothing to compare."""

    error: float | None = None
    allowed: float = math.inf
    step: int = 0
    value: float = 0.0
    reference: float = 0.0

    def beyond(self, name: str, equivalence: str) -> str | None:
        if self.error is None or self.error <= self.allowed:
            return None
        values = f"{name} {self.value:.7g} against {self.reference:.7g} of one process in fp32 at step {self.step}"
        return f"{values}: relative difference {self.error:.2g}, {equivalence} allows {self.allowed:.2g}"


def _verdict(equivalence: str, loss: _Worst, norm: _Worst) -> dict[str, object]:
    wrong = [loss.beyond("loss", equivalence), norm.beyond("gradient norm", equivalence)]
    reasons = [reason for reason in wrong if reason]
    if reasons:
        return {"status": "failed", "reason": "; ".join(reasons)}
    if loss.error is None or norm.error is None:
        return {"status": "unchecked", "reason": "no step has both a loss and a gradient norm to compare"}
    return {"status": "passed", "reason": None}


def _worst(name: str, values: Values, reference: Values, tolerance: Tolerance) -> _Worst:
    worst = _Worst()
    for step, (value, other) in enumerate(zip(values, reference, strict=False), start=1):
        if value is None or other is None or not math.isfinite(other):
            continue
        error = abs(value - other) / max(abs(other), FLOOR) if math.isfinite(value) else math.inf
        allowed = tolerance.allowed(name, step)
        if worst.error is None or error / allowed > worst.error / worst.allowed:
            worst = _Worst(min(error, 1e300), allowed, step, value, other)
    return worst


def _but(values: Values, skipped: Sequence[int]) -> Values:
    """Gradient norms without those of skipped steps: they overflowed, which is what the step was skipped for."""
    return [None if step in skipped else value for step, value in enumerate(values, start=1)]


def _leading(values: Values) -> list[float]:
    """Values up to the first that is absent or not finite: records hold no NaN."""
    kept: list[float] = []
    for value in values:
        if value is None or not math.isfinite(value):
            break
        kept.append(value)
    return kept
