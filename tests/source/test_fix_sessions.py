"""Units of work with a database: moved as a whole where nothing of them escapes, else left alone with the reason."""

from __future__ import annotations

from pathlib import Path

import pytest

from unstall.source.check import Options
from unstall.source.fix import FixReport, fix

HEAD = """\
import asyncio

from sqlalchemy import create_engine, select
from sqlalchemy.orm import Session, scoped_session, sessionmaker

engine = create_engine("sqlite://")
SessionLocal = sessionmaker(engine)
scoped = scoped_session(SessionLocal)
kept = []


"""


def fixed(tmp_path: Path, body: str, unsafe: bool = False) -> FixReport:
    (tmp_path / "app.py").write_text(HEAD + body)
    return fix(tmp_path, Options(cache=False, jobs=1), unsafe)


def test_a_session_made_used_and_closed_in_its_block_moves_with_it(tmp_path: Path) -> None:
    report = fixed(
        tmp_path,
        "async def rename(key, name):\n"
        "    with SessionLocal() as session:\n"
        "        user = session.get(User, key)\n"
        "        old, user.name = user.name, name\n"
        "        session.commit()\n"
        "    await asyncio.sleep(0)\n"
        "    return old\n",
    )
    assert not report.left
    assert report.texts["app.py"].endswith(
        "async def rename(key, name):\n"
        "    def work():\n"
        "        with SessionLocal() as session:\n"
        "            user = session.get(User, key)\n"
        "            old, user.name = user.name, name\n"
        "            session.commit()\n"
        "        return old\n"
        "\n"
        "    old = await asyncio.to_thread(work)\n"
        "    await asyncio.sleep(0)\n"
        "    return old\n"
    )
    assert not any(plan.unsafe for plan in report.plans)


def test_a_session_with_its_transaction_that_returns_moves_with_it(tmp_path: Path) -> None:
    report = fixed(
        tmp_path,
        "async def names():\n"
        "    await asyncio.sleep(0)\n"
        "    with Session(engine) as session, session.begin():\n"
        "        return session.execute(select(User.name)).scalars().all()\n",
    )
    assert not report.left
    assert "    return await asyncio.to_thread(work)\n" in report.texts["app.py"]


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("        rows = session.execute(select(User)).scalars()\n    return [r for r in rows]\n", "`scalars` gives back is read after"),
        ("        return session.execute(select(User))\n", "`execute` gives back is read after"),
        ("        kept.append(session)\n        session.commit()\n", "the session leaves its `with` block"),
        ("        session.commit()\n        return session\n", "the session leaves its `with` block"),
        ("        app.session = session\n        session.commit()\n", "the session leaves its `with` block"),
        ("        later = lambda: session.get(User, 1)\n        session.commit()\n    return later\n", "taken along by a function"),
        ("        session.commit()\n        await asyncio.sleep(0)\n", "awaits or yields inside"),
    ],
)  # fmt: skip
def test_a_session_of_which_something_escapes_stays(tmp_path: Path, body: str, reason: str) -> None:
    report = fixed(tmp_path, "async def main():\n    with SessionLocal() as session:\n" + body)
    assert not report.texts
    assert any(reason in left.reason for left in report.left), [left.reason for left in report.left]


def test_a_transaction_of_a_session_from_elsewhere_is_unsafe(tmp_path: Path) -> None:
    body = (
        "async def main(session: Session):\n    await asyncio.sleep(0)\n"
        "    with session.begin():\n        session.execute(select(1)).all()\n"
    )
    report = fixed(tmp_path, body)
    assert not report.texts
    assert any("a cancelled request may close the session" in left.reason for left in report.left)
    assert "await asyncio.to_thread(work)" in fixed(tmp_path, body, unsafe=True).texts["app.py"]
