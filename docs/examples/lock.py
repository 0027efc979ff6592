"""A lock: exclusive, and in the order in which its holders came.

    lock.py NAME WHO [SECONDS]

Whoever wants the lock writes a key below it and waits until the key before its own is gone: one
holder's end wakes exactly one waiter. The key hangs on a lease, so a holder that is killed is out
of the way within its time to live. A holder that was merely stopped may wake up when another has
the lock; that is why the work under the lock is one write that names the lock: it happens only
if the key that stands for the lock is still there. lock.sh takes the same locks.
"""

import asyncio
import sys

from recipes import connect, session, stand_in_line


async def main(name, who, seconds):
    line = f"locks/{name}/".encode()
    async with connect() as client, session(client) as lease:
        print(who, "waits", flush=True)
        key, place = await stand_in_line(client, line, who.encode(), lease)
        print(who, "holds the lock", flush=True)
        await asyncio.sleep(seconds)
        t = client.transactions
        still_ours = [t.create(key) == place]
        work = [t.put(f"work/{name}".encode(), who.encode())]
        done, _ = await client.transaction(still_ours, work, [])
        print(who, "is done" if done else "had lost the lock", flush=True)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], float((sys.argv[3:] or ["0"])[0])))
