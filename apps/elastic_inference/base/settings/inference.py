"""Settings of the inference service."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from elastic_inference.base.settings.common import CommonSettings, QueueRules
from elastic_inference.base.settings.fields import INFER_TYPE_TEXT, HostPath, check_name
from elastic_inference.base.settings.setting import setting


@dataclass(frozen=True, kw_only=True)
class InferenceSettings(CommonSettings, QueueRules):
    """Settings of the inference service."""

    service = "inference"
    command = "ei-inference-service"
    infer_type: Annotated[str, check_name] = setting("people", description=INFER_TYPE_TEXT)
    infer_model_name: str | None = setting(
        None, description="model of the catalogue with its precision, such as face-detection-retail-0005_FP32"
    )
    infer_model_path: Annotated[Path | None, HostPath("model", "/own-models")] = setting(
        None, description="a model file, or the folder that contains the model INFER_MODEL_NAME"
    )
    infer_device: str = setting("CPU", description="OpenVINO device: CPU, GPU, NPU, AUTO, HETERO:GPU,CPU …")
    inference_precision: Literal["auto", "f32", "bf16", "f16"] = setting(
        "auto", description="precision in which the model runs; auto: f32 on CPUs, the device's own choice elsewhere"
    )
    model_cache_dir: Annotated[Path | None, HostPath("write")] = setting(
        None, description="a writable folder: compiled models are kept there, for a faster start"
    )
    model_compiled_dir: Annotated[Path | None, HostPath("read")] = setting(
        None, description="a folder of compiled models, for a start on a CPU like the one that compiled them"
    )
    confidence_threshold: float | None = setting(
        None, ge=0, le=1, description="minimum confidence of a detection (default: the model's own, or 0.5)"
    )
    results_maxlen: int = setting(10_000, ge=0, le=10_000_000, description="entries kept in results_<type>; 0 is off")
    recent_frames_mb: int = setting(
        32,
        ge=0,
        le=4096,
        description="memory for the frames of the last seconds, MiB, of which events get their images; used only while "
        "an event service runs, and never more than an eighth of the memory for images; 0 keeps none",
    )
