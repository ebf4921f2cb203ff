"""Every sentence of a measurement, a comparison, a probe or a pilot in English, by its key.

A slot holds a number, a name, a list of names, or an estimate with its interval. What a record says
is the English sentence, and beside it the key and the values, from which the report says the same
in its language.
"""

_READ = (
    "knn {knn.estimate:.3f} [{knn.low:.3f}, {knn.high:.3f}], "
    "logistic {logistic.estimate:.3f} [{logistic.low:.3f}, {logistic.high:.3f}]"
)
_READ_AND_NULL = _READ + " (chance 0; p {p_value:.2g} against the null)"
_BETWEEN = "{share} of the total variance lies between instances of a class"
_WITHIN = "{share} of the total variance lies within classes"
_BY_CHANCE = ", but so few units may lie together by chance"
_ACROSS = ": the interval reaches across the margin"
_RAISE = (
    "raise alpha, the weight of the self-supervised term, or lower the temperature; "
    "`uncollapse predict` gives the threshold for your batch"
)
_MARGINS = "margins {low:.3g} (collapsed) and {high:.3g} (healthy)"
_TASK = "{task.estimate:+.1f} [{task.low:+.1f}, {task.high:+.1f}]"
_GAIN = "{gain.estimate:+.1f} [{gain.low:+.1f}, {gain.high:+.1f}] points"
_UNCLEAR = f"{{name}} changes the objective by {_GAIN}: the interval does not lie above zero;"

