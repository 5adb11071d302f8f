"""Edits over offsets: round trips, diffs that git takes, writing that a kill cannot tear."""

from __future__ import annotations

import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from unstall.errors import BadInput
from unstall.model import Edit
from unstall.source import edits

# Every kind of line end, characters outside of ASCII and outside of the basic plane, form feeds, no newline at the end.
TEXTS = st.text(st.sampled_from(list("ab #:()\n\r\t\f\u00e9\u2028\U0001f40d'\"")), max_size=80)


@st.composite
def edited(draw: st.DrawFn) -> tuple[str, list[Edit]]:
    text = draw(TEXTS)
    cuts = sorted(draw(st.lists(st.integers(0, len(text)), max_size=8)))
    pairs = zip(cuts[::2], cuts[1::2], strict=False)
    return text, [Edit("a.py", start, end, draw(TEXTS)) for start, end in pairs]


@given(edited())
def test_reversed_edits_restore_every_character(case: tuple[str, list[Edit]]) -> None:
    text, made = case
    after = edits.apply(text, made)
    assert edits.apply(after, edits.reverse(text, made)) == text


@given(TEXTS)
def test_edits_that_put_back_what_is_there_change_nothing(text: str) -> None:
    same = [Edit("a.py", at, min(at + 3, len(text)), text[at : at + 3]) for at in range(0, len(text), 3)]
    assert edits.apply(text, same) == text
    assert edits.apply(text, []) == text


@given(TEXTS)
def test_lines_joined_are_the_text_and_end_where_python_ends_them(text: str) -> None:
    lines = edits.split_lines(text)
    assert "".join(lines) == text
    assert all(line.rstrip("\r\n") not in ("",) or line for line in lines)
    assert len(lines) == len(text.replace("\r\n", "\n").replace("\r", "\n").split("\n")) - (
        not text or text[-1] in "\r\n"
    )


@given(TEXTS, TEXTS)
def test_edits_between_two_texts_make_one_of_the_other(before: str, after: str) -> None:
    assert edits.apply(before, edits.between("a.py", before, after)) == after


@given(TEXTS, st.sampled_from(["utf-8", "utf-8-sig"]))
def test_a_file_is_written_back_with_the_bytes_it_had(text: str, encoding: str) -> None:
    file = edits.SourceFile("a.py", text, text.encode(encoding), encoding)
    assert file.encoded(edits.apply(text, [])) == file.data


def test_edits_that_overlap_are_refused() -> None:
    with pytest.raises(ValueError, match="overlap"):
        edits.apply("abcdef", [Edit("a", 0, 3, ""), Edit("a", 2, 4, "")])


def test_insertions_at_one_place_keep_their_order() -> None:
    assert edits.apply("x", [Edit("a", 0, 0, "1"), Edit("a", 0, 0, "2"), Edit("a", 0, 1, "y")]) == "12y"


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("a\nb\nc\n", "a\nB\nc\n"),
        ("a\nb", "a\nb\nc"),
        ("", "new\n"),
        ("a\r\nb\r\n", "a\r\nc\r\n"),
        ("\n".join(map(str, range(40))) + "\n", "\n".join(str(n) for n in range(40) if n not in (3, 30)) + "\n"),
    ],
)
def test_git_applies_the_diff_and_gets_the_same_bytes(tmp_path: Path, before: str, after: str) -> None:
    (tmp_path / "a.py").write_bytes(before.encode())
    patch = edits.diff("a.py", before, after, lambda first, last: f"why {first}").encode()
    subprocess.run(["git", "apply", "--unidiff-zero", "-"], cwd=tmp_path, input=patch, check=True, capture_output=True)
    assert (tmp_path / "a.py").read_bytes() == after.encode()
    assert b"@@ why " in patch


def test_the_diff_of_equal_texts_is_empty() -> None:
    assert edits.diff("a.py", "a\n", "a\n") == ""


def test_writing_keeps_mode_encoding_and_newlines(tmp_path: Path) -> None:
    path = tmp_path / "a.py"
    path.write_bytes("# coding: latin-1\r\nname = 'é'\r\n".encode("latin-1"))
    path.chmod(0o751)
    file = edits.read_file(path, "a.py")
    edits.write_file(tmp_path, file, file.text.replace("name", "word"))
    assert path.read_bytes() == "# coding: latin-1\r\nword = 'é'\r\n".encode("latin-1")
    assert stat.S_IMODE(path.stat().st_mode) == 0o751
    assert [p.name for p in tmp_path.iterdir()] == ["a.py"]


def test_a_byte_order_mark_stays(tmp_path: Path) -> None:
    path = tmp_path / "a.py"
    path.write_bytes(b"\xef\xbb\xbfa = 1\n")
    file = edits.read_file(path, "a.py")
    assert file.text == "a = 1\n"
    edits.write_file(tmp_path, file, "b = 1\n")
    assert path.read_bytes() == b"\xef\xbb\xbfb = 1\n"


def test_through_a_link_the_file_it_names_is_written(tmp_path: Path) -> None:
    (tmp_path / "real.py").write_text("a\n")
    (tmp_path / "link.py").symlink_to("real.py")
    edits.write_file(tmp_path, edits.read_file(tmp_path / "link.py", "link.py"), "b\n")
    assert (tmp_path / "link.py").is_symlink()
    assert (tmp_path / "real.py").read_text() == "b\n"


def test_a_file_that_changed_since_it_was_read_is_not_written(tmp_path: Path) -> None:
    path = tmp_path / "a.py"
    path.write_text("a\n")
    file = edits.read_file(path, "a.py")
    path.write_text("changed\n")
    with pytest.raises(edits.ChangedOnDisk, match="a.py: changed"):
        edits.write_file(tmp_path, file, "b\n")
    with pytest.raises(edits.ChangedOnDisk, match="a.py: changed"):
        edits.unchanged(tmp_path, [file])
    assert path.read_text() == "changed\n"
    assert [p.name for p in tmp_path.iterdir()] == ["a.py"]


@pytest.mark.parametrize("data", [b"# coding: no-such-codec\n", b"a = '\xff'\n"])
def test_a_file_whose_bytes_do_not_fit_its_encoding_is_left_alone(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "a.py").write_bytes(data)
    with pytest.raises(BadInput, match="a.py"):
        edits.read_file(tmp_path / "a.py", "a.py")


WRITER = """
import os, signal, sys
from pathlib import Path
from unstall.source import edits

root, point = Path(sys.argv[1]), sys.argv[2]


def die(*_args, **_kwargs):
    os.kill(os.getpid(), signal.SIGKILL)


class Half:
    def __init__(self, file):
        self.file = file

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.file.close()

    def write(self, data):
        self.file.write(data[: len(data) // 2])
        self.file.flush()
        die()


file = edits.read_file(root / "a.py", "a.py")
if point == "half written":
    opened = os.fdopen
    os.fdopen = lambda *given: Half(opened(*given))
elif point == "after the replacement":
    replace = os.replace
    os.replace = lambda *given: (replace(*given), die())
else:
    setattr(os, point, die)
edits.write_file(root, file, "b" * 100_000)
"""


@pytest.mark.parametrize("point", ["half written", "fsync", "chmod", "replace", "after the replacement"])
def test_a_kill_in_the_middle_of_writing_loses_no_file(tmp_path: Path, point: str) -> None:
    path = tmp_path / "a.py"
    path.write_text("a" * 100_000)
    writer = subprocess.run([sys.executable, "-c", WRITER, str(tmp_path), point], check=False)
    assert writer.returncode == -signal.SIGKILL
    assert path.read_text() == ("b" if point == "after the replacement" else "a") * 100_000
