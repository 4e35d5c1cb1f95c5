"""Entry point: see `elastic_inference.gateway.service`."""

import sys

from elastic_inference.gateway.service import main

if __name__ == "__main__":
    sys.exit(main())
