"""Setting a probe's numbers in a manifest changes those lines and nothing else, or is refused."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
import yaml

from unstall.probe.rewrite import Rewritten, as_patch, rewrite
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


def change(path: Path, patch: dict[str, Any] | None = None, name: str = "app") -> Rewritten:
    """Write a patch, that of a longer time-out unless another is given, into one container of a file."""
    one = next(one for one in read_workloads([path]) if one.spec.container == name)
    [done] = rewrite(str(path), [(one, patch or LONGER)])
    return done


LONGER = {"livenessProbe": {"timeoutSeconds": 5, "failureThreshold": 6}}


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
    assert path.read_text(encoding="utf-8") == HEAD + app(probe + added) + FIRST


def test_a_flow_mapping_stays_on_its_line(tmp_path: Path) -> None:
    path = tmp_path / "web.yaml"
    probe = "        livenessProbe: {httpGet: {path: /health, port: 8000}, timeoutSeconds: 1}\n"
    path.write_text(HEAD + app(probe), encoding="utf-8")
    assert change(path) == Rewritten(1)
    [line] = [line for line in path.read_text(encoding="utf-8").splitlines() if "livenessProbe" in line]
    assert line == (
        "        livenessProbe: {httpGet: {path: /health, port: 8000}, timeoutSeconds: 5, failureThreshold: 6}"
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
    assert changed.endswith(b"          timeoutSeconds: 5\r\n          failureThreshold: 6\r\n")


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
TAGGED = app("""\
        livenessProbe:
          httpGet: {path: /health, port: 8000}
          timeoutSeconds: !!int 1
          failureThreshold: 3
""")
ALIASED = app("""\
        livenessProbe:
          httpGet: {path: /health, port: 8000}
          timeoutSeconds: &short 1
          failureThreshold: 3
        readinessProbe:
          httpGet: {path: /health, port: 8000}
          timeoutSeconds: *short
""")
WHOLE = """\
      - &app
        name: app
        image: web:1
        livenessProbe:
          httpGet: {path: /health, port: 8000}
      - <<: *app
        name: other
"""


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (ANCHORED, "anchor"),
        (TAGGED, "not understood"),
        (ALIASED, "anchor"),
        (WHOLE, "anchor"),
    ],
)
def test_what_cannot_be_edited_safely_is_refused_and_left_alone(tmp_path: Path, text: str, reason: str) -> None:
    path = tmp_path / "web.yaml"
    path.write_text(HEAD + text, encoding="utf-8")
    assert reason in change(path).refused
    assert path.read_text(encoding="utf-8") == HEAD + text


def test_a_merged_probe_gets_numbers_of_its_own(tmp_path: Path) -> None:
    path = tmp_path / "web.yaml"
    path.write_text(HEAD + MERGED, encoding="utf-8")
    assert change(path) == Rewritten(2)
    added = "          timeoutSeconds: 5\n          failureThreshold: 6\n"
    assert path.read_text(encoding="utf-8") == HEAD + MERGED + added


def test_a_handler_that_is_merged_in_is_not_changed_at_its_anchor(tmp_path: Path) -> None:
    path = tmp_path / "web.yaml"
    path.write_text(HEAD + MERGED, encoding="utf-8")
    assert "anchor" in change(path, {"livenessProbe": {"httpGet": {"path": "/livez"}}}).refused
    assert path.read_text(encoding="utf-8") == HEAD + MERGED


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
    told = yaml.safe_load(as_patch(one, LONGER))
    assert (told["apiVersion"], told["kind"]) == ("apps/v1", "Deployment")
    assert told["metadata"] == {"name": "web", "namespace": "shop"}
    assert told["spec"]["template"]["spec"]["containers"] == [
        {"name": "app", "livenessProbe": {"timeoutSeconds": 5, "failureThreshold": 6}}
    ]


STARTUP = {
    "startupProbe": {"httpGet": {"path": "/health", "port": 8000}, "periodSeconds": 2, "failureThreshold": 60},
    "terminationMessagePolicy": "FallbackToLogsOnError",
}


def test_new_keys_go_below_the_liveness_probe_and_comments_stay_where_they_were(tmp_path: Path) -> None:
    path = tmp_path / "web.yaml"
    probe = WRITTEN + "        # about the environment\n        env: []\n"
    path.write_text(HEAD + app(probe) + FIRST, encoding="utf-8")
    assert change(path, STARTUP) == Rewritten(7)
    added = """\
        startupProbe:
          httpGet:
            path: /health
            port: 8000
          periodSeconds: 2
          failureThreshold: 60
        terminationMessagePolicy: FallbackToLogsOnError
"""
    expected = app(WRITTEN + added + probe.removeprefix(WRITTEN))
    assert path.read_text(encoding="utf-8") == HEAD + expected + FIRST


def test_a_probe_that_ends_with_a_long_script_gets_its_numbers_below_the_script(tmp_path: Path) -> None:
    path = tmp_path / "web.yaml"
    probe = """\
        livenessProbe:
          exec:
            command:
            - sh
            - -c
            - |
              # tabs\tand text: {stay}
              curl -f localhost

        # below
        readinessProbe: {httpGet: {port: 1}}
