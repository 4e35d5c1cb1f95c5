"""tools/gen-k8s-yaml.sh: a mistake on the command line gets a one-line error."""

from __future__ import annotations

import shlex

import pytest

from tests.support.manifests import PROJECT, generate, run_script

# arguments  =>  part of the answer
MISTAKES = r"""
-r localhost:5000  =>  -f TEMPLATE is required
-f nothing.yaml.template  =>  there is no such file or folder
-f README.md  =>  expected a file that ends in .yaml.template
-f kubernetes/parts  =>  contains no *.yaml.template
-f kubernetes/sample-infer -g latest  =>  a tag that moves can't be rolled back
-f kubernetes/sample-infer -r http://x  =>  without http://
-f kubernetes/sample-infer --set NOPE=1  =>  --set NOPE=1: expected NAME=VALUE
-f kubernetes/sample-infer -P 10.0.0  =>  -P 10.0.0: expected a network
-f kubernetes/sample-infer -P 10.0.0.1  =>  -P 10.0.0.1: expected a network
-f kubernetes/sample-infer -g vvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvv  =>  expected at most 63
-f kubernetes/sample-infer -g 1.0-  =>  a letter or digit at both ends
-f x --set GATEWAY_REPLICAS=two  =>  --set GATEWAY_REPLICAS=two: expected a number
-f x --set GATEWAY_REPLICAS=  =>  --set GATEWAY_REPLICAS=: expected a number
-f x --set MIN_REPLICAS=0  =>  --set MIN_REPLICAS=0: expected 1 or more
-f x --set MIN_REPLICAS=20  =>  --set MIN_REPLICAS=20: expected at most MAX_REPLICAS, which is 10
-f x --set MAX_REPLICAS=0  =>  expected at most MAX_REPLICAS, which is 0
-f x --set RATIO_TARGET=abc  =>  --set RATIO_TARGET=abc: expected a number above 0
-f x --set RATIO_TARGET=0  =>  --set RATIO_TARGET=0: expected a number above 0
-f x --set RATIO_TARGET=80%  =>  --set RATIO_TARGET=80%: expected a number above 0
-f x --set PROMETHEUS_URL=prom:9090  =>  --set PROMETHEUS_URL=prom:9090: expected http://
-f x --set PROMETHEUS_URL=http://p:99999  =>  --set PROMETHEUS_URL=http://p:99999: expected http://
-f x --set ALERTMANAGER=http://a:9093  =>  --set ALERTMANAGER=http://a:9093: expected host:port
-f x --set NODE_SELECTOR=gpu  =>  --set NODE_SELECTOR=gpu: expected LABEL=VALUE
-f kubernetes/sample-infer -d TPU  =>  -d TPU: expected CPU, GPU
-f kubernetes/sample-infer --models /nowhere  =>  /nowhere is missing
-t people  =>  -t needs -m MODEL
-t a,b -m x_FP32  =>  -m MODEL needs one type
-t Fork_Lift -m x_FP32  =>  -t Fork_Lift: expected
-t x -m ./mine.xml  =>  is a file of this machine
-t x -m models/mine.xml  =>  -m models/mine.xml: expected
-t x -m 'a"b'  =>  expected a name of the catalogue
-n gate -t people  =>  go together
-n gate -c '/dev/video"0' -t people  =>  expected /dev/videoN
-n gate -c 0 -t people --camera-port 1  =>  --camera-port is for -n NAME -c SECRET
-n gate -c url -t people --camera-cidr x  =>  --camera-cidr x: expected a network
-n gate -c url -t people --camera-port 0  =>  --camera-port 0: expected a port
-n gate -c rtsp://x/1 -t people --camera-port 554  =>  --set CAMERA_NETWORKS
-f x --set CAMERA_NETWORKS=10.0.0.1  =>  expected a network such as
-f x --set SINK_NETWORKS=mqtt.example  =>  --set SINK_NETWORKS mqtt.example: expected a network such as
-f x --camera-port 554  =>  --camera-port is for -n NAME -c SECRET
-n gate -c ftp://x -t people  =>  -c: expected rtsp://host/path
-n gate -c rtsp://x/1  =>  needs the types
-n 'Gate 1' -c rtsp://x/1 -t people  =>  -n Gate 1: expected
-f x --redis-url redis://u:p@h:1/0  =>  without a password
-f x --redis-url redis://h:abc/0  =>  --redis-url redis://h:abc/0: expected
-f x --redis-url redis://h:70000/0  =>  redis://h:70000/0: expected host:port
-f x --redis-url redis://h:1/0 --redis-ports 1,x  =>  the port x of a Redis
-f x --broker-url redis+ring://a:1  =>  --broker-url redis+ring://a:1: expected
-f x --broker-url redis://u:p@h:1/0  =>  without a password
"""


@pytest.mark.parametrize("case", MISTAKES.strip().splitlines())
def test_a_mistake_is_answered_in_one_line(case: str) -> None:
    typed, _, message = case.partition("  =>  ")
    arguments = [
        str(PROJECT / each) if each.startswith(("kubernetes/", "README")) else each for each in shlex.split(typed)
    ]
    registry = [] if "-r" in arguments else ["-r", "localhost:5000"]
    said = generate(*registry, *arguments, expect=2)
    assert message in said
    assert len(said.strip().splitlines()) == 1


def test_the_registry_is_required_and_help_shows_every_option() -> None:
    assert "-r REGISTRY is required" in run_script("-f", "x", expect=2)
    text = run_script("-h")
    options = (
        "-f -r -g -o -t -m -n -c -P -d --existing-secret --open-dashboard --broker-url --camera-cidr --camera-port"
    )
    for option in (*options.split(), "--camera-cidr", "--camera-port"):
        assert option in text
