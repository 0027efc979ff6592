"""A barrier: nobody goes on before so many have arrived.

    barrier.py BARRIER COUNT NAME

Each who arrives leaves a key with its lease; who dies while waiting does not count any more once
its lease has ended. The first to see enough of them opens the barrier by a key that stays: those
who look later go through as well, even if some who were counted have gone on and ended since.
A barrier is used once; the next round has another name.
"""

import asyncio
import sys

from recipes import connect, session, wait_until


async def main(name, count, who):
    barrier = f"barriers/{name}/".encode()
    arrivals, opened = barrier + b"arrivals/", barrier + b"open"

    def is_open(entries):
        arrived = [key for key in entries if key.startswith(arrivals)]
        return opened in entries or len(arrived) >= int(count)

    async with connect() as client, session(client) as lease:
        await client.put(arrivals + who.encode(), b"", lease=lease)
        print(who, "waits", flush=True)
        await wait_until(client, barrier, is_open)
        await client.put(opened, b"")
        print(who, "goes on", flush=True)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
