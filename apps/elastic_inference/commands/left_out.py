"""Parts of libraries that no service uses, and that are therefore not loaded at start.

Libraries import some modules only to offer their names. While such a library is imported, stand-ins take the place of
these modules. Afterwards they are gone: who imports one of the modules then gets the real one.
"""

from __future__ import annotations

import importlib
import os
import sys
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any, NoReturn

# Library, and its modules that are not loaded: Redis' own cluster client and its notifications (`redis_cluster` does
# what we need), Sentinel (`redis_connection` loads it for URLs that need it), and what pushes, compresses and serves
# metrics (`lifecycle` serves them).
LEFT_OUT = (
    (
        "redis",
        (
            "redis.cluster",
            "redis.asyncio.cluster",
            "redis.keyspace_notifications",
            "redis.asyncio.keyspace_notifications",
            "redis.sentinel",
            "redis.asyncio.sentinel",
        ),
    ),
    ("prometheus_client", ("gzip", "urllib.error", "urllib.request", "wsgiref.simple_server")),
)
# The same for single services: Tornado's log files, child processes, translations and templates; types of numpy.
LEFT_OUT_OF = {
    "inference.inference_service": (("numpy", ("numpy._typing",)),),
    "gateway.gateway_service": (
        ("tornado.httpserver", ("curses", "logging.handlers", "tornado.process")),
        ("tornado.web", ("tornado.locale", "tornado.template")),
    ),
}
# Nothing awaits in these services. redis-py imports its part for asyncio always, and asyncio for it.
THREADED = ("inference.inference_service", "produce.file_service")
ASYNCIO = ("asyncio", "redis.asyncio", "redis.asyncio.observability.recorder")
# These contain only numpy's help texts, and take a fifth of its import time.
NUMPY_TEXTS = ("numpy._core._add_newdocs", "numpy._core._add_newdocs_scalars")
PLUGINS = "pydantic.plugin._loader"
# Loaded at first use: the versions of packages, and what `http.server` needs to send files and pages of errors.
AT_FIRST_USE = ("importlib.metadata", "html", "mimetypes", "shutil")


def leave_out(service: str = "") -> None:
    """Imports the libraries of LEFT_OUT without these modules, and prepares for a faster import of others.

    `service` is its module in `elastic_inference.flows`.
    """
    # Our matrices are small. By default, numpy and OpenCV each start a thread of OpenBLAS for every processor.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    for name in NUMPY_TEXTS:
        sys.modules.setdefault(name, ModuleType(name))
    if PLUGINS not in sys.modules:
        # Otherwise pydantic reads the metadata of every installed package to find its plugins.
        os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
        loader: Any = ModuleType(PLUGINS)
        loader.get_plugins = tuple
        sys.modules[PLUGINS] = loader
    for name in AT_FIRST_USE:
        _load_at_first_use(name)
    for library, modules in (*LEFT_OUT, *LEFT_OUT_OF.get(service, ())):
        with _absent((*modules, *(ASYNCIO if library == "redis" and service in THREADED else ()))):
            importlib.import_module(library)


@contextmanager
def _absent(modules: Iterable[str]) -> Iterator[None]:
    stand_ins = {name: _StandIn(name) for name in modules if name not in sys.modules}
    sys.modules.update(stand_ins)
    try:
        yield
    finally:
        for name, stand_in in stand_ins.items():
            if sys.modules.get(name) is stand_in:
                del sys.modules[name]


class _StandIn(ModuleType):
    """A module that has any name. Each is a class that cannot be used."""

    def __getattr__(self, name: str) -> type:
        if name.startswith("__"):
            raise AttributeError(name)

        def refuse(cls: type, *_args: object, **_more: object) -> NoReturn:
            raise ImportError(f"{self.__name__}.{name} was left out at start: import it from its own module")

        # A type may have parameters: numpy's `NDArray[Any]`.
        return type(name, (), {"__new__": refuse, "__class_getitem__": classmethod(lambda cls, _: cls)})


_first_use = threading.Lock()


class _Late(ModuleType):
    """Loads the module of its name when somebody asks for one of its names."""

    def __getattr__(self, name: str) -> Any:
        # Who imports a part of a package asks for its path.
        if name.startswith("__") and name != "__path__":
            raise AttributeError(name)
        with _first_use:
            if sys.modules.get(self.__name__) is self:
                del sys.modules[self.__name__]
        return getattr(importlib.import_module(self.__name__), name)


def _load_at_first_use(name: str) -> None:
    if name not in sys.modules:
        sys.modules[name] = late = _Late(name)
        parent, _, child = name.rpartition(".")
        if parent:
            setattr(importlib.import_module(parent), child, late)
