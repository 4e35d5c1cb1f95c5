"""`ei-redis`: the embedded Valkey as a server for other machines, with the settings that the frame queue needs.

Called by `tools/run-redis.sh`. A cluster runs the official image, see the manifests.
"""

from __future__ import annotations

import argparse
import os
import secrets
import signal
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from elastic_inference.adapters.acl import OPTIONAL_USERS, USERS, render_acl
from elastic_inference.base import config
from elastic_inference.base.ports import QUEUE_PORT
from elastic_inference.base.redis_server import as_arguments, server_settings
from elastic_inference.commands.embedded_valkey import MALLOC_ENVIRONMENT, server_binary, version_arguments
from elastic_inference.domain.errors import ElasticInferenceError, SettingError


def read_passwords(path: Path) -> dict[str, str]:
    """The `user=password` lines of a file. If it is missing, it is written (mode 600) with random passwords.

    Raises SettingError for a file that can't be read or written, or lacks a user.
    """
    try:
        if not path.exists():
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(descriptor, "w") as file:
                file.writelines(f"{user}={secrets.token_urlsafe(24)}\n" for user in USERS)
        lines = path.read_text().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise SettingError("-u", str(path), f"expected a readable file of user=password lines ({error})") from None
    found = dict(line.split("=", 1) for line in lines if "=" in line and not line.startswith("#"))
    missing = [user for user in USERS if not found.get(user)]
    for user in missing:
        if user not in OPTIONAL_USERS:
            raise SettingError("-u", str(path), f"expected a line {user}=<password> in it")
        print(f"{path} has no line {user}=<password>: the user {user} is off", file=sys.stderr)
    return {user: found[user] for user in USERS if user not in missing}


def main(arguments: Sequence[str] | None = None) -> int:
    """Becomes the server. With `--print-settings` it prints the server's arguments instead. Returns the exit code."""
    parser = argparse.ArgumentParser(
        "ei-redis",
        description="The Redis server of the frame queue and the stream broker. MAX_FRAME_BYTES in the environment is "
        "the size of the largest frame (4 MiB).",
    )
    parser.add_argument("-p", "--port", type=int, default=QUEUE_PORT, help="TCP port (%(default)s)")
    parser.add_argument("-b", "--bind", help="addresses to listen on (127.0.0.1; with users: all)")
    parser.add_argument("-m", "--memory-mb", type=int, default=512, help="maximum memory, MB (%(default)s)")
    parser.add_argument("-a", "--acl-file", type=Path, help="lock the server with the users of this ACL file")
    parser.add_argument(
        "-u",
        "--users",
        type=Path,
        help="lock it with the package's users; FILE holds their passwords, and is written if missing",
    )
    parser.add_argument("--print-settings", action="store_true", help="print the server's arguments, one per line")
    options = parser.parse_args(arguments)
    try:
        if not 1 <= options.port <= 65535:
            raise SettingError("-p", options.port, "expected a port, 1 to 65535")
        if options.memory_mb < 16:
            raise SettingError("-m", options.memory_mb, "expected at least 16")
        if options.acl_file and options.users:
            raise SettingError("-a", str(options.acl_file), "expected either -a or -u")
        if options.acl_file and not options.acl_file.is_file():
            raise SettingError("-a", str(options.acl_file), "expected an ACL file")
        acl_file = str(options.acl_file.resolve()) if options.acl_file else None
        if options.users:
            acl_file = _write_acl(options.users)
        bind = options.bind or ("*,-::*" if acl_file else "127.0.0.1")
        max_frame_bytes = config.read(config.QueueRules, os.environ).max_frame_bytes
        settings = [
            *("--port", str(options.port), "--bind", *bind.split(","), "--protected-mode", "no"),
            *as_arguments(server_settings(f"{options.memory_mb}mb", max_frame_bytes)),
            *(("--aclfile", acl_file) if acl_file else ()),
        ]
        if options.print_settings:
            print("\n".join(settings))
            return 0
        command = [server_binary(), *settings, *version_arguments()]
    except ElasticInferenceError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    folder = tempfile.mkdtemp(prefix="ei-redis-")
    os.chdir(folder)
    os.rmdir(folder)  # the server writes nothing, but must not run in the user's folder
    # The server handles the signals itself.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    os.execve(command[0], command, {**os.environ, **MALLOC_ENVIRONMENT})  # noqa: S606  our own binary
    return 0  # unreachable


def _write_acl(users: Path) -> str:
    path = users.resolve().with_suffix(".acl")
    try:
        path.write_text(render_acl(read_passwords(users)))
    except OSError as error:
        raise SettingError("-u", str(users), f"expected a writable folder ({error})") from None
    path.chmod(0o644)  # hashes only; a container's user must read it
    return str(path)


if __name__ == "__main__":
    sys.exit(main())
