"""What the autoscalers' templates are told of Redis and of CPU limits."""

import pytest

from elastic_inference.commands.manifests.autoscaling import cpu_target, keda_redis
from elastic_inference.commands.manifests.options import parse_arguments
from elastic_inference.commands.manifests.template import TemplateError

INSIDE = "redis://ei-redis-svc:6379/0"


def options(*arguments: str):  # type: ignore[no-untyped-def]
    return parse_arguments(["-r", "registry.example", "-f", "x", *arguments])


def test_keda_asks_the_clusters_redis_by_its_full_name() -> None:
    values = keda_redis(options("--set", "NAMESPACE=video"), INSIDE)
    assert values["KEDA_REDIS"] == "redis"
    assert values["KEDA_REDIS_ADDRESS"] == "ei-redis-svc.video.svc:6379"
    assert (values["KEDA_DATABASE"], values["KEDA_TLS"]) == ("0", "")


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("rediss://r.example/3", {"KEDA_REDIS_ADDRESS": "r.example:6379", "KEDA_DATABASE": "3", "KEDA_TLS": "yes"}),
        (
            "redis+sentinel://a:26379,b:26379/main/1",
            {
                "KEDA_REDIS": "redis-sentinel",
                "KEDA_ADDRESS_KEY": "addresses",
                "KEDA_REDIS_ADDRESS": "a:26379,b:26379",
                "KEDA_SENTINEL_MASTER": "main",
                "KEDA_DATABASE": "1",
            },
        ),
        ("redis+sentinel://a,[fd00::1]/main", {"KEDA_REDIS_ADDRESS": "a:26379,[fd00::1]:26379"}),
        ("redis+cluster://a:7000,b:7000", {"KEDA_REDIS": "redis-cluster", "KEDA_DATABASE": ""}),
    ],
)
def test_keda_knows_every_kind_of_external_redis(url: str, expected: dict[str, str]) -> None:
    values = keda_redis(options("--redis-url", url, "--broker-url", "redis://broker.example"), url)
    assert {key: values[key] for key in expected} == expected


def test_the_cpu_target_is_a_part_of_the_limit() -> None:
    assert (cpu_target("2"), cpu_target("500m")) == ("1400m", "350m")
    with pytest.raises(TemplateError, match="INFER_CPU_LIMIT=much"):
        cpu_target("much")
