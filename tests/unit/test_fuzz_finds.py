"""Inputs that led to an exception, or to an answer after minutes: found by `make test-fuzz`, or while writing it."""

from __future__ import annotations

import json
import math
import time
import zipfile
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from tests.support.event_workers import example_event
from tests.support.results import make_result

from elastic_inference.adapters.catalogue.entries import load_side_file
from elastic_inference.adapters.catalogue.export_metadata import beside, from_mapping, read_yaml
from elastic_inference.adapters.redis_server_check import find_problem
from elastic_inference.adapters.source.http_login import HttpLogin, challenges
from elastic_inference.adapters.source.jpeg_stream import JpegStream
from elastic_inference.adapters.stream_broker.publisher import _subscribers
from elastic_inference.adapters.stream_broker.records import parse_stream, parse_worker
from elastic_inference.adapters.stream_broker.tombstones import parse_tombstones
from elastic_inference.base.forwarded import parse_networks
from elastic_inference.base.redis_url import parse_redis_url
from elastic_inference.domain.errors import InvalidEventError, InvalidResultError, ModelError
from elastic_inference.domain.events.event import parse_event
from elastic_inference.domain.result import parse_result, result_json

# Each took from 20 s to some minutes, and takes milliseconds now.
LIMIT_S = 5.0
STREAM = {
    **{b"model": b"m", b"precision": b"INT8", b"device": b"CPU", b"pod": b"pod-1", b"width": b"640"},
    **{b"height": b"480", b"fps": b"15.00", b"latency_ms": b"12.50"},
}
WORKER = {
    **{b"infer_fps": b"10", b"drop_fps": b"0", b"scale_ratio": b"0.5", b"device": b"CPU"},
    **{b"model": b"m", b"precision": b"INT8"},
}


@pytest.mark.parametrize(
    "rest", ["a" * 60_000, 'x="' + '\\"' * 30_000], ids=["a name of 60 kB", "a quotation that is never closed"]
)
def test_a_long_login_challenge_takes_no_time(rest: str) -> None:
    started = time.monotonic()
    login = HttpLogin("user", "password")
    assert login.accept(["Digest " + rest]) is not None
    assert not login.stale(["Digest " + rest])
    assert time.monotonic() - started < LIMIT_S


def test_a_quotation_that_ends_with_the_header_hides_no_scheme_before_it() -> None:
    found = challenges(['Basic realm="a", Digest nonce="n\\', "Digest nonce=n, opaque="])
    assert [each.scheme for each in found] == ["basic", "digest", "digest"]
    assert found[2].fields == {"nonce": "n"}


def test_images_without_an_end_whose_last_bytes_look_like_a_boundary_take_no_time() -> None:
    stream = JpegStream(4 * 1024 * 1024)
    started = time.monotonic()
    for _ in range(100):
        stream.feed((b"\xff\xd8\xff\xda\x00\x02" + b"-" * 8000) * 10)
    assert stream.unfinished == 999
    assert time.monotonic() - started < LIMIT_S


@pytest.mark.parametrize(
    "head", [b"\r\n--cut\r\n", b"--cut\r\nContent-Type: image/jpeg\r\n\r\n", b"\n--c--\nX: --\n\n"]
)
def test_the_boundary_after_an_image_without_an_end_is_cut_off(head: bytes) -> None:
    image = b"\xff\xd8\xff\xda\x00\x02" + b"not a boundary"
    assert JpegStream(10_000).feed((image + head) * 2)[0] == image + b"\xff\xd9"


def test_a_header_without_an_image_is_not_an_image() -> None:
    stream = JpegStream(10_000)
    assert stream.feed(b"\xff\xd8\xff\xe0\x00\x02" * 1000) == []
    assert stream.unfinished > 990


@pytest.mark.parametrize(
    "text",
    ["taken: 2024-99-99", "0000-00-00", "[" * 700, "names: &a [*a, *a]\nstride: 1\n? {a: b}\n: 1", "\x00"],
    ids=["no such day", "no such year", "nested", "unhashable", "control character"],
)
def test_a_side_file_that_yaml_cannot_read_is_a_model_error(tmp_path: Path, text: str) -> None:
    file = tmp_path / "model.yaml"
    file.write_text(text)
    with pytest.raises(ModelError, match="can't be read"):
        load_side_file(file)


def test_a_merged_key_of_a_side_file_stays_as_yaml_reads_it(tmp_path: Path) -> None:
    file = tmp_path / "model.yaml"
    file.write_text("base: &b {labels: [cat]}\n<<: *b\n")
    assert read_yaml(file, "file")["labels"] == ["cat"]


