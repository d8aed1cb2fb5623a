"""A detector without anchors: a map of how likely each place is the centre of an object of each class, and its size.

The network gives maps at a quarter of the picture's resolution: a logit per class, the logarithms of the box's sides in
cells, and where in its cell the centre is.

Source: https://arxiv.org/abs/1904.07850 (objects as points)
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from harness.workloads.models.resnet import Block, convolution
from harness.workloads.models.stochastic_depth import rate_at

STRIDE = 4
"""pixels of a cell of the maps"""
DEVIATIONS_PER_SIDE = 6
"""a box's side ÷ the standard deviation of the bump around its centre"""
PRIOR = 0.02
"""likelihood of a centre at any place before training"""


class CentreNet(nn.Module):
    """Pictures (batch, 1, h, w) → maps (batch, classes + 4, h ÷ 4, w ÷ 4): logits, log sides, place in the cell.

    widths: channels at half, quarter and eighth resolution; depth: blocks at a quarter and at an eighth. What is found
    at an eighth is added to the quarter's features, so that a cell sees the whole of a digit. stochastic_depth: drop
    rate of the last block; it rises linearly over the blocks.
    """

    def __init__(self, *, classes: int, widths: Sequence[int], depth: int, stochastic_depth: float = 0.0):
        super().__init__()
        half, quarter, eighth = widths
        count = 2 * depth + 1
        rates = iter([rate_at(number, count, stochastic_depth) for number in range(count)])
        self.stem = nn.Sequential(convolution(1, half, 3, 2), nn.ReLU())
        self.fine = _stage(half, quarter, [next(rates) for _ in range(depth)])
        self.coarse = _stage(quarter, eighth, [next(rates) for _ in range(depth)])
        self.across = convolution(eighth, quarter, 1)
        self.merged = Block(quarter, quarter, 1, drop_rate=next(rates))
        self.head = nn.Sequential(convolution(quarter, quarter, 3), nn.ReLU(), nn.Conv2d(quarter, classes + 4, 1))
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        last = self.head[-1]
        assert isinstance(last, nn.Conv2d)
        assert last.bias is not None
        nn.init.normal_(last.weight, std=0.01)
        nn.init.zeros_(last.bias)
        with torch.no_grad():
            last.bias[:classes] = math.log(PRIOR / (1 - PRIOR))

    def forward(self, pictures: Tensor) -> Tensor:
        """Maps of the pictures."""
        fine = self.fine(self.stem(pictures))
        seen = F.interpolate(self.across(self.coarse(fine)), scale_factor=2.0, mode="nearest")
        maps: Tensor = self.head(self.merged(F.relu(fine + seen)))
        return maps


def _stage(inputs: int, outputs: int, rates: Sequence[float]) -> nn.Sequential:
    """Blocks with these drop rates; the first halves the resolution."""
    first, *others = rates
    return nn.Sequential(
        Block(inputs, outputs, 2, drop_rate=first), *(Block(outputs, outputs, 1, drop_rate=rate) for rate in others)
    )


def bumps(boxes: Tensor, labels: Tensor, classes: int, cells: int) -> Tensor:
    """What the logits should say: (batch, classes, cells, cells), 1 at the centre's cell of each box, less around it.

    boxes (batch, most, 4) in pixels, labels (batch, most), −1: no box. exp(−(dx² ÷ 2σx² + dy² ÷ 2σy²)), σ the side ÷ 6;
    where bumps of one class meet, the larger one.
    """
    centres, sides = _centres_and_sides(boxes)
    grid = torch.arange(cells, device=boxes.device, dtype=torch.float32)
    distance = grid - centres.floor().unsqueeze(-1)  # (batch, most, x and y, cells)
    exponent = distance**2 / (2 * (sides.unsqueeze(-1) / DEVIATIONS_PER_SIDE) ** 2)
    shapes = torch.exp(-exponent[:, :, 1, :, None] - exponent[:, :, 0, None, :])
    of_class = labels.unsqueeze(-1) == torch.arange(classes, device=labels.device)
    return (shapes.unsqueeze(2) * of_class[..., None, None]).amax(dim=1)


def _centres_and_sides(boxes: Tensor) -> tuple[Tensor, Tensor]:
    """Centres and sides (batch, most, x and y) in cells; a box that is not there has sides of one pixel."""
    corners = boxes.float() / STRIDE
    sides = (corners[..., 2:] - corners[..., :2]).clamp_min(1 / STRIDE)
    return (corners[..., 2:] + corners[..., :2]) / 2, sides


def detection_loss(maps: Tensor, boxes: Tensor, labels: Tensor, boxes_per_picture: float) -> Tensor:
    """Mean over pictures of (focal loss of the logits + L1 of log sides + L1 of places in the cell) ÷ mean boxes.

    Focal loss, p the sigmoid, y the bumps: −(1 − p)² ln p where y is 1, −(1 − y)⁴ p² ln(1 − p) elsewhere.
    boxes_per_picture: a constant of the data, so that no picture's share depends on what else is in the batch.
    """
    classes, maps = maps.shape[1] - 4, maps.float()
    logits, cells = maps[:, :classes], maps.shape[-1]
    wanted = bumps(boxes, labels, classes, cells)
    p = logits.sigmoid()
    at_centre = (1 - p) ** 2 * F.logsigmoid(logits)
    elsewhere = (1 - wanted) ** 4 * p**2 * F.logsigmoid(-logits)
    focal = -torch.where(wanted == 1, at_centre, elsewhere).sum()
    centres, sides = _centres_and_sides(boxes)
    cell = centres.floor().long().clamp(0, cells - 1)
    places = (cell[..., 1] * cells + cell[..., 0]).unsqueeze(1).expand(-1, 4, -1)
    geometry = maps[:, classes:].flatten(2).gather(2, places).transpose(1, 2)  # (batch, most, 4)
    aim = torch.cat((sides.log(), centres - centres.floor()), dim=-1)
    distance = ((geometry - aim).abs() * (labels >= 0).unsqueeze(-1)).sum()
    return (focal + distance) / (len(maps) * boxes_per_picture)


def detections(maps: Tensor, most: int) -> tuple[Tensor, Tensor, Tensor]:
    """The `most` likeliest boxes of each picture: corners (batch, most, 4) in pixels, classes and scores (batch, most).

    A centre is a cell whose likelihood is the largest of the 3×3 around it, in its class.
    """
    classes, maps = maps.shape[1] - 4, maps.float()
    p, cells = maps[:, :classes].sigmoid(), maps.shape[-1]
    peaks = p * (p == F.max_pool2d(p, 3, stride=1, padding=1))
    scores, which = peaks.flatten(1).topk(most)
    cell = which % (cells * cells)
    geometry = maps[:, classes:].flatten(2).gather(2, cell.unsqueeze(1).expand(-1, 4, -1)).transpose(1, 2)
    sides, within = geometry[..., :2].exp(), geometry[..., 2:]
    centres = torch.stack((cell % cells, cell // cells), dim=-1) + within
    corners = torch.cat((centres - sides / 2, centres + sides / 2), dim=-1) * STRIDE
    return corners, which // (cells * cells), scores
