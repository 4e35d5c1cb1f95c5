"""Entry point: see `elastic_inference.produce.file_service`."""

import sys

from elastic_inference.produce.file_service import main

if __name__ == "__main__":
    sys.exit(main())
