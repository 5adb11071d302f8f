"""Manifests as people write them: where the probes are, and what is said when something is wrong."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from unstall.errors import BadManifest
from unstall.kubelet.documents import DEPTH_LIMIT
from unstall.kubelet.manifests import POD_FIELDS, choose, pod_spec, read_pods, read_text
from unstall.model import ProbeType

DEPLOYMENT = """\
apiVersion: v1
kind: Service
metadata: {name: web}
---
# the workload
apiVersion: apps/v1
kind: Deployment
metadata:
  name: web
  namespace: shop
spec:
  template:
    spec:
      containers:
        - name: app
          image: app:1
          livenessProbe: &probe
            httpGet: {path: /health, port: 8000}
            periodSeconds: 5
        - name: proxy
          image: proxy:1
"""
PROBE = "livenessProbe: {tcpSocket: {port: 1}}"


def wrapped(kind: str, container: str = f"{{name: app, image: 'a:1', {PROBE}}}", policy: str = "") -> str:
    """The smallest manifest of a kind."""
    inner = f"{{containers: [{container}]{policy}}}"
    for name in reversed(POD_FIELDS[kind].split(".")):
        inner = f"{{{name}: {inner}}}"
    return f"{{kind: {kind}, {inner[1:]}"


def refusal(text: str) -> str:
    with pytest.raises(BadManifest) as caught:
        choose(read_text(text, "pod.yaml"), "pod.yaml")
    return str(caught.value)


def test_the_only_container_with_probes_is_the_one_meant(tmp_path: Path) -> None:
    path = tmp_path / "web.yaml"
    path.write_text(DEPLOYMENT)
    spec = pod_spec(path)
    assert (spec.container, spec.pod, spec.namespace) == ("app", "web", "shop")
    assert (spec.path, spec.line) == (str(path), 15)
    liveness = spec.probe(ProbeType.LIVENESS)
    assert liveness is not None and (liveness.period_s, liveness.failure_threshold) == (5, 3)


def test_every_container_is_listed_with_the_line_of_each_field() -> None:
    app, proxy = read_text(DEPLOYMENT, "web.yaml")
    assert (app.kind, app.name, app.containers) == ("Deployment", "web", ("app", "proxy"))
    assert proxy.spec.probes == () and proxy.spec.line == 20
    assert app.lines[f"{app.field}.livenessProbe.periodSeconds"] == 19


@pytest.mark.parametrize("kind", POD_FIELDS)
def test_each_kind_of_workload_is_read(kind: str) -> None:
    policy = ", restartPolicy: Never" if kind in ("Job", "CronJob") else ""
    [pod] = read_text(wrapped(kind, policy=policy), "pod.yaml")
    assert pod.kind == kind and pod.spec.probe(ProbeType.LIVENESS) is not None


def test_a_list_holds_many_objects() -> None:
    [pod] = read_text(f"{{kind: List, items: [{{kind: Service}}, {wrapped('Pod')}]}}", "all.yaml")
    assert pod.field == "items[1].spec.containers[0]"


def test_a_sidecar_counts_and_a_plain_init_container_does_not() -> None:
    text = (
        "kind: Pod\nspec:\n  containers: [{name: app, image: 'a:1'}]\n  initContainers:\n"
        f"  - {{name: setup, image: 'a:1'}}\n  - {{name: mesh, image: 'a:1', restartPolicy: Always, {PROBE}}}\n"
    )
    app, mesh = read_text(text, "pod.yaml")
    assert (app.sidecar, mesh.sidecar, mesh.spec.container, mesh.spec.line) == (False, True, "mesh", 6)


def test_standard_input_and_folders_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.yaml").write_text(wrapped("Pod"))
    (tmp_path / "b.json").write_text('{"kind": "Service"}')
    (tmp_path / "c.txt").write_text("{{ not read")
    assert [pod.spec.path for pod in read_pods(tmp_path)] == [str(tmp_path / "a.yaml")]
    monkeypatch.setattr("sys.stdin", io.StringIO(wrapped("Pod")))
    assert pod_spec("-").path == "<stdin>"


def test_anchors_aliases_and_merges_keep_the_lines_where_they_are_written() -> None:
    text = DEPLOYMENT + "          readinessProbe:\n            <<: *probe\n            periodSeconds: 2\n"
    _, proxy = read_text(text, "web.yaml")
    readiness = proxy.spec.probe(ProbeType.READINESS)
    assert readiness is not None and readiness.period_s == 2
    assert proxy.lines[f"{proxy.field}.readinessProbe.periodSeconds"] == 24
    assert proxy.lines[f"{proxy.field}.readinessProbe.httpGet"] == 18


def test_all_mistakes_are_told_at_once_each_with_its_line() -> None:
    text = DEPLOYMENT.replace("periodSeconds: 5", "periodSeconds: -5").replace("port: 8000", "port: 0")
    assert refusal(text).splitlines() == [
        "2 errors in the manifest:",
        "  pod.yaml:18: spec.template.spec.containers[0].livenessProbe.httpGet.port:"
        " Invalid value: 0: must be between 1 and 65535, inclusive",
        "  pod.yaml:19: spec.template.spec.containers[0].livenessProbe.periodSeconds:"
        " Invalid value: -5: must be greater than or equal to 0",
    ]


def test_a_missing_field_is_told_with_the_line_of_what_lacks_it() -> None:
    text = DEPLOYMENT.replace("httpGet: {path: /health, port: 8000}", "httpGet: {path: /health}")
    assert refusal(text).startswith("pod.yaml:18: spec.template.spec.containers[0].livenessProbe.httpGet.port: Invalid")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (DEPLOYMENT.replace("periodSeconds: 5", 'periodSeconds: "5"'), "pod.yaml:19: "),
        (DEPLOYMENT.replace("periodSeconds: 5", 'periodSeconds: "5"'), "write a whole number without quotes"),
        (
            DEPLOYMENT.replace("periodSeconds: 5", "periodSeconds: 0.5"),
            "cannot read number 0.5 as int32: write a whole number",
        ),
        (
            DEPLOYMENT.replace("periodSeconds", "periodSecs"),
            'pod.yaml:19: strict decoding error: unknown field "spec.templ',
        ),
        (
            DEPLOYMENT.replace("livenessProbe", "livenesProbe"),
            'unknown field "spec.template.spec.containers[0].livenesProbe"',
        ),
        (DEPLOYMENT.replace("          image: app", "\t\timage: app"), "pod.yaml:16: this line is indented with a tab"),
        (DEPLOYMENT.replace("kind: Deployment", "kind: deployment"), "Kubernetes writes it 'Deployment'"),
        ("kind: Service\n", "pod.yaml has no pod in it: only Service"),
        ("", "pod.yaml has no pod in it: nothing"),
        ("- 1\n", "pod.yaml:1: this is no Kubernetes object"),
        ("a: 1\n", "pod.yaml:1: kind is missing"),
        ("kind: Deployment\nspec: {replicas: 1}\n", "pod.yaml:2: spec.template: Deployment has no object there"),
        ("kind: Pod\nkind: Pod\n", 'pod.yaml:2: the key "kind" is there twice'),
        ("{{ if .Values.web }}\nkind: Pod\n", "helm template"),
        ("port: {{ .Values.port }}\n", "a template with {{ }} must be rendered first"),
        ("kind: [Pod\n", "pod.yaml:2: not YAML"),
        (wrapped("Pod", "{name: app, image: 'a:1'}"), "no container has a probe: pod/app (line 1)"),
        (wrapped("Job"), 'spec.template.spec.restartPolicy: Required value: valid values: "OnFailure", "Never"'),
        (
            wrapped("Deployment", policy=", restartPolicy: Never"),
            'Unsupported value: "Never": supported values: "Always"',
        ),
        (wrapped("Pod", policy=", terminationGracePeriodSeconds: soon"), 'cannot read string "soon" as int64'),
        ("a: &a [*a]\n", "an alias that contains itself"),
        ("[" * (DEPTH_LIMIT + 1), "nested too deeply"),
        ("[" * 100_000, "nested too deeply"),
        ("- " * 5_000 + "a", "nested too deeply"),
    ],
    ids=lambda value: None,
)
def test_common_mistakes_are_told_so_that_one_knows_what_to_change(text: str, said: str) -> None:
    assert said in refusal(text)


def test_an_alias_bomb_is_refused_before_it_goes_off() -> None:
    lines = ["a0: &a0 [1,1,1,1,1,1,1,1,1,1]"]
    lines += [f"a{n}: &a{n} [{','.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 12)]
    assert "stands for more than 500,000 values" in refusal("\n".join(lines))


def test_a_huge_file_is_refused() -> None:
    assert "is larger than 16 MiB" in refusal("#" * (17 << 20))


def test_two_containers_with_probes_must_be_told_apart(tmp_path: Path) -> None:
    path = tmp_path / "pod.yaml"
    path.write_text(wrapped("Pod", f"{{name: a, image: 'a:1', {PROBE}}}, {{name: b, image: 'a:1', {PROBE}}}"))
    with pytest.raises(BadManifest) as caught:
        pod_spec(path)
    assert "2 containers that could be meant: pod/a (line 1), pod/b (line 1)" in str(caught.value)
    assert "--container pod/a" in str(caught.value)
    assert pod_spec(path, "b").container == pod_spec(path, "pod/b").container == "b"
    with pytest.raises(BadManifest, match="has no container 'c'"):
        pod_spec(path, "c")


def test_a_named_container_without_probes_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "web.yaml"
    path.write_text(DEPLOYMENT)
    with pytest.raises(BadManifest, match=r"web.yaml:20: container 'proxy' has no probe"):
        pod_spec(path, "proxy")


def test_files_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    with pytest.raises(BadManifest, match="cannot be read: No such file"):
        read_pods(tmp_path / "none.yaml")
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(BadManifest, match="is not text in UTF-8"):
        read_pods(tmp_path / "binary.yaml")
    (tmp_path / "empty").mkdir()
    with pytest.raises(BadManifest, match="has no .yaml, .yml or .json file in it"):
        read_pods(tmp_path / "empty")


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_a_damaged_manifest_is_read_or_refused_but_never_breaks(data: st.DataObject) -> None:
    lines = DEPLOYMENT.splitlines()
    place = data.draw(st.integers(0, len(lines) - 1))
    column = data.draw(st.integers(0, len(lines[place])))
    inserted = data.draw(st.text(alphabet="{}[]:-&*!|>'\"%@`#,\t 0aé\x00", max_size=4))
    cut = data.draw(st.integers(0, 5))
    lines[place] = lines[place][:column] + inserted + lines[place][column + cut :]
    try:
        read_text("\n".join(lines), "web.yaml")
    except BadManifest as error:
        assert str(error).startswith("web.yaml") or "errors in the manifest" in str(error)
