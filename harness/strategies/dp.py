"""`torch.nn.DataParallel`: one process, one thread per accelerator, the model copied anew at each forward."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.strategies import Place, Setting, Wrapped, register

if TYPE_CHECKING:
    from torch import nn


def _impossible(setting: Setting) -> str | None:
    if setting.kind == "cuda":
        return None
    return f"torch's nn.DataParallel copies by operations that only CUDA builds have, not on {setting.kind}"


@register(
    "dp",
    processes="one",
    min_devices=2,
    equivalence="reordered",
    splits_micro_batch=True,
    accelerator_only="torch's nn.DataParallel needs two accelerators; on CPU it is the bare module and would only "
    "look as fast as one process",
    impossible=_impossible,
    source="https://docs.pytorch.org/docs/stable/generated/torch.nn.DataParallel.html",
)
def dp(model: nn.Module, place: Place) -> Wrapped:
    """One process, one thread per accelerator; gradients are summed on the first one."""
    from torch import nn

    wrapped = nn.DataParallel(model, device_ids=list(range(place.devices)))
    return Wrapped(
        wrapped,
        expected={"wrapper": "DataParallel", "world_size": 1, "replicas": place.devices},
        unseen="one process copies between its devices itself: no process group takes part",
    )
