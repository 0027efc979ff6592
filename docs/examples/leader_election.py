"""Leader election: one of many leads; when it goes, the next one takes over.

    leader_election.py OFFICE NAME

Candidates stand in line, the first leads. A leader that ends (Ctrl-C) gives its place up at once;
one that is killed loses it within its lease's time to live. A leader that cannot reach a server
for so long stops by itself before another can lead. The term grows from leader to leader: hand it
to whatever the leader commands, so that it can refuse the orders of a former one.
Everybody, candidate or not, finds the leader as the oldest entry below the office.
"""

import asyncio
import sys

from recipes import connect, follow, session, stand_in_line


async def watch_leader(client, office, name):
    known = None
    async for entries in follow(client, office):
        oldest = min(entries.values(), key=lambda kv: kv.create_revision, default=None)
        leader = oldest and oldest.value.decode()
        if leader != known:
            known = leader
            print(name, "sees", leader or "nobody", "lead", flush=True)


async def main(office, name):
    office = f"elections/{office}/".encode()
    async with connect() as client, session(client) as lease:
        watching = asyncio.create_task(watch_leader(client, office, name))
        _, term = await stand_in_line(client, office, name.encode(), lease)
        print(name, "leads in term", term, flush=True)
        await watching  # the leader's work goes here


if __name__ == "__main__":
    try:
        asyncio.run(main(*sys.argv[1:]))
    except KeyboardInterrupt:
        pass