SENTENCES: dict[str, str] = {
    "text.share.instances": _BETWEEN,
    "text.share.within": _WITHIN,
    "text.clear.instances": f"{_BETWEEN}: clearly spread",
    "text.clear.within": f"{_WITHIN}: clearly spread",
    "text.unsure.instances": _BETWEEN + _ACROSS,
    "text.unsure.within": _WITHIN + _ACROSS,
    "text.unsure.few-instances": _BETWEEN + _BY_CHANCE,
    "text.unsure.few-within": _WITHIN + _BY_CHANCE,
    "text.views-spread": f"{_BETWEEN}, though within-class variance is {{within}}: the views of an"
    " instance are spread, its instances are not",
    "text.no-interval": "no interval to judge by: only sums were kept, or nothing varies",
    "text.one-point": "all embeddings lie nearly at one point, whatever their class: total variance"
    " {total}",
    "text.below-noise": "instances differ less than views of one instance do: ratio {ratio}",
    "text.classes": "{count} of {all} classes are collapsed: {names}",
    "text.slices": "{count} of {all} slices are collapsed: {names}",
    "text.optimum": "the loss of this setting is lowest in {phase}: what spread is left is there"
    " because training has not converged or the encoder cannot follow",
    "text.uninformative": f"the spread does not tell the finer labels apart: {_READ_AND_NULL}",
    "text.readable": "the variance is collapsed, but the finer labels can still be read: "
    + _READ_AND_NULL,
    "text.no-views": "no instances with several views were given, so view noise cannot be told"
    " from spread between instances",
    "text.no-difference": "classes do not differ: between-class variance {between}",
    **{
        f"text.predicted.{side.split()[0]}": f"within-class variance {{measured}} is {side} the"
        " predicted {predicted:.4g} between two instances"
        for side in ("below", "above", "consistent with", "beside")
    },
    "anchor.margins": _MARGINS,
    "anchor.margins-predicted": f"{_MARGINS}, predicted share {{predicted:.3g}}",
    "anchor.total": "margin {margin:.3g} of total variance",
    "anchor.view": "view variance {view}, margin {margin:.3g} of it",
    "anchor.all-classes": "margin {margin:.3g}, intervals that hold for all classes at once",
    "anchor.all-slices": "margin {margin:.3g}, intervals that hold for all slices at once",
    "anchor.predicted": "predicted instance variance {variance:.3g}",
    "anchor.null": "permutation null of the within-class probe",
    "anchor.within": "within-class variance stands for instance variance",
    "anchor.zero": "zero",
    "anchor.optimum": "the global optimum of this setting",
    "advice.raise": _RAISE,
    "advice.raise-only": f"{_RAISE}; more views or noise will not help",
    "advice.measure-more": "measure more instances per class (or more groups)",
    "advice.keep-intervals": "measure more instances per class, and keep intervals"
    " (CollapseMetric's default)",
    "advice.centre": "subtract the mean embedding and measure again; if it stays, the encoder is"
    " constant",
    "advice.average": "average the views, weaken the augmentation, or raise alpha",
    "advice.balance": "small classes collapse first: balance the batches, or raise alpha",
    "advice.compare-slices": "compare what the model is given of them: number of rows,"
    " preprocessing, augmentation",
    "advice.choose": "choose a setting in the spread phase: `uncollapse predict` gives its"
    " threshold",
    "advice.noise": "spread without information is noise: more training, other augmentations,"
    " another layer",
    "advice.rescale": "keep float64 or rescale the residuals before use; distances will not show"
    " it",
    "advice.name-instances": "if rows are augmented views, name their instance column",
    "advice.check-labels": "check that labels belong to these rows",
    "caveat.trace_quotient": "within over between variance; grows without bound as classes merge",
    "caveat.cdnv": "debiased; needs distinct class means; says nothing of single instances",
    "caveat.directional_cdnv": "zero for every within-class variance in an exact SSEM: no"
    " collapse test",
    "caveat.nc1": "zero for every within-class variance in an exact SSEM, and no absolute scale:"
    " read it against its null only",
    "caveat.nc2": "class means against a simplex; says nothing of the spread within a class",
    "caveat.rankme": "blind to labels: moves little between a collapsed and a healthy embedding",
    "caveat.class_spectrum": "shape of the spread, not its size; compare at equal instances per"
    " class",
    "caveat.alignment": "small is good for views and, within a class, is collapse itself",
    "caveat.uniformity": "blind to labels",
    "compare.verdict": "the verdict fell from {before} to {after}",
    "compare.classes": "{count} classes fell: {names}",
    "compare.slices": "{count} slices fell: {names}",
    "compare.fell": "{name} fell by {fall.estimate:.4g} [{fall.low:.4g}, {fall.high:.4g}]",
    "compare.differs": "{name} differs: {before} and {after}",
    "compare.classes-differ": "{count} classes are in one of the two only",
    "compare.only-before": "{name} is known before only, and so is not compared",
    "compare.only-after": "{name} is known after only, and so is not compared",
    "pilot.recommended": f"{{changes}}: the objective changes by {_GAIN} on validation rows",
    "pilot.unclear": f"{_UNCLEAR} about {{seeds}} seeds of each setting would tell",
    "pilot.unclear-many": f"{_UNCLEAR} more than 1000 seeds of each setting would tell",
    "pilot.untrained": "no candidate could be trained to the end",
    "pilot.costly": f"{{name}} would gain {_GAIN}, but the training label changes by"
    " {task:+.1f} points (margin {margin:g}) or the setting is measured as collapsed",
    "pilot.small": "no change gains {least:g} points or more; the best, {name}, changes the"
    f" objective by {_GAIN}",
    "pilot.confirmed": f"on the test split, with fresh seeds, it changes by {_GAIN}, accuracy of"
    f" the training label by {_TASK}",
    "pilot.failed": "the confirmation failed: {reason}",
    "class.no-interval": "no interval: fewer than three independent units, or nothing varies",
    "class.few": "share {share}, but so few units may lie together by chance",
    "class.margins": "share {share} against margins {low:.3g}, {high:.3g}",
    "class.margins-predicted": "share {share} against margins {low:.3g}, {high:.3g}, predicted"
    " {predicted:.3g}",
    "slice.few": "fewer than two classes with two independent units in this slice",
    "ssem.fits": "SSEM fits",
    "ssem.poor": "SSEM does not describe this embedding: {residuals}",
    "ssem.total_variance_deficit": "the embedding is not centred on the origin",
    "ssem.class_spread": "classes differ in their variance",
    "ssem.mean_product_deviation": "class means are not a simplex",
    "ssem.view_variance": "views of an instance do not coincide",
    "interval.units": "leave-one-unit-out jackknife",
    "interval.blocks": "leave-one-of-{blocks}-blocks-out jackknife",
    "probe.read": f"{_READ} (chance 0; no null asked for)",
    "probe.read-null": _READ_AND_NULL,
    "probe.none": "no class has two finer labels with {units} independent units each",
}
