"""Names of streams, types and pods, and every Redis key and channel.

`doc/redis.md` says what each key holds and how long it lives. All queue keys of a type share one slot of a Redis
Cluster: `queue_<type>` hashes like `{queue_<type>}`.
"""

from __future__ import annotations

import os
import re
import socket
import zlib
from collections.abc import Mapping
from functools import lru_cache

NAME_LIMIT = 128
NAME_PATTERN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
NAME_RULE = "expected a letter or digit, then at most 127 letters, digits, '.', '_' or '-'"
_OTHER = re.compile(r"[^A-Za-z0-9._-]")

STREAMS = "streams"
WORKERS = "workers"
# The value of `size_wanted` while somebody watches the stream.
WATCHED_VALUE = "watched"


def is_name(text: str) -> bool:
    """Whether `text` may name a stream, an inference type or a pod."""
    return NAME_PATTERN.fullmatch(text) is not None


def clean_name(text: str) -> str | None:
    """Makes a producer's stream name safe: each character that is not allowed in a name becomes `_`.

    None if it is empty or longer than 128 characters, which makes the frame invalid. A name that would then start with
    `.`, `_` or `-` gets an `x` in front.
    """
    return _clean(text) if 0 < len(text) <= NAME_LIMIT else None


@lru_cache(maxsize=1024)
def _clean(text: str) -> str:
    """Caches only short texts: a pod cleans the same few names with each frame."""
    cleaned = _OTHER.sub("_", text)
    if cleaned[0] in "._-":
        cleaned = ("x" + cleaned)[:NAME_LIMIT]
    return cleaned


def stream_id(name: str, infer_type: str) -> str:
    """`<name>:<type>:inferred`, which is also the broker's channel and the websocket's path."""
    return f"{name}:{infer_type}:inferred"


_CANARY = ".canary"


def canary_type(kind: str) -> str | None:
    """The type under which the results of a type's canary are published; None if the name would be too long."""
    name = kind + _CANARY
    return name if is_name(name) else None


def is_canary_type(kind: str) -> bool:
    """Whether it is the type of a canary's results, which has neither pods nor a queue."""
    return kind.endswith(_CANARY)


def split_stream_id(text: str) -> tuple[str, str] | None:
    """(name, type) of a stream id, or None if `text` is not one."""
    parts = text.split(":")
    if len(parts) != 3 or parts[2] != "inferred" or not is_name(parts[0]) or not is_name(parts[1]):
        return None
    return parts[0], parts[1]


def pod_name(environ: Mapping[str, str] | None = None) -> str:
    """This process's name in keys: the host name, with `-<pid>` outside Kubernetes."""
    env = os.environ if environ is None else environ
    host = clean_name(socket.gethostname()[:100]) or "host"
    return host if env.get("KUBERNETES_SERVICE_HOST") else f"{host}-{os.getpid()}"


# In the queue's Redis.


def legacy_queue(infer_type: str) -> str:
    """List: frame messages of legacy producers."""
    return f"queue_{infer_type}"


def queue_prefix(infer_type: str) -> str:
    """Start of every other queue key of a type."""
    return f"{{queue_{infer_type}}}:"


def tokens(infer_type: str) -> str:
    """List: one token (a stream's name) per waiting frame."""
    return f"{{queue_{infer_type}}}:tokens"


def waiting(infer_type: str, name: str) -> str:
    """List: id and arrival time of each waiting frame of one stream."""
    return f"{{queue_{infer_type}}}:waiting:{name}"


def frame(infer_type: str, name: str, frame_id: str) -> str:
    """String: one frame message."""
    return f"{{queue_{infer_type}}}:frame:{name}:{frame_id}"


def taken(infer_type: str, pod: str, index: int) -> str:
    """String: a frame handed to a pod."""
    return f"{{queue_{infer_type}}}:taken:{pod}:{index}"


def order(infer_type: str, name: str) -> str:
    """Counter: numbers a stream's frames as they are popped."""
    return f"{{queue_{infer_type}}}:order:{name}"


def dropped(infer_type: str) -> str:
    """Hash: drops at the queue that no pod has claimed yet, by reason."""
    return f"{{queue_{infer_type}}}:dropped"


