"""Records of models in Redis: input from outside for each reader."""

from __future__ import annotations

import json

import pytest

from elastic_inference.domain.model_wish import (
    MAX_WISH_BYTES,
    CanaryChoice,
    Failure,
    Figures,
    ModelChoice,
    ModelFailure,
    ModelStage,
    ModelWish,
    PodModel,
    read_failure,
    read_pod_model,
    read_wish,
    record_json,
)

ID = "0123456789abcdef"


def test_records_are_read_as_they_were_written() -> None:
    canary = CanaryChoice(model="a_INT8", share=0.25)
    wish = ModelWish(id=ID, choice=ModelChoice(model="a_FP32"), former="b", canary_id=ID, canary=canary)
    assert read_wish(record_json(wish)) == wish
    failure = Failure(id=ID, reason=ModelFailure.SLOW, message="Slow.", pod="pod-1")
    assert read_failure(record_json(failure)) == failure
    state = PodModel(wish=ID, stage=ModelStage.COMPARING, canary="a_INT8", figures=Figures(frames=3, agreement=0.5))
    assert read_pod_model(record_json(state)) == state


@pytest.mark.parametrize(
    "change",
    [
        {"choice": {"model": "../../etc/passwd"}},
        {"choice": {"model": "/models/a"}},
        {"choice": {"model": "http://example.org/a.xml"}},
        {"choice": {"model": "a", "max_time_factor": 0}},
        {"choice": {"model": "a", "max_time_factor": 1e9}},
        {"choice": {"model": "a", "min_agreement": 2}},
        {"choice": {"model": "a", "min_agreement": False}},
        {"choice": {"model": "a", "max_time_factor": "2"}},
        {"canary": {"model": "a", "share": 0}},
        {"canary": {"model": "a", "share": 1.5}},
        {"canary": {"model": "a", "share": True}},
        {"id": "x"},
        {"former": ".."},
        {"more": 1},
    ],
)
def test_a_wish_with_a_wrong_field_is_none(change: dict[str, object]) -> None:
    good = {"id": ID, "choice": {"model": "a"}}
    assert read_wish(json.dumps(good).encode()) is not None
    assert read_wish(json.dumps(good | change).encode()) is None


@pytest.mark.parametrize("raw", [None, b"", b"{", b"[]", 5, b"[" * 4000, b" " * (MAX_WISH_BYTES + 1)])
def test_what_is_no_record_is_none(raw: object) -> None:
    assert read_wish(raw) is None
    assert read_failure(raw) is None
    assert read_pod_model(raw) is None
