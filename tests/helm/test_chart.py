"""The chart as Helm renders it: every combination of ci/ by strict schemas, and what cannot work refused with its reason."""

import base64
from pathlib import Path
from typing import Any

import helm_python
import pytest
import yaml

from sfu import config
from tests.helm import generated
from tests.helm.chart import COMBINATIONS, find, objects, render, server, values
from tests.helm.generated import CHART
from tests.support.kubernetes import ALL, complaint

WORKLOADS = ("Deployment", "Pod")


@pytest.fixture(params=COMBINATIONS, ids=lambda path: path.stem)
def combination(request: pytest.FixtureRequest) -> list[dict[str, Any]]:
    path: Path = request.param
    return objects(values(path))


def pod_of(each: dict[str, Any]) -> dict[str, Any]:
    spec: dict[str, Any] = each["spec"] if each["kind"] == "Pod" else each["spec"]["template"]["spec"]
    return spec


def test_lint() -> None:
    report = helm_python.lint(CHART)
    assert report["errors"] == []
    assert [message["error"] for message in report["messages"]] == ["icon is recommended"]


def test_schema_and_readme_of_the_chart_are_up_to_date() -> None:
    stale = "run `python -m tests.helm.generated`"
    assert generated.SCHEMA.read_text(encoding="utf-8") == generated.schema(), stale
    assert generated.README.read_text(encoding="utf-8") == generated.readme(), stale


def test_every_object_passes_the_strict_schema(combination: list[dict[str, Any]]) -> None:
    for each in combination:
        assert each["kind"] in ALL[each["apiVersion"]].values()
        assert complaint(each) == ""


def test_the_strict_schema_is_strict(combination: list[dict[str, Any]]) -> None:
    deployment = find(combination, "Deployment")
    deployment["spec"]["template"]["spec"]["containers"][0]["redinessProbe"] = {}
    assert "redinessProbe" in complaint(deployment)


def test_pods_are_hardened(combination: list[dict[str, Any]]) -> None:
    for each in combination:
        if each["kind"] not in WORKLOADS:
            continue
        pod = pod_of(each)
        assert pod["automountServiceAccountToken"] is False
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        for container in pod["containers"] + pod.get("initContainers", []):
            security = container["securityContext"]
            assert security["readOnlyRootFilesystem"] is True
            assert security["allowPrivilegeEscalation"] is False
            added = {"add": ["NET_BIND_SERVICE"]} if container["name"] == "coturn" else {}
            assert security["capabilities"] == {"drop": ["ALL"], **added}
            assert "resources" in container


def test_no_key_in_a_configmap(combination: list[dict[str, Any]]) -> None:
    for each in combination:
        if each["kind"] == "ConfigMap":
            assert "0123456789abcdef" not in str(each)
            assert "secret:" not in str(each.get("data", {}).get("sfu.yaml"))


def test_labels(combination: list[dict[str, Any]]) -> None:
    for each in combination:
        labels = each["metadata"]["labels"]
        assert {f"app.kubernetes.io/{name}" for name in ("name", "instance", "version", "managed-by")} <= set(labels)
        assert labels["helm.sh/chart"] == "aiosfu-0.1.0"


def test_the_server_gets_time_to_drain(combination: list[dict[str, Any]]) -> None:
    pod = pod_of(find(combination, "Deployment"))
    text = find(combination, "ConfigMap")["data"]["sfu.yaml"]
    drain = (yaml.safe_load(text) or {}).get("node", {}).get("drain_timeout", 0)
    container = server(combination)
    moves = 60 if "SFU_CLUSTER__REDIS_URL" in [entry["name"] for entry in container["env"]] else 0
    assert pod["terminationGracePeriodSeconds"] == drain + moves + 60
    command = container["lifecycle"]["preStop"]["exec"]["command"]
    assert command == (["sh", "-c", "sfu drain --timeout 60; sleep 5"] if moves else ["sleep", "5"])
    assert container["readinessProbe"]["httpGet"]["path"] == "/readyz"
    assert container["livenessProbe"]["httpGet"]["path"] == "/livez"


@pytest.mark.parametrize("path", COMBINATIONS, ids=lambda path: path.stem)
def test_notes_say_where_and_through_which_port(path: Path) -> None:
    notes = render(values(path))["NOTES.txt"]
    port = {"loadbalancer": 443, "hostnetwork": 3478}.get(path.stem, 7882)
    assert f"one UDP port, {port}, " in notes
    assert "sfu token --room" in notes


