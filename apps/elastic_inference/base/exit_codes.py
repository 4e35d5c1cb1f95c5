"""Exit codes of the services. The demo does not restart a service that ended with one of FINAL_EXITS."""

from __future__ import annotations

EXIT_SETTING = 2
# A model or a source that cannot work as configured.
EXIT_FATAL = 3
FINAL_EXITS = (EXIT_SETTING, EXIT_FATAL)
