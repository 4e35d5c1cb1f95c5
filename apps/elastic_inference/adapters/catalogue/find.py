"""Finds the configured model: by name, by path, or the default of the inference type.

Called once when inference starts, and by the demo. Looks only at the disk and opens no model.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from elastic_inference.adapters.catalogue.entries import (
    PRECISIONS,
    Catalogue,
    Decoding,
    FileEntry,
    load_catalogue,
    load_side_file,
    short_precision,
    split_name,
)
from elastic_inference.adapters.catalogue.export_metadata import ExportMetadata, beside
from elastic_inference.adapters.catalogue.model_files import SUFFIXES, check_files, check_suffix, models_in
from elastic_inference.adapters.catalogue.options import AdapterOptions
from elastic_inference.domain.errors import ModelError

DEFAULT_FOLDER = Path("models")


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """A model on disk. `path` is what OpenVINO reads: a file, or the folder of a SavedModel.

    `precision` is as results show it (`FP32`, `FP16`, `INT8`, or '' if unknown). `adapter` is None if the outputs'
    shapes decide it. `threshold` is the model's own minimum confidence, or None. `options` are for its adapter.
    `sources` are the catalogue's files, () for a custom model.
    """

    name: str
    precision: str
    path: Path
    options: AdapterOptions
    sources: tuple[FileEntry, ...]
    task: str = "detection"
    adapter: str | None = None
    threshold: float | None = None
    licence: str = ""


def find_model(name: str | None, path: Path | None, infer_type: str, catalogue: Catalogue | None = None) -> ModelSpec:
    """Finds the model of INFER_MODEL_NAME, INFER_MODEL_PATH and INFER_TYPE; without `path`, looks in `./models`.

    Raises ModelError, which says what is missing and what to do.
    """
    known = catalogue or load_catalogue()
    folder = path or DEFAULT_FOLDER
    if path is not None and not path.exists():
        raise ModelError(
            f"INFER_MODEL_PATH={path} is missing: expected a model file ({', '.join(SUFFIXES)}) or a folder."
        )
    if folder.is_file() or (folder / "saved_model.pb").is_file():
        return _own_model(folder, name, known)
    if name:
        return _named(name, folder, known)
    choices = known.defaults.get(infer_type)
    if choices is None:
        raise ModelError(
            f"INFER_TYPE={infer_type} has no default model (only {', '.join(known.defaults)} have one): set "
            f"INFER_MODEL_NAME or INFER_MODEL_PATH{_held(folder)}."
        )
    for choice in choices:
        found = _in_catalogue(choice, folder, known)
        if found is not None:
            return found
    raise ModelError(
        f"No model for INFER_TYPE={infer_type} is in {folder.resolve()}: expected one of {', '.join(choices)}. "
        f"Run tools/download-models.sh {choices[0]}, or set INFER_MODEL_PATH{_held(folder)}."
    )


def _held(folder: Path) -> str:
    """A hint at models of one's own that lie in the folder."""
    names = models_in(folder)
    return f"; the folder also has {', '.join(names)}, which INFER_MODEL_NAME selects" if names else ""


def find_in_folder(folder: Path, name: str, precision: str | None) -> tuple[Path, str | None] | None:
    """Returns (file, precision folder) of a model in a models folder, or None.

    Searches `<name>/<precision>/<name>.*`, the same under `intel` and `public` (Open Model Zoo's downloader),
    `<name>_<precision>/<name>.*`, `<name>_<precision>.*` and `<precision>/<name>.*`; without a precision, the first of
    FP32, FP16 and FP16-INT8 that exists, then `<name>/<name>.*` and `<name>.*`.
    """
    for wanted in (precision,) if precision else PRECISIONS:
        for stem in _stems(folder, name, wanted):
            file = _with_suffix(stem)
            if file is not None:
                return file, wanted
    if precision is None:
        for stem in (folder / name / name, folder / name):
            file = _with_suffix(stem)
            if file is not None:
                return file, None
    return None


def _stems(folder: Path, name: str, precision: str) -> Iterator[Path]:
    for form in dict.fromkeys((precision, short_precision(precision))):
        yield folder / name / form / name
        yield folder / "intel" / name / form / name
        yield folder / "public" / name / form / name
        yield folder / f"{name}_{form}" / name
        yield folder / f"{name}_{form}" / f"{name}_{form}"
        yield folder / f"{name}_{form}"
        yield folder / form / name


