"""The external push scaler on a real Redis, asked by Google's gRPC client: waking, values, outages, the end."""

from __future__ import annotations

import contextlib
import time
from pathlib import Path

import grpc
import pytest
import redis

from elastic_inference.commands.embedded_valkey import EmbeddedValkey
from tests.integration.scaler.conftest import SETTLE_S, Start, report
from tests.support.background import repeating
from tests.support.gateway import Pool
from tests.support.scaler import KedaClient, states
from tests.support.system import ServiceProcess, cpu_s
from tests.support.waiting import busy, wait_for


def settled(keda: KedaClient) -> float:
    """The value, once there is one: a Redis that has just started may miss pods."""

    wait_for(lambda: value_or_none(keda) is not None, 30, "a value")
    return keda.value()


def value_or_none(keda: KedaClient) -> float | None:
    with contextlib.suppress(grpc.RpcError):
        return keda.value()
    return None


def test_the_first_frame_is_pushed_within_a_second(keda: KedaClient, client: redis.Redis) -> None:
    said = states(keda.stream())
    assert next(said) is False, "the state is sent at once"
    camera = Pool(client)
    before = time.monotonic()
    camera.push()
    assert next(said) is True
    assert time.monotonic() - before < 1.0 * busy()
    # Nobody pops: the frame becomes too old, and the next one wakes again.
    assert next(said) is False
    camera.push()
    assert next(said) is True


def test_the_value_is_the_sum_of_the_ratios(keda: KedaClient, client: redis.Redis) -> None:
    assert settled(keda) == 0.0
    assert keda.is_active() is False
    report(client, "pod-1", 0.5)
    report(client, "pod-2", 0.75)
    report(client, "pod-3", 4.0, "face-int8")
    wait_for(lambda: keda.value() == 1.25, 5, "the sum")
    assert keda.value("face-int8") == 4.0
    assert keda.is_active() is True
    assert keda.is_active("car") is False
    assert keda.target(target="0.7") == {"ei_scale_ratio": 0.7}
    # Active by the ratio alone, since pods keep the queue empty.
    assert next(states(keda.stream())) is True


def test_replicas_answer_the_same(start: Start, client: redis.Redis) -> None:
    (_, first), (_, second) = start(), start()
    with (
        repeating(lambda: report(client, "pod-1", 0.5), 2),
        KedaClient(first) as one,
        KedaClient(second) as two,
    ):
        for each in (one, two):
            wait_for(lambda each=each: value_or_none(each) == 0.5, 30, "the value")
            assert (each.value(), each.is_active(), each.is_active("car")) == (0.5, True, False)
        streams = [states(each.stream("car")) for each in (one, two)]
        assert [next(said) for said in streams] == [False, False]
        Pool(client, kind="car").push()
        assert [next(said) for said in streams] == [True, True]


def test_an_outage_is_an_error_and_never_zero(start: Start, tmp_path: Path) -> None:
    server = EmbeddedValkey().start()
    try:
        # Long enough for what is asked before all pods count as registered again.
        service, port = start(server.url, {SETTLE_S: 5.0})
        with redis.Redis(port=server.port) as client, KedaClient(port) as keda:
            assert settled(keda) == 0
            report(client, "pod-1", 0.5)
            wait_for(lambda: keda.value() == 0.5, 5, "the ratio")
            said = states(keda.stream())
            assert next(said) is True
            server.kill()
            with pytest.raises(grpc.RpcError) as refused:
                keda.is_active()
            assert refused.value.code() is grpc.StatusCode.UNAVAILABLE
            wait_for(lambda: value_or_none(keda) is None, 20, "an error")  # for a second, the last reading holds
            server.start()
            # Not all pods have reported again: a value would be too small.
            report(client, "pod-2", 0.25)
            wait_for(lambda: service.ready()["ready"], 20, "the queue")
            with pytest.raises(grpc.RpcError) as refused:
                keda.value()
            assert refused.value.code() is grpc.StatusCode.UNAVAILABLE
            assert "have reported yet" in refused.value.details()
            # A frame that waits is known to wait.
            Pool(client).push()
            assert keda.is_active() is True
            assert next(said) is True, "the stream has outlived the outage"
            log = service.log()
            assert log.count("the scaler cannot") == 1, "once a minute"
            assert "Traceback" not in log
    finally:
        server.close()


def test_it_ends_in_order_and_its_streams_with_it(start: Start) -> None:
    service, port = start()
    with KedaClient(port) as keda:
        call = keda.stream()
        said = states(call)
        assert next(said) is False
        assert service.metric("ei_scaler_streams") == 1
        assert service.terminate() == 0
        assert list(said) == []
        assert call.code() is grpc.StatusCode.OK, "KEDA logs no error, and connects to another replica"
    assert "Traceback" not in service.log()


def test_without_the_setting_there_is_no_scaler_and_no_library_for_it(valkey: EmbeddedValkey, tmp_path: Path) -> None:
    service = ServiceProcess("housekeeping", {"QUEUE_URL": valkey.url}, tmp_path, "plain").start().wait_ready()
    try:
        assert not any(name.startswith("ei_scaler_") for name in service.metrics())
        assert service.process is not None
        assert "/h2/" not in Path(f"/proc/{service.process.pid}/maps").read_text()
    finally:
        service.kill()


def test_watching_costs_little(start: Start, client: redis.Redis) -> None:
    service, port = start()
    kinds = [f"kind-{number}" for number in range(10)]
    with KedaClient(port) as keda:
        said = [states(keda.stream(kind)) for kind in kinds]
        assert [next(each) for each in said] == [False] * len(kinds)
        assert service.process is not None
        before, began = cpu_s(service.process.pid), time.monotonic()
        time.sleep(4)  # a measurement, not a wait
        share = (cpu_s(service.process.pid) - before) / (time.monotonic() - began)
        # The figure is about 2 % for ten types; the limit leaves room for a busy machine.
        assert share < 0.08
