"""A step's forward and backward passes on a tape: what a rank holds when it holds most."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
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
                parameter.register_post_accumulate_grad_hook(_noted(tape, holding))  # type: ignore[no-untyped-call]
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


@dataclass(frozen=True)
class Staged:
    """One stage of a pipeline, and what comes to it and goes from it.

    received: what the stage before it sends, None: this is the first, which is given inputs; loss: output → loss, None:
    another stage comes after it; batch: samples of a micro-batch, which stay for the whole step; waiting: micro-batches
    whose activations it keeps at a time; every: those of a step, for each of which there is room to receive into.
    """

    stage: nn.Module
    batch: Batch
    inputs: Sequence[Tensor]
    received: Tensor | None
    loss: Callable[[Tensor], Tensor] | None
    waiting: int
    every: int


def staged_passes(staged: Staged, autocast: Autocast, held: Sizes) -> Sizes:
    """Bytes by kind at the peak of a step's passes through a stage: forward passes until it has to wait, then one
    backward and one forward pass in turn.
    """
    stage, received = staged.stage, staged.received
    tape = Tape(held)
    for tensor in (*stage.parameters(), *stage.buffers()):
        tape.know(tensor, None)
    for tensor in staged.batch:
        tape.know(tensor, None)
        tape.add("activations", tensor.nbytes * staged.every)
    if received is not None:
        tape.know(received, None)
        tape.add("other", received.nbytes * staged.every)
    for parameter in stage.parameters():
        parameter.register_post_accumulate_grad_hook(_noted(tape, Holding()))  # type: ignore[no-untyped-call]
    waiting: deque[tuple[Tensor, Tensor, Sequence[Tensor]]] = deque()
    """loss or output that is passed back from, output, inputs"""

    def forward() -> None:
        given = staged.inputs if received is None else (received.detach().requires_grad_(),)
        with autocast():
            output: Tensor = stage(*given)
        waiting.append((output if staged.loss is None else staged.loss(output), output, given))

    run = min(staged.waiting, PASSES)
    with tape:
        for _ in range(run):
            before = tape.now["activations"]
            forward()
    one = tape.now["activations"] - before  # those that are not run keep as much as the last that was
    tape.add("activations", one * (staged.waiting - run))
    result, output, _given = waiting[0]
    if staged.loss is None:
        tape.add("other", output.nbytes * staged.every)
    gradient = torch.empty_like(result)  # received: it is among these
    tape.know(gradient, None)
    sent = None
    with tape:
        for number in range(min(staged.every, PASSES)):
            if number > 0 and staged.waiting + number <= staged.every:
                forward()
            result, output, given = waiting.popleft()
            result.backward(gradient)  # type: ignore[no-untyped-call]
            sent = [each.grad for each in given]  # the inputs' gradients are held until the next ones are sent
    del sent
    return tape.peak
