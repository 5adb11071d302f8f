"""The plugin hears what runs on a loop, whoever runs the loop: each runner in a pytest of its own."""

from __future__ import annotations

import textwrap

import pytest

pytest_plugins = ["pytester"]

INI = "[pytest]\nasyncio_mode = auto\nasyncio_default_fixture_loop_scope = function\n"
QUIET = ("-q", "-W", "ignore::DeprecationWarning", "-W", "ignore::UserWarning")
APP = """
    import time
    from starlette.applications import Starlette
    from starlette.responses import Response
    from starlette.routing import Route

    def render():
        time.sleep(0.001)

    def build_pdf():
        render()

    async def create_invoice(request):
        build_pdf()
        return Response()

    def threaded(request):
        build_pdf()
        return Response()

    async def fine(request):
        return Response()

    app = Starlette(routes=[Route("/blocks", create_invoice), Route("/threaded", threaded), Route("/fine", fine)])
"""


def run(pytester: pytest.Pytester, *arguments: str, **files: str) -> tuple[set[str], set[str], str]:
    """The tests that failed, those that passed, and the text."""
    pytester.makeini(INI)
    pytester.makepyfile(**{name: textwrap.dedent(text) for name, text in files.items()})
    done = pytester.runpytest_subprocess("--unstall", "-rA", *QUIET, *arguments)
    text = done.stdout.str() + done.stderr.str()
    failed = {
        line.split("::", 1)[1].split(" - ")[0]
        for line in text.splitlines()
        if line.startswith("FAILED ") and "::" in line
    }
    passed = {
        line.split("::", 1)[1].split(" - ")[0]
        for line in text.splitlines()
        if line.startswith("PASSED ") and "::" in line
    }
    return failed, passed, text


CLIENTS = """
    import asyncio, time, unittest
    import httpx, pytest
    from starlette.testclient import TestClient
    from app import app, build_pdf, create_invoice

    def asgi():
        return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://app")

    async def test_bad_pytest_asyncio():
        build_pdf()

    @pytest.mark.anyio
    async def test_bad_anyio(anyio_backend_name):
        if anyio_backend_name == "asyncio":
            build_pdf()

    async def test_bad_asgi_transport():
        async with asgi() as client:
            await client.get("/blocks")

    async def test_good_asgi_transport():
        async with asgi() as client:
            assert (await client.get("/threaded")).status_code == 200
            assert (await client.get("/fine")).status_code == 200

    def test_bad_test_client():
        assert TestClient(app).get("/blocks").status_code == 200

    def test_good_test_client():
        with TestClient(app) as client:
            assert client.get("/threaded").status_code == 200
            assert client.get("/fine").status_code == 200

    async def test_good_sync_client_in_a_coroutine():
        assert TestClient(app).get("/fine").status_code == 200

    def test_good_no_loop():
        build_pdf()

    def test_good_after_the_loop():
        asyncio.run(asyncio.sleep(0))
        build_pdf()

    def test_bad_asyncio_run():
        asyncio.run(create_invoice(None))

    @pytest.fixture
    async def invoice():
        build_pdf()
        yield 1

    async def test_bad_fixture(invoice):
        assert invoice == 1

    class TestIsolated(unittest.IsolatedAsyncioTestCase):
        def setUp(self):
            build_pdf()

        async def test_bad_isolated(self):
            build_pdf()

        async def test_good_isolated(self):
            await asyncio.to_thread(build_pdf)

    def test_bad_uvloop():
        import uvloop
        uvloop.run(create_invoice(None))

    def test_good_uvloop():
        import uvloop
        async def sleeps():
            await asyncio.sleep(0.001)
            await asyncio.to_thread(build_pdf)
        uvloop.run(sleeps())
"""


def test_each_runner_of_loops_is_heard_and_the_failure_says_what_to_do(pytester: pytest.Pytester) -> None:
    failed, passed, text = run(pytester, app=APP, test_it=CLIENTS)
    assert failed == {
        "test_bad_pytest_asyncio", "test_bad_anyio[asyncio]", "test_bad_asgi_transport", "test_bad_test_client",
        "test_bad_asyncio_run", "test_bad_fixture", "TestIsolated::test_bad_isolated", "test_bad_uvloop",
    }, text  # fmt: skip
    assert len(passed - {"test_bad_anyio[trio]"}) == 7, text
    said = text[text.index("E   unstall.Stalled: test_bad_asgi") :].splitlines()[:8]
    assert [line.split("; here it took")[0] for line in said] == [
        "E   unstall.Stalled: test_bad_asgi_transport blocked the event loop",
        "E     UNS101 time.sleep  app.py:7 in render",
        "E     called from    app.py:10 in build_pdf",
        "E                    app.py:13 in create_invoice",
        "E                    test_it.py:19 in test_bad_asgi_transport",
        "E     why            sleeps for as long as its argument says",
        "E     instead        await asyncio.sleep(...)",
        'E   Allow it here:   @pytest.mark.unstall(allow="time.sleep")',
    ]
    assert "FAILED test_it.py::test_bad_asgi_transport - unstall.Stalled: UNS101 time.sle" in text
    assert "app.py:7 in render (in its setup)" in text


def test_workers_of_xdist_judge_their_own_tests_and_share_the_baseline(pytester: pytest.Pytester) -> None:
    suite = """
        import asyncio, time
        def nap(): time.sleep(0.001)
        async def test_bad_one(): nap()
        async def test_bad_two(): nap()
        async def test_good_one(): await asyncio.sleep(0)
    """
    failed, _, text = run(pytester, "-n", "2", test_it=suite)
    assert failed == {"test_bad_one", "test_bad_two"}, text
    _, _, text = run(pytester, "-n", "2", "--unstall-write-baseline", test_it=suite)
    assert "unstall-pytest.json: 1 call accepted" in text
    assert "test_it.py::nap::UNS101::time.sleep" in (pytester.path / "unstall-pytest.json").read_text()


def test_the_loops_of_pytest_aiohttp_are_heard(pytester: pytest.Pytester) -> None:
    suite = """
        import time
        from aiohttp import web

        async def blocks(request):
            time.sleep(0.001)
            return web.Response()

        async def fine(request):
            return web.Response()

        async def client_of(aiohttp_client):
            app = web.Application()
            app.router.add_get("/blocks", blocks)
            app.router.add_get("/fine", fine)
            return await aiohttp_client(app)

        async def test_bad(aiohttp_client):
            assert (await (await client_of(aiohttp_client)).get("/blocks")).status == 200

        async def test_good(aiohttp_client):
            assert (await (await client_of(aiohttp_client)).get("/fine")).status == 200
    """
    failed, passed, text = run(pytester, test_it=suite)
    assert failed == {"test_bad"} and passed == {"test_good"}, text