def test_every_secret_setting_is_refused_in_config() -> None:
    secrets = [key for key, option in config.options(config.Settings).items() if option.secret]
    assert "auth.keys" in secrets
    for key in secrets:
        given: Any = {"auth.keys": {"k": "x" * 32}, "cluster.secrets": ["x" * 32]}.get(key, "x" * 32)
        for name in reversed(key.split(".")):
            given = {name: given}
        with pytest.raises(helm_python.HelmError, match=f"config.{key}: secrets do not belong in a ConfigMap"):
            render({"config": given})


CLUSTER: dict[str, Any] = {
    "redis": {"existingSecret": "redis"},
    "networkPolicy": {"redis": [{"podSelector": {}}]},
}
LB = {"mode": "loadBalancer", "announce": ["203.0.113.7"]}
TURN = {"urls": ["turn:turn.example.org"]}
ISTIO = {"enabled": True, "hosts": ["a.example"], "gateways": ["x/y"]}
IMPOSSIBLE: list[tuple[dict[str, Any], str]] = [
    ({"config": {"rtc": {"udp_prot": 1}}}, "additional properties 'udp_prot' not allowed"),
    ({"config": {"http": {"port": "x"}}}, "got string, want integer"),
    ({"medai": {}}, "additional properties 'medai' not allowed"),
    ({"media": {"mode": "nodePort"}}, "value must be one of 'hostPort', 'hostNetwork'"),
    ({"secrets": {"keys": {"app": "short"}}}, "minLength: got 5, want 32"),
    ({"secrets": {"existingSecret": "x", "turn": "y"}}, "existingSecret and keys .or turn. are both set"),
    ({"config": {"rtc": {"udp_port": 443}}}, "cannot open a port below 1024"),
    ({"config": {"rtc": {"udp_port": 0}}}, "cannot open a port below 1024"),
    ({"config": {"http": {"port": 80}}}, "cannot open a port below 1024"),
    ({"config": {"rtc": {"tcp_port": 443}}}, "cannot open a port below 1024"),
    ({"config": {"rtc": {"tcp_port": 7880}}}, "config.rtc.tcp_port and config.http.port are both 7880"),
    (
        {"terminationGracePeriodSeconds": 60, "config": {"node": {"drain_timeout": 50}}},
        "would kill the server before it has drained",
    ),
    (
        {"config": {"traces": {"endpoint": "http://tempo:4318"}}},
        "the NetworkPolicy blocks connections to the collector",
    ),
    ({"coturn": {"enabled": True, "realm": "x"}}, "coturn.allowedPeers"),
    ({"media": {**LB}, "strategy": {"type": "RollingUpdate"}}, "one UDP address would lead to two pods"),
    ({"replicas": 2}, "pods find it through Redis only. Set redis.existingSecret or redis.url"),
    ({"redis": CLUSTER["redis"], "replicas": 2}, "the NetworkPolicy blocks connections to Redis"),
    ({"redis": {"url": "redis://a", "existingSecret": "b"}}, "url and existingSecret are both set"),
    ({**CLUSTER, "sharded": True}, "redis and sharded are both set"),
    ({**CLUSTER, "replicas": 2, "media": LB}, "one UDP address delivers packets to any of them"),
    ({**CLUSTER, "replicas": 2, "media": {"announce": ["203.0.113.7"]}}, "all would announce the same"),
    ({**CLUSTER, "config": {"cluster": {"node_id": "a"}}}, "config.cluster.node_id: each pod has its own"),
    ({**CLUSTER, "config": {"cluster": {"listen": "unix:/tmp/a"}}}, "other pods cannot reach a Unix socket"),
    ({**CLUSTER, "config": {"cluster": {"listen": "0.0.0.0:83"}}}, "cannot open a port below 1024"),
    ({**CLUSTER, "config": {"cluster": {"listen": "0.0.0.0:7881"}}}, "config.rtc.tcp_port are both port 7881"),
    ({**CLUSTER, "config": {"ingest": {"rtmp_port": 1935}}}, "several pods or a cluster"),
    ({**CLUSTER, "terminationGracePeriodSeconds": 70}, "would kill the server before it has drained"),
    ({"autoscaling": {"type": "hpa"}}, "pods find it through Redis only"),
    ({"media": LB, "replicas": 2, "sharded": True}, "one UDP address delivers packets to any of them"),
    ({"media": {"mode": "loadBalancer"}}, "has to announce the load balancer's address"),
    ({"media": {**LB, "loadBalancer": {"port": 443}}}, "announce 203.0.113.7:443"),
    ({"media": {"announce": ["203.0.113.7"]}, "replicas": 2, "sharded": True}, "all would announce the same"),
    ({"media": {"announce": ["a"]}, "config": {"rtc": {"announce": ["a"]}}}, "are both set"),
    ({"media": {"announce": ["meet.example.org"]}}, "do not resolve names"),
    ({"media": {"mode": "hostNetwork"}}, "NetworkPolicies do not apply to pods in the host's network"),
    ({"media": {"mode": "stunner"}}, "which the server has to announce"),
    (
        {"media": {"mode": "stunner", "announce": ["203.0.113.7"]}, "config": {"turn": TURN}, "secrets": {"turn": "x"}},
        "would replace them",
    ),
    (
        {
            "media": {"mode": "stunner"},
            "config": {"turn": TURN},
            "secrets": {"turn": "x"},
            "coturn": {"enabled": True, "realm": "x"},
        },
        "already has a TURN server",
    ),
    ({"config": {"turn": TURN}}, "the shared secret of the TURN server is missing"),
    ({"coturn": {"enabled": True}}, "coturn.realm"),
    (
        {"coturn": {"enabled": True, "realm": "x"}, "config": {"turn": TURN}, "secrets": {"turn": "x"}},
        "keep one of them",
    ),
    (
        {
            "coturn": {"enabled": True, "realm": "x"},
            "media": {"mode": "hostNetwork"},
            "networkPolicy": {"enabled": False},
        },
        "coturn.allowedPeers",
    ),
    ({"recordings": {"type": "pvc"}, "replicas": 2, "sharded": True}, "mounted on one node only"),
    ({"recordings": {"type": "s3"}}, "recordings.s3.bucket"),
    ({"autoscaling": {"type": "keda"}, "sharded": True}, "autoscaling.prometheus"),
    ({"autoscaling": {"type": "hpa", "minReplicas": 9}, "sharded": True}, "minReplicas is above"),
    ({"autoscaling": {"type": "hpa"}, "sharded": True, "config": {"http": {"metrics": False}}}, "turns off"),
    ({"monitoring": {"serviceMonitor": {"enabled": True}}, "config": {"http": {"metrics": False}}}, "turns off"),
    ({"ingress": {"enabled": True}}, "ingress.hosts"),
    (
        {"ingress": {"enabled": True, "hosts": ["a.example"]}, "tls": {"existingSecret": "x"}},
        "the server terminates TLS itself",
    ),
    ({"config": {"ingest": {"rtmp_port": 443}}}, "cannot open a port below 1024"),
    ({"config": {"ingest": {"rtmps_port": 1936}}}, "Set tls.existingSecret"),
    (
        {"config": {"ingest": {"rtmp_port": 1935}}, "replicas": 2, "sharded": True},
        "only the pod that created a stream key knows it",
    ),
    ({"ingestVolume": {"type": "pvc"}, "replicas": 2, "sharded": True}, "each pod would pull all cameras"),
    ({"istio": {"enabled": True}}, "needs hosts and gateways"),
    ({"istio": {**ISTIO, "routes": [{"service": "a", "weight": 90}]}}, "the weights sum to 90"),
    (
        {"istio": {**ISTIO, "routes": [{"service": "a", "weight": 50}, {"service": "b", "weight": 50}]}},
        "would split meetings",
    ),
]