def flow(infer_type: str) -> str:
    """Hash: frames popped and drops claimed by all pods of the type. Only pods may write it."""
    return f"{{queue_{infer_type}}}:flow"


def legacy_account(infer_type: str) -> str:
    """Hash: counts of legacy frames that had arrived, by time; the janitor derives their age from it."""
    return f"{{queue_{infer_type}}}:plain"


def source(infer_type: str, name: str) -> str:
    """Hash: what the producer reports about its source."""
    return f"{{queue_{infer_type}}}:source:{name}"


def sources(infer_type: str) -> str:
    """Sorted set: a type's stream names by the time when their producer was last seen (ms)."""
    return f"{{queue_{infer_type}}}:sources"


def pods_mark(infer_type: str) -> str:
    """String: this type has or had a pod. Only pods may write it."""
    return f"{{queue_{infer_type}}}:pods"


def janitor_lock(infer_type: str) -> str:
    """String: the replica of housekeeping that runs the janitor of this type for one second."""
    return f"{{queue_{infer_type}}}:janitor"


# The camera pool, in the queue's Redis: all in one slot.
CAMERA_SPECS = "{cameras}:specs"  # hash: name -> JSON {"revision": n, "spec": CameraSpec.public()}
CAMERA_SECRETS = (
    "{cameras}:secrets"  # hash: name -> JSON {"user", "password", "url", "substream"}, as far as there are any
)
CAMERA_WANTED = "{cameras}:wanted"  # hash: name -> "<revision> <cost>" of each enabled camera
CAMERA_STATUS = "{cameras}:status"  # hash: name -> JSON CameraStatus
CAMERA_REQUESTS = "{cameras}:requests"  # list: JSON requests of the gateway for the owner of the cameras
CAMERA_PROBES = "{cameras}:probes"  # list: JSON requests of the gateway for any source worker
CAMERA_OWNER = "{cameras}:owner"  # string: the owner's lock: its name, a line end, why it can't change cameras


def camera_reply(request_id: str) -> str:
    """List: the answer to one request, of the owner or of a source worker."""
    return f"{{cameras}}:reply:{request_id}"


def leases(group: str) -> str:
    """Hash: which worker holds which item of a leased group, such as `cameras`."""
    return f"{{{group}}}:leases"


def wanted(group: str) -> str:
    """Hash: `<revision> <cost>` of each item of a group that should run, and `:known` once the list is complete."""
    return f"{{{group}}}:wanted"


def lease_workers(group: str) -> str:
    """Hash: the workers of a group, their load and when they were last seen."""
    return f"{{{group}}}:workers"


def push_epoch(infer_type: str, name: str) -> str:
    """String: `<epoch> <seq>` of the last frame that a leased camera pushed; older epochs are refused."""
    return f"{{queue_{infer_type}}}:epoch:{name}"


def size_wanted(infer_type: str, name: str) -> str:
    """String: somebody watches this stream and needs its frames at full size. Written by the websocket server."""
    return f"{{queue_{infer_type}}}:want:{name}"


def model_size(infer_type: str) -> str:
    """String: the size of frames that a type's models need, such as `300x300 stretch`. Only pods may write it."""
    return f"{{queue_{infer_type}}}:want"


# In the broker's Redis.


def stream_info(identifier: str) -> str:
    """Hash: model, size, rate and latency of a stream that is inferred."""
    return f"stream:{identifier}"


def worker_info(infer_type: str, pod: str) -> str:
    """Hash: rates and model of one inference pod."""
    return f"worker:{infer_type}:{pod}"


def pod_member(infer_type: str, pod: str) -> str:
    """A pod as a member of `workers`."""
    return f"{infer_type}:{pod}"


def watch(identifier: str) -> str:
    """String: exists while a websocket server has a viewer of this stream."""
    return f"watch:{identifier}"


def tombstones(identifier: str) -> str:
    """Channel: frames of this stream that have no result. The stream's own channel carries only results."""
    return f"tombstones:{identifier}"


def tracks(identifier: str) -> str:
    """Channel: tracks of this stream's newest frames, for the live view."""
    return f"tracks:{identifier}"


