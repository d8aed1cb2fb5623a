"""One model over several ranks: what of its gradients no rank can tell alone, asked of all of them."""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor
    from torch.amp import GradScaler
    from torch.nn import Parameter


def norm_over_meshes(parameters: Sequence[Parameter]) -> Tensor:
    """L2 norm of the whole gradient where parameters are divided over different meshes, or not at all.

        norm = √(Σ over meshes of (norm of the gradients on that mesh, gathered)²)

    PyTorch takes the norms of one mesh only. Plain gradients are the same on all ranks that take the same data, so that
    they count once.
    """
    import torch
    from torch import nn
    from torch.distributed.tensor import DTensor

    by_mesh: dict[object, list[Tensor]] = {}
    for gradient in (parameter.grad for parameter in parameters if parameter.grad is not None):
        by_mesh.setdefault(gradient.device_mesh if isinstance(gradient, DTensor) else None, []).append(gradient)
    norms = [nn.utils.get_total_norm(gradients) for gradients in by_mesh.values()]
    whole = [norm.full_tensor() if isinstance(norm, DTensor) else norm for norm in norms]
    total: Tensor = torch.linalg.vector_norm(torch.stack(whole))
    return total


def scaler_of_all_ranks(*arguments: Any, **options: Any) -> GradScaler:
    """A GradScaler whose verdict is that of all ranks: a step is skipped by all or by none.

    The plain one looks at the gradients of its own rank, and takes either sharded gradients or plain ones in one call,
    not both. Ranks that hold parts of one model would skip different steps and lower different scales.
    Source: https://docs.pytorch.org/docs/stable/amp.html
    """
    import torch
    import torch.distributed as dist

    class Scaler(torch.amp.GradScaler):
        def _unscale_grads_(
            self, optimizer: Any, inv_scale: Tensor, found_inf: Tensor, allow_fp16: bool
        ) -> dict[torch.device, Tensor]:
            for group in optimizer.param_groups:  # each of them is on one mesh: see recipes.build.decay_groups
                alike: Any = SimpleNamespace(param_groups=[group])
                for found in super()._unscale_grads_(alike, inv_scale, found_inf, allow_fp16).values():
                    found_inf = torch.maximum(found_inf, found.to(found_inf.device))
            dist.all_reduce(found_inf, op=dist.ReduceOp.MAX)
            return {found_inf.device: found_inf}

    return Scaler(*arguments, **options)
