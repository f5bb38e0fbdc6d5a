"""A Kubernetes API server in memory, as much of one as Helm needs: discovery, CRUD, server-side apply, list and watch.

Every object that is written is judged by the strict upstream schema of its kind (kubernetes-validate); kinds of other
groups have to be named as `CUSTOM`. Nothing is scheduled: a pod made by a hook is declared to have succeeded at once, and
workloads to be available, which is what Helm waits for.
"""

import json
import queue
import threading
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import kubernetes_validate
import yaml

from tests.support.kubernetes_protobuf import MAGIC, decode_secret

VERSION = "1.34"
Object = dict[str, Any]

KINDS: Mapping[str, Mapping[str, str]] = {
    "v1": {
        "configmaps": "ConfigMap",
        "namespaces": "Namespace",
        "persistentvolumeclaims": "PersistentVolumeClaim",
        "pods": "Pod",
        "secrets": "Secret",
        "serviceaccounts": "ServiceAccount",
        "services": "Service",
    },
    "apps/v1": {"deployments": "Deployment", "replicasets": "ReplicaSet"},
    "autoscaling/v2": {"horizontalpodautoscalers": "HorizontalPodAutoscaler"},
    "networking.k8s.io/v1": {"ingresses": "Ingress", "networkpolicies": "NetworkPolicy"},
    "policy/v1": {"poddisruptionbudgets": "PodDisruptionBudget"},
}
CUSTOM: Mapping[str, Mapping[str, str]] = {
    "keda.sh/v1alpha1": {"scaledobjects": "ScaledObject"},
    "monitoring.coreos.com/v1": {"prometheusrules": "PrometheusRule", "servicemonitors": "ServiceMonitor"},
    "networking.istio.io/v1": {"virtualservices": "VirtualService"},
    "stunner.l7mp.io/v1": {"udproutes": "UDPRoute"},
}
ALL = {**KINDS, **CUSTOM}
VERBS = ["create", "delete", "get", "list", "patch", "update", "watch"]


def complaint(manifest: Object) -> str:
    """Complaints of the strict schema of a built-in kind; empty: none."""
    if manifest["apiVersion"] in CUSTOM:
        return ""
    try:
        kubernetes_validate.validate(manifest, VERSION, strict=True)
    except (kubernetes_validate.ValidationError, kubernetes_validate.SchemaNotFoundError) as error:
        return str(error)
    return ""


class Refused(Exception):
    def __init__(self, status: int, reason: str, message: str) -> None:
        super().__init__(message)
        self.status, self.reason = status, reason


@dataclass(frozen=True, slots=True)
class Place:
    """Resource of a path: a collection, or with `name` one object of it."""

    version: str
    plural: str
    namespace: str
    name: str = ""

    @classmethod
    def parse(cls, path: str) -> "Place | None":
        parts = path.strip("/").split("/")
        version, rest = ("v1", parts[2:]) if parts[0] == "api" else ("/".join(parts[1:3]), parts[3:])
        namespace = ""
        if rest[:1] == ["namespaces"] and len(rest) > 2:
            namespace, rest = rest[1], rest[2:]
        if not rest or rest[0] not in ALL.get(version, {}):
            return None
        return cls(version, rest[0], namespace, rest[1] if len(rest) > 1 else "")

    @property
    def kind(self) -> str:
        return ALL[self.version][self.plural]


