"""A queue of jobs that starts on a condition: jobs gather, workers wait until it is opened.

    work_queue.py put QUEUE JOB...
    work_queue.py open QUEUE
    work_queue.py work QUEUE NAME [SECONDS]

Jobs are taken in the order in which they were put. A worker claims a job by a key with its lease,
if nobody has claimed it yet, and removes job and claim together when it is done. A worker that
dies loses its claim when its lease ends, and the job is done by another: every job is done at
least once, and by two workers at a time never, as long as a worker stops with its lease.
"""

import asyncio
import sys
import uuid

from recipes import connect, session, wait_until


async def put(client, queue, *jobs):
    for job in jobs:
        await client.put(queue + b"jobs/" + uuid.uuid4().hex.encode(), job.encode())


async def open_queue(client, queue):
    await client.put(queue + b"open", b"")


def find_job(queue, entries):
    """The oldest job that nobody has claimed, once the queue is open."""
    jobs = [kv for key, kv in entries.items() if key.startswith(queue + b"jobs/")]
    free = [kv for kv in jobs if claim_of(queue, kv.key) not in entries]
    is_open = queue + b"open" in entries
    return min(free, key=lambda kv: kv.create_revision, default=None) if is_open else None


def claim_of(queue, job):
    return queue + b"claims/" + job.removeprefix(queue + b"jobs/")


async def work(client, queue, name, seconds="0"):
    t = client.transactions
    async with session(client) as lease:
        while True:
            entries = await wait_until(client, queue, lambda entries: find_job(queue, entries))
            job = find_job(queue, entries)
            claim = claim_of(queue, job.key)
            is_free = [t.create(claim) == 0, t.create(job.key) == job.create_revision]
            make_ours = [t.put(claim, name.encode(), lease)]
            claimed, answers = await client.transaction(is_free, make_ours, [])
            if claimed:
                print(name, "does", job.value.decode(), flush=True)
                await asyncio.sleep(float(seconds))
                is_ours = [t.create(claim) == answers[0].response_put.header.revision]
                await client.transaction(is_ours, [t.delete(job.key), t.delete(claim)], [])


async def main(verb, queue, *rest):
    verbs = {"put": put, "open": open_queue, "work": work}
    async with connect() as client:
        await verbs[verb](client, f"queues/{queue}/".encode(), *rest)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
