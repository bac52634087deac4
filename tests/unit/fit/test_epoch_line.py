"""The lines of epochs: under their heading, in 80 columns, however small or large the numbers are."""

import pytest

pytest.importorskip("torch")

from kilat.fit import epoch_line

ROW = {
    "epoch": 3, "loss": 0.34567, "accuracy": 0.871, "validation_loss": 0.40123, "validation_accuracy": 1.0,
    "learning_rate": 0.0009876, "seconds": 5.25, "pictures_per_second": 907.0,
}  # fmt: skip


def test_what_keras_prints_of_an_epoch_in_its_order():
    assert epoch_line.line(ROW, 30).split() == ["3/30", "0.3457", "87.1%", "0.4012", "100.0%", "0.00099", "5.2", "s"]


@pytest.mark.parametrize("change", [{}, {"epoch": 1000, "loss": 1234.5, "seconds": 3599.0, "learning_rate": 1.6e-08}])
def test_columns_end_where_their_headings_end(change):
    heading, line = epoch_line.heading(), epoch_line.line(ROW | change, 1000)
    assert len(line) == len(heading) <= 80
    ends = [
        end for end in range(1, len(heading) + 1) if not heading[end : end + 2].strip(" ") and heading[end - 1] != " "
    ]
    assert all(line[end - 1] != " " for end in ends)