def test_names_that_describe_a_flood_of_text_are_not_names(tmp_path: Path) -> None:
    file = tmp_path / "metadata.yaml"
    levels = "\n".join(f"l{n}: &l{n} [{', '.join([f'*l{n - 1}'] * 9)}]" for n in range(1, 10))
    file.write_text(f"l0: &l0 [x]\n{levels}\nnames: [*l9]\nimgsz: [*l9, 1]\ndescription: *l9\nstride: 1\n")
    found = beside(tmp_path / "model.onnx")
    assert (found.names, found.size, found.described) == (("",), None, "")


@pytest.mark.parametrize(
    "values",
    [{"names": "{1e999: 'a'}"}, {"names": "{[]: 1}"}, {"imgsz": '["²", "²"]'}, {"kpt_shape": ["9" * 5000, "1"]}],
    ids=["infinite", "unhashable", "no digit", "5000 digits"],
)
def test_an_exporters_odd_value_counts_as_missing(values: dict[str, Any]) -> None:
    found = from_mapping(values)
    assert (found.names, found.size, found.keypoints) == ((), None, 0)


def _archive(text: str = '{"task": "detect", "names": ["a"]}') -> bytearray:
    file = BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("m.json", text)
    return bytearray(file.getvalue())


def test_a_broken_archive_in_a_model_says_nothing(tmp_path: Path) -> None:
    model = tmp_path / "model.tflite"
    for at in range(len(_archive())):
        data = _archive()
        data[at] ^= 0xFF
        model.write_bytes(data)
        beside(model)
    for text in ("[" * 100_000, "x" * 5_000_000):
        model.write_bytes(_archive(text))
        assert not beside(model)


@pytest.mark.parametrize("url", ["redis://h/²", "redis://h/" + "1" * 5000, "redis://h/1000001"])
def test_a_database_that_is_not_a_number_is_refused_with_what_is_expected(url: str) -> None:
    with pytest.raises(ValueError, match="expected the number of a database") as caught:
        parse_redis_url(url)
    assert len(str(caught.value)) < 100
    assert parse_redis_url("redis://h/1000000").database == 1_000_000


def test_errors_about_long_values_are_short() -> None:
    with pytest.raises(ValueError, match="neither an address nor a network") as caught:
        parse_networks(["x" * 10_000])
    assert len(str(caught.value)) < 200
    for message in (b'{"v":"' + b"x" * 10_000 + b'"}', b"\xa2" * 10_000):
        with pytest.raises(InvalidResultError) as refused:
            parse_tombstones("gate-1:people:inferred", message)
        assert len(str(refused.value)) < 200
    document = json.loads(result_json(make_result())) | {"attributes": {"x" * 10_000: 1}}
    with pytest.raises(InvalidResultError) as invalid:
        parse_result(json.dumps(document))
    assert len(str(invalid.value)) < 400


def test_a_version_of_thousands_of_digits_is_not_a_version() -> None:
    find_problem({"redis_version": "9" * 5000 + ".2"})


def test_what_json_cannot_express_is_neither_a_stream_nor_a_pod() -> None:
    assert parse_stream("gate-1:people:inferred", STREAM, math.inf) is None
    assert parse_worker("people:pod-1", WORKER, math.inf) is None
    assert parse_stream("gate-1:people:inferred", STREAM | {b"width": b"0"}, 1.0) is None
    found = parse_stream("gate-1:people:inferred", STREAM | {b"latency_ms": b"-5"}, 1.0)
    assert found is not None
    assert found.latency_ms == 0


def test_subscribers_of_an_odd_reply_are_none() -> None:
    assert _subscribers([b"a", 1, b"b"]) == {"a": 1}
    assert _subscribers([[], 1, b"\xff", b"x"]) == {"\ufffd": 0}


@pytest.mark.parametrize(
    "change",
    [
        *({"began_ms": 6.77680361916768e19}, {"at_ms": 253402300800000.0}, {"at_ms": -1e20}, {"ended_ms": 1e300}),
        *({"began_ms": math.inf}, {"at_ms": math.nan}, {"duration_s": math.inf}, {"box": [0, 0, 1, math.nan]}),
    ],
)
def test_an_event_whose_time_is_no_date_is_none(change: dict[str, Any]) -> None:
    """A sink with quiet hours, or a webhook, tried it again without end and delivered nothing that came after it."""
    document = {**json.loads(example_event()), **change}
    with pytest.raises(InvalidEventError):
        parse_event(json.dumps(document))
