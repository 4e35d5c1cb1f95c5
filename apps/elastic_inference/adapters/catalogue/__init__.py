"""The catalogue of models and clips: what there is, where a model's files are, and how they get there.

Inference calls `find_model`; the download commands and the demo call `fetch_embedded` and `fetch_clips`. Knows nothing
of OpenVINO.
"""

from elastic_inference.adapters.catalogue.entries import Catalogue, load_catalogue
from elastic_inference.adapters.catalogue.find import ModelSpec, find_model

__all__ = ["Catalogue", "ModelSpec", "find_model", "load_catalogue"]
