"""Bring an edit's colours to the input's, learnt in the ring around the mask.

Two steps. An affine map of RGB to RGB (a 3 x 4 matrix fitted by least squares, as in colour
correction: Finlayson and Drew 1997) that leaves out what may belong to the change. It undoes gains,
offsets, contrast, saturation and hue exactly and a gamma to about 2 levels. Then what still differs
along the mask's edge is carried a short way into the mask by normalized convolution (Knutsson and
Westin 1993) and fades there.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from .least_squares import smallest_errors, trimmed_fit
from .resample import averaged, scaled

POOLS = (4, 32)
"""Pixels a side that are averaged before fitting: noise in the edit would flatten its contrast."""

LEAST = 32
"""Fewer averaged pixels of ring than this say nothing reliable about colours."""

UNRELATED, NOISE = 0.2, 2e-4
"""If the map leaves more than this share of the ring's variance, and this variance (0.014 squared)
besides, the two show different things: a map between them would only flatten the edit."""

RIDGE = np.array([1e-4, 1e-4, 1e-4, 1e-8])
"""Pull towards no change of gain, in squared levels 0..1: colours that the ring doesn't show (a
grey wall says nothing about red) are left as they are. The offset is free."""

BETTER = 0.85
"""The fit must bring the trusted difference below this share of what it was, or nothing is done."""

VISIBLE = 0.5 / 255
"""So must it by this much, in 0..1: less is not seen."""

CELL = 8
"""Pixels a side of the grid on which a remaining difference is carried inwards."""

REACH = 4
"""Cells that it is carried: 2 x 4 x 8 = 64 pixels until it has faded out."""

MAX_CORRECTION = 0.15
"""The largest correction that is carried, in 0..1: more is a change of the image, not a tint."""

Matrix = npt.NDArray[np.float64]


def fit_colors(edited: Tensor, sent: Tensor, ring: npt.NDArray[np.bool_]) -> Tensor | None:
    """The matrix [4,3] that maps RGB of `edited` [H,W,3] to `sent`; None: no reliable one.

    It is learnt pixel by pixel, or, where that shows nothing since the service drew the texture
    anew, from the means of larger cells. A map that makes no clear difference is the identity.
    """
    best = None
    for size in POOLS:
        share = averaged(torch.from_numpy(ring)[..., None].float(), size)[..., 0]
        chosen = share > 0.999 if size == POOLS[0] else share > 0.5
        if int(chosen.sum()) < LEAST:
            break
        inside = torch.from_numpy(ring)[..., None]
        source, wanted = (
            (averaged(image * inside, size)[chosen] / share[chosen][:, None]).double().numpy()
            for image in (edited, sent)
        )
        matrix = _learn_matrix(source, wanted)
        if matrix is not None:
            best = torch.from_numpy(matrix).float()
            if not torch.equal(best, torch.eye(4, 3)):
                break
    return best


def _learn_matrix(source: Matrix, wanted: Matrix) -> Matrix | None:
    """The matrix for colours [n,3]; None if what it leaves shows that the two are unrelated."""
    design, identity = np.concatenate([source, np.ones((len(source), 1))], 1), np.eye(4, 3)
    matrix = trimmed_fit(design, wanted, identity, RIDGE)
    differences = wanted - design @ matrix
    before, after = np.abs(wanted - source).mean(1), np.abs(differences).mean(1)
    trusted = smallest_errors(after)
    if (differences[trusted] ** 2).mean() > UNRELATED * wanted[trusted].var(0).mean() + NOISE:
        return None
    was, now = before[smallest_errors(before)].mean(), after[trusted].mean()
    return identity if now > BETTER * was or was - now < VISIBLE else matrix


def map_colors(image: Tensor, matrix: Tensor | None) -> Tensor:
    """An image [H,W,3] with the colours of a matrix [4,3]; None changes nothing."""
    if matrix is None:
        return image
    flat = torch.addmm(matrix[3], image.reshape(-1, 3), matrix[:3])
    return flat.reshape(image.shape)


def remaining_difference(edited: Tensor, sent: Tensor, edge: npt.NDArray[np.bool_]) -> Tensor:
    """What must be added to `edited` [H,W,3] so that it meets `sent` at the pixels of `edge`.

    Smooth: the mean difference nearby, fading to 0 away from the edge.
    """
    weight = torch.from_numpy(edge)[..., None].float()
    difference = (sent - edited) * weight
    moderate = (difference.abs() <= MAX_CORRECTION).all(-1, keepdim=True)
    weight, difference = weight * moderate, difference * moderate
    cells = averaged(torch.cat((difference, weight), -1), CELL).permute(2, 0, 1)[None]
    for _ in range(2):
        for kernel in ((2 * REACH + 1, 1), (1, 2 * REACH + 1)):
            padding = (kernel[0] // 2, kernel[1] // 2)
            cells = F.avg_pool2d(cells, kernel, 1, padding)
    field = cells[:, :3] / (cells[:, 3:] + 0.02)
    return scaled(field[0].permute(1, 2, 0), *edge.shape)