@pytest.mark.parametrize(("given", "reason"), IMPOSSIBLE, ids=[reason[:40] for _, reason in IMPOSSIBLE])
def test_values_that_cannot_work_are_refused_with_the_reason(given: dict[str, Any], reason: str) -> None:
    with pytest.raises(helm_python.HelmError, match=reason):
        render(given)


@pytest.mark.parametrize(
    ("mode", "given"),
    [
        ("hostPort", {}),
        ("hostNetwork", {"networkPolicy": {"enabled": False}}),
        ("loadBalancer", {"media": {"announce": ["203.0.113.7"]}}),
        ("stunner", {"config": {"turn": TURN}, "secrets": {"turn": "x" * 32}}),
    ],
)
def test_how_media_are_exposed(mode: str, given: dict[str, Any]) -> None:
    found = objects({**given, "media": {**given.get("media", {}), "mode": mode}})
    pod = pod_of(find(found, "Deployment"))
    strategy = find(found, "Deployment")["spec"]["strategy"]
    (media,) = [port for port in pod["containers"][0]["ports"] if port["name"] == "media"]
    tcp = [port for port in pod["containers"][0]["ports"] if port["name"] == "media-tcp"]
    assert [(port["containerPort"], port["hostPort"], port["protocol"]) for port in tcp] == (
        [(7881, 7881, "TCP")] if mode in ("hostPort", "hostNetwork") else []
    )
    announced = {entry["name"]: entry.get("value") for entry in server(found)["env"]}.get("SFU_RTC__ANNOUNCE")
    assert media["containerPort"] == 7882
    assert media["protocol"] == "UDP"
    assert media.get("hostPort") == (7882 if mode in ("hostPort", "hostNetwork") else None)
    assert pod.get("hostNetwork", False) == (mode == "hostNetwork")
    assert announced == {"hostPort": "$(HOST_IP)", "loadBalancer": "203.0.113.7"}.get(mode)
    assert strategy["type"] == ("Recreate" if mode == "loadBalancer" else "RollingUpdate")
    services = {each["metadata"]["name"]: each["spec"] for each in found if each["kind"] == "Service"}
    exposed = services.get("sfu-aiosfu-media")
    if mode == "loadBalancer":
        assert exposed is not None
        assert exposed["type"] == "LoadBalancer"
    elif mode == "stunner":
        assert exposed is not None
        assert exposed["clusterIP"] == "None"
        assert find(found, "UDPRoute")["spec"]["rules"][0]["backendRefs"][0]["name"] == "sfu-aiosfu-media"
    else:
        assert exposed is None


