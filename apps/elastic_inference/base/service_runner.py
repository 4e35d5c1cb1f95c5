"""The steps of every entry point: read settings, set up logging, serve health, run, drain.

Called by the `main` of each service; does not depend on any of them.
"""

from __future__ import annotations

import logging
import os
import sys
import warnings
from collections.abc import Callable
from typing import TypeVar

from prometheus_client import CollectorRegistry, GCCollector, PlatformCollector, ProcessCollector

from elastic_inference import __version__
from elastic_inference.base import config
from elastic_inference.base.exit_codes import EXIT_FATAL, EXIT_SETTING
from elastic_inference.base.lifecycle import HealthServer, Lifecycle
from elastic_inference.base.log import count_tracebacks, one_line, set_up_logging
from elastic_inference.base.metrics import ServiceMetrics
from elastic_inference.base.pending_resize import resize_waits
from elastic_inference.domain.errors import ElasticInferenceError, ModelError, SettingError, SourceFatalError

log = logging.getLogger(__name__)
S = TypeVar("S", bound=config.CommonSettings)


def run_service(settings_class: type[S], run: Callable[[S, Lifecycle, CollectorRegistry], None]) -> int:
    """Runs a service until it is told to stop. Returns the process's exit code.

    `run` gets the checked settings, the lifecycle (signal handlers are installed) and a fresh metrics registry; it
    returns once it has drained. An ElasticInferenceError ends the service with one line on standard error and code
    EXIT_SETTING, EXIT_FATAL for a model or source, or 1. Other exceptions are bugs and show their traceback.
    """
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            settings = config.load(settings_class, os.environ)
        set_up_logging(settings.log_level, settings.log_format)
        for warning in caught:
            log.warning("%s", warning.message)
        lifecycle = Lifecycle(settings_class.service)
        lifecycle.install_signal_handlers()
        registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        PlatformCollector(registry=registry)
        GCCollector(registry=registry)
        metrics = ServiceMetrics(registry)
        metrics.resize_pending.set_function(resize_waits)
        count_tracebacks(metrics.unexpected_errors.inc)
        try:
            health = HealthServer(lifecycle, registry, settings.metrics_port, settings.metrics_host or "")
        except OSError as error:
            where = f" at the address {settings.metrics_host}" if settings.metrics_host else ""
            raise SettingError(
                "METRICS_PORT", settings.metrics_port, f"expected a free port{where} ({error})"
            ) from None
        log.info("%s %s", settings_class.service, __version__)
        health.start()
        try:
            run(settings, lifecycle, registry)
        finally:
            lifecycle.stop()
            health.close()
        if lifecycle.failure:
            raise ElasticInferenceError(lifecycle.failure)
        log.info("%s: ended", settings_class.service)
        return 0
    except ElasticInferenceError as error:
        print(f"error: {one_line(str(error))}", file=sys.stderr)
        if isinstance(error, SettingError):
            return EXIT_SETTING
        return EXIT_FATAL if isinstance(error, (ModelError, SourceFatalError)) else 1
    except Exception:
        log.critical("%s failed", settings_class.service, exc_info=True)
        return 1
