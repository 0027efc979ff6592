"""A round of the Python client `aetcd`. The cluster must be fresh: revisions are absolute."""

import asyncio
import itertools

import aetcd
from aetcd.exceptions import (
    ConnectionFailedError,
    ConnectionTimeoutError,
    RevisionCompactedError,
    WatchTimeoutError,
)

from steps import ask, host_and_port, run


def connect(url):
    host, port = host_and_port(url)
    return aetcd.Client(host, port, timeout=15)


async def keys(client):
    assert await client.get(b"a") is None
    assert (await client.put(b"a", b"1")).header.revision == 2
    previous = (await client.put(b"a", b"2", prev_kv=True)).prev_kv
    assert (previous.value, previous.mod_revision) == (b"1", 2)
    got = await client.get(b"a")
    assert (got.value, got.create_revision, got.mod_revision, got.version) == (b"2", 2, 3, 2)
    assert got.header.revision == 3
    for name in (b"p/2", b"p/1", b"p/3"):
        await client.put(name, name[-1:])
    found = await client.get_prefix(b"p/", sort_order="descend", sort_target="create")
    assert [kv.key for kv in found] == [b"p/3", b"p/1", b"p/2"]
    found = await client.get_range(b"p/1", b"p/3")
    assert [(kv.key, kv.value) for kv in found] == [(b"p/1", b"1"), (b"p/2", b"2")]
    assert (await client.delete(b"p/1", prev_kv=True)).prev_kv.value == b"1"
    assert await client.delete(b"p/1") is None
    assert (await client.delete_prefix(b"p/")).deleted == 2
    assert not await client.get_prefix(b"p/")


async def transactions(client):
    t = client.transactions
    await client.put(b"t", b"x")
    script = {
        "compare": [t.value(b"t") == b"x", t.version(b"t") > 0],
        "success": [t.put(b"t", b"y"), t.get(b"t")],
        "failure": [t.delete(b"t")],
    }
    succeeded, answers = await client.transaction(**script)
    assert succeeded is True
    assert answers[1][0][0] == b"y", answers
    succeeded, _ = await client.transaction(**script)
    assert succeeded is False
    assert await client.get(b"t") is None


async def watches(client):
    revision = (await client.put(b"w/0", b"before")).header.revision
    watch = await client.watch_prefix(b"w/", start_revision=revision, prev_kv=True)
    events = aiter(watch)
    first = await anext(events)
    assert (first.kind, first.kv.key, first.kv.value) == ("PUT", b"w/0", b"before")
    await client.put(b"w/1", b"now")
    await client.delete(b"w/0")
    second, third = await anext(events), await anext(events)
    assert (second.kind, second.kv.key, second.kv.mod_revision) == ("PUT", b"w/1", revision + 1)
    assert (third.kind, third.kv.key, third.prev_kv.value) == ("DELETE", b"w/0", b"before")
    await watch.cancel()
    assert [event async for event in events] == []
    await client.compact(revision + 1)
    try:
        await anext(aiter(await client.watch(b"w/0", start_revision=revision)))
    except RevisionCompactedError as error:
        assert error.compacted_revision == revision + 1
    else:
        raise AssertionError("a watch of the compacted past went on")


async def leases(client):
    lease = await client.lease(60)
    await client.put(b"l", b"v", lease=lease)
    assert await lease.granted_ttl() == 60
    assert 50 <= await lease.remaining_ttl() <= 60
    assert list(await lease.keys()) == [b"l"]
    assert (await lease.refresh()).TTL == 60
    await lease.revoke()
    assert await client.get(b"l") is None
    short = await client.lease(1)
    revision = (await client.put(b"s", b"v", lease=short)).header.revision
    gone = await client.watch_once(b"s", timeout=10, start_revision=revision + 1)
    assert gone.kind == "DELETE"


async def locks(client):
    first, second = client.lock(b"lock", ttl=60), client.lock(b"lock", ttl=60)
    assert await first.acquire() is True
    assert await second.acquire(timeout=1) is False
    waiting = asyncio.create_task(second.acquire(timeout=15))
    await asyncio.sleep(0.2)
    assert not waiting.done()
    assert await first.release() is True
    assert await waiting is True
    assert (await first.is_acquired(), await second.is_acquired()) == (False, True)
    assert await first.release() is False
    assert await second.release() is True
    assert await client.get(b"lock") is None


async def elections(client):
    t = client.transactions

    async def run_for_office(name):
        lease = await client.lease(60)
        is_free = [t.create(b"leader") == 0]
        won, _ = await client.transaction(is_free, [t.put(b"leader", name, lease)], [])
        return won, lease

    (won, first), (won_too, _) = await run_for_office(b"first"), await run_for_office(b"second")
    assert (won, won_too) == (True, False)
    leader = await client.get(b"leader")
    assert leader.value == b"first"
    await first.revoke()
    gone = await client.watch_once(b"leader", timeout=10, start_revision=leader.header.revision + 1)
    assert gone.kind == "DELETE"
    won, _ = await run_for_office(b"third")
    assert won is True
    assert (await client.get(b"leader")).value == b"third"


async def follow(urls, prefix, revision):
    """Events from a revision on, from whichever member serves, none twice and none left out.

    Only for prefixes of which no transaction writes two keys: events come one by one.
    """
    for url in itertools.cycle(urls):
        async with connect(url) as client:
            try:
                async for event in await client.watch_prefix(prefix, start_revision=revision):
                    yield event
                    revision = event.kv.mod_revision + 1
            except (ConnectionFailedError, WatchTimeoutError):
                await asyncio.sleep(0.1)


async def create(urls, key):
    """Writes a key once, however often it must be tried."""
    for url in itertools.cycle(urls):
        async with connect(url) as client:
            t = client.transactions
            try:
                return await client.transaction([t.create(key) == 0], [t.put(key, b"v")], [])
            except (ConnectionFailedError, ConnectionTimeoutError):
                await asyncio.sleep(0.1)


async def outlive(urls):
    async with connect(urls[0]) as client:
        revision = (await client.put(b"resume/", b"v")).header.revision
    events = follow(urls, b"resume/", revision)
    assert (await anext(events)).kv.key == b"resume/"
    for number in range(len(urls)):
        others = urls[number + 1 :] + urls[:number]
        # The watch is at this member, as the one before it died.
        ask(f"kill {number}")
        for part in ("a", "b"):
            key = f"resume/{number}{part}".encode()
            await create(others, key)
            event = await anext(events)
            assert event.kv.key == key, event
        ask(f"start {number}")
    await events.aclose()


OF_A_MEMBER = (keys, transactions, watches, leases, locks, elections)


def at_the_first(step):
    async def walk(urls):
        async with connect(urls[0]) as client:
            await step(client)

    return lambda urls: asyncio.run(walk(urls))


if __name__ == "__main__":
    steps = {step.__name__: at_the_first(step) for step in OF_A_MEMBER}
    run({**steps, "a_watch_outlives_its_member": lambda urls: asyncio.run(outlive(urls))})