def test_a_change_of_the_configuration_restarts_the_pods_and_nothing_else_does() -> None:
    def checksum(given: dict[str, Any]) -> Any:
        return find(objects(given), "Deployment")["spec"]["template"]["metadata"]["annotations"]["checksum/config"]

    assert checksum({}) == checksum({"podLabels": {"a": "b"}})
    assert checksum({}) != checksum({"config": {"rooms": {"max_rooms": 7}}})


def test_a_generated_key_is_one_that_the_server_takes() -> None:
    keys = yaml.safe_load(base64.b64decode(find(objects({}), "Secret")["data"]["keys"]))
    assert len(keys["default"]) == 48


def test_network_policy_lists_what_is_allowed() -> None:
    """Nothing but names and media, unless asked for."""
    (rules,) = [each["spec"] for each in objects({}) if each["kind"] == "NetworkPolicy"]
    assert rules["policyTypes"] == ["Ingress", "Egress"]
    assert [{(p["protocol"], p["port"]) for p in rule["ports"]} for rule in rules["egress"]] == [
        {("UDP", 53), ("TCP", 53)},
        {("UDP", 1024)},
    ]
    everything = find(objects(values(CHART / "ci" / "stunner.yaml")), "NetworkPolicy")["spec"]
    assert {p["port"] for rule in everything["egress"] for p in rule["ports"]} == {
        53,
        1024,
        6379,
        3478,
        4418,
        1935,
        443,
        8443,
    }


@pytest.mark.parametrize(
    ("given", "port"),
    [
        ({"recordings": {"type": "s3", "s3": {"bucket": "b", "existingSecret": "s"}}}, 443),
        (
            {
                "recordings": {
                    "type": "s3",
                    "s3": {"bucket": "b", "existingSecret": "s", "endpoint": "http://minio.storage:9000"},
                }
            },
            9000,
        ),
        ({"config": {"egress": {"s3": {"bucket": "b", "endpoint": "http://minio/"}}}}, 80),
        ({"config": {"egress": {"s3": {"bucket": "b"}}}}, 443),
    ],
)
def test_recordings_get_out_to_where_they_are_kept(given: dict[str, Any], port: int) -> None:
    (*_, bucket) = find(objects(given), "NetworkPolicy")["spec"]["egress"]
    assert bucket["ports"] == [{"port": port, "protocol": "TCP"}]


def test_helm_test_gets_in_where_http_is_for_few() -> None:
    found = objects({"networkPolicy": {"httpFrom": [{"namespaceSelector": {}}]}, "imagePullSecrets": [{"name": "r"}]})
    http, _ = find(found, "NetworkPolicy")["spec"]["ingress"]
    pod = find(found, "Pod", "sfu-aiosfu-test")
    assert http["from"][-1]["podSelector"]["matchLabels"].items() <= pod["metadata"]["labels"].items()
    assert pod["spec"]["imagePullSecrets"] == [{"name": "r"}]


