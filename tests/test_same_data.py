"""Data that are not the recorded ones: refused, never compared silently with older records."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from harness.analyse.caveats import caveats
from harness.analyse.study import study
from harness.cli import app
from harness.run.same_data import is_other, of_same_data, refuse_other_data
from harness.run.stored import StoredRun, find_runs, read_run
from harness.schema.errors import InputError
from harness.workloads import registry
from tests.trials import a_rank, a_record, a_run_info, a_trial

OTHER = {"data_hash": "b" * 64, "recorded_hash": "a" * 64}
SAME = {"data_hash": "a" * 64, "recorded_hash": "a" * 64}


def test_other_data_are_refused_unless_accepted() -> None:
    with pytest.raises(InputError, match=r"gpt/nano: found .sha256 bbbbbbbbbbbb.*expected aaaaaaaaaaaa"):
        refuse_other_data({"gpt/nano": OTHER, "resnet/nano": SAME}, accepted=False)
    refuse_other_data({"gpt/nano": OTHER}, accepted=True)
    refuse_other_data({"gpt/nano": SAME, "mine/only": {"data_hash": "c", "recorded_hash": ""}}, accepted=False)


def test_workload_that_could_not_be_prepared_is_not_of_other_data() -> None:
    assert not is_other({"error": "no such file"})


def test_records_of_other_data_are_not_kept_for_a_resumed_run() -> None:
    then = a_record(per_rank=[a_rank(facts={"data_hash": "old"})])
    kept = {then.trial.id: (then, None)}
    assert of_same_data(kept, {"gpt/nano": {"data_hash": "old"}}) == kept
    assert of_same_data(kept, {"gpt/nano": {"data_hash": "new"}}) == {}
    assert of_same_data(kept, {}) == kept, "nothing is known of the data here"
    silent = a_record(a_trial(seed=1))
    assert of_same_data({"id": (silent, None)}, {"gpt/nano": {"data_hash": "new"}}) == {"id": (silent, None)}


def test_the_page_says_that_data_were_others() -> None:
    run = StoredRun(Path("run"), a_run_info(workloads={"gpt/nano": OTHER}), [a_record()])
    assert any("not the recorded ones" in text for text in caveats(study(run)))
    run.info = a_run_info(workloads={"gpt/nano": SAME})
    assert not any("not the recorded ones" in text for text in caveats(study(run)))


@pytest.mark.processes
def test_run_on_other_data_starts_nothing_and_writes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    suite = tmp_path / "suite.toml"
    fixed = '{ workload = "resnet", size = "nano", steps = 2, warmup_steps = 5 }'
    suite.write_text(f'question = "q"\nfixed = {fixed}\nbudget = {{ repeats = 1 }}\n')
    from harness.run import invocation

    found = invocation.local.prepare

    def changed(*asked: Any) -> dict[str, Any]:
        return {**found(*asked), "data_hash": "f" * 64}

    monkeypatch.setattr(invocation.local, "prepare", changed)
    asked = ["run", str(suite), "--results", str(tmp_path / "results")]
    refused = CliRunner().invoke(app, asked)
    assert refused.exit_code == 2 or isinstance(refused.exception, InputError)
    assert not (tmp_path / "results").exists()
    accepted = CliRunner().invoke(app, [*asked, "--accept-other-data"])
    assert accepted.exit_code == 0, accepted.output
    (folder,) = find_runs(tmp_path / "results")
    assert [record.status for record in read_run(folder).records] == ["OK"]


def test_recorded_hashes_are_sha256() -> None:
    for entry in registry.entries():
        if entry.module.startswith("harness.workloads."):
            assert all(len(digest) == 64 for digest in entry.facts.data_hashes.values()), entry.name
            assert dataclasses.is_dataclass(entry.facts)
