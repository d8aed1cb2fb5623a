"""Penalties on the weights (L1, L2): added to the gradients where they are whole, elementwise on what a rank holds."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import torch
from torch import Tensor
from torch.distributed.tensor import DTensor
from torch.nn import Parameter

from harness.recipes.regularizers import Penalty
from harness.strategies import Unsupported


class Penalties:
    """The recipe's penalties over the trained parameters of two dimensions or more, as the strategy left them.

    `add` is called once per optimizer step, when gradients are reduced over ranks and unscaled and not yet clipped. At
    an earlier place they would be added once per micro-batch, averaged, or multiplied by the loss scale.
    """

    def __init__(
        self,
        penalties: Sequence[Penalty],
        parameters: Iterable[Parameter],
        world_size: int,
        copies: Callable[[Parameter], int] | None = None,
    ):
        """copies: on how many ranks the same numbers of a plain parameter are; None: on all of them."""
        self._penalties = penalties
        self._alike: dict[float, list[Parameter]] = {}
        for parameter in parameters:
            if parameter.requires_grad and parameter.ndim >= 2:
                self._alike.setdefault(_copies(parameter, world_size, copies), []).append(parameter)

    @torch.no_grad()
    def add(self) -> Tensor:
        """Add their gradients; returns this rank's part of their value, of the weights before the update.

        The parts of all ranks add up to the whole: numbers that several ranks hold are divided among them. Nothing is
        sent and nothing read back from the device.
        """
        parts = []
        for copies, parameters in self._alike.items():
            weights, gradients = locals_of(parameters), [_gradient(parameter) for parameter in parameters]
            for penalty in self._penalties:
                parts.append(penalty.value(weights) / copies)
                penalty.add_gradient(gradients, weights)
        return torch.stack(parts).sum() if parts else torch.zeros(())

    @property
    def parameters(self) -> list[Parameter]:
        """What is penalised."""
        return [parameter for parameters in self._alike.values() for parameter in parameters]

    def by_autograd(self) -> list[Tensor]:
        """The gradient of their value as autograd finds it, of this rank's part of each parameter: for comparison."""
        weights = [weight.detach().float().requires_grad_() for weight in locals_of(self.parameters)]
        if not weights:
            return []
        value = torch.stack([penalty.value(weights) for penalty in self._penalties]).sum()
        return list(torch.autograd.grad(value, weights))


def locals_of(tensors: Iterable[Tensor]) -> list[Tensor]:
    """What this rank holds of each."""
    return [tensor.to_local() if isinstance(tensor, DTensor) else tensor for tensor in tensors]


def _gradient(parameter: Parameter) -> Tensor:
    """What this rank holds of the gradient; a parameter that the loss gave none gets one of zeros."""
    if parameter.grad is None:
        parameter.grad = torch.zeros_like(parameter)
    gradient = parameter.grad
    if not isinstance(parameter, DTensor):
        return gradient
    if not isinstance(gradient, DTensor) or gradient.placements != parameter.placements:
        raise Unsupported(
            "a penalty is added elementwise, and the strategy divides a gradient otherwise than its weight"
        )
    return gradient.to_local()


def _copies(parameter: Parameter, world_size: int, copies: Callable[[Parameter], int] | None) -> float:
    if not isinstance(parameter, DTensor):
        return copies(parameter) if copies is not None else world_size
    shards = 1
    for size, placed in zip(parameter.device_mesh.shape, parameter.placements, strict=True):
        shards *= 1 if placed.is_replicate() else size
    return world_size / shards
