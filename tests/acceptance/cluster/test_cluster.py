"""What a cluster promises: any replica will do, new ones get work, lost ones lose nothing that was accepted."""

import asyncio
import re
from collections import Counter
from pathlib import Path

import httpx

from libs.testing.beacon import running_beacon
from libs.testing.cluster import Cluster
from libs.testing.mongo import MongoServer
from libs.testing.wait import eventually


def client(url: str) -> httpx.AsyncClient:
    return httpx.AsyncClient(base_url=url, timeout=30)


async def metric(url: str, name: str) -> float:
    """Return the sum of a metric (a pattern) over its labels."""
    async with client(url) as http:
        text = (await http.get("/metrics")).text
    values = [float(line.rsplit(" ", 1)[1]) for line in text.splitlines() if re.match(rf"{name}(\{{| )", line)]
    return sum(values)


async def submit(http: httpx.AsyncClient, name: str, **fields: object) -> str:
    answer = await http.post("/_fn/jobs", json={"name": name, **fields})
    assert answer.status_code == 201, answer.text
    return str(answer.json()["id"])


async def job(http: httpx.AsyncClient, job_id: str) -> dict[str, object]:
    answer = await http.get(f"/_fn/jobs/{job_id}")
    assert answer.status_code == 200, answer.text
    found: dict[str, object] = answer.json()
    return found


async def ended(http: httpx.AsyncClient, ids: list[str], *, within: float = 90) -> Counter[str]:
    """Wait until all jobs have ended; return how."""
    open_ids, states = set(ids), Counter[str]()

    async def check() -> bool:
        for job_id in sorted(open_ids):
            state = str((await job(http, job_id))["status"])
            if state in ("done", "failed", "canceled"):
                open_ids.discard(job_id)
                states[state] += 1
        return not open_ids

    await eventually(check, within=within, every=0.2)
    return states


async def test_function_is_called_through_any_gateway_when_it_was_saved_a_moment_ago(cluster: Cluster) -> None:
    first, second = cluster.of("gateway")
    async with client(first.ops_url) as one, client(second.ops_url) as two:
        (cluster.functions / "get.fresh.py").write_text("def handler(event):\n    return 'fresh'\n")
        for http in (one, two):

            async def live(http: httpx.AsyncClient = http) -> bool:
                return (await http.get("/fresh")).text == "fresh"

            await eventually(live)
        (cluster.functions / "get.fresh.py").unlink()

        async def gone() -> bool:
            return (await one.get("/fresh")).status_code == (await two.get("/fresh")).status_code == 404

        await eventually(gone)


async def test_load_spreads_and_a_new_executor_gets_work_without_a_restart(cluster: Cluster) -> None:
    async with client(cluster.url) as http:

        async def load() -> None:
            answers = await asyncio.gather(*(http.get("/hello") for _ in range(60)))
            assert {answer.status_code for answer in answers} == {200}

        await load()
        for executor in cluster.of("executor"):
            assert await metric(executor.ops_url, "fnbus_executor_runs_total") > 0, executor.name
        newcomer = await cluster.add("executor")
        await newcomer.ready()

        async def works() -> bool:
            await load()
            return await metric(newcomer.ops_url, "fnbus_executor_runs_total") > 0

        await eventually(works)


async def test_killed_executor_loses_no_accepted_job_and_leaves_no_slot_behind(cluster: Cluster) -> None:
    victim = cluster.of("executor")[0]
    async with client(cluster.url) as http:
        ids = [await submit(http, "get.slow.py", query={"s": "0.3"}, max_attempts=3) for _ in range(60)]
        calls = [asyncio.create_task(http.get("/slow", params={"s": "5"})) for _ in range(12)]

        async def under_way() -> bool:
            return await metric(victim.ops_url, r'fnbus_executor_workers\{state="busy"\}') > 0

        await eventually(under_way)
        await victim.kill()
        statuses = Counter(answer.status_code for answer in await asyncio.gather(*calls))
        assert set(statuses) <= {200, 502, 503, 504}, statuses
        assert await ended(http, ids) == {"done": 60}

        async def idle() -> bool:
            return await metric(cluster.url, "fnbus_gateway_in_flight") == 0

        await eventually(idle)