def results(infer_type: str) -> str:
    """Stream: every result of a type as JSON, without the image."""
    return f"results_{infer_type}"


def model_wish(infer_type: str) -> str:
    """String: JSON ModelWish, which model the pods of a type should run or try. Written by the gateway."""
    return f"models:wanted:{infer_type}"


def model_failures(infer_type: str) -> str:
    """Hash: JSON Failure of the wished model (`switch`) and of the canary (`canary`). Written by pods."""
    return f"models:failed:{infer_type}"


# The event service's, also in the broker's Redis. All keys of a partition share one slot.
EVENTS_ON = "events:on"  # string: how many partitions there are; exists while an event service runs


def partition_of(name: str, partitions: int) -> int:
    """The partition of a stream, from its name without the type, so that all types of a camera share one partition."""
    return zlib.crc32(name.encode()) % partitions


def partition_results(partition: int) -> str:
    """Stream: the newest results (field `json`) and tombstones (field `gone`) of a partition."""
    return f"results:{{{partition}}}"


def events(partition: int) -> str:
    """Stream, the outbox: a partition's events, each as JSON in the field `json`."""
    return f"events:{{{partition}}}"


def event_states(partition: int) -> str:
    """Hash: stream id -> what the next event worker needs to continue with this stream; and `camera_counts`."""
    return f"events:{{{partition}}}:state"


_COUNTS = "counts:"


def camera_counts(camera: str) -> str:
    """Field of `event_states`: JSON of what a camera's zones and lines have counted."""
    return _COUNTS + camera


def counted_camera(field: str) -> str | None:
    """The camera of such a field, or None if it is another one."""
    name = field.removeprefix(_COUNTS)
    return name if name != field and is_name(name) else None


def event_cursor(partition: int) -> str:
    """Hash: how far a partition's results have been read, and the epoch of the worker that may write."""
    return f"events:{{{partition}}}:cursor"


def event_sinks(partition: int) -> str:
    """Hash: sink -> id of the last event that it has acknowledged."""
    return f"events:{{{partition}}}:sinks"


def event_holders(partition: int) -> str:
    """Hash: sink -> epoch of the newest lease under which a worker has delivered to it."""
    return f"events:{{{partition}}}:holders"


# The sinks of events, in the broker's Redis: all in one slot but the dead letters.
SINK_GROUP = "sinks"  # the group of their leases
SINK_SPECS = "{sinks}:specs"  # hash: name -> JSON SinkSpec of the sinks that REST made, and `:known`
SINK_FILE = "{sinks}:file"  # string: JSON of the sinks in SINKS_FILE, and what is wrong with it; 30 s to live
SINK_STATES = "{sinks}:states"  # hash: name -> JSON SinkState, written by the worker that delivers to it
SINK_REQUESTS = "{sinks}:requests"  # list: JSON requests of the gateway for any event worker


def sink_reply(request_id: str) -> str:
    """String: the answer to one request."""
    return f"{{sinks}}:reply:{request_id}"


def dead_letters(sink: str) -> str:
    """Stream: events that this sink refused for good: `json`, `reason`, `at_ms`."""
    return f"dead:{sink}"


# Snapshots of events, in the broker's Redis: all in one slot.
SNAPSHOT_INDEX = "{snapshots}:index"  # sorted set: `<bytes> <image>` of the images that are kept, by time (ms)
SNAPSHOT_BYTES = "{snapshots}:bytes"  # string: how many bytes they have together


def snapshot_requests(pod: str) -> str:
    """List: the frames that event workers want from a pod."""
    return f"{{snapshots}}:requests:{pod}"


def snapshot_answers(worker: str) -> str:
    """List: what pods have answered to an event worker."""
    return f"{{snapshots}}:answers:{worker}"


def snapshot_image(image: str) -> str:
    """String: a JPEG; `image` is `<stream id>/<epoch>-<order>`."""
    return f"{{snapshots}}:image:{image}"


def snapshot_state(image: str) -> str:
    """String: `?` while an image is being fetched, else why there is none."""
    return f"{{snapshots}}:state:{image}"
