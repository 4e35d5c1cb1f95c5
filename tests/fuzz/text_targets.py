"""Targets that read texts from outside: URLs of Redis and cameras, hosts, prefixes, and files beside models."""

from __future__ import annotations

import functools
import tempfile
import zipfile
from io import BytesIO
from pathlib import Path
from urllib.parse import quote

from hypothesis import strategies as st

from elastic_inference.adapters.catalogue.entries import Decoding, keys_of, load_side_file
from elastic_inference.adapters.catalogue.export_metadata import ExportMetadata, beside, from_mapping
from elastic_inference.adapters.redis_server_check import find_problem
from elastic_inference.base.forwarded import check_prefix
from elastic_inference.base.redis_url import REDIS_SCHEMES, parse_redis_url
from elastic_inference.base.url import check_host, check_url, hide_password, url_credentials
from elastic_inference.domain.errors import ModelError
from tests.fuzz.target import Reader, Target

_SECRET = "se cret@/#?:%"


def _redis_url(data: bytes) -> None:
    url = data.decode("utf-8", "replace")
    try:
        found = parse_redis_url(url)
    except ValueError as error:
        assert "expected" in str(error), f"does not say what is expected: {error}"
        raise
    assert found.scheme in REDIS_SCHEMES
    assert found.database >= 0
    assert found.is_socket or all(1 <= port <= 65535 for _, port in found.hosts)
    for address in found.addresses:
        check_host(address.rpartition(":")[0])
    # A short password may appear by chance: `0,` is a part of the other fields.
    assert not found.password or len(found.password) < 8 or found.password not in repr(found)


def _redis_seeds() -> list[bytes]:
    login = quote(_SECRET, safe="")
    return [
        f"redis://user:{login}@host:6379/3".encode(),
        b"rediss://[::1]:6380?db=2",
        b"unix:///run/redis.sock?db=1",
        b"redis+sentinel://a:1,b,[::1]:26379/main/2",
        b"redis+cluster://a,b:7000",
    ]


def _addresses(data: bytes) -> None:
    text = data.decode("utf-8", "replace")
    hide_password(text)
    url_credentials(text)
    hidden = hide_password(f"rtsp://user:{quote(_SECRET, safe='')}@host/{quote(text)}?x={quote(text, safe='')}")
    assert "cret" not in hidden.replace(quote(text), "")
    for check in (check_host, check_prefix, lambda each: check_url(each, "expected a URL")):
        try:
            check(text)
        except ValueError as error:
            assert "expected" in str(error), f"does not say what is expected: {error}"


@functools.cache
def folder() -> Path:
    """The folder for the files of these targets; the caller removes it."""
    return Path(tempfile.mkdtemp(prefix="ei-fuzz-"))


def _side_file(data: bytes) -> None:
    model = folder() / "model.onnx"
    side = model.with_name("model.onnx.yaml")
    side.write_bytes(data)
    found = load_side_file(side)
    if isinstance(found, Decoding):
        assert len(found.label_list) <= 20_000
        assert found.width_height is None or len(found.width_height) == 2
    else:
        _check_export(found)
    (folder() / "metadata.yaml").write_bytes(data)
    _check_export(beside(model))


def _side_seeds() -> list[bytes]:
    return [
        b"adapter: yolo\nlabels: [on, no, 1]\nthreshold: 0.4\nsize: [640, 480]\nmean: [1, 2, 3]\nscale: 255\n",
        b"labels: {0: person, 7: car}\ncolour: RGB\nlayout: NCHW\nconfiguration: {a: &x [1, 2], b: *x}\n",
        b"task: detect\nstride: 32\nimgsz: [640, 640]\nnames:\n  0: person\n  1: bicycle\nkpt_shape: [17, 3]\n",
        b"task: detect\nnames: &n [a, b]\nmore: *n\n",
    ]


def _side_inputs() -> st.SearchStrategy[bytes]:
    """YAML maps with the known keys and any values."""
    keys = [*keys_of(Decoding), "names", "task", "stride", "imgsz", "kpt_shape", "head", "<<", "&a x", "*a"]
    value = st.sampled_from(
        ["1", "-1", "on", "2024-99-99", "{0: a}", "{.inf: a}", "[640, 640]", "'[²,²]'", '"{1e999: 1}"', "&a [x]", "*a"]
    )
    line = st.tuples(st.sampled_from(keys), value | st.text(alphabet='a01.-[]{}:,&*!|>"#\n ', max_size=20))
    return st.lists(line, max_size=6).map(lambda lines: "\n".join(f"{k}: {v}" for k, v in lines).encode())


def _archive(data: bytes) -> None:
    model = folder() / "model.tflite"
    model.write_bytes(data)
    (folder() / "metadata.yaml").unlink(missing_ok=True)
    _check_export(beside(model))


def _archive_seeds() -> list[bytes]:
    seeds = []
    for name, text in (
        ("m.json", '{"task": "detect", "names": {"0": "a"}}'),
        ("m.txt", "{'names': ['a'], 'stride': 1}"),
    ):
        for method in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            file = BytesIO(b"TFL3 and weights")
            file.seek(0, 2)
            with zipfile.ZipFile(file, "a", method) as archive:
                archive.writestr(name, text)
            seeds.append(file.getvalue())
    return seeds


def _onnx_values(data: bytes) -> None:
    """The metadata that OpenVINO reads from an ONNX file: texts by key."""
    lines = data.decode("utf-8", "replace").split("\n")
    keys = ("task", "names", "imgsz", "kpt_shape", "head", "description")
    _check_export(from_mapping(dict(zip(keys, lines, strict=False))))


def _onnx_seeds() -> list[bytes]:
    return [b"detect\n{0: 'person', 1: 'car'}\n[640, 640]\n[17, 3]\nDetect\nUltralytics", b"\n['a']\n(1, 2)\n"]


def _check_export(found: ExportMetadata) -> None:
    assert len(found.names) <= 20_000
    assert found.size is None or all(isinstance(side, int) for side in found.size)
    assert found.keypoints >= 0


def _server_info(data: bytes) -> None:
    reader = Reader(data)
    fields = ("redis_version", "maxmemory_policy", "maxmemory")
    lines: list[object] = list(reader.rest().decode("utf-8", "replace").split("\n"))
    if len(lines) > 2 and str(lines[2]).isascii() and str(lines[2]).isdigit() and len(str(lines[2])) < 20:
        lines[2] = int(str(lines[2]))
    find_problem(dict(zip(fields, lines, strict=False)))


TARGETS = (
    Target("Redis URLs", _redis_url, (ValueError,), _redis_seeds),
    Target("addresses", _addresses, (), lambda: [b"rtsp://u:p@h:554/x?y=1#z", b"host", b"[::1]", b"/ei"]),
    Target("side files of models", _side_file, (ModelError,), _side_seeds, _side_inputs),
    Target("metadata in TensorFlow Lite files", _archive, (ModelError,), _archive_seeds),
    Target("metadata in ONNX files", _onnx_values, (), _onnx_seeds),
    Target("INFO of Redis", _server_info, (), lambda: [b"7.2.4\nallkeys-lru\n100", b"6.2\nnoeviction\n0"]),
)
