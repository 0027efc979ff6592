"""Notification: everybody who listens is told, and who was away is told later.

    etcdctl put topics/news "text"                 tells everybody
    notification.py news POSITION_FILE             listens

A topic is one key; every write of it is a message, and its history holds the messages that were
written. A listener notes the revision of the last message it has dealt with in a file, and
watches from the one behind it, also after a crash: none is lost, and only one that was being
dealt with comes twice. A history is kept until it is compacted; who was away for longer is told
so. A new listener starts with the next message.
"""

import asyncio
import os
import sys

import aetcd

from recipes import connect


def load_position(path):
    try:
        with open(path) as file:
            return int(file.read())
    except FileNotFoundError:
        return None


def save_position(path, revision):
    with open(f"{path}.new", "w") as file:
        file.write(str(revision))
    os.replace(f"{path}.new", path)


async def listen(client, topic, path):
    position = load_position(path)
    if position is None:
        position = (await client.get_prefix(topic)).header.revision
        save_position(path, position)
        print("listening", flush=True)
    watch = await client.watch(topic, start_revision=position + 1, kind=aetcd.EventKind.PUT)
    async for event in watch:
        print(event.kv.value.decode(), flush=True)
        save_position(path, event.kv.mod_revision)


async def main(topic, path):
    async with connect() as client:
        while True:
            try:
                await listen(client, f"topics/{topic}".encode(), path)
            except aetcd.RevisionCompactedError as error:
                print("messages were lost to compaction", flush=True)
                save_position(path, error.compacted_revision - 1)
            except aetcd.ClientError:
                await asyncio.sleep(0.5)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
