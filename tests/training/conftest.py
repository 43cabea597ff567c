from __future__ import annotations

import pytest

from fixtures.device import detect_cpu
from fixtures.matrix import Selection
from fixtures.training.cells import build_training_cells


@pytest.fixture(scope="session")
def cpu():
    return detect_cpu()


@pytest.fixture(scope="session")
def find_cell():
    """The tiny training cell of a model and a method."""

    def find(model, method):
        selection = Selection.parse(model, None, "tiny", "auto", (), ())
        cells = build_training_cells(selection, "cpu")
        return next(cell for cell in cells if cell.technique == method)

    return find
