"""How much a cell differs from its baseline, and how sure that is: one ratio per round, a t interval over rounds.

Cells of a round ran within minutes of one another, in random order: what the machine did to the round (clock,
neighbours, heat) hits cell and baseline alike and cancels in the ratio. So trials are paired by seed and repeat.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd
from scipy import stats

from harness.analyse.stats import holm
from harness.schema.metrics import metric as definition_of

Verdict = Literal["faster", "slower", "no difference shown", "undecided"]

COMPARED = ("samples_per_s", "step_s", "step_cpu_s", "peak_allocated_bytes")
"""Metrics of which ratios are made."""
CONFIDENCE = 0.95
PRACTICAL = 0.01
"""Relative differences below this are of no practical meaning, however sure they are."""
RULED_OUT = 0.10
"""`no difference shown` is said only where the interval rules out a difference of this size; else it is `undecided`."""
ROUNDS_AT_LEAST = 3
ROUND = ["seed", "repeat"]
RATIO_COLUMNS = ["group", "cell", "label", "metric", "ratio", "value", "low", "high", "rounds", "p"]


@dataclass(frozen=True)
class Ratio:
    """Geometric mean of per-round ratios. low, high, p are None with one round: a single ratio has no interval.

    p: two-sided, of the mean log ratio being 0. per_round: the ratios, in the order of seed and repeat.
    """

    value: float
    low: float | None
    high: float | None
    p: float | None
    per_round: tuple[float, ...]

    @property
    def rounds(self) -> int:
        """Rounds in which both cells have the metric."""
        return len(self.per_round)


@dataclass(frozen=True)
class Noise:
    """Run-to-run noise: pooled SD of log step_s between the rounds of a cell; df: rounds minus cells.

    As every cell is in every round, drift of the machine is part of it: it is what two single runs differ by.
    """

    sd: float
    df: int


def log_ratios(members: pd.DataFrame, baseline: str, metric: str) -> pd.DataFrame:
    """Log of each cell's metric over the baseline cell's in the same round: rows are rounds, columns are cells.

    members: rows of `trials_frame`, one per cell and round. NaN where a round lacks the metric on either side.
    """
    if metric not in members or baseline not in set(members["cell"]):
        return pd.DataFrame()
    values = members.set_index([*ROUND, "cell"])[metric].unstack("cell").sort_index()
    logs = values.where(values > 0).map(np.log)
    return logs.sub(logs[baseline], axis=0)


def ratio_of_logs(logs: np.ndarray[tuple[int], np.dtype[np.float64]]) -> Ratio:
    """The ratio that log ratios, one per round, show: exp(mean), and exp(mean ± t · SD ÷ √rounds), two-sided 95 %."""
    mean, per_round = float(np.mean(logs)), tuple(float(value) for value in np.exp(logs))
    if len(logs) == 1:
        return Ratio(math.exp(mean), None, None, None, per_round)
    if np.ptp(logs) == 0:  # an exact metric: t has no meaning, the difference is either there or not
        return Ratio(math.exp(mean), math.exp(mean), math.exp(mean), float(mean == 0), per_round)
    df, error = len(logs) - 1, float(np.std(logs, ddof=1)) / math.sqrt(len(logs))
    reach = float(stats.t.ppf((1 + CONFIDENCE) / 2, df)) * error
    p = 2 * float(stats.t.sf(abs(mean) / error, df))
    return Ratio(math.exp(mean), math.exp(mean - reach), math.exp(mean + reach), p, per_round)


def ranked(trials: pd.DataFrame) -> pd.DataFrame:
    """The trials whose figures may be ranked: those that ended OK."""
    return trials[trials["status"] == "OK"]


def ratios_frame(trials: pd.DataFrame, metrics: Sequence[str] = COMPARED) -> pd.DataFrame:
    """One row per cell and metric, the baseline left out: group, cell, label, metric, ratio, value, low, high, rounds,
    p, p_holm, verdict, why.

    p_holm: p corrected over all cells of the run, per metric. verdict and why: see `verdict`; of memory, which is
    counted and not timed, they mean nothing. Cells without a round in
    common with their baseline have no row.
    """
    rows: list[dict[str, Any]] = []
    for group, members in ranked(trials).groupby("group", sort=False):
        baseline = next(iter(members.loc[members["is_baseline"], "cell"]), "")
        labels = members.drop_duplicates("cell").set_index("cell")["label"]
        for metric in metrics:
            logs = log_ratios(members, baseline, metric)
            for cell in [cell for cell in labels.index if cell in logs and cell != baseline]:
                known = logs[cell].dropna().to_numpy(float)
                if len(known):
                    where = {"group": group, "cell": cell, "label": labels[cell], "metric": metric}
                    rows.append(where | _as_columns(ratio_of_logs(known)))
    frame = pd.DataFrame(rows, columns=RATIO_COLUMNS)
    frame["p_holm"] = frame.groupby("metric")["p"].transform(lambda p: pd.Series(holm(p.to_numpy(float)), p.index))
    judged = zip(frame["ratio"], frame["p_holm"], frame["metric"], strict=True)
    said = [verdict(ratio, p, definition_of(metric).better == "higher") for ratio, p, metric in judged]
    return frame.assign(verdict=[word for word, _why in said], why=[why for _word, why in said])


def _as_columns(ratio: Ratio) -> dict[str, Any]:
    return {
        "ratio": ratio,
        "value": ratio.value,
        "low": ratio.low,
        "high": ratio.high,
        "rounds": ratio.rounds,
        "p": ratio.p,
    }


def verdict(ratio: Ratio, p_holm: float | None, higher_is_faster: bool) -> tuple[Verdict, str]:
    """A word for a ratio to the baseline, and why it is that one.

    faster, slower: corrected p < 0.05 over at least 3 rounds and a difference of at least 1 %. no difference shown:
    over at least 3 rounds a difference of 10 % is ruled out. undecided: all else, the reason says what is missing.
    """
    if ratio.low is None or ratio.high is None:
        return "undecided", "one round: there is no interval"
    if ratio.rounds < ROUNDS_AT_LEAST:
        return "undecided", f"{ratio.rounds} rounds: a verdict needs {ROUNDS_AT_LEAST}"
    effect = abs(math.log(ratio.value))
    if p_holm is not None and p_holm < 1 - CONFIDENCE and effect >= math.log1p(PRACTICAL):
        return ("faster" if (ratio.value > 1) == higher_is_faster else "slower"), "shown, corrected for all comparisons"
    band = math.log1p(RULED_OUT)
    if -band < math.log(ratio.low) and math.log(ratio.high) < band:
        return "no difference shown", f"a difference of {100 * RULED_OUT:.0f} % or more is ruled out"
    if ratio.low <= 1 <= ratio.high:
        return "undecided", "the interval holds both 1 and differences that matter"
    return "undecided", "does not stand once corrected for all comparisons: more rounds would tell"


def noise_floor(trials: pd.DataFrame) -> Noise | None:
    """Pooled SD of log step_s within cells: √(Σ squared deviations ÷ Σ (rounds − 1)). None with one round."""
    if "step_s" not in trials:
        return None
    known = ranked(trials).dropna(subset=["step_s"])
    logs = np.log(known["step_s"])
    deviations = logs - logs.groupby([known["cell"], known["seed"]]).transform("mean")
    df = len(known) - known.groupby(["cell", "seed"]).ngroups
    return Noise(math.sqrt(float((deviations**2).sum()) / df), df) if df > 0 else None
