"""The catalogue answers what a call is by its origin path."""

from __future__ import annotations

import time

import pytest

from unstall import catalogue
from unstall.catalogue import UNKNOWN, Catalogue, Condition
from unstall.catalogue.reading import read


@pytest.fixture(scope="module")
def rows() -> Catalogue:
    return catalogue.load()


def found(origin: str, when: catalogue.Use = "call") -> tuple[str, str] | None:
    row = catalogue.load().find(origin, when)
    return None if row is None else (row.rule, row.duration)


@pytest.mark.parametrize(
    ("origin", "expected"),
    [
        ("time.sleep", ("UNS101", "U")),
        ("requests.get", ("UNS102", "U")),
        ("requests.api.get", ("UNS102", "U")),
        ("requests.session().post", ("UNS102", "U")),
        ("requests.sessions.Session().post", ("UNS102", "U")),
        ("builtins.open", ("UNS104", "S")),
        ("shutil.copyfileobj", ("UNS104", "L")),
        ("subprocess.check_call", ("UNS105", "U")),
        ("queue.PriorityQueue().get", ("UNS106", "U")),
        ("socket.getaddrinfo", ("UNS107", "U")),
        ("bcrypt.hashpw", ("UNS108", "L")),
        ("PIL.Image.open().convert().thumbnail", ("UNS108", "L")),
        ("boto3.client().put_object", ("UNS109", "U")),
        ("boto3.Session().resource().Table().put_item", ("UNS109", "U")),
        ("boto3.client", ("UNS104", "L")),
        ("openai.AzureOpenAI().chat.completions.create", ("UNS109", "U")),
        ("openai.OpenAI().with_options().embeddings.create", ("UNS109", "U")),
        ("google.cloud.storage.Client().bucket().blob().upload_from_string", ("UNS109", "U")),
        ("asyncio.get_event_loop().run_until_complete", ("UNS110", "U")),
        ("asyncio.run_coroutine_threadsafe().result", ("UNS110", "U")),
        ("threading.Timer().join", ("UNS106", "U")),
        ("sqlalchemy.orm.session.Session().commit", ("UNS103", "U")),
        ("sqlalchemy.orm.sessionmaker()().query().filter().order_by().first", ("UNS103", "U")),
        ("sqlalchemy.orm.sessionmaker()().__enter__().execute", ("UNS103", "U")),
        ("sqlmodel.Session().commit", ("UNS103", "U")),
        ("sqlmodel.Session().exec", ("UNS103", "U")),
        ("sqlalchemy.create_engine().connect().execute", ("UNS103", "U")),
        ("psycopg2.connect().cursor().execute", ("UNS103", "U")),
        ("psycopg_pool.ConnectionPool().connection().__enter__().execute", ("UNS103", "U")),
        ("pymongo.MongoClient()[].orders.find_one", ("UNS103", "U")),
        ("pymongo.MongoClient()[][].insert_one", ("UNS103", "U")),
        ("redis.from_url().get", ("UNS103", "U")),
        ("django.db.models.Model.objects.filter().exclude().count", ("UNS103", "U")),
        ("celery.Celery().task()().delay", ("UNS109", "U")),
        ("ssl.SSLContext().wrap_socket().recv", ("UNS102", "U")),
    ],
)
def test_a_blocking_call_is_found_however_its_value_came_to_be(origin: str, expected: tuple[str, str]) -> None:
    assert found(origin) == expected


