"""What `train` says of a reference before it trains."""

from uncollapse.cli.train import _tell_reference
from uncollapse.records import ReferenceCheck


def test_of_a_related_one_train_says_what_is_not_known(capsys):
    _tell_reference(ReferenceCheck("base", retention=0.4, shuffled=0.01, rows=180))
    said = capsys.readouterr().err
    assert "base: its rows belong to these (retention 0.400 against the inputs" in said
    assert "whether keeping it pays is known after a pilot only" in said
