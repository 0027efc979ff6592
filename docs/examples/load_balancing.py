"""Load balancing: requests go round the instances that are there right now.

    load_balancing.py SERVICE < requests

Follows the instances that service_register.sh registers, and picks the next one for
each line it reads, without asking a server: the choice is made in memory, from a set that a
watch keeps up to date. An instance that dies is picked no more once its lease has ended; until
then a caller whose call fails should pick again. Prints the instances whenever they change.
"""

import asyncio
import sys

from recipes import connect, follow


class Balancer:
    def __init__(self, service):
        self.prefix = f"services/{service}/".encode()
        self.instances = None
        self.picks = 0

    async def keep_up_to_date(self, client):
        async for entries in follow(client, self.prefix):
            instances = sorted(kv.value.decode() for kv in entries.values())
            if instances != self.instances:
                self.instances = instances
                print("instances:", *instances, flush=True)

    def pick(self):
        if not self.instances:
            return None
        self.picks += 1
        return self.instances[self.picks % len(self.instances)]


async def main(service):
    balancer = Balancer(service)
    async with connect() as client:
        following = asyncio.create_task(balancer.keep_up_to_date(client))
        while request := await asyncio.to_thread(sys.stdin.readline):
            print(request.strip(), "->", balancer.pick() or "nobody", flush=True)
        following.cancel()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
