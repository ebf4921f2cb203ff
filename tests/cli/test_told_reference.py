"""What `train` says of a reference before it trains."""

from uncollapse.cli.train import _tell_reference
from uncollapse.records import ReferenceCheck


def test_of_a_related_one_train_says_what_is_not_known(capsys):
    _tell_reference(ReferenceCheck("base", retention=0.4, shuffled=0.01, rows=180))
    said = capsys.readouterr().err
    assert "base: its rows belong to these (retention 0.400 against the inputs" in said
    assert "whether keeping it pays is known after a pilot only" in said


def test_of_one_that_collapsed_train_warns(capsys):
    check = ReferenceCheck("stored", 0.11, 0.01, 525, share=0.32, inputs_share=0.97)
    _tell_reference(check)
    assert "variance 0.32, inputs 0.97): it has itself collapsed" in capsys.readouterr().err
