"""A plug-in as a user would write it: their model and two tensors. Tests train it because it is quick."""

from harness import workloads
from harness.schema.suite import Recipe


@workloads.register(
    "tiny",
    sizes={"only": {"width": 32}},
    unit="row",
    metric="accuracy",
    better="higher",
    target=0.9,
    recipe=Recipe(optimizer="adamw", lr=1e-2, schedule="constant", weight_decay=0.01, clip=1.0),
    global_batch=16,
    micro_batch=4,
)
def tiny(size: str, *, dropout: float = 0.0) -> workloads.Workload:
    """A two-layer classifier of random rows by the sign of their sum."""
    import torch
    from torch import nn

    rows = torch.randn(640, 16, generator=torch.Generator().manual_seed(0))
    labels = (rows.sum(dim=1) > 0).long()

    def build() -> nn.Module:
        return nn.Sequential(nn.Linear(16, 32), nn.Tanh(), nn.Dropout(dropout), nn.Linear(32, 32), nn.Linear(32, 2))

    def right(model: nn.Module, batch: "workloads.Batch") -> "dict[str, tuple[torch.Tensor, int]]":
        return {"accuracy": ((model(batch[0]).argmax(dim=1) == batch[1]).sum(), len(batch[1]))}

    return workloads.Workload(
        build=build,
        train=(rows[:512], labels[:512]),
        held_out=(rows[512:], labels[512:]),
        loss=lambda model, batch: nn.functional.cross_entropy(model(batch[0]), batch[1]),
        evaluate=right,
        blocks=(nn.Linear,),
    )
