"""The end, after all other tests of the cluster: deleting what was applied leaves nothing."""

from __future__ import annotations

import pytest

from tests.cluster.conftest import Installation
from tests.support.waiting import wait_for

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(2700)]


def test_deleting_what_was_applied_leaves_nothing(installed: Installation) -> None:
    kubectl = installed.kubectl
    installed.remove(*installed.applied)
    kinds = "all,configmaps,secrets,serviceaccounts,networkpolicies,poddisruptionbudgets,ingresses,hpa,pvc"
    kinds += ",roles,rolebindings"

    def left() -> list[str]:
        names = [f"{each['kind']}/{each['metadata']['name']}" for each in kubectl.get(kinds)["items"]]
        return [each for each in names if each not in ("ConfigMap/kube-root-ca.crt", "ServiceAccount/default")]

    wait_for(lambda: not left(), 90, f"nothing to be left of {left()}", every_s=1)