@dataclass
class Cluster:
    """Its objects by place. `refused`: what was not accepted, for tests that want to know."""

    objects: dict[Place, Object] = field(default_factory=dict)
    refused: list[str] = field(default_factory=list)
    changes: int = 0
    lock: threading.RLock = field(default_factory=threading.RLock)
    watchers: list["queue.Queue[tuple[str, Place, Object]]"] = field(default_factory=list)
    history: list[tuple[int, str, Place, Object]] = field(default_factory=list)
    """Every change with its resource version: a watch begins behind the list that its client made before."""

    def of_kind(self, kind: str) -> dict[str, Object]:
        """By name. Helm's own records are not among the Secrets."""
        found = {place.name: each for place, each in self.objects.items() if place.kind == kind}
        return {name: each for name, each in found.items() if each.get("type") != "helm.sh/release.v1"}

    def write(self, place: Place, manifest: Object, *, create: bool = False) -> Object:
        manifest.setdefault("apiVersion", place.version)
        manifest.setdefault("kind", place.kind)
        metadata = manifest["metadata"]
        metadata["namespace"] = place.namespace
        with self.lock:
            old = self.objects.get(place)
            if create and old is not None:
                raise Refused(409, "AlreadyExists", f"{place.plural} {place.name} already exists")
            if problem := complaint(_without_server_fields(manifest)):
                self.refused.append(problem)
                raise Refused(422, "Invalid", problem)
            self.changes += 1
            metadata["uid"] = old["metadata"]["uid"] if old else str(uuid.uuid4())
            metadata["creationTimestamp"] = "2026-01-01T00:00:00Z"
            metadata["resourceVersion"] = str(self.changes)
            metadata["generation"] = 1
            if status := STATUS.get(place.kind):
                manifest["status"] = status(manifest)
            self.objects[place] = manifest
            self._tell("MODIFIED" if old else "ADDED", place, manifest)
            return manifest

    def delete(self, place: Place) -> bool:
        with self.lock:
            gone = self.objects.pop(place, None)
            if gone is not None:
                self.changes += 1
                metadata = {**gone["metadata"], "resourceVersion": str(self.changes)}
                self._tell("DELETED", place, {**gone, "metadata": metadata})
            return gone is not None

    def listed(self, place: Place, labels: str, fields: str) -> tuple[list[Object], str]:
        """With the resource version of the list."""
        with self.lock:
            found = [each for at, each in self.objects.items() if self.matches(at, each, place, labels, fields)]
            return found, str(self.changes)

    def watch(self, after: int) -> "queue.Queue[tuple[str, Place, Object]]":
        """Changes from that resource version on, those that were made already included; 0: from now on."""
        events: queue.Queue[tuple[str, Place, Object]] = queue.Queue()
        with self.lock:
            self.watchers.append(events)
            for version, kind, place, each in self.history:
                if after and version > after:
                    events.put((kind, place, each))
        return events

    def matches(self, at: Place, each: Object, place: Place, labels: str, fields: str) -> bool:
        """Whether an object of a list or watch on `place`, with these selectors."""
        wanted = [pair.partition("=")[::2] for pair in labels.split(",") if pair]
        name = dict(pair.partition("=")[::2] for pair in fields.split(",") if pair).get("metadata.name", "")
        return (
            (at.version, at.plural) == (place.version, place.plural)
            and place.namespace in ("", at.namespace)
            and name in ("", at.name)
            and all(each["metadata"].get("labels", {}).get(key) == value for key, value in wanted)
        )

    def close(self) -> None:
        """Ends all watches."""
        with self.lock:
            for events in self.watchers:
                events.put(("CLOSED", Place("", "", ""), {}))

    def _tell(self, kind: str, place: Place, each: Object) -> None:
        self.history.append((self.changes, kind, place, each))
        for events in self.watchers:
            events.put((kind, place, each))


def _deployed(manifest: Object) -> Object:
    replicas = manifest["spec"].get("replicas", 1)
    counted = dict.fromkeys(("replicas", "updatedReplicas", "readyReplicas", "availableReplicas"), replicas)
    conditions = [
        {"type": "Available", "status": "True"},
        {"type": "Progressing", "status": "True", "reason": "NewReplicaSetAvailable"},
    ]
    return {"observedGeneration": 1, **counted, "conditions": conditions}


STATUS: dict[str, Callable[[Object], Object]] = {
    "Deployment": _deployed,
    "PersistentVolumeClaim": lambda _: {"phase": "Bound"},
    "Pod": lambda _: {"phase": "Succeeded", "conditions": [{"type": "Ready", "status": "True"}]},
    "Service": lambda _: {"loadBalancer": {"ingress": [{"ip": "203.0.113.7"}]}},
}


