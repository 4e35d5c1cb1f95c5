"""A real nginx in front of the gateway: a separate process on a free port, with the configuration of doc/proxy.md."""

from __future__ import annotations

import shutil
import socket
import subprocess
from pathlib import Path

from tests.conftest import REPOSITORY, missing_tool
from tests.support.ports import free_port
from tests.support.waiting import wait_for

DOCUMENT = REPOSITORY / "doc" / "proxy.md"
NODE_PORT = "http://127.0.0.1:31002"


def documented_configuration() -> str:
    """The nginx block of the document."""
    return DOCUMENT.read_text().partition("```nginx\n")[2].partition("```")[0]


class Nginx:
    """`with Nginx(...)`: serves the documented configuration in front of the gateway at `gateway_port`."""

    def __init__(
        self,
        folder: Path,
        gateway_port: int,
        *,
        tls: tuple[Path, Path] | None = None,
        changes: dict[str, str] | None = None,
    ) -> None:
        """`changes` are replacements in the configuration; each must occur in it."""
        self.binary = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin") or ""
        if not self.binary:
            missing_tool("nginx")
        self.port = free_port()
        self.folder = folder
        listen = f"127.0.0.1:{self.port}"
        tls_lines = f"ssl_certificate {tls[0]};\n    ssl_certificate_key {tls[1]};" if tls else ""
        site = documented_configuration()
        replaced = {
            "listen 443 ssl;": f"listen {listen}{' ssl' if tls else ''};",
            "ssl_certificate /etc/ssl/site.crt;\n    ssl_certificate_key /etc/ssl/site.key;": tls_lines,
            NODE_PORT: f"http://127.0.0.1:{gateway_port}",
            **(changes or {}),
        }
        for old, new in replaced.items():
            assert old in site, old
            site = site.replace(old, new)
        paths = "".join(
            f"{kind}_temp_path {folder}/{kind};\n" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        )
        (folder / "nginx.conf").write_text(
            f"daemon off;\nmaster_process off;\npid {folder}/nginx.pid;\nevents {{}}\n"
            f"http {{\naccess_log off;\n{paths}{site}\n}}\n"
        )
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Nginx:
        log = self.folder / "error.log"
        command = [self.binary, "-p", str(self.folder), "-c", str(self.folder / "nginx.conf"), "-e", str(log)]
        self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL)
        wait_for(self._answers, 10, "nginx")
        return self

    def _answers(self) -> bool:
        assert self._process
        assert self._process.poll() is None, (self.folder / "error.log").read_text()
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def __exit__(self, *_: object) -> None:
        assert self._process
        self._process.terminate()
        self._process.wait(10)
