"""Keeps compiled models on disk, so that a pod starts without reading, preparing and compiling its model.

Called by `engine`. OpenVINO's own cache (CACHE_DIR) needs the prepared model to find its entry, and reading a
TensorFlow Lite file takes half as long as compiling it. So a file here also contains what the adapter learned.

A file is valid for one model file (by its content), CPU, number of threads, version of OpenVINO and version of this
code: its name is a digest of all these. A digest also protects its content. Without a valid file, the model is
compiled.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from elastic_inference.adapters.catalogue.options import AdapterOptions
from elastic_inference.flows.inference.adapters import Adapter, PreparedModel, Resize, make_adapter

log = logging.getLogger(__name__)

SUFFIX = ".blob"
_MAGIC = b"ei-compiled-1\n"
_DIGEST_BYTES = 32
_LENGTH = struct.Struct("<I")
# Formats that consist of these files only. An ONNX file may refer to others.
_COMPLETE = {".xml": (".xml", ".bin"), ".tflite": (".tflite",)}
_SIMPLE = (bool, int, float, str, type(None))


@dataclass(frozen=True, slots=True)
class Restored:
    """The content of a file: the adapter, its model's preprocessing (without the model), and the compiled model."""

    family: str
    adapter: Adapter
    prepared: PreparedModel
    blob: bytes


class CompiledModels:
    """Compiled models in several folders; new files go into `writable`."""

    def __init__(self, folders: Sequence[Path], writable: Path | None, cpu: str) -> None:
        """`cpu` names the CPU and all of its features; see `cpu_name`."""
        self._folders, self._writable, self._cpu = folders, writable, cpu

    def name_of(
        self, path: Path, family: str | None, options: AdapterOptions, device: str, config: Mapping[str, Any]
    ) -> str | None:
        """The name of the file for this model; None if such a model is not kept.

        `config` is everything that decides how OpenVINO compiles it.
        """
        parts = _COMPLETE.get(path.suffix.lower())
        if device != "CPU" or parts is None or not self._cpu or not (self._folders or self._writable):
            return None
        digest = hashlib.sha256()
        facts = (_code(), self._cpu, path.suffix.lower(), family, options, sorted(config.items()))
        digest.update(repr(facts).encode())
        try:
            for suffix in parts:
                content = path.with_suffix(suffix).read_bytes()
                digest.update(_LENGTH.pack(len(content) & 0xFFFFFFFF))
                digest.update(content)
        except OSError:
            return None  # the error follows when the model is read
        return f"{path.stem}-{digest.hexdigest()[:32]}{SUFFIX}"

    def load(self, name: str, options: AdapterOptions) -> Restored | None:
        """The content of a file; None if there is none, or if it is broken."""
        for folder in self._folders:
            try:
                data = (folder / name).read_bytes()
            except OSError:
                continue
            try:
                return _unpack(data, options)
            except ValueError as error:
                log.warning("%s is broken, so the model is compiled: %s", folder / name, error)
            except Exception:  # another mistake in a file, too, must cost no more than a compilation
                log.exception("%s cannot be read, so the model is compiled", folder / name)
        return None

    def save(self, name: str, family: str, adapter: Adapter, prepared: PreparedModel, blob: bytes) -> None:
        """Keeps a compiled model for the next start, if there is a folder for it and the adapter allows it."""
        if self._writable is None:
            return
        target = self._writable / name
        part = target.with_name(f"{name}.{os.getpid()}.part")
        try:
            part.write_bytes(_pack(family, adapter, prepared, blob))
            part.replace(target)
        except TypeError as error:
            log.debug("%s is not kept compiled: %s", name, error)
        except OSError as error:
            with contextlib.suppress(OSError):
                part.unlink(missing_ok=True)
            log.warning("the compiled model cannot be kept in %s: %s", self._writable, error)

    @property
    def writes(self) -> bool:
        """Whether new ones are kept."""
        return self._writable is not None


@cache
def _code() -> str:
    """A digest of the code that prepares models and reads these files."""
    digest = hashlib.sha256()
    here = Path(__file__)
    for file in sorted([here, *(here.parent / "adapters").glob("*.py*")]):
        digest.update(file.read_bytes())
    return digest.hexdigest()


def cpu_name(cpuinfo: Path = Path("/proc/cpuinfo")) -> str:
    """The model of the first CPU and its features; '' if unknown, and then nothing is kept."""
    found = {}
    try:
        with cpuinfo.open(encoding="ascii", errors="replace") as lines:
            for line in lines:
                key, _, value = line.partition(":")
                if not key.strip():
                    break  # the end of the first CPU: listing a hundred takes long
                found[key.strip()] = value.strip()
    except OSError:
        return ""
    # x86 and Arm name them differently.
    features = found.get("flags") or found.get("Features")
    names = ("vendor_id", "cpu family", "model", "model name", "CPU implementer", "CPU part", "CPU variant")
    return repr(([found.get(name) for name in names], sorted(features.split()))) if features else ""


def _pack(family: str, adapter: Adapter, prepared: PreparedModel, blob: bytes) -> bytes:
    """Raises TypeError for an adapter with other state, such as another library's object."""
    fields = {name: getattr(prepared, name) for name in PreparedModel.__slots__ if name != "model"}
    state = {name: _plain(value) for name, value in vars(adapter).items() if name != "_options"}
    head = json.dumps({"family": family, "state": state, "prepared": {**fields, "resize": prepared.resize.value}})
    body = _LENGTH.pack(len(head.encode())) + head.encode() + blob
    return _MAGIC + hashlib.sha256(body).digest() + body


def _unpack(data: bytes, options: AdapterOptions) -> Restored:
    start = len(_MAGIC) + _DIGEST_BYTES
    view = memoryview(data)
    body = view[start:]
    if data[: len(_MAGIC)] != _MAGIC or hashlib.sha256(body).digest() != data[len(_MAGIC) : start]:
        raise ValueError("the digest differs")
    (length,) = _LENGTH.unpack_from(body)
    end = _LENGTH.size + length
    head = json.loads(bytes(body[_LENGTH.size : end]))
    fields = head["prepared"]
    fill = fields["fill"]
    fields |= {"resize": Resize(fields["resize"]), "fill": tuple(fill) if isinstance(fill, list) else fill}
    adapter = make_adapter(head["family"], options)
    vars(adapter).update({name: _value(plain) for name, plain in head["state"].items()})
    return Restored(head["family"], adapter, PreparedModel(model=None, **fields), bytes(body[end:]))


def _plain(value: Any) -> Any:
    """A value as JSON that keeps its type. Raises TypeError for a type that is not known here."""
    if type(value) in _SIMPLE:
        return value
    if isinstance(value, np.ndarray) and value.dtype.kind in "fiu":
        return {"array": value.tolist(), "type": value.dtype.str, "shape": value.shape}
    if type(value) in (list, tuple):
        return {type(value).__name__: [_plain(each) for each in value]}
    if type(value) is dict and all(type(key) is str for key in value):
        return {"dict": {key: _plain(each) for key, each in value.items()}}
    raise TypeError(f"a value of the type {type(value).__name__} cannot be kept")


def _value(plain: Any) -> Any:
    if not isinstance(plain, dict):
        return plain
    if "array" in plain:
        return np.array(plain["array"], plain["type"]).reshape(plain["shape"])
    if "dict" in plain:
        return {key: _value(each) for key, each in plain["dict"].items()}
    ((kind, values),) = plain.items()
    return {"list": list, "tuple": tuple}[kind](_value(each) for each in values)
