"""A reference whose rows have been made ready once: unit rows, on few columns if asked for."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import normalize

from uncollapse.errors import InputError
from uncollapse.losses._engine.arguments import FLOATS, UNLABELLED, Ids, Options
from uncollapse.losses._engine.samples import Rows, as_tensor, row_scales

REFERENCE = Rows("rows of the reference", "leave such samples out, or give another reference")
LEAST = 4  # instances of a class that has retention


@dataclass(frozen=True)
class PreparedReference:
    """Rows of a reference as `retention_loss` takes them at every step (`prepare_reference`).

    Indexed, it gives a batch's rows; `to` moves it. A loss takes it where it takes a tensor.

    Attributes:
        rows: (n, k), unit rows (means of unit views) on k columns; float32 or float64.
        agreement: Cosine between the products of rows inside a class, of these and of the whole
            reference, in the class where it is least; 1 for all its columns.
        dimension: Columns of the reference.

    Examples:
        >>> import torch
        >>> from uncollapse import prepare_reference
        >>> prepared = prepare_reference(torch.randn(40, 8), torch.arange(40) % 2, columns=3)
        >>> prepared[:10].rows.shape, prepared.dimension
        (torch.Size([10, 3]), 8)
    """

    rows: Tensor
    agreement: float
    dimension: int

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, chosen: Any) -> PreparedReference:
        """Some rows, by a slice, a mask or numbers."""
        return replace(self, rows=self.rows[chosen])

    def to(self, *args: Any, **options: Any) -> PreparedReference:
        """On another device, as `Tensor.to`."""
        return replace(self, rows=self.rows.to(*args, **options))


def prepare_reference(
    reference: Tensor,
    labels: Ids | None = None,
    *,
    columns: int | None = None,
    agreement: float | None = None,
) -> PreparedReference:
    """Make the rows of a reference that does not change ready for `retention_loss`, once.

        y_i -> P'y_i,  y_i the mean of unit views,  P the first eigenvectors of
        C = sum over classes of C_c / |C_c|,  C_c the products of a class's centred columns

    Without columns and agreement P is left out, and the loss is that of the reference itself. With
    few columns its time no longer depends on the reference's width. With products L of a class's
    centred rows, and L_k of k columns, agreement is a = <L, L_k> / (|L| |L_k|). By it, the angle
    between retention against either (biased, of all these rows) is at most arccos a, so that
    they differ by at most sqrt(1 - a^2), however training goes; in general by far less.

    Args:
        reference: (n, e), or (n, q, e) for q views; every row that training takes, or enough of
            them: others are turned by the same P only where they are given here too.
        labels: (n,), integers from 0; -1 for rows of no class, which choose no columns. Without
            them all rows are one class.
        columns: k, at most; from 1.
        agreement: Between 0 and 1: as few columns as give it in every class, and at most `columns`.

    Returns:
        The rows, in order, to be indexed by a batch's.

    Raises:
        InputError: Shapes or ranges do not fit, a row is not finite or zero, no class has four rows
            that differ.

    Examples:
        >>> import torch
        >>> from uncollapse import prepare_reference, retention_loss
        >>> generator = torch.Generator().manual_seed(0)
        >>> base = torch.randn(60, 2, generator=generator) @ torch.eye(2, 16)
        >>> labels = torch.arange(60) % 3
        >>> prepared = prepare_reference(base, labels, agreement=0.999)
        >>> prepared.rows.shape, round(prepared.agreement, 3)
        (torch.Size([60, 2]), 1.0)
        >>> round(retention_loss(base[:30], prepared[:30], labels[:30]).item(), 4)
        0.0
    """
    unit = _unit_rows(reference)
    n, dimension = unit.shape
    _check_asked(columns, agreement)
    if (columns is None or columns >= dimension) and agreement is None:
        return PreparedReference(unit, 1.0, dimension)
    ids = torch.zeros(n) if labels is None else as_tensor("labels", labels)
    if tuple(ids.shape) != (n,):
        raise InputError(f"labels of shape ({n},)", f"{tuple(ids.shape)}", "give one for each row")
    centred = list(_classes(unit, ids.to(unit.device)))
    if not centred:
        expected = f"a class of {LEAST} rows that differ, by which columns are chosen"
        raise InputError(expected, "none", "give more rows, or leave columns and agreement out")
    axes = _axes(centred)
    most = min(columns or dimension, dimension)
    agreements = torch.stack([_agreements(rows @ axes) for rows in centred]).amin(dim=0)
    count = most
    if agreement is not None:
        enough = (agreements[:most] >= agreement).nonzero()
        count = int(enough[0]) + 1 if len(enough) else most
    if count == dimension:
        return PreparedReference(unit, 1.0, dimension)
    return PreparedReference(unit @ axes[:, :count], float(agreements[count - 1]), dimension)


def _unit_rows(reference: Tensor) -> Tensor:
    expected = "a reference of shape (n, e) or (n, q, e)"
    check_reference_tensor(reference, expected)
    if reference.ndim not in (2, 3) or 0 in reference.shape:
        raise InputError(
            expected, f"shape {tuple(reference.shape)}", "give one row for each sample"
        )
    dtype = torch.promote_types(reference.dtype, torch.float32)
    views = reference.detach().to(dtype)
    row_scales(views.flatten(0, -2), dtype, Options(1.0, normalize=True), REFERENCE)
    unit = normalize(views, dim=-1)
    return unit.mean(dim=1) if unit.ndim == 3 else unit


def check_reference_tensor(reference: object, expected: str) -> None:
    """Raise if it is no dense tensor of floats."""
    if not isinstance(reference, Tensor):
        raise InputError(expected, type(reference).__name__, "give a torch tensor")
    if reference.dtype not in FLOATS or reference.layout != torch.strided:
        found = f"{reference.dtype}, {reference.layout}"
        raise InputError("a dense reference of floats", found, "convert it with .float()")


def _check_asked(columns: int | None, agreement: float | None) -> None:
    if columns is not None and (isinstance(columns, bool) or columns < 1):
        raise InputError("columns from 1", f"columns = {columns}", "give 128, say")
    if agreement is not None and not 0 < agreement < 1:
        found = f"agreement = {agreement}"
        raise InputError("agreement between 0 and 1", found, "give 0.99, say")


def _classes(unit: Tensor, labels: Tensor) -> Iterator[Tensor]:
    """Centred rows of each class, scaled so that all classes' products weigh the same."""
    for label in sorted({*labels.tolist()}):
        own = unit[labels == label]
        if label == UNLABELLED or len(own) < LEAST:
            continue
        centred = own - own.mean(dim=0)
        length = (centred.mT @ centred).norm()
        if length > torch.finfo(unit.dtype).eps * len(own):
            yield centred / length.sqrt()


def _axes(centred: list[Tensor]) -> Tensor:
    """(e, e): eigenvectors of the sum of the classes' products, that of the largest first."""
    e = centred[0].shape[1]
    total = torch.zeros(e, e, dtype=torch.float64)
    for rows in centred:
        total += (rows.mT @ rows).cpu()
    axes: Tensor = torch.linalg.eigh(total)[1]
    return axes.flip(1).to(centred[0])


def _agreements(turned: Tensor) -> Tensor:
    """(e,): <L, L_k> / (|L| |L_k|) for k = 1, 2, ... of a class's rows on the axes.

    With C = Y'Y, <L, L_k> is the sum of squares of C's first k rows, |L_k| the root of that of its
    leading k x k block.
    """
    squares = (turned.mT @ turned).cpu().double().square()
    rows = squares.sum(dim=1).cumsum(dim=0)
    blocks = squares.cumsum(dim=0).cumsum(dim=1).diagonal()
    return (rows / (squares.sum() * blocks).clamp(min=1e-300).sqrt()).clamp(max=1)
