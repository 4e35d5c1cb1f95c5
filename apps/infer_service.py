"""Entry point: see `elastic_inference.inference.service`."""

import sys

from elastic_inference.inference.service import main

if __name__ == "__main__":
    sys.exit(main())
