"""Writes the manifests: which template goes where, with which values. Called by the command only."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from elastic_inference.commands.manifests import autoscaling, available, credentials
from elastic_inference.commands.manifests.names import LABEL
from elastic_inference.commands.manifests.options import Options
from elastic_inference.commands.manifests.settings import node_labels
from elastic_inference.commands.manifests.template import TemplateError, loops, render

SUFFIX = ".template"
CORE = "elastic-inference.yaml"


@dataclass(frozen=True)
class Written:
    """One file that was written."""

    path: Path
    holds_secrets: bool


class Generator:
    """Renders the templates of a project for one set of options."""

    def __init__(self, project: Path, options: Options) -> None:
        """`project` is the folder that holds `kubernetes/`. Raises TemplateError where it does not."""
        self.kubernetes = project / "kubernetes"
        if not self.kubernetes.is_dir():
            raise TemplateError(f"{self.kubernetes} is missing: expected the project's folder of templates")
        self._options = options
        models = Path(options.models) if options.models else _prepared(project / "build" / "models")
        if options.models == "all":
            models = None
        clips = Path(options.clips) if options.clips else _prepared(project / "build" / "videos")
        for folder in (models, clips):
            if folder is not None and not folder.is_dir():
                raise TemplateError(f"{folder} is missing: expected a folder")
        self.types, notes = available.choose_types(models)
        # a type of one's own, a camera and the Secret have nothing to do with the core's types
        self.notes = notes if options.template else []
        self._clips = clips
        self.users_acl = ""

    def run(self) -> list[Written]:
        """Writes what the options ask for. Raises TemplateError."""
        options = self._options
        if options.secret_only:
            target = self._target(self.kubernetes / "secret.yaml")
            core = self.kubernetes / CORE
            if credentials.read_kept(core):
                self.notes.append(f"the passwords are those of {core.relative_to(self.kubernetes.parent)}")
            return [self._write(target, "#@ include credentials.part\n", "secret", {})]
        if options.model:
            return self._own_type()
        if options.camera:
            return self._own_camera()
        source = Path(options.template)
        if source.is_dir():
            templates = sorted(source.glob(f"*{SUFFIX}"))
            if not templates:
                raise TemplateError(f"{source} holds no *.yaml{SUFFIX}")
            folder = Path(options.output) if options.output else source
            if folder.exists() and not folder.is_dir():
                raise TemplateError(f"-o {folder}: expected a folder, since {source} is one")
            return [written for each in templates for written in self._from_template(each, folder / each.stem)]
        if not source.is_file():
            raise TemplateError(f"-f {source}: there is no such file or folder")
        if source.suffix != SUFFIX:
            raise TemplateError(f"-f {source}: expected a file that ends in .yaml{SUFFIX}, or a folder of them")
        return self._from_template(source, self._target(source.with_suffix("")))

    def _target(self, usual: Path) -> Path:
        """Where one file goes: its usual place, the file of `-o`, or the usual name in the folder of `-o`."""
        given = self._options.output
        if not given:
            return usual
        return Path(given) / usual.name if given.endswith("/") or Path(given).is_dir() else Path(given)

    def _from_template(self, source: Path, target: Path) -> list[Written]:
        feeds = available.SAMPLES.get(source.name.partition(".")[0], ((), ()))[0]
        if source.parent.name == "sample-infer" and feeds and not set(feeds) & set(self.types):
            target.unlink(missing_ok=True)
            self.notes.append(f"{target.name} is left out: its types are")
            return []
        return [self._write(target, source.read_text(), str(source), {})]

    def _own_type(self) -> list[Written]:
        name, model = self._options.types[0], self._options.model
        by_path = "/" in model
        entry = {"TYPE": name, "MODEL_NAME": "" if by_path else model, "MODEL_PATH": model if by_path else ""}
        folder = Path(self._options.output) if self._options.output else self.kubernetes / "types" / name
        if folder.exists() and not folder.is_dir():
            raise TemplateError(f"-o {folder}: expected a folder")
        sample = "#@ include file-stream.part\n"
        clip = available.choose_clip(self._clips, ["bikes.mp4"])
        values = {"NAME": name, "STREAM": f"sample-{name}", "FEEDS": name, "VIDEO_FILE": f"/opt/ei/videos/{clip}"}
        lists = {"TYPES": [entry]}
        written = [
            self._write(
                folder / "deployment.yaml",
                "#@ for TYPE in TYPES\n#@ include inference.part\n#@ end\n",
                "deployment",
                lists,
            ),
            self._write(folder / "sample.yaml", sample, "sample", {}, values),
        ]
        if self._options.autoscaler != "none":
            source = self.kubernetes / "scale" / self._options.autoscaler
            text = self._loops_of(source)
            if not text:
                known = sorted(path.name for path in (self.kubernetes / "scale").glob("*/"))
                raise TemplateError(
                    f"-a {self._options.autoscaler}: expected one of {', '.join(known) or '(none there)'}, or none"
                )
            written.append(self._write(folder / "autoscaler.yaml", text, str(source), lists))
        if self._options.autoscaler == "keda":
            self.notes.append(
                "autoscaler.yaml needs the TriggerAuthentication ei-queue: apply kubernetes/scale/keda once"
            )
        return written

    def _loops_of(self, folder: Path) -> str:
        """What the templates of a folder, its sub-folders included, say once for each type."""
        found = []
        for source in sorted(folder.rglob(f"*{SUFFIX}")):
            body = loops(source.read_text(), str(source), "TYPES")
            if body:
                found.append(body)
        return "---\n".join(found)

    def _own_camera(self) -> list[Written]:
        camera = self._options.camera
        if camera is None:
            raise TemplateError("no camera was given")
        usb_group = "44" if camera.device else ""
        values = {
            "NAME": camera.name,
            "STREAM": camera.name,
            "FEEDS": ",".join(self._options.types),
            "CAMERA_URL": camera.url,
            "CAMERA_HASH": _slow_hash(camera.url, camera.name),
            "CAMERA_SECRET": "" if camera.device else camera.secret or f"ei-camera-{camera.name}",
            "CAMERA_ADDRESS": camera.address,
            "CAMERA_PORT": str(camera.port or 1),
            "CAMERA_ANY_PORT": "" if camera.port else "yes",
            "USB_DEVICE": camera.device,
            "SUPPLEMENTAL_GROUP": usb_group,
        }
        if camera.note:
            self.notes.append(camera.note)
        target = self._target(self.kubernetes / "camera" / f"{camera.name}.yaml")
        return [self._write(target, "#@ include camera.part\n", "camera", {}, values)]

    def _write(
        self,
        target: Path,
        template: str,
        name: str,
        lists: Mapping[str, Sequence[Mapping[str, str]]],
        further: Mapping[str, str] | None = None,
    ) -> Written:
        core = [{"TYPE": each, "MODEL_NAME": "", "MODEL_PATH": ""} for each in self.types]
        ports = [{"REDIS_PORT": each} for each in self._options.redis_ports]
        values = {**self._values(target), **(further or {})}
        selector = node_labels(self._options.settings["NODE_SELECTOR"])
        labels = [{"NODE_LABEL": name, "NODE_LABEL_VALUE": value} for name, value in selector]
        all_lists = {"TYPES": core, "EXTERNAL_REDIS_PORTS": ports, "NODE_LABELS": labels, **lists}
        text = render(template, name, values, all_lists, self._part)
        secret = "\nkind: Secret\n" in text
        _write_file(target, text, private=secret)
        return Written(target, secret)

    def _part(self, name: str) -> str:
        if name == "users.acl":
            return self.users_acl
        path = self.kubernetes / "parts" / name
        if not path.is_file():
            raise KeyError(name)
        return path.read_text()

    def _rendered(self, part: str, values: Mapping[str, str]) -> str:
        return render(self._part(part), part, values, {}, self._part)

    def _values(self, target: Path) -> dict[str, str]:
        options = self._options
        kept = credentials.read_kept(target)
        if options.secret_only:
            # other passwords than those of the installation would lock every pod out
            kept = {**kept, **credentials.read_kept(self.kubernetes / CORE)}
        kept = credentials.fresh(kept)
        self.users_acl = credentials.users_file(kept)
        scheme = "rediss" if options.redis_tls else "redis"
        values = {
            **options.settings,
            # a result is its frame and up to 1 MiB of JSON
            "MAX_MESSAGE_BYTES": str(int(options.settings["MAX_FRAME_BYTES"]) + 2**20),
            "REGISTRY": options.registry,
            "TAG": options.tag,
            "VERSION": options.tag,
            # an upgrade of the suite must leave Redis' pod as it is
            "REDIS_VERSION": _version(options.settings["REDIS_IMAGE"]),
            "SECRET": options.secret,
            "GATEWAY_USER": "viewer",
            "CREDENTIALS": "" if options.existing_secret else "yes",
            "WITH_PASSWORDS": "",
            "WITH_TOKEN": "" if options.open_dashboard else "yes",
            "TOKEN_POD": "",
            "DEVICE": options.device,
            "ACCELERATOR": options.accelerator,
            "QUEUE_URL": options.redis_url or f"{scheme}://ei-redis-svc:6379/0",
            "BROKER_URL": options.broker_url,
            "EXTERNAL_REDIS": "yes" if options.redis_url else "",
            "REDIS_TLS": options.redis_tls,
            "REDIS_CA": options.redis_ca,
            "POD_CIDR_4": next((cidr for cidr in options.pod_cidrs if ":" not in cidr), ""),
            "POD_CIDR_6": next((cidr for cidr in options.pod_cidrs if ":" in cidr), ""),
        }
        values.update(autoscaling.keda_redis(options, values["QUEUE_URL"]))
        values["OTHER_PROMETHEUS_PORT"] = autoscaling.other_prometheus_port(options.settings["PROMETHEUS_URL"])
        values["ALERTMANAGER_PORT"] = options.settings["ALERTMANAGER"].rpartition(":")[2]
        values["HPA_CPU_TARGET"] = autoscaling.cpu_target(options.settings["INFER_CPU_LIMIT"])
        for sample, (feeds, clips) in available.SAMPLES.items():
            served = [each for each in feeds if each in self.types]
            values[f"FEEDS_{sample.upper()}"] = ",".join(served)
            values[f"CLIP_{sample.upper()}"] = f"/opt/ei/videos/{available.choose_clip(self._clips, clips)}"
        for key, value in kept.items():
            values[key.upper().replace("-", "_")] = value
        # pods are replaced when what they read at start changes; a Secret of one's own is not known here
        values["SETTINGS_HASH"] = _hash([self._rendered("settings.part", values)])
        values["WORKER_HASH"] = _hash([kept["worker-password"]])
        values["VIEWER_HASH"] = _hash([kept["viewer-password"]])
        token = "" if options.open_dashboard else kept[credentials.TOKEN]
        values["GATEWAY_HASH"] = _hash([kept["viewer-password"], token])
        values["ADAPTER_HASH"] = _hash([self._part("monitoring/adapter-rules.part")])
        conf = self._rendered("valkey-conf.part", values)
        values["REDIS_HASH"] = _hash([conf, options.secret if options.existing_secret else self.users_acl])
        return values


def _prepared(folder: Path) -> Path | None:
    """What build.sh left in `folder`, empty with `-m none`; None where nothing was built on this machine."""
    return folder if folder.is_dir() else None


def _hash(parts: Sequence[str]) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]


def _slow_hash(text: str, salt: str) -> str:
    """For what may hold a password that people chose: who reads a pod's annotations must not be able to guess it."""
    return hashlib.pbkdf2_hmac("sha256", text.encode(), salt.encode(), 600_000).hex()[:8]


def _version(image: str) -> str:
    """The tag of an image where it fits into a label, else nothing."""
    tag = image.partition("@")[0].rpartition("/")[2].partition(":")[2]
    return tag if LABEL.fullmatch(tag) else ""


def _write_file(target: Path, text: str, private: bool) -> None:
    """Whole or not at all; readable by its owner only when it holds secrets."""
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = target.with_name(f".{target.name}.{os.getpid()}")
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600 if private else 0o644)
        with os.fdopen(descriptor, "w") as file:
            file.write(text)
        temporary.replace(target)
    except OSError as error:
        raise TemplateError(f"{target} can't be written: {error.strerror}") from None
