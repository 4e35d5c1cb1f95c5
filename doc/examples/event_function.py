"""A function that takes events as CloudEvents, here who enters and leaves zones. It runs on Knative and the like.

Usage: pip install functions-framework
       functions-framework --source event_function.py --target on_event --port 8080
Sink:  {name: function, kind: webhook, url: "http://127.0.0.1:8080/"}

What raises an exception is answered with 500, and comes again: raise only what a later attempt can mend.
"""

import functions_framework
from cloudevents.http import CloudEvent

KEEP = 10_000
done: dict[tuple[str, str], None] = {}


@functions_framework.cloud_event
def on_event(event: CloudEvent) -> None:
    """Prints an event once, although it may come again. Other instances of the function know nothing of it."""
    key = (event["source"], event["id"])  # the id holds the revision
    if key in done or event["type"] not in ("elastic-inference.zone.begin", "elastic-inference.zone.end"):
        return
    verb = "enters" if event["type"].endswith("begin") else "leaves"
    print(f"{event.data['label']} {verb} {event.data['zone']} of {event.data['camera']}", flush=True)
    done[key] = None
    if len(done) > KEEP:
        del done[next(iter(done))]