def test_encoders_get_in_and_their_keys_stay() -> None:
    found = objects(values(CHART / "ci" / "ingest.yaml"))
    service = find(found, "Service", "sfu-aiosfu-ingest")["spec"]
    assert [(port["port"], port["targetPort"]) for port in service["ports"]] == [(1935, "rtmp"), (1936, "rtmps")]
    assert (service["type"], service["loadBalancerIP"], service["loadBalancerSourceRanges"]) == (
        "LoadBalancer",
        "203.0.113.9",
        ["198.51.100.0/24"],
    )
    container, pod = server(found), pod_of(find(found, "Deployment"))
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    assert (ports["rtmp"], ports["rtmps"]) == (1935, 1936)
    environment = {entry["name"]: entry.get("value") for entry in container["env"]}
    assert environment["SFU_HTTP__TLS_CERTIFICATE"] == "/etc/sfu/tls/tls.crt"
    (mount,) = [one["mountPath"] for one in container["volumeMounts"] if one["name"] == "ingest"]
    for name in ("KEYS", "PULLS"):
        assert environment[f"SFU_INGEST__{name}_FILE"].startswith(f"{mount}/")
    claim = find(found, "PersistentVolumeClaim", "sfu-aiosfu-ingest")
    assert {"name": "ingest", "persistentVolumeClaim": {"claimName": claim["metadata"]["name"]}} in pod["volumes"]
    assert find(found, "Deployment")["spec"]["strategy"]["rollingUpdate"]["maxSurge"] == 0
    rules = find(found, "NetworkPolicy")["spec"]
    ports_in = [{"port": "rtmp", "protocol": "TCP"}, {"port": "rtmps", "protocol": "TCP"}]
    (encoders,) = [rule["from"] for rule in rules["ingress"] if rule["ports"] == ports_in]
    assert encoders == [{"ipBlock": {"cidr": "198.51.100.0/24"}}]
    assert [rule["to"] for rule in rules["egress"] if {"port": 554, "protocol": "TCP"} in rule["ports"]] == [
        [{"ipBlock": {"cidr": "192.0.2.0/24"}}]
    ]
    assert "rtmps://YOUR-HOST:1936/live" in render(values(CHART / "ci" / "ingest.yaml"))["NOTES.txt"]


def test_without_ports_of_encoders_nothing_is_exposed() -> None:
    found = objects({})
    assert not [each for each in found if each["metadata"]["name"].endswith("-ingest")]
    assert not [port for port in server(found)["ports"] if port["name"].startswith("rtmp")]


def test_coturn_is_started_by_the_kernel_and_relays_to_named_peers_only() -> None:
    """Its image's file has a capability set; a bounding set without it is `operation not permitted`."""
    found = objects(values(CHART / "ci" / "s3-coturn.yaml"))
    (container,) = pod_of(find(found, "Deployment", "sfu-aiosfu-turn"))["containers"]
    assert container["securityContext"]["capabilities"] == {"drop": ["ALL"], "add": ["NET_BIND_SERVICE"]}
    allowed = [word for word in container["args"] if word.startswith("--allowed-peer-ip")]
    assert allowed == ["--allowed-peer-ip=10.0.0.1-10.0.0.99"]


def test_a_long_drain_is_no_failed_roll_out() -> None:
    spec = find(objects({"config": {"node": {"drain_timeout": 3600}}}), "Deployment")["spec"]
    assert spec["template"]["spec"]["terminationGracePeriodSeconds"] == 3660
    assert spec["progressDeadlineSeconds"] > 3660
    stunner = find(objects(values(CHART / "ci" / "stunner.yaml")), "Deployment")["spec"]
    assert stunner["strategy"]["rollingUpdate"]["maxSurge"] == 0, "the volume is the old pod's until it ends"


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({}, "pod-security.kubernetes.io/enforce=privileged"),
        ({"config": {"rtc": {"announce": ["203.0.113.7"]}}}, "announced as 203.0.113.7"),
        ({"media": {"announce": ["203.0.113.7"]}}, "keep the pod there with nodeSelector"),
        ({"media": LB}, "Open UDP to 7882 of that address"),
        ({"service": {"type": "NodePort"}}, "get service sfu-aiosfu"),
        ({**CLUSTER, "replicas": 2}, "exec deployment/sfu-aiosfu -- sfu nodes"),
    ],
)
def test_notes_say_what_is_next(given: dict[str, Any], words: str) -> None:
    assert words in render(given)["NOTES.txt"]


