"""What the examples in Python share: following keys, sessions, standing in line.

Needs Python 3.11 and `pip install aetcd`. The server is the first of $ETCDCTL_ENDPOINTS.

Three rules make all of it free of races:
- Read, then watch from the revision behind the one read. Nothing can happen in between.
- Look at what is there, not at what happened: a watch that breaks starts again by reading.
- Who dies leaves no trace: whatever stands for a process has a lease that the process keeps
  alive, and a process that cannot keep its lease stops.
"""

import asyncio
import os
from contextlib import aclosing, asynccontextmanager, suppress
from urllib.parse import urlsplit

import aetcd


@asynccontextmanager
async def connect():
    first = os.environ.get("ETCDCTL_ENDPOINTS", "http://127.0.0.1:2379").split(",")[0]
    server = urlsplit(first if "//" in first else f"//{first}")
    client = aetcd.Client(server.hostname, server.port or 2379, timeout=5)
    await client.connect()
    try:
        yield client
    finally:
        await end(client.close())


async def end(work):
    """Lets something end, but not for ever: a program that is to end must do so."""
    with suppress(aetcd.ClientError, TimeoutError):
        async with asyncio.timeout(2):
            await work


async def follow(client, prefix):
    """The entries below a prefix by key: as they are now, and again after each change."""
    while True:
        try:
            found = await client.get_prefix(prefix)
            entries = {kv.key: kv for kv in found}
            yield dict(entries)
            watch = await client.watch_prefix(prefix, start_revision=found.header.revision + 1)
            try:
                async for event in watch:
                    if event.kind == "PUT":
                        entries[event.kv.key] = event.kv
                    else:
                        entries.pop(event.kv.key, None)
                    yield dict(entries)
            finally:
                await end(watch.cancel())
        except aetcd.ClientError:
            # The server is away, or has forgotten the revision: start again by reading.
            await asyncio.sleep(0.5)


async def wait_until(client, prefix, holds):
    """The entries below a prefix as soon as this holds of them."""
    async with aclosing(follow(client, prefix)) as states:
        async for entries in states:
            if holds(entries):
                return entries


@asynccontextmanager
async def session(client, ttl=5):
    """A lease for the time of a `with` block, which is cancelled if the lease is lost."""
    started = asyncio.get_running_loop().time()
    lease = await client.lease(ttl)
    owner = asyncio.current_task()
    keeping = asyncio.create_task(keep_alive(lease, started))
    keeping.add_done_callback(lambda task: task.cancelled() or owner.cancel())
    try:
        yield lease
    finally:
        keeping.cancel()
        # What hangs on the lease is gone at once instead of after its time.
        await end(lease.revoke())


async def keep_alive(lease, granted):
    """Returns when the lease is lost, or may be lost because no server answers for so long."""
    loop = asyncio.get_running_loop()
    deadline = granted + lease.ttl
    try:
        while True:
            async with asyncio.timeout_at(deadline):
                await asyncio.sleep(lease.ttl / 3)
                asked = loop.time()
                left = await ask_until_answered(lease)
            if left <= 0:
                return
            deadline = asked + left
    except TimeoutError:
        return


async def ask_until_answered(lease):
    while True:
        try:
            return (await lease.refresh()).TTL
        except aetcd.ClientError:
            await asyncio.sleep(0.2)


async def stand_in_line(client, line, value, lease):
    """Waits until nobody stands before us; our key, and the revision that is our place."""
    key = line + b"%016x" % lease.id
    place = (await client.put(key, value, lease=lease)).header.revision
    while True:
        found = await client.get_prefix(line, sort_order="ascend", sort_target="create")
        before = [kv.key for kv in found if kv.create_revision < place]
        if not before:
            return key, place
        # Only the one before us matters. If it gave up, another may still be before us.
        await wait_until(client, before[-1], lambda entries: before[-1] not in entries)
