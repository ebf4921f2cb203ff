"""What a kept reference changes in theory's statements: nothing but along what instances spread.

With F = L + keep (1 - r), r the retention inside classes and L* the least L of all embeddings,

    inf F = L*  where the dimension holds the class means and the reference beside them,

because r does not change when the residuals inside the classes are scaled: residuals eps y_i along
the reference, added to the optimum's, bring r to 1 at a cost in L that goes to 0 with eps. The
optimum itself has r = 0/0, collapsed or spread (its cosines inside a class are all alike), so the
infimum is approached and not reached. And as L >= L*,

    r >= 1 - (F - L*) / keep  for every embedding.
"""

from __future__ import annotations

from dataclasses import replace

from uncollapse.records import Prediction


def with_keep(prediction: Prediction, keep: float) -> Prediction:
    """The prediction with a note on what a kept reference of that weight changes; as it is for 0.

    Args:
        prediction: Of the loss without it.
        keep: Weight of 1 - retention in the loss, from 0.

    Examples:
        >>> from uncollapse import Setting, predict
        >>> setting = Setting(classes=3, per_class=4, alpha=0.1, temperature=0.5)
        >>> with_keep(predict(setting), 1.0).notes[-1][:32]
        'a reference is kept with weight '
    """
    if not keep:
        return prediction
    least = prediction.loss - prediction.certificate_gap * max(1.0, abs(prediction.loss))
    note = (
        f"a reference is kept with weight {keep:g}: over free embeddings of enough dimensions "
        "neither the least loss nor the variances change, only along what instances spread; that "
        "optimum is approached and not reached, and training in finite steps may spread them more. "
        f"Any embedding retains at least 1 - (loss - {least:.6f}) / {keep:g}"
    )
    return replace(prediction, notes=(*prediction.notes, note))
