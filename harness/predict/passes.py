"""A step's forward and backward passes on a tape: what a rank holds when it holds most."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from harness.predict.gathering import Gathering
from harness.predict.tape import Sizes, Tape
from harness.strategies import Place
from harness.strategies.holding import Holding

if TYPE_CHECKING:
    from harness.strategies import Autocast, Batch, Loss

PASSES = 2
"""Micro-batches that are run: from the second on each finds the gradients of those before it."""


def passes(
    model: nn.Module, batch: Batch, loss: Loss, autocast: Autocast, place: Place, holding: Holding, held: Sizes
) -> Sizes:
    """Bytes by kind at the peak of a step's passes where each rank computes with the whole model that it is given.

    held: what stands all the time; a rank's parts of gathered parameters are in it, whole parameters are too.
    """
    tape = Tape(held)
    for tensor in (*model.parameters(), *model.buffers()):
        tape.know(tensor, None)
    for tensor in batch:
        tape.know(tensor, "activations")
    gathering = None
    if holding.parts > 1:
        gathering = Gathering(tape, model, place.blocks, holding)
    else:
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.register_post_accumulate_grad_hook(_noted(tape, holding))
    count = min(place.accumulation, PASSES)
    with tape:
        for number in range(count):
            if gathering is not None:
                gathering.last = number == count - 1
            with autocast():
                value = loss(model, batch)
            value.backward()  # type: ignore[no-untyped-call]
            if gathering is not None:
                gathering.backward_ended()
    return tape.peak


def _noted(tape: Tape, holding: Holding) -> Callable[[Tensor], None]:
    """What is done with a parameter's gradient as it is made."""
    seen: set[int] = set()

    def note(parameter: Tensor) -> None:
        assert parameter.grad is not None
        if holding.buckets != "hold":
            tape.know(parameter.grad, "gradients")
            return
        if id(parameter) not in seen:  # its place in a bucket
            seen.add(id(parameter))
            tape.add("other", -parameter.grad.nbytes)
            tape.add("gradients", parameter.grad.nbytes)
        parameter.grad = None

    return note


def staged_passes(
    stage: nn.Module,
    before: Callable[[], Tensor] | None,
    last: Callable[[Tensor], Tensor] | None,
    batch: Batch,
    inputs: Sequence[Tensor],
    waiting: int,
    every: int,
    autocast: Callable[[], AbstractContextManager[object]],
    held: Sizes,
) -> Sizes:
    """The same for a stage of a pipeline, which keeps the activations of `waiting` micro-batches at a time.

    before: makes what the stage before sends, None: this is the first; last: output → loss, None: another stage comes
    after it; every: micro-batches of a step, for each of which there is room to receive into.
    """
    tape = Tape(held)
    for tensor in (*stage.parameters(), *stage.buffers()):
        tape.know(tensor, None)
    received = None if before is None else before().detach()
    for tensor in batch:
        tape.know(tensor, None)
        tape.add("activations", tensor.nbytes * every)
    if received is not None:
        tape.know(received, None)
        tape.add("other", received.nbytes * every)
    for parameter in stage.parameters():
        parameter.register_post_accumulate_grad_hook(_noted(tape, Holding()))
    made = []
    with tape:
        for _ in range(waiting):
            given = inputs if received is None else (received.detach().requires_grad_(),)
            with autocast():
                output = stage(*given)
            if last is None and not made:
                tape.add("other", output.nbytes * every)
            made.append(output if last is None else (output, last(output)))
        for each in made[:1]:
            result = each if last is None else each[1]
            result.backward(torch.empty_like(result))
    return tape.peak