def _without_server_fields(manifest: Object) -> Object:
    metadata = {k: v for k, v in manifest["metadata"].items() if k not in ("managedFields", "uid", "resourceVersion")}
    return {**{k: v for k, v in manifest.items() if k != "status"}, "metadata": metadata}


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    cluster: Cluster

    def log_message(self, format: str, *arguments: object) -> None:
        pass

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        query = {key: values[0] for key, values in parse_qs(url.query).items()}
        if found := self._discovery(url.path.rstrip("/")):
            return self._send(200, found)
        place = Place.parse(url.path)
        if place is None:
            return self._fail(Refused(404, "NotFound", f"there is no {url.path}"))
        if place.name:
            found = self.cluster.objects.get(place)
            if found is None:
                return self._fail(Refused(404, "NotFound", f'{place.plural} "{place.name}" not found'))
            return self._send(200, found)
        if query.get("watch") in ("1", "true"):
            return self._watch(place, query)
        objects, version = self.cluster.listed(place, query.get("labelSelector", ""), query.get("fieldSelector", ""))
        return self._send(
            200,
            {
                "apiVersion": place.version,
                "kind": f"{place.kind}List",
                "metadata": {"resourceVersion": version},
                "items": objects,
            },
        )

    def do_POST(self) -> None:
        self._change(create=True)

    def do_PUT(self) -> None:
        self._change()

    def do_PATCH(self) -> None:
        self._change()

    def do_DELETE(self) -> None:
        self._body()
        place = Place.parse(urlsplit(self.path).path)
        if place is None or not self.cluster.delete(place):
            return self._fail(Refused(404, "NotFound", "not found"))
        return self._send(200, {"apiVersion": "v1", "kind": "Status", "status": "Success", "details": {}})

    def _change(self, *, create: bool = False) -> None:
        body = self._body()
        place = Place.parse(urlsplit(self.path).path)
        try:
            if place is None:
                raise Refused(404, "NotFound", f"there is no {self.path}")
            kind = self.headers.get("Content-Type", "")
            given = decode_secret(body) if body.startswith(MAGIC) else yaml.safe_load(body)
            if create:
                place = Place(place.version, place.plural, place.namespace, given["metadata"]["name"])
            elif "patch" in kind and "apply" not in kind:
                old = self.cluster.objects.get(place)
                if old is None:
                    raise Refused(404, "NotFound", f"{place.name} not found")
                given = _merged(old, given)
            self._send(201 if create else 200, self.cluster.write(place, given, create=create))
        except Refused as error:
            self._fail(error)

    def _watch(self, place: Place, query: Mapping[str, str]) -> None:
        """The objects that are there (when asked for), a bookmark, and what changes, until the client has enough."""
        labels, fields = query.get("labelSelector", ""), query.get("fieldSelector", "")
        initial = query.get("sendInitialEvents") == "true"
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        with self.cluster.lock:
            events = self.cluster.watch(0 if initial else int(query.get("resourceVersion") or 0))
            known, version = self.cluster.listed(place, labels, fields)
        try:
            for each in known if initial else ():
                self._event("ADDED", each)
            if initial:
                metadata = {"resourceVersion": version, "annotations": {"k8s.io/initial-events-end": "true"}}
                self._event("BOOKMARK", {"apiVersion": place.version, "kind": place.kind, "metadata": metadata})
            while True:
                kind, at, each = events.get()
                if kind == "CLOSED":
                    break
                if self.cluster.matches(at, each, place, labels, fields):
                    self._event(kind, each)
            self.wfile.write(b"0\r\n\r\n")
        except OSError:
            pass  # the client has enough
        finally:
            with self.cluster.lock:
                self.cluster.watchers.remove(events)
            self.close_connection = True

    def _event(self, kind: str, each: Object) -> None:
        line = json.dumps({"type": kind, "object": each}).encode() + b"\n"
        self.wfile.write(b"%x\r\n%s\r\n" % (len(line), line))
        self.wfile.flush()

    def _discovery(self, path: str) -> Object | None:
        if path == "/version":
            return {"major": "1", "minor": "34", "gitVersion": f"v{VERSION}.0", "platform": "linux/amd64"}
        if path == "/api":
            return {"kind": "APIVersions", "versions": ["v1"]}
        if path == "/apis":
            groups = [version.split("/") for version in ALL if "/" in version]
            return {
                "kind": "APIGroupList",
                "apiVersion": "v1",
                "groups": [
                    {
                        "name": group,
                        "versions": [{"groupVersion": f"{group}/{version}", "version": version}],
                        "preferredVersion": {"groupVersion": f"{group}/{version}", "version": version},
                    }
                    for group, version in groups
                ],
            }
        if path == "/openapi/v3":
            paths = {f"{_root(version)}/{version}": version for version in ALL}
            return {"paths": {key: {"serverRelativeURL": f"/openapi/v3/{key}"} for key in paths}}
        if path.startswith("/openapi/v3/"):
            return _openapi(path.removeprefix("/openapi/v3/").partition("/")[2])
        version = path.removeprefix("/api/") if path.startswith("/api/") else path.removeprefix("/apis/")
        if version not in ALL:
            return None
        resources = [
            {
                "name": plural,
                "singularName": kind.lower(),
                "namespaced": kind != "Namespace",
                "kind": kind,
                "verbs": VERBS,
            }
            for plural, kind in ALL[version].items()
        ]
        return {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": version, "resources": resources}

    def _body(self) -> bytes:
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def _fail(self, error: Refused) -> None:
        self._send(
            error.status,
            {
                "apiVersion": "v1",
                "kind": "Status",
                "status": "Failure",
                "reason": error.reason,
                "message": str(error),
                "code": error.status,
            },
        )

    def _send(self, status: int, answer: Object) -> None:
        self._send_bytes(status, json.dumps(answer).encode())

    def _send_bytes(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def _root(version: str) -> str:
    return "apis" if "/" in version else "api"


def _openapi(version: str) -> Object:
    """Just enough of OpenAPI v3 that clients leave the validation of fields to the server."""
    group, _, number = version.rpartition("/")
    paths = {}
    for plural, kind in ALL[version].items():
        operation = {
            "x-kubernetes-group-version-kind": {"group": group, "version": number, "kind": kind},
            "x-kubernetes-action": "patch",
            "parameters": [{"name": "fieldValidation", "in": "query", "schema": {"type": "string"}}],
            "responses": {"200": {"description": "OK"}},
        }
        paths[f"/{_root(version)}/{version}/namespaces/{{namespace}}/{plural}/{{name}}"] = {"patch": operation}
    return {"openapi": "3.0.0", "info": {"title": "Kubernetes", "version": VERSION}, "paths": paths}


def _merged(old: Any, patch: Any) -> Any:
    """JSON merge patch (RFC 7386)."""
    if not isinstance(patch, dict):
        return patch
    found = dict(old) if isinstance(old, dict) else {}
    for key, value in patch.items():
        if value is None:
            found.pop(key, None)
        else:
            found[key] = _merged(found.get(key), value)
    return found


@contextmanager
def cluster() -> Iterator[tuple[Cluster, str]]:
    """A cluster and the kubeconfig (YAML) to reach it with."""
    held = Cluster()
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"cluster": held}))
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    address = f"http://127.0.0.1:{server.server_address[1]}"
    kubeconfig = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "memory", "cluster": {"server": address}}],
        "users": [{"name": "tester", "user": {}}],
        "contexts": [{"name": "memory", "context": {"cluster": "memory", "user": "tester"}}],
        "current-context": "memory",
    }
    try:
        yield held, yaml.safe_dump(kubeconfig)
    finally:
        held.close()
        server.shutdown()
        server.server_close()
        thread.join()