@pytest.mark.parametrize(
    "origin",
    [
        "asyncio.sleep",
        "asyncio.Lock().acquire",
        "asyncio.Queue().get",
        "httpx.AsyncClient().get",
        "aiohttp.ClientSession().get",
        "redis.asyncio.Redis().get",
        "redis.asyncio.from_url().get",
        "sqlalchemy.ext.asyncio.AsyncSession().execute",
        "sqlalchemy.ext.asyncio.create_async_engine().connect",
        "sqlmodel.ext.asyncio.session.AsyncSession().exec",
        "psycopg.AsyncConnection.connect",
        "pymongo.AsyncMongoClient()[][].find_one",
        "motor.motor_asyncio.AsyncIOMotorClient().db.orders.find_one",
        "openai.AsyncOpenAI().chat.completions.create",
        "openai.OpenAI().chat.completions.create().choices[].message.content.strip",
        "anthropic.AsyncAnthropic().messages.create",
        "boto3.client().list_buckets().get",
        "elasticsearch.AsyncElasticsearch().search",
        "qdrant_client.AsyncQdrantClient().search",
        "neo4j.AsyncGraphDatabase.driver().session().run",
        "slack_sdk.web.async_client.AsyncWebClient().chat_postMessage",
        "azure.storage.blob.aio.BlobClient().upload_blob",
        "google.cloud.firestore.AsyncClient().collection().document().get",
        "aiofiles.open",
        "anyio.Path().read_text",
        "playwright.async_api.Page().goto",
        "concurrent.futures.Future().__repr__",
        "",
        "()",
    ],
)
def test_an_async_twin_or_a_plain_result_is_not_in_the_catalogue(origin: str) -> None:
    assert found(origin) is None


@pytest.mark.parametrize(
    "origin",
    [
        "requests.Session",
        "requests.get().json",
        "os.path.join",
        "pathlib.Path().with_suffix",
        "sqlalchemy.orm.Session().add",
        "sqlalchemy.orm.Session().query().filter",
        "pymongo.MongoClient()[][].find",
        "redis.Redis().pipeline",
        "redis.Redis().pipeline().set",
        "boto3.client().get_paginator",
        "boto3.client().generate_presigned_url",
        "queue.Queue().get_nowait",
        "google.cloud.storage.Client().bucket().blob",
        "json.loads",
        "re.search",
        "sqlalchemy.orm.Session().execute().scalars().all",
        "stripe.Webhook.construct_event",
    ],
)
def test_a_cheap_call_on_a_blocking_object_is_known_and_never_reported(origin: str) -> None:
    row = catalogue.load().find(origin)
    assert row is not None
    assert row.duration == "0"


def test_a_queue_put_on_a_pipeline_waits_only_at_execute() -> None:
    assert found("redis.Redis().pipeline().set().execute") == ("UNS103", "U")


@pytest.mark.parametrize(
    ("origin", "when", "rule"),
    [
        ("threading.Lock()", "with", "UNS106"),
        ("multiprocessing.Lock()", "with", "UNS106"),
        ("pymongo.MongoClient()[][].find().sort()", "iterate", "UNS103"),
        ("concurrent.futures.ThreadPoolExecutor()", "with", "UNS106"),
        ("concurrent.futures.ThreadPoolExecutor().map()", "iterate", "UNS106"),
        ("sqlalchemy.orm.Session().query().filter()", "iterate", "UNS103"),
        ("django.db.models.Model.objects.all()", "iterate", "UNS103"),
        ("boto3.client().get_paginator().paginate()", "iterate", "UNS109"),
        ("httpx.Client().stream()", "with", "UNS102"),
        ("kafka.KafkaConsumer()", "iterate", "UNS109"),
        ("tenacity.Retrying()", "iterate", "UNS101"),
    ],
)
def test_iterating_or_entering_a_value_can_block_where_making_it_does_not(
    origin: str, when: catalogue.Use, rule: str
) -> None:
    row = catalogue.load().find(origin, when)
    assert row is not None
    assert (row.rule, row.when) == (rule, when)
    assert row.name == origin or catalogue.load().canonical(origin) == row.name


def test_a_wildcard_covers_no_private_name_and_no_result() -> None:
    assert found("boto3.client()._make_api_call") is None
    assert found("boto3.client()", "iterate") is None
    assert found("boto3.client().get_object().read") is None


def test_the_arguments_that_make_a_call_harmless_excuse_it() -> None:
    get = catalogue.load().find("queue.Queue().get")
    assert get is not None
    assert get.excused(keywords={"block": False})
    assert get.excused([False])
    assert get.excused([True, 0])
    assert not get.excused()
    assert not get.excused([UNKNOWN])
    assert not get.excused(keywords={"timeout": 5})


