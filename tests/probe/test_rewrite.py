"""Setting a probe's numbers in a manifest changes those lines and nothing else, or is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from unstall.model import ProbeSpec, ProbeType
from unstall.probe.rewrite import Rewritten, patch, rewrite
from unstall.probe.workload import read_workloads

HEAD = """\
# Shop \u2014 the web front
apiVersion: apps/v1
kind: Deployment
metadata:
  name: web
  namespace: shop
spec:
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers:
"""
FIRST = """\
      - name: sidecar
        image: side:1
        livenessProbe:
          timeoutSeconds: 1   # not this one
          httpGet: {path: /, port: 1}
"""
OTHER = """\
---
apiVersion: v1
kind: ConfigMap
metadata: {name: web}
data:
  text: |
    livenessProbe:
      timeoutSeconds: 1
"""


def change(path: Path, timeout_s: int = 5, failures: int = 6, name: str = "app") -> Rewritten:
    one = next(one for one in read_workloads([path]) if one.spec.container == name)
    now = one.spec.probe(ProbeType.LIVENESS)
    assert now is not None
    return rewrite(one, ProbeSpec(now.type, now.handler, now.period_s, timeout_s, failures))


def app(probe: str) -> str:
    return f"      - name: app\n        image: web:1\n{probe}"


WRITTEN = """\
        livenessProbe:
          httpGet: {path: /health, port: 8000}   # asked by the kubelet
          timeoutSeconds: 1   # too short
          failureThreshold: 3
"""


def test_numbers_that_are_there_are_replaced_and_all_else_is_kept_byte_by_byte(tmp_path: Path) -> None:
    path = tmp_path / "web.yaml"
    text = HEAD + FIRST + app(WRITTEN) + OTHER
    path.write_text(text, encoding="utf-8")
    assert change(path) == Rewritten(2)
    expected = text.replace("timeoutSeconds: 1   # too short", "timeoutSeconds: 5   # too short")
    assert path.read_text(encoding="utf-8") == expected.replace("failureThreshold: 3", "failureThreshold: 6")


def test_numbers_that_are_missing_are_added_as_lines_of_their_own(tmp_path: Path) -> None:
    path = tmp_path / "web.yaml"
    probe = "        livenessProbe:\n          # why\n          httpGet: {path: /health, port: 8000}\n"
    path.write_text(HEAD + app(probe) + FIRST, encoding="utf-8")
    assert change(path) == Rewritten(2)
    added = "          timeoutSeconds: 5\n          failureThreshold: 6\n"
    expected = probe.replace("          httpGet", added + "          httpGet")
    assert path.read_text(encoding="utf-8") == HEAD + app(expected) + FIRST


def test_a_flow_mapping_stays_on_its_line(tmp_path: Path) -> None:
    path = tmp_path / "web.yaml"
    probe = "        livenessProbe: {httpGet: {path: /health, port: 8000}, timeoutSeconds: 1}\n"
    path.write_text(HEAD + app(probe), encoding="utf-8")
    assert change(path) == Rewritten(1)
    [line] = [line for line in path.read_text(encoding="utf-8").splitlines() if "livenessProbe" in line]
    assert line == (
        "        livenessProbe: {failureThreshold: 6, httpGet: {path: /health, port: 8000}, timeoutSeconds: 5}"
    )


def test_windows_line_ends_and_a_byte_order_mark_are_kept(tmp_path: Path) -> None:
    path = tmp_path / "web.yaml"
    text = "\ufeff" + (HEAD + app("        livenessProbe:\n          httpGet: {path: /h, port: 1}\n"))
    raw = text.replace("\n", "\r\n").encode("utf-8")
    path.write_bytes(raw)
    assert change(path).refused == ""
    changed = path.read_bytes()
    assert changed.startswith(b"\xef\xbb\xbf")
    assert changed.count(b"\n") == changed.count(b"\r\n") == raw.count(b"\r\n") + 2
    assert b"          timeoutSeconds: 5\r\n          failureThreshold: 6\r\n          httpGet" in changed


def test_the_second_document_of_a_file_is_found(tmp_path: Path) -> None:
    path = tmp_path / "web.yaml"
    text = OTHER + "---\n" + HEAD + app(WRITTEN)
    path.write_text(text, encoding="utf-8")
    assert change(path) == Rewritten(2)
    first, second = yaml.safe_load_all(path.read_text(encoding="utf-8"))
    assert "timeoutSeconds: 1" in first["data"]["text"]
    assert second["spec"]["template"]["spec"]["containers"][0]["livenessProbe"]["timeoutSeconds"] == 5


ANCHORED = app("""\
        livenessProbe: &probe
          httpGet: {path: /health, port: 8000}
          timeoutSeconds: 1
        readinessProbe: *probe
""")
MERGED = app("""\
        readinessProbe: &probe
          httpGet: {path: /health, port: 8000}
        livenessProbe:
          <<: *probe
          periodSeconds: 10
""")
QUOTED = app("""\
        livenessProbe:
          httpGet: {path: /health, port: 8000}
          timeoutSeconds: 0x1
          failureThreshold: 3
""")


@pytest.mark.parametrize(("text", "reason"), [(ANCHORED, "anchor"), (MERGED, "anchor"), (QUOTED, "not a plain number")])
def test_what_cannot_be_edited_safely_is_refused_and_left_alone(tmp_path: Path, text: str, reason: str) -> None:
    path = tmp_path / "web.yaml"
    path.write_text(HEAD + text, encoding="utf-8")
    assert reason in change(path).refused
    assert path.read_text(encoding="utf-8") == HEAD + text


def test_an_anchor_inside_the_probe_is_no_reason_to_refuse(tmp_path: Path) -> None:
    path = tmp_path / "web.yaml"
    text = app("""\
        livenessProbe:
          httpGet: &health {path: /health, port: 8000}
          timeoutSeconds: 1
          failureThreshold: 3
        readinessProbe:
          httpGet: *health
""")
    path.write_text(HEAD + text, encoding="utf-8")
    assert change(path) == Rewritten(2)
    assert "readinessProbe:\n          httpGet: *health\n" in path.read_text(encoding="utf-8")


def test_the_patch_names_the_object_and_the_container_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "web.yaml"
    path.write_text(HEAD + FIRST + app(WRITTEN), encoding="utf-8")
    one = next(one for one in read_workloads([path]) if one.spec.container == "app")
    now = one.spec.probe(ProbeType.LIVENESS)
    assert now is not None
    told = yaml.safe_load(patch(one, ProbeSpec(now.type, now.handler, 10, 5, 6)))
    assert (told["apiVersion"], told["kind"]) == ("apps/v1", "Deployment")
    assert told["metadata"] == {"name": "web", "namespace": "shop"}
    assert told["spec"]["template"]["spec"]["containers"] == [
        {"name": "app", "livenessProbe": {"timeoutSeconds": 5, "failureThreshold": 6}}
    ]
