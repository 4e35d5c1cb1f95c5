"""`catalogue.json`, written from `catalogue.yaml`: `python -m elastic_inference.adapters.catalogue.fast_file`."""

from __future__ import annotations

import json

from elastic_inference.adapters.catalogue.entries import CATALOGUE_FILE, load_catalogue
from elastic_inference.adapters.catalogue.export_metadata import read_yaml


def fast_text() -> str:
    """The text of `catalogue.json`. Raises ModelError if the YAML is invalid."""
    load_catalogue(CATALOGUE_FILE)
    return json.dumps(read_yaml(CATALOGUE_FILE, "model catalogue"), indent=1) + "\n"


if __name__ == "__main__":
    print(fast_text(), end="")
