"""The simplex-to-simplex embedding model (SSEM) that lies nearest, and whether it describes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from uncollapse.metrics.moments import COUNT, COUNT_SQUARE, ClassMoments
from uncollapse.metrics.variance import Decomposition
from uncollapse.records import Ssem, SsemFit, number, sentence

# A residual above this, in units of squared length on the unit sphere, and SSEM does not describe.
TOLERANCE = 0.1


def ssem_fit(classes: Sequence[ClassMoments], decomposition: Decomposition) -> Ssem:
    """Delta and omega of the nearest SSEM, and the residuals that say whether it describes.

    In an exact SSEM of m classes of n instances, with V = delta^2,

        cosine within a class  a = 1 - V n/(n-1)       means' products  b = -(1 - V)/(m - 1)
        within-class variance  V                       total variance   1

    delta comes from the mean within-class cosine, not from the between-class variance, which lies
    in a flat direction of the loss. omega = V / (m (n-1)/(m n - 1)) is V over its largest value
    (every instance its own corner of one simplex); n is the harmonic mean over classes. The
    residuals are the deficit of total variance, the standard deviation of within-class variances
    over classes (less their sampling error), the root mean square of m_c.m_c' - b, and the view
    variance (in an SSEM views coincide).
    """
    within = [level.within.estimate for level in decomposition.per_class]
    cosines = 1 - np.array(within, dtype=np.float64)  # NaN for None
    factors = np.array([m.totals[COUNT_SQUARE] / m.totals[COUNT] ** 2 for m in classes])
    V = float(np.mean((1 - cosines) * (1 - factors)))
    m, n = len(classes), 1 / float(np.mean(factors))
    b = -(1 - V) / (m - 1)
    chosen = np.linspace(0, m - 1, min(m, 1000)).round().astype(int)
    means = np.stack([classes[c].mean for c in chosen])
    products = (means @ means.T)[np.triu_indices(len(chosen), 1)]
    halves = [level.within.half_width for level in decomposition.per_class]
    noise = np.mean([0.0 if half is None else (half / 2) ** 2 for half in halves])
    spread = np.sqrt(max(0.0, float(np.var(cosines, ddof=1) - noise)))
    total = decomposition.total.plug_in
    residuals = {
        "total_variance_deficit": None if total is None else 1 - total,
        "class_spread": number(spread),
        "mean_product_deviation": number(np.sqrt(np.mean((products - b) ** 2))),
        "view_variance": decomposition.view.estimate,
    }
    poor = [
        sentence(f"ssem.{name}")
        for name, value in residuals.items()
        if value is not None and value > TOLERANCE
    ]
    reason = sentence("ssem.poor", {"residuals": tuple(poor)}) if poor else sentence("ssem.fits")
    return Ssem(
        delta=float(np.sqrt(max(V, 0.0))),
        omega=V * (m * n - 1) / (m * (n - 1)),
        fit=SsemFit(not poor, reason, TOLERANCE, **residuals),
    )
