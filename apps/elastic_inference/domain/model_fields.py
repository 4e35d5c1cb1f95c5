"""Field types of `model_wish`, which loads them late."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from elastic_inference.domain.fields import Name
from elastic_inference.domain.model_wish import MAX_MESSAGE

WishId = Annotated[str, Field(pattern=r"^[0-9a-f]{16}$", description="Names this request.")]
Message = Annotated[str, Field(max_length=MAX_MESSAGE, description="The reason as a sentence.")]
ModelName = Annotated[
    Name,
    Field(description="As in INFER_MODEL_NAME: a model in the pods' models folder, such as yolox-nano_FP32."),
]
TimeFactor = Annotated[
    float,
    Field(
        strict=True,
        gt=0,
        le=100,
        description="The model fails if a frame takes more than this many times the CPU time of the running model.",
    ),
]
MinAgreement = Annotated[
    float, Field(strict=True, ge=0, le=1, description="The model fails if its agreement with the running one is lower.")
]
Share = Annotated[float, Field(strict=True, gt=0, le=1, description="Which share of the frames the canary infers too.")]
