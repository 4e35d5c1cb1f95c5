"""The machine of a benchmark: processor, cores, memory, versions, load. No names of hosts, users or folders."""

from __future__ import annotations

import os
import platform
import subprocess
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from elastic_inference.commands.embedded_valkey import server_binary

_PACKAGES = ("openvino", "opencv-python-headless", "simplejpeg", "numpy", "redis", "hiredis", "websockets", "tornado")


def describe() -> dict[str, Any]:
    """The machine now."""
    return {
        "when": time.strftime("%Y-%m-%d", time.gmtime()),
        "processor": _processor(),
        "vectors": _vectors(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gb": round(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 1e9, 1),
        "kernel": platform.release().partition("-")[0],
        "python": platform.python_version(),
        "valkey": _valkey(),
        "packages": {name: found for name in _PACKAGES if (found := _version(name))},
        "load_before": round(os.getloadavg()[0], 2),
        "stolen_percent": None,
    }


def stolen_s() -> tuple[float, float]:
    """(seconds that a hypervisor gave to others, all seconds), summed over the cores."""
    ticks = [int(each) for each in Path("/proc/stat").read_text().splitlines()[0].split()[1:9]]
    per_second = os.sysconf("SC_CLK_TCK")
    return ticks[7] / per_second, sum(ticks) / per_second


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _vectors() -> str:
    """The widest vector instructions, which inference depends on: its CPU time triples without AVX-512."""
    flags = next((line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("flags")), "")
    known = {"amx_tile": "AMX", "avx512_vnni": "AVX-512 with VNNI", "avx512f": "AVX-512", "avx2": "AVX2"}
    return next((name for flag, name in known.items() if flag in flags.split()), "")


def _valkey() -> str:
    words = subprocess.run([server_binary(), "--version"], check=True, capture_output=True, text=True).stdout.split()
    return next((word[2:] for word in words if word.startswith("v=")), " ".join(words))


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return ""
