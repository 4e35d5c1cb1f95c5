"""The type of numpy arrays. Loading `numpy.typing` for it would take a fifth of numpy's import."""

from __future__ import annotations

from typing import Any, TypeVar

import numpy as np

S = TypeVar("S", bound=np.generic)
NDArray = np.ndarray[Any, np.dtype[S]]
