"""Names for the numpy arrays that the inference flow hands around. Types only."""

from __future__ import annotations

from typing import Any

import numpy as np

from elastic_inference.domain.array_type import NDArray

Image = NDArray[np.uint8]
"""H x W x 3, or 1 x H x W x 3 as a model's input."""
Floats = NDArray[np.floating[Any]]