async def test_sixty_ticks_fire_once_each_while_a_scheduler_is_killed_and_restarted(cluster: Cluster, tmp_path: Path) -> None:
    victim = cluster.of("scheduler")[0]
    folder = cluster.functions / "python" / "tick"
    folder.mkdir(parents=True)
    (folder / "fn.config.json").write_text('{"schedule": {"enabled": true, "every_seconds": 1}}')
    (folder / "handler.py").write_text("def handler(event):\n    return event['context']['trigger']\n")
    async with client(cluster.url) as http:

        async def ticks() -> list[dict[str, object]]:
            found = (await http.get("/_fn/jobs", params={"limit": 200})).json()["jobs"]
            return [each for each in found if each["name"] == "tick"]

        async def fired(count: int) -> bool:
            return len(await ticks()) >= count

        await eventually(lambda: fired(15), every=0.2)
        await victim.kill()
        await eventually(lambda: fired(35), every=0.2)
        await victim.start()
        await eventually(lambda: fired(62), every=0.2)

        async def all_done() -> bool:
            return all(each["status"] == "done" for each in (await ticks())[2:])

        await eventually(all_done, every=0.2)
        found = await ticks()
    nominal = sorted(int(str(each["id"]).split("-")[1]) // 1000 for each in found)
    assert len(nominal) == len(set(nominal))
    assert nominal == list(range(nominal[0], nominal[0] + len(nominal)))
    assert {each["attempt"] for each in found if each["status"] == "done"} == {1}


async def test_calls_go_on_and_management_says_503_when_the_database_is_gone(cluster: Cluster, mongo: MongoServer) -> None:
    async with client(cluster.url) as http:
        assert (await http.get("/hello")).status_code == 200
        await mongo.kill()
        (cluster.functions / "get.hello2.py").touch()

        async def refused() -> bool:
            return (await http.post("/_fn/jobs", json={"name": "get.hello.py"})).status_code == 503

        await eventually(refused)
        answers = await asyncio.gather(*(http.get("/hello") for _ in range(30)))
        assert {answer.status_code for answer in answers} == {200}
        # A cold one too: nobody has called it yet.
        assert (await http.get("/slow", params={"s": "0"})).status_code == 200
        assert (await http.get("/_fn/jobs")).status_code == 503
        await mongo.start()

        async def accepted() -> bool:
            return (await http.post("/_fn/jobs", json={"name": "get.hello.py"})).status_code == 201

        await eventually(accepted)


async def test_calls_are_503_at_once_when_the_bus_is_gone_and_work_again_when_it_is_back(cluster: Cluster) -> None:
    async with client(cluster.url) as http:
        assert (await http.get("/hello")).status_code == 200
        waiting = asyncio.create_task(http.get("/slow", params={"s": "8"}))

        async def in_flight() -> bool:
            return await metric(cluster.url, "fnbus_gateway_in_flight") == 1

        await eventually(in_flight)
        await cluster.nats.kill()
        assert (await waiting).status_code == 503

        async def refused() -> bool:
            return (await http.get("/hello")).status_code == 503

        await eventually(refused)
        answers = await asyncio.gather(*(http.get("/hello") for _ in range(20)))
        assert {answer.status_code for answer in answers} == {503}
        assert "retry-after" in answers[0].headers
        await cluster.nats.start()

        async def answers_again() -> bool:
            return (await http.get("/hello")).status_code == 200

        await eventually(answers_again)
        await cluster.ready()  # an executor may be back before a scheduler is, and has just answered
        ids = [await submit(http, "get.hello.py") for _ in range(5)]
        assert await ended(http, ids) == {"done": 5}


async def test_service_drains_and_exits_with_zero_when_it_is_told_to_stop(cluster: Cluster) -> None:
    async with client(cluster.of("gateway")[1].ops_url) as http, running_beacon() as beacon:
        calls = [asyncio.create_task(http.get("/held", params={"port": beacon.port})) for _ in range(9)]
        await beacon.arrived(9)
        stopping = [asyncio.create_task(replica.stop()) for replica in cluster.of("executor")[:2]]
        for replica in cluster.of("executor")[:2]:
            await eventually(lambda replica=replica: "service_stopping" in replica.log.read_text())
        beacon.release()
        assert await asyncio.gather(*stopping) == [0, 0]
        assert {(await call).status_code for call in calls} == {200}
        others = [*cluster.of("registry"), *cluster.of("scheduler"), *cluster.of("gateway"), cluster.of("executor")[2]]
        assert set(await asyncio.gather(*(replica.stop() for replica in others))) == {0}
