"""What every entry point does: read settings, set up logging, serve health, run, drain.

Called by the `main` of each service. Knows no service.
"""

from __future__ import annotations

import logging
import os
import sys
import warnings
from collections.abc import Callable
from typing import TypeVar

from prometheus_client import CollectorRegistry, GCCollector, PlatformCollector, ProcessCollector

from elastic_inference import __version__, config
from elastic_inference.errors import ElasticInferenceError, SettingError
from elastic_inference.lifecycle import HealthServer, Lifecycle
from elastic_inference.log import set_up_logging

EXIT_SETTING = 2
S = TypeVar("S", bound=config.CommonSettings)


def run_service(settings_class: type[S], run: Callable[[S, Lifecycle, CollectorRegistry], None]) -> int:
    """Runs a service until it is told to stop; the process's exit code.

    `run` gets the checked settings, the lifecycle (signal handlers are installed) and a fresh metrics registry; it
    returns once it has drained. An ElasticInferenceError ends the service with one line on standard error: code 2
    for a setting, 1 otherwise. Other exceptions are bugs and show their traceback.
    """
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            settings = config.load(settings_class, os.environ)
        set_up_logging(settings.log_level, settings.log_format)
        log = logging.getLogger(f"ei.{settings_class.service.replace(' ', '-')}")
        for warning in caught:
            log.warning("%s", warning.message)
        lifecycle = Lifecycle(settings_class.service)
        lifecycle.install_signal_handlers()
        registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        PlatformCollector(registry=registry)
        GCCollector(registry=registry)
        try:
            health = HealthServer(lifecycle, registry, settings.metrics_port)
        except OSError as error:
            raise SettingError("METRICS_PORT", settings.metrics_port, f"expected a free port ({error})") from None
        log.info("%s %s", settings_class.service, __version__)
        health.start()
        try:
            run(settings, lifecycle, registry)
        finally:
            lifecycle.stop()
            health.close()
        log.info("%s: ended", settings_class.service)
        return 0
    except ElasticInferenceError as error:
        print(f"error: {error}", file=sys.stderr)
        return EXIT_SETTING if isinstance(error, SettingError) else 1
