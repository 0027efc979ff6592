"""Health monitoring, the monitor: tell who becomes healthy and who does not any more.

    health_monitor.py NAME...

Follows the keys that health_agent.sh keeps, and compares them with the names that should be there:
what was never heard of is as unhealthy as what has fallen silent. Prints each change, and how
many of those expected are healthy. Any number of monitors may run; they hold no state, and one
that starts again tells the whole state first.
"""

import asyncio
import sys

from recipes import connect, follow


async def main(expected):
    known = None
    async with connect() as client:
        async for entries in follow(client, b"health/"):
            healthy = {name for name in expected if f"health/{name}".encode() in entries}
            changed = set(expected) if known is None else healthy ^ known
            for name in sorted(changed):
                print(name, "is healthy" if name in healthy else "is not healthy", flush=True)
            if changed:
                print(f"{len(healthy)} of {len(expected)}", flush=True)
            known = healthy


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1:]))
