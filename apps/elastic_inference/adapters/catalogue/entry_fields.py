"""Field types of `entries`, which loads them late."""

from __future__ import annotations

from typing import Annotated

from pydantic import BeforeValidator, Field

from elastic_inference.adapters.catalogue.export_metadata import MAX_LABEL_CHARACTERS
from elastic_inference.adapters.catalogue.side_file_errors import no_switch

_Side = Annotated[int, Field(ge=16, le=8192)]
_Number = Annotated[float, Field(allow_inf_nan=False)]
_NO_SWITCH = BeforeValidator(no_switch)
Label = Annotated[str, Field(max_length=MAX_LABEL_CHARACTERS)]
Threshold = Annotated[float, Field(ge=0, le=1), _NO_SWITCH]
Overlap = Annotated[float, Field(gt=0, le=1), _NO_SWITCH]
Numbers = Annotated[tuple[_Number, ...] | _Number, _NO_SWITCH]
Size = Annotated[tuple[_Side, _Side] | _Side, _NO_SWITCH]
