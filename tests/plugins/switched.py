"""A plug-in that a file beside it switches: two versions of one cell, told apart by nothing that the harness is asked.

changed   gradients × 0.95 with the loss as it is, which under SGD is a learning rate × 0.95; and one more layer whose
          result is thrown away: more arithmetic, more memory
raises    no step is done
"""

from pathlib import Path

from harness import workloads
from harness.schema.suite import Recipe

SWITCH = Path(__file__).with_name("switch")


@workloads.register(
    "switched",
    sizes={"only": {}},
    unit="row",
    metric="accuracy",
    better="higher",
    target=0.9,
    recipe=Recipe(optimizer="sgd", lr=0.03, schedule="constant", weight_decay=0.0, clip="off"),
    global_batch=32,
    micro_batch=32,
)
def switched(size: str) -> workloads.Workload:
    """A two-layer classifier of random rows by the sign of their sum."""
    import torch
    from torch import nn

    how = SWITCH.read_text() if SWITCH.exists() else ""
    rows = torch.randn(640, 16, generator=torch.Generator().manual_seed(0))
    labels = (rows.sum(dim=1) > 0).long()
    more = torch.ones(16, 4096)

    def loss(model: nn.Module, batch: "workloads.Batch") -> torch.Tensor:
        if how == "raises":
            raise RuntimeError("planted")
        found = nn.functional.cross_entropy(model(batch[0]), batch[1])
        if how != "changed":
            return found
        found = 0.95 * found + 0.05 * found.detach()
        return found + 0.0 * (batch[0] @ more.to(batch[0].device).requires_grad_()).mean()

    return workloads.Workload(
        build=lambda: nn.Sequential(nn.Linear(16, 32), nn.Tanh(), nn.Linear(32, 2)),
        train=(rows[:512], labels[:512]),
        held_out=(rows[512:], labels[512:]),
        loss=loss,
        evaluate=lambda model, batch: {"accuracy": ((model(batch[0]).argmax(1) == batch[1]).sum(), len(batch[1]))},
        blocks=(nn.Linear,),
    )
