"""Early stopping in a trial: what it is shown, whether the timed window ends, and what the record says of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from harness.measure.evaluation import evaluate
from harness.measure.steady import WARMUP_MAX
from harness.measure.training import Training
from harness.recipes.regularizers import EarlyStop
from harness.workloads import registry as workloads

if TYPE_CHECKING:
    from harness.schema.record import Evaluation, RankResult


@dataclass
class Stopping:
    """The rule of the recipe (None: it has none) and the values of the metric that it was shown, with their steps."""

    rule: EarlyStop | None
    metric: str
    better: str
    steps: list[int] = field(default_factory=list)
    values: list[float] = field(default_factory=list)
    stopped: bool = False

    def show(self, evaluation: Evaluation) -> None:
        """Take an evaluation in."""
        self.steps.append(evaluation.step)
        self.values.append(evaluation.metrics[f"eval_{self.metric}"])

    def ends(self, training: Training, result: RankResult) -> bool:
        """Whether the timed window ends here: rank 0 decides for all. Then the evaluation is taken again as the last
        one, with what is too slow for more than one.
        """
        if self.rule is None or not self.values:
            return False
        self.stopped = bool(training.agreed(self.rule.due(self.values, self.better)))
        step, evaluations = training.steps_done, result.evaluations
        whole = step == training.trial.last_evaluation(WARMUP_MAX)  # it was the last one already
        if self.stopped and not whole and evaluations[-1].step == step:
            metrics = evaluate(training, last=True)
            evaluations[-1] = evaluations[-1].model_copy(update={"metrics": metrics})
        return self.stopped

    def facts(self, training: Training, early: bool) -> dict[str, Any]:
        """What the record says: where training ended early (None: all steps were taken), and its best evaluation."""
        if self.rule is None or not self.values:
            return {}
        best = self.rule.best(self.values, self.better)
        return {
            "early_stopping": {
                "stopped_step": training.steps_done if early else None,
                "best_step": self.steps[best],
                "best_value": self.values[best],
            }
        }


def stopping_of(training: Training) -> Stopping:
    """Early stopping by the workload's metric, as the recipe says."""
    facts = workloads[training.trial.workload.name].facts
    return Stopping(training.regularization.stop, facts.metric, facts.better)