def _with_suffix(stem: Path) -> Path | None:
    for suffix in SUFFIXES:
        file = stem.with_name(stem.name + suffix)
        if file.is_file():
            return file
    return None


def _in_catalogue(choice: str, folder: Path, catalogue: Catalogue) -> ModelSpec | None:
    model, precision = split_name(choice)
    found = find_in_folder(folder, model, precision)
    if found is None:
        return None
    file, held = found
    entry = catalogue.models[model]
    return _spec(model, held, check_files(file), entry, entry.precisions.get(held or "", ()))


def _named(name: str, folder: Path, catalogue: Catalogue) -> ModelSpec:
    model, precision = split_name(name)
    if model in catalogue.models:
        spec = _in_catalogue(name, folder, catalogue)
        if spec is not None:
            return spec
        held = [key for key in catalogue.models[model].precisions if key == precision]
        if precision and not held:
            raise ModelError(
                f"INFER_MODEL_NAME={name}: the catalogue has {model} as "
                f"{', '.join(short_precision(key) for key in catalogue.models[model].precisions)} only."
            )
        raise ModelError(
            f"The model {name} is not in {folder.resolve()}: run tools/download-models.sh {name}, "
            "or set INFER_MODEL_PATH."
        )
    found = find_in_folder(folder, model, precision) or find_in_folder(folder, name, None)
    if found is not None:
        return _custom(model, found[1], check_files(found[0]))
    import difflib  # noqa: PLC0415  few starts need it

    close = difflib.get_close_matches(model, catalogue.models, n=3)
    hint = f"did you mean {' or '.join(close)}?" if close else "tools/download-models.sh --list names the catalogue's."
    raise ModelError(f"The model {name} is neither in the catalogue nor in {folder.resolve()}: {hint}")


def _own_model(path: Path, name: str | None, catalogue: Catalogue) -> ModelSpec:
    file = path / "saved_model.pb" if path.is_dir() else path
    check_suffix(file)
    path = file.parent if file.name == "saved_model.pb" else file
    stem = path.name if path.is_dir() else path.stem
    model, precision = split_name(name or stem)
    if precision is None and path.parent.name.upper() in PRECISIONS:
        precision = path.parent.name.upper()
    entry = catalogue.models.get(model)
    if entry is not None and _side_file(path) is None:
        return _spec(model, precision, check_files(path), entry, entry.precisions.get(precision or "", ()))
    return _custom(model, precision, check_files(path))


def _custom(name: str, precision: str | None, path: Path) -> ModelSpec:
    """A model outside the catalogue, with the information of its side file and its exporter."""
    found = _side_file(path)
    export = found if isinstance(found, ExportMetadata) else beside(path)
    if path.suffix.lower() == ".tflite":
        export = replace(export, normalised=True)
    decoding = found if isinstance(found, Decoding) else Decoding()
    spec = _spec(name, precision, path, decoding, ())
    return replace(spec, options=replace(spec.options, export=export))


def _side_file(path: Path) -> Decoding | ExportMetadata | None:
    """`<file>.yaml` beside the model: `my.onnx.yaml`, or `my.yaml`."""
    for file in (path.with_name(path.name + ".yaml"), path.with_suffix(".yaml")):
        if file.is_file():
            return load_side_file(file)
    return None


def _spec(
    name: str, precision: str | None, path: Path, decoding: Decoding, sources: tuple[FileEntry, ...]
) -> ModelSpec:
    return ModelSpec(
        name=name,
        precision=short_precision(precision),
        path=path,
        options=_options(decoding),
        task=decoding.task,
        adapter=decoding.adapter,
        threshold=decoding.threshold,
        licence=decoding.licence,
        sources=sources,
    )


def _options(decoding: Decoding) -> AdapterOptions:
    return AdapterOptions(
        labels=decoding.label_list,
        colour=decoding.colour.upper() if decoding.colour else None,
        mean=_numbers(decoding.mean),
        scale=_numbers(decoding.scale),
        size=decoding.width_height,
        layout=decoding.layout,
        overlap=decoding.overlap,
        wrapper=decoding.wrapper,
        configuration=decoding.configuration,
    )


def _numbers(value: tuple[float, ...] | float | None) -> tuple[float, ...] | None:
    return (value,) if isinstance(value, (int, float)) else value
