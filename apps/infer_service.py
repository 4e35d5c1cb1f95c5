"""Entry point: see `elastic_inference.flows.inference.inference_service`."""

import sys

from elastic_inference.commands.services import inference

if __name__ == "__main__":
    sys.exit(inference())