"""
    path.write_text(HEAD + app(probe), encoding="utf-8")
    assert change(path) == Rewritten(2)
    added = "          timeoutSeconds: 5\n          failureThreshold: 6\n"
    expected = probe.replace("localhost\n", "localhost\n" + added)
    assert path.read_text(encoding="utf-8") == HEAD + app(expected)


def test_a_script_that_keeps_its_last_blank_lines_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "web.yaml"
    probe = "        livenessProbe:\n          exec:\n            command:\n            - |+\n              a\n\n\n"
    path.write_text(HEAD + app(probe) + FIRST, encoding="utf-8")
    assert "would not mean" in change(path).refused
    assert path.read_text(encoding="utf-8") == HEAD + app(probe) + FIRST


def as_json(**how: Any) -> str:
    probe = {"httpGet": {"path": "/health", "port": 8000}, "timeoutSeconds": 1}
    container = {"name": "app", "image": "web:1", "command": ["uvicorn", "a:app"], "livenessProbe": probe, "env": []}
    return json.dumps(
        {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "web"}, "spec": {"containers": [container]}}, **how
    )


@pytest.mark.parametrize("how", [{"indent": 2}, {"separators": (",", ":")}, {"indent": 4}])
def test_json_stays_json_and_its_layout(tmp_path: Path, how: dict[str, Any]) -> None:
    path = tmp_path / "web.json"
    path.write_text(as_json(**how), encoding="utf-8")
    done = change(path, {**LONGER, **STARTUP, "ports": [{"name": "x", "containerPort": 1}]})
    assert done.refused == ""
    [container] = json.loads(path.read_text(encoding="utf-8"))["spec"]["containers"]
    assert container["livenessProbe"]["failureThreshold"] == 6
    assert container["startupProbe"] == STARTUP["startupProbe"]
    assert container["ports"] == [{"name": "x", "containerPort": 1}]
    assert (done.lines == 1) == ("separators" in how)


WRAP = ["unstall", "run", "--health-port", "8099", "--"]


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        (
            '        command: ["uvicorn", "a:app"]  # start\n',
            '        command: ["unstall", "run", "--health-port", "8099", "--", "uvicorn", "a:app"]  # start\n',
        ),
        (
            "        command: ['uvicorn', 'a:app']\n",
            "        command: ['unstall', 'run', '--health-port', '8099', '--', 'uvicorn', 'a:app']\n",
        ),
        (
            "        command:\n        - uvicorn\n        - a:app\n",
            '        command:\n        - unstall\n        - run\n        - "--health-port"\n        - "8099"\n        - "--"\n'
            "        - uvicorn\n        - a:app\n",
        ),
        (
            "        command:\n          - uvicorn  # first\n          - a:app\n",
            '        command:\n          - unstall\n          - run\n          - "--health-port"\n          - "8099"\n'
            '          - "--"\n          - uvicorn  # first\n          - a:app\n',
        ),
    ],
)
def test_a_command_is_wrapped_in_the_way_it_is_written(tmp_path: Path, written: str, expected: str) -> None:
    path = tmp_path / "web.yaml"
    path.write_text(HEAD + app(WRITTEN + written), encoding="utf-8")
    done = change(path, {"command": [*WRAP, "uvicorn", "a:app"]})
    assert done.refused == ""
    assert path.read_text(encoding="utf-8") == HEAD + app(WRITTEN + expected)


def test_a_handler_of_another_kind_is_replaced_where_it_stands(tmp_path: Path) -> None:
    path = tmp_path / "web.yaml"
    probe = (
        "        livenessProbe:\n          tcpSocket:\n            port: 8000\n          periodSeconds: 5  # often\n"
    )
    path.write_text(HEAD + app(probe), encoding="utf-8")
    patch = {"livenessProbe": {"tcpSocket": None, "httpGet": {"path": "/livez", "port": 8099}}}
    assert change(path, patch).refused == ""
    expected = probe.replace(
        "tcpSocket:\n            port: 8000", "httpGet:\n            path: /livez\n            port: 8099"
    )
    assert path.read_text(encoding="utf-8") == HEAD + app(expected)


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("{path: /h, port: 1, scheme: HTTPS}", "{path: /h, port: 1}"),
        ("{scheme: HTTPS, path: /h, port: 1}", "{path: /h, port: 1}"),
    ],
)
def test_a_key_is_taken_out_of_a_flow_mapping(tmp_path: Path, written: str, expected: str) -> None:
    path = tmp_path / "web.yaml"
    path.write_text(HEAD + app(f"        livenessProbe:\n          httpGet: {written}\n"), encoding="utf-8")
    assert change(path, {"livenessProbe": {"httpGet": {"scheme": None}}}) == Rewritten(1)
    assert path.read_text(encoding="utf-8").endswith(f"          httpGet: {expected}\n")


def test_a_key_is_taken_out_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "web.yaml"
    probe = "        livenessProbe:\n          httpGet:\n            port: 1\n            host: x  # why\n            path: /h\n"
    path.write_text(HEAD + app(probe), encoding="utf-8")
    assert change(path, {"livenessProbe": {"httpGet": {"host": None}}}) == Rewritten(1)
    assert path.read_text(encoding="utf-8") == HEAD + app(probe.replace("            host: x  # why\n", ""))


def test_ports_are_added_to_those_that_are_there(tmp_path: Path) -> None:
    path = tmp_path / "web.yaml"
    ports = "        ports:\n        - containerPort: 8000  # http\n"
    path.write_text(HEAD + app(WRITTEN + ports) + FIRST, encoding="utf-8")
    assert change(path, {"ports": [{"name": "watch", "containerPort": 8099}]}) == Rewritten(2)
    expected = ports + "        - name: watch\n          containerPort: 8099\n"
    assert path.read_text(encoding="utf-8") == HEAD + app(WRITTEN + expected) + FIRST


def test_several_containers_of_one_file_are_changed_together_and_counted_apart(tmp_path: Path) -> None:
    path = tmp_path / "web.yaml"
    path.write_text(HEAD + FIRST + app(WRITTEN) + OTHER, encoding="utf-8")
    first, second = read_workloads([path])
    assert rewrite(str(path), [(first, STARTUP), (second, LONGER)]) == [Rewritten(7), Rewritten(2)]
    again = {one.spec.container: one for one in read_workloads([path])}
    assert "startupProbe" in again["sidecar"].container
    assert again["app"].container["livenessProbe"]["timeoutSeconds"] == 5


def test_one_that_is_refused_does_not_keep_the_other_from_being_changed(tmp_path: Path) -> None:
    path = tmp_path / "web.yaml"
    path.write_text(HEAD + FIRST + ANCHORED, encoding="utf-8")
    first, second = read_workloads([path])
    done = rewrite(str(path), [(first, LONGER), (second, LONGER)])
    assert (done[0], "anchor" in done[1].refused) == (Rewritten(2), True)
    text = path.read_text(encoding="utf-8")
    assert "timeoutSeconds: 5   # not this one" in text and ANCHORED in text


def test_a_look_writes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "web.yaml"
    path.write_text(HEAD + app(WRITTEN), encoding="utf-8")
    [one] = read_workloads([path])
    assert rewrite(str(path), [(one, LONGER)], write=False) == [Rewritten(2)]
    assert path.read_text(encoding="utf-8") == HEAD + app(WRITTEN)


def test_a_file_that_changed_meanwhile_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "web.yaml"
    path.write_text(HEAD + app(WRITTEN), encoding="utf-8")
    [one] = read_workloads([path])
    path.write_text("apiVersion: v1\nkind: ConfigMap\n", encoding="utf-8")
    [done] = rewrite(str(path), [(one, LONGER)])
    assert "not what it was" in done.refused


def test_the_mode_of_the_file_and_a_link_to_it_are_kept(tmp_path: Path) -> None:
    path, link = tmp_path / "web.yaml", tmp_path / "link.yaml"
    path.write_text(HEAD + app(WRITTEN), encoding="utf-8")
    path.chmod(0o640)
    link.symlink_to(path.name)
    assert change(link) == Rewritten(2)
    assert link.is_symlink() and os.stat(path).st_mode & 0o777 == 0o640


def test_tags_of_other_tools_are_kept(tmp_path: Path) -> None:
    path = tmp_path / "web.yaml"
    text = HEAD + app(WRITTEN + "        env:\n        - {name: A, value: !Secret b}\n")
    path.write_text(text, encoding="utf-8")
    assert change(path) == Rewritten(2)
    assert "value: !Secret b}" in path.read_text(encoding="utf-8")


def test_a_text_without_a_last_line_end_gets_none(tmp_path: Path) -> None:
    path = tmp_path / "web.yaml"
    path.write_text((HEAD + app("        livenessProbe:\n          httpGet: {port: 1}\n")).rstrip(), encoding="utf-8")
    assert change(path).refused == ""
    assert path.read_text(encoding="utf-8").endswith(
        "httpGet: {port: 1}\n          timeoutSeconds: 5\n          failureThreshold: 6"
    )


def test_json_in_a_file_of_another_name_stays_json(tmp_path: Path) -> None:
    path = tmp_path / "web.yaml"
    path.write_text(as_json(indent=2).replace('"env": []', '"ports": [], "resources": {}'), encoding="utf-8")
    done = change(path, {"ports": [{"name": "x", "containerPort": 1}], "resources": {"limits": {"cpu": "1"}}})
    assert done.refused == ""
    [container] = json.loads(path.read_text(encoding="utf-8"))["spec"]["containers"]
    assert (container["ports"], container["resources"]) == (
        [{"name": "x", "containerPort": 1}],
        {"limits": {"cpu": "1"}},
    )
