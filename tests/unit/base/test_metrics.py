"""Every metric is documented, and every documented one exists."""

from __future__ import annotations

import inspect
import re

from prometheus_client import CollectorRegistry
from tests.support.manifests import PROJECT

from elastic_inference.base import metrics, model_metrics

DOCUMENT = PROJECT / "doc" / "inference_metrics.md"
ARGUMENTS = {"infer_type": "people", "model": "m", "stream": "gate-1", "infer_types": ("people",)}


def exported() -> set[str]:
    """Names as a scrape shows them; a counter's ends in `_total`."""
    found = set()
    modules = (metrics, model_metrics)
    for name, group in (each for module in modules for each in inspect.getmembers(module, inspect.isclass)):
        if name.endswith("Metrics") and group.__module__ in {module.__name__ for module in modules}:
            registry = CollectorRegistry()
            wanted = set(inspect.signature(group).parameters) - {"registry", "into"}
            group(registry, **{key: ARGUMENTS[key] for key in wanted})
            found |= {each.name + "_total" * (each.type == "counter") for each in registry.collect()}
    return found


def test_the_document_lists_every_metric_and_no_other() -> None:
    documented = set(re.findall(r"^\| `(ei_\w+)`", DOCUMENT.read_text(), re.MULTILINE))
    assert exported() == documented
