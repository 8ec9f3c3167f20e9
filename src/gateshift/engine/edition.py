"""Weights and data that are of different editions of one dataset, and so say nothing of each other."""

from pathlib import Path

from gateshift.data.catalog import edition_of
from gateshift.data.records import Annotations
from gateshift.errors import DataError
from gateshift.models.weights import read_metadata


def require_same_edition(weights: Path, annotations: Annotations) -> None:
    """Refuse to test weights on the same videos under other labels, or in another split.

    Raises:
        DataError: the weights name one edition of a dataset, and the annotations another one.
    """
    trained_on, tested_on = read_metadata(weights)["trained_on"], annotations.dataset
    if not tested_on or trained_on == tested_on:
        return
    dataset = edition_of(tested_on)
    if dataset is not None and edition_of(trained_on) == dataset:
        raise DataError(
            f"'{weights}' was trained on {trained_on}, and this data is {tested_on}: they label or divide "
            f"the same videos of {dataset} differently, and an accuracy would mean nothing. Test it on "
            f"{trained_on} (`gateshift prepare {dataset}`), or use weights that were trained on {tested_on}."
        )
