import torch
from sklearn.datasets import load_breast_cancer
from torch import nn

from harness import workloads
from harness.schema.suite import Recipe
from harness.workloads.tensors import from_tensors

SIZES = {"small": {"width": 32}, "wide": {"width": 256}}
RECIPE = Recipe(optimizer="adamw", lr=3e-3, schedule="constant", weight_decay=0.01, clip=1.0)


@workloads.register(
    "tumours", sizes=SIZES, metric="accuracy", better="higher", target=0.95, unit="patient", recipe=RECIPE
)
def tumours(size: str, *, dropout: float = 0.0) -> workloads.Workload:
    """Is a tumour malignant? 30 measurements of cell nuclei of 569 patients."""

    def build() -> nn.Module:
        width, first = SIZES[size]["width"], nn.BatchNorm1d(30)
        return nn.Sequential(first, nn.Linear(30, width), nn.ReLU(), nn.Dropout(dropout), nn.Linear(width, 2))

    x, y = load_breast_cancer(return_X_y=True)
    return from_tensors(build, torch.tensor(x, dtype=torch.float32), torch.tensor(y))
