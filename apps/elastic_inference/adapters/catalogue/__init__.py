"""The catalogue of models and clips: which exist, where their files are, and how to download them.

Inference calls `find_model`; the download commands and the demo call `fetch_embedded` and `fetch_clips`. Does not use
OpenVINO.
"""

from elastic_inference.adapters.catalogue.entries import Catalogue, load_catalogue
from elastic_inference.adapters.catalogue.find import ModelSpec, find_model

__all__ = ["Catalogue", "ModelSpec", "find_model", "load_catalogue"]