def test_only_ports_of_the_host_need_a_privileged_namespace() -> None:
    """Pod Security Standards, restricted: the modes without ports of the host hold it."""
    stunner = values(CHART / "ci" / "stunner.yaml")
    cluster = {**CLUSTER, **stunner, "networkPolicy": CLUSTER["networkPolicy"], "config": {"turn": TURN}, "replicas": 3}
    for given in (values(CHART / "ci" / "loadbalancer.yaml"), stunner, {**cluster, "recordings": {"type": "emptyDir"}}):
        pod = pod_of(find(objects(given), "Deployment"))
        assert not pod.get("hostNetwork")
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        for container in pod["containers"]:
            assert not any("hostPort" in port for port in container["ports"])
            assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
            assert container["securityContext"]["allowPrivilegeEscalation"] is False
        assert {next(key for key in each if key != "name") for each in pod["volumes"]} <= {
            "configMap", "secret", "emptyDir", "persistentVolumeClaim",
        }  # fmt: skip


def test_the_pods_of_a_cluster_find_each_other() -> None:
    found = objects(values(CHART / "ci" / "cluster.yaml"))
    deployment = find(found, "Deployment")["spec"]
    pod, container = pod_of(find(found, "Deployment")), server(found)
    environment = {entry["name"]: entry.get("value", entry.get("valueFrom")) for entry in container["env"]}
    assert deployment["replicas"] == 3
    assert environment["POD_IP"] == {"fieldRef": {"fieldPath": "status.podIP"}}
    assert environment["SFU_CLUSTER__ADVERTISE"] == "$(POD_IP)"
    assert environment["SFU_CLUSTER__NODE_ID"] == {"fieldRef": {"fieldPath": "metadata.name"}}
    assert environment["SFU_CLUSTER__REDIS_URL"] == {"secretKeyRef": {"name": "redis-url", "key": "url"}}
    own = find(found, "Secret", "sfu-aiosfu-cluster")
    assert environment["SFU_CLUSTER__SECRETS"] == {"secretKeyRef": {"name": "sfu-aiosfu-cluster", "key": "secrets"}}
    assert len(base64.b64decode(own["data"]["secrets"])) == 48
    # The internal port is for the pods of this release only, and not exposed.
    assert {"name": "cluster", "containerPort": 7883, "protocol": "TCP"} in container["ports"]
    selector = deployment["selector"]
    rules = find(found, "NetworkPolicy")["spec"]
    (enters,) = [rule for rule in rules["ingress"] if rule["ports"] == [{"port": "cluster", "protocol": "TCP"}]]
    (leaves,) = [rule for rule in rules["egress"] if rule["ports"] == [{"port": 7883, "protocol": "TCP"}]]
    assert enters["from"] == leaves["to"] == [{"podSelector": selector}]
    assert all(port["targetPort"] != "cluster" for port in find(found, "Service")["spec"]["ports"])
    (redis,) = [rule for rule in rules["egress"] if {"port": 6379, "protocol": "TCP"} in rule["ports"]]
    assert [port["port"] for port in redis["ports"]] == [6379, 26379]
    # A machine has one pod; a rolling update stops one at a time, and a drain of machines as well.
    assert deployment["strategy"]["rollingUpdate"] == {"maxSurge": 0, "maxUnavailable": 1}
    assert [each["topologyKey"] for each in pod["topologySpreadConstraints"]] == [
        "topology.kubernetes.io/zone",
        "kubernetes.io/hostname",
    ]
    assert all(each["labelSelector"] == selector for each in pod["topologySpreadConstraints"])
    assert find(found, "PodDisruptionBudget")["spec"]["maxUnavailable"] == 1


def test_secrets_of_a_cluster() -> None:
    hpa = objects(values(CHART / "ci" / "hpa.yaml"))
    made = find(hpa, "Secret", "sfu-aiosfu-cluster")["data"]
    assert base64.b64decode(made["url"]) == b"redis://redis.media.svc:6379/0"
    assert "redis.media.svc" not in str(find(hpa, "ConfigMap")) + str(find(hpa, "Deployment"))
    existing = {**CLUSTER, "redis": {"existingSecret": "redis", "key": "uri"}, "nodes": {"existingSecret": "shared"}}
    found = objects(existing)
    assert [each["metadata"]["name"] for each in found if each["kind"] == "Secret"] == ["sfu-aiosfu"]
    named = [entry["valueFrom"]["secretKeyRef"] for entry in server(found)["env"] if "secretKeyRef" in str(entry)]
    assert named == [{"name": "shared", "key": "secrets"}, {"name": "redis", "key": "uri"}]
    assert "cluster" not in str(server(objects({})))
