"""The suite's services as real processes on free ports, for end-to-end tests and benchmarks."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import tempfile
import time
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from elastic_inference.commands.embedded_valkey import EmbeddedValkey
from elastic_inference.domain import keys
from tests.support.ports import free_port
from tests.support.service_command import service_command
from tests.support.waiting import wait_for

REPOSITORY = Path(__file__).resolve().parents[2]
# Functions of `elastic_inference.commands.services`.
COMMANDS = {
    "infer": "inference",
    "websocket": "websocket",
    "gateway": "gateway",
    "housekeeping": "housekeeping",
    "events": "events",
    "file": "file",
    "camera": "camera",
    "controller": "camera_controller",
}
# Files of `apps/` in any build.
ENTRIES = {
    "infer": "infer_service.py",
    "file": "file_stream_service.py",
    "camera": "camera_stream_service.py",
    "websocket": "websocket_server.py",
    "gateway": "gateway_server.py",
}


def cpu_s(pid: int) -> float:
    """CPU time of a process so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class ServiceProcess:
    """One service as a child process; its log is in `log_path`, its metrics at `metrics_port`."""

    def __init__(
        self,
        kind: str,
        environ: Mapping[str, str],
        folder: Path,
        name: str,
        checkout: Path | None = None,
        *,
        cgroup: Path | None = None,
        constants: Mapping[str, float] | None = None,
    ) -> None:
        """`checkout` is another checkout, with its own `.venv`, whose build runs, for a service in ENTRIES.

        `cgroup`: a folder of cgroup v1 whose quota the process gets before it starts. `constants`: see
        `service_command`.
        """
        self.kind = kind
        self.name = name
        self.metrics_port = free_port()
        self.log_path = folder / f"{name}.log"
        self._environ = {
            **{key: value for key, value in os.environ.items() if not key.startswith(("QUEUE_", "BROKER_", "INFER_"))},
            "METRICS_PORT": str(self.metrics_port),
            "PYTHONUNBUFFERED": "1",
            **environ,
        }
        self.process: subprocess.Popen[bytes] | None = None
        self._command = service_command(COMMANDS[kind], constants)
        if checkout is not None and checkout != REPOSITORY:
            python, entry = checkout / ".venv" / "bin" / "python", checkout / "apps" / ENTRIES[kind]
            self._command = [str(python), str(entry)]
        if cgroup is not None:
            self._command = ["sh", "-c", f'echo $$ > "{cgroup}/cgroup.procs" && exec "$0" "$@"', *self._command]

    @property
    def pod(self) -> str:
        """Its name in Redis, if it is a pod."""
        assert self.process is not None
        return f"{keys.pod_name({}).rpartition('-')[0]}-{self.process.pid}"

    def start(self, environ: Mapping[str, str] | None = None) -> ServiceProcess:
        """Starts it, once with further settings if there are `environ`; `wait_ready` waits."""
        with self.log_path.open("ab") as log:
            self.process = subprocess.Popen(
                self._command,
                env={**self._environ, **(environ or {})},
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
            )
        return self

    def wait_ready(self, timeout_s: float = 120, every_s: float | None = None) -> ServiceProcess:
        """Waits until /readyz says yes; AssertionError with the log's end otherwise."""

        def ready() -> bool:
            assert self.process is not None
            assert self.process.poll() is None, (
                f"{self.name} ended with {self.process.returncode}: {self.log()[-2000:]}"
            )
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{self.metrics_port}/readyz", timeout=2) as answer:
                    return bool(answer.status == 200)
            except OSError:
                return False

        try:
            wait_for(ready, timeout_s, f"{self.name} to be ready", every_s)
        except AssertionError as error:
            raise AssertionError(f"{error}; its log ends: {self.log()[-2000:]}") from None
        return self

    def log(self) -> str:
        """What it has written so far."""
        return self.log_path.read_text(errors="replace") if self.log_path.exists() else ""

    def metrics(self) -> dict[str, float]:
        """Its samples: `name{label="value",…}` → value."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.metrics_port}/metrics", timeout=20) as answer:
            text = answer.read().decode()
        found = {}
        for line in text.splitlines():
            if line and not line.startswith("#"):
                key, _, value = line.rpartition(" ")
                found[key] = float(value)
        return found

    def ready(self) -> dict[str, Any]:
        """What /readyz says."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.metrics_port}/readyz", timeout=5) as answer:
                return dict(json.load(answer))
        except urllib.error.HTTPError as error:
            return dict(json.load(error))

    def metric(self, name: str) -> float:
        """The sum over all label values of one metric."""
        return sum(value for key, value in self.metrics().items() if key == name or key.startswith(name + "{"))

    def terminate(self, timeout_s: float = 20) -> int:
        """Sends SIGTERM and returns the exit code; raises TimeoutExpired if the service does not end in time."""
        self.begin_stop()
        return self.wait_end(timeout_s)

    def begin_stop(self) -> None:
        """Sends SIGTERM."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)

    def wait_end(self, timeout_s: float = 20) -> int:
        """Waits for the end and returns the exit code; raises TimeoutExpired if it does not come in time."""
        assert self.process is not None
        return self.process.wait(timeout_s)

    def kill(self) -> None:
        """Sends SIGKILL and waits."""
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait(10)

    def restart(self) -> ServiceProcess:
        """Kills it and starts it again with the same settings."""
        self.kill()
        return self.start()


class System:
    """A Valkey and the services that a test asks for; ends all of them at its end."""

    def __init__(self, valkey_options: tuple[str, ...] = (), valkey: EmbeddedValkey | None = None) -> None:
        self._temporary = tempfile.TemporaryDirectory(prefix="ei-system-")
        self.folder = Path(self._temporary.name)
        self.valkey = valkey or EmbeddedValkey(options=valkey_options)
        self.services: list[ServiceProcess] = []
        self.gateway_port = 0
        self.websocket_port = 0

    def __enter__(self) -> System:
        if self.valkey.pid is None:
            self.valkey.start()
        return self

    def __exit__(self, *_: object) -> None:
        for service in self.services:
            if service.process is not None and service.process.poll() is None:
                service.process.send_signal(signal.SIGTERM)
        deadline = time.monotonic() + 8
        for service in self.services:
            if service.process is not None:
                try:
                    service.process.wait(max(deadline - time.monotonic(), 0.1))
                except subprocess.TimeoutExpired:
                    service.kill()
        self.valkey.close()
        self._temporary.cleanup()

    @property
    def gateway_url(self) -> str:
        """`http://127.0.0.1:<port>` of the gateway."""
        return f"http://127.0.0.1:{self.gateway_port}"

    def service(self, kind: str, environ: Mapping[str, str] | None = None, name: str | None = None) -> ServiceProcess:
        """Starts one service that talks to this Valkey."""
        number = sum(1 for service in self.services if service.kind == kind)
        started = ServiceProcess(
            kind,
            {"QUEUE_URL": self.valkey.url, **(environ or {})},
            self.folder,
            name or f"{kind}-{number}",
        )
        self.services.append(started)
        return started.start()

    def infer(self, infer_type: str, environ: Mapping[str, str] | None = None) -> ServiceProcess:
        """An inference service."""
        return self.service("infer", {"INFER_TYPE": infer_type, **(environ or {})})

    def file(
        self, video: Path, infer_types: str, name: str, environ: Mapping[str, str] | None = None
    ) -> ServiceProcess:
        """A file stream service."""
        return self.service(
            "file", {"VIDEO_FILE": str(video), "INFER_TYPE": infer_types, "STREAM_NAME": name, **(environ or {})}
        )

    def source_worker(self, environ: Mapping[str, str] | None = None) -> ServiceProcess:
        """A camera stream service that runs cameras of the pool."""
        return self.service("camera", {"CAMERA_POOL": "true", **(environ or {})})

    def websocket_server(self, environ: Mapping[str, str] | None = None) -> ServiceProcess:
        """The websocket server."""
        self.websocket_port = self.websocket_port or free_port()
        return self.service(
            "websocket",
            {"WEBSOCKET_HOST": "127.0.0.1", "WEBSOCKET_PORT": str(self.websocket_port), **(environ or {})},
        )

    def gateway(self, environ: Mapping[str, str] | None = None) -> ServiceProcess:
        """The gateway, in front of the websocket server."""
        self.websocket_port = self.websocket_port or free_port()
        self.gateway_port = self.gateway_port or free_port()
        return self.service(
            "gateway",
            {
                "GATEWAY_HOST": "127.0.0.1",
                "GATEWAY_PORT": str(self.gateway_port),
                "WEBSOCKET_SERVER_URL": f"ws://127.0.0.1:{self.websocket_port}",
                **(environ or {}),
            },
        )

    def housekeeping(self) -> ServiceProcess:
        """Housekeeping."""
        return self.service("housekeeping")

    def get(self, path: str) -> Any:
        """The JSON answer of the gateway."""
        with urllib.request.urlopen(self.gateway_url + path, timeout=5) as answer:
            return json.load(answer)