def test_a_condition_may_ask_for_absence_or_presence() -> None:
    cpu = catalogue.load().find("psutil.cpu_percent")
    assert cpu is not None
    assert cpu.excused()
    assert cpu.excused(keywords={"interval": None})
    assert not cpu.excused([1])
    assert not cpu.excused([UNKNOWN])
    assert Condition.parse("+domain@1").holds(["x", "y"], {})
    assert not Condition.parse("+domain@1").holds(["x"], {})


def test_a_condition_does_not_take_zero_for_false() -> None:
    assert Condition.parse("timeout=0").holds([], {"timeout": 0})
    assert not Condition.parse("timeout=0").holds([], {"timeout": None})
    assert not Condition.parse("timeout=0").holds([], {"timeout": UNKNOWN})


@pytest.mark.parametrize(
    ("origin", "position", "keyword"),
    [
        ("asyncio.to_thread", 0, "func"),
        ("asyncio.get_running_loop().run_in_executor", 1, "func"),
        ("asyncio.get_event_loop().run_in_executor", 1, "func"),
        ("anyio.to_thread.run_sync", 0, "func"),
        ("fastapi.concurrency.run_in_threadpool", 0, "func"),
        ("starlette.concurrency.run_in_threadpool", 0, "func"),
        ("asgiref.sync.sync_to_async", 0, "func"),
        ("threading.Thread", 1, "target"),
        ("threading.Timer", 1, "function"),
        ("concurrent.futures.ThreadPoolExecutor().submit", 0, ""),
        ("concurrent.futures.thread.ThreadPoolExecutor().map", 0, ""),
        ("multiprocessing.Process", 1, "target"),
        ("fastapi.BackgroundTasks().add_task", 0, "func"),
        ("sqlalchemy.ext.asyncio.AsyncSession().run_sync", 0, "fn"),
    ],
)
def test_a_call_that_moves_work_says_which_argument(origin: str, position: int, keyword: str) -> None:
    offload = catalogue.load().offload(origin)
    assert offload is not None
    assert (offload.position, offload.keyword) == (position, keyword)


def test_a_call_that_moves_nothing_is_no_offload() -> None:
    assert catalogue.load().offload("functools.partial") is None
    assert catalogue.load().offload("asyncio.AbstractEventLoop().call_soon") is None


def test_subclasses_of_library_classes_inherit_what_blocks(rows: Catalogue) -> None:
    assert rows.knows("threading.Thread")
    assert rows.knows("django.db.models.Model")
    assert rows.knows("sqlmodel.Session")
    assert not rows.knows("pydantic.BaseModel")
    assert rows.bases("sqlmodel.Session") == ("sqlalchemy.orm.Session",)


def test_canonical_is_reached_in_one_step(rows: Catalogue) -> None:
    for origin in ("requests.session().get", "sqlalchemy.orm.sessionmaker()().query().filter().all", "io.open().read"):
        once = rows.canonical(origin)
        assert once != origin
        assert rows.canonical(once) == once


def test_a_project_may_add_rows_and_take_rows_away(rows: Catalogue) -> None:
    own = rows.extended(blocking=["ours.db.{load,store}"], cheap=["requests.get"], offload=["ours.in_thread"])
    load = own.find("ours.db.load")
    get = own.find("requests.get")
    assert load is not None and load.rule == "UNS100" and load.duration == "U"
    assert get is not None and get.duration == "0"
    assert own.offload("ours.in_thread") is not None
    assert rows.find("ours.db.load") is None
    still = rows.find("requests.get")
    assert still is not None and still.duration == "U"


def test_a_row_crosses_floors_as_a_primitive(rows: Catalogue) -> None:
    row = rows.find("time.sleep")
    assert row is not None
    primitive = row.primitive()
    assert (primitive.name, primitive.rule, primitive.duration, primitive.transform) == (
        "time.sleep",
        "UNS101",
        "U",
        "await",
    )


def test_reading_the_files_costs_little_cpu() -> None:
    best_s = min(timed_s() for _ in range(5))
    assert best_s < 0.5, "a command starts by reading the catalogue: it took 0.05 s when this was written"


def timed_s() -> float:
    started_s = time.process_time()
    read()
    return time.process_time() - started_s
