"""A round of the Python client `etcd3`. The cluster must be fresh: revisions are absolute."""

import itertools
import threading
import time

import etcd3

from steps import ask, host_and_port, run, tls_files, user


def connect(url):
    host, port = host_and_port(url)
    name, password = user()
    who = {"user": name, "password": password} if name else {}
    return etcd3.client(host=host, port=port, timeout=15, **tls_files(), **who)


def put_and_get(client):
    assert client.get("a") == (None, None)
    assert client.put("a", "1").header.revision == 2
    previous = client.put("a", "2", prev_kv=True).prev_kv
    assert (previous.value, previous.mod_revision) == (b"1", 2)
    value, meta = client.get("a")
    assert value == b"2"
    assert (meta.key, meta.create_revision, meta.mod_revision, meta.version) == (b"a", 2, 3, 2)
    assert meta.response_header.revision == 3
    assert client.get("a", serializable=True)[0] == b"2"
    assert client.put_if_not_exists("a", "3") is False
    assert client.replace("a", "2", "3") is True
    assert client.replace("a", "2", "4") is False
    assert client.get("a")[0] == b"3"


def prefixes(client):
    for name in ("p/2", "p/1", "p/3"):
        client.put(name, name[-1])
    found = [(meta.key, value) for value, meta in client.get_prefix("p/")]
    assert found == [(b"p/1", b"1"), (b"p/2", b"2"), (b"p/3", b"3")], found
    found = [value for value, _ in client.get_prefix("p/", sort_order="descend")]
    assert found == [b"3", b"2", b"1"], found
    found = [meta.key for _, meta in client.get_range("p/1", "p/3")]
    assert found == [b"p/1", b"p/2"], found
    found = list(client.get_prefix("p/", keys_only=True))
    assert [value for value, _ in found] == [b"", b"", b""], found


def deletes(client):
    assert client.delete("absent") is False
    assert client.delete("p/1") is True
    assert client.delete("p/2", prev_kv=True, return_response=True).prev_kvs[0].value == b"2"
    assert client.delete_prefix("p/").deleted == 1
    assert list(client.get_prefix("p/")) == []


def transactions(client):
    t = client.transactions
    client.put("t", "x")
    script = {
        "compare": [t.value("t") == "x", t.version("t") > 0],
        "success": [t.put("t", "y"), t.get("t")],
        "failure": [t.delete("t")],
    }
    succeeded, answers = client.transaction(**script)
    assert succeeded is True
    assert answers[1][0][0] == b"y", answers
    succeeded, _ = client.transaction(**script)
    assert succeeded is False
    assert client.get("t") == (None, None)


def watches(client):
    revision = client.put("w/0", "before").header.revision
    events, cancel = client.watch_prefix("w/", start_revision=revision)
    first = next(events)
    assert (first.key, first.value) == (b"w/0", b"before")

    def write():
        time.sleep(0.2)
        client.put("w/1", "now")
        client.delete("w/0")

    writer = threading.Thread(target=write)
    writer.start()
    second, third = next(events), next(events)
    writer.join()
    assert isinstance(second, etcd3.events.PutEvent), second
    assert (second.key, second.value) == (b"w/1", b"now")
    assert isinstance(third, etcd3.events.DeleteEvent), third
    assert third.key == b"w/0"
    cancel()
    assert list(events) == []


def a_compacted_watch_is_cancelled(client):
    revision = client.put("c", "1").header.revision
    client.put("c", "2")
    client.compact(revision + 1)
    events, _ = client.watch("c", start_revision=revision)
    try:
        next(events)
    except etcd3.exceptions.RevisionCompactedError as error:
        assert error.compacted_revision == revision + 1
    else:
        raise AssertionError("a watch of the compacted past went on")


def leases(client):
    lease = client.lease(60)
    client.put("l", "v", lease=lease)
    assert lease.granted_ttl == 60
    assert 50 <= lease.remaining_ttl <= 60
    assert lease.keys == [b"l"]
    assert [answer.TTL for answer in lease.refresh()] == [60]
    lease.revoke()
    assert client.get("l") == (None, None)
    short = client.lease(1)
    client.put("s", "v", lease=short)
    deadline = time.monotonic() + 10
    while client.get("s")[0] is not None:
        assert time.monotonic() < deadline, "the lease did not expire"
        time.sleep(0.1)


def state(client):
    status = client.status()
    assert all(part.isdigit() for part in status.version.split(".")), status.version
    assert status.db_size > 0
    members = list(client.members)
    assert [member.name for member in members] == ["m0"]
    assert members[0].id == status.leader.id
    assert members[0].client_urls[0].startswith("http://127.0.0.1:")
    assert list(client.list_alarms()) == []
    assert client.hash() >= 0


def locks(client):
    # Whoever finds the lock taken ends with a TypeError: this client's way of waiting is unknown
    # to every tenacity that runs on the Pythons of today. What does not wait works.
    first, second = client.lock("lock", ttl=60), client.lock("lock", ttl=2)
    assert first.acquire() is True
    assert (first.is_acquired(), second.is_acquired()) == (True, False)
    assert [answer.TTL for answer in first.refresh()] == [60]
    assert second.release() is False
    assert first.release() is True
    with second:
        assert (first.is_acquired(), second.is_acquired()) == (False, True)
    assert client.get("/locks/lock") == (None, None)
    # A holder that went away is deprived of the lock when its time is up.
    assert second.acquire() is True
    revision = client.get("/locks/lock")[1].response_header.revision
    changes, cancel = client.watch("/locks/lock", start_revision=revision + 1)
    assert isinstance(next(changes), etcd3.events.DeleteEvent)
    cancel()
    assert first.acquire() is True
    assert first.release() is True


def elections(client):
    first, second = client.lease(60), client.lease(60)
    assert client.put_if_not_exists("leader", "first", lease=first) is True
    assert client.put_if_not_exists("leader", "second", lease=second) is False
    value, meta = client.get("leader")
    assert value == b"first"
    changes, cancel = client.watch("leader", start_revision=meta.response_header.revision + 1)
    first.revoke()
    assert isinstance(next(changes), etcd3.events.DeleteEvent)
    assert client.put_if_not_exists("leader", "second", lease=second) is True
    assert next(changes).value == b"second"
    cancel()


def follow(urls, prefix, revision):
    """Events from a revision on, from whichever member serves, none twice and none left out."""
    for url in itertools.cycle(urls):
        client = connect(url)
        try:
            answers, _ = client.watch_prefix_response(prefix, start_revision=revision)
            for answer in answers:
                yield from answer.events
                revision = answer.events[-1].mod_revision + 1
        except (etcd3.exceptions.ConnectionFailedError, etcd3.exceptions.WatchTimedOut):
            client.close()


def create(urls, key):
    """Writes a key once, however often it must be tried."""
    for url in itertools.cycle(urls):
        client = connect(url)
        try:
            return client.put_if_not_exists(key, "v")
        except (etcd3.exceptions.ConnectionFailedError, etcd3.exceptions.ConnectionTimeoutError):
            time.sleep(0.1)
        finally:
            client.close()


def a_watch_outlives_its_member(urls):
    revision = connect(urls[0]).put("resume/", "v").header.revision
    events = follow(urls, "resume/", revision)
    assert next(events).key == b"resume/"
    for number in range(len(urls)):
        others = urls[number + 1 :] + urls[:number]
        # The watch is at this member, as the one before it died.
        ask(f"kill {number}")
        for part in ("a", "b"):
            create(others, f"resume/{number}{part}")
            event = next(events)
            assert event.key == f"resume/{number}{part}".encode(), event
        ask(f"start {number}")


OF_A_MEMBER = (
    put_and_get,
    prefixes,
    deletes,
    transactions,
    watches,
    a_compacted_watch_is_cancelled,
    leases,
    state,
    locks,
    elections,
)


def at_the_first(step):
    return lambda urls: step(connect(urls[0]))


if __name__ == "__main__":
    steps = {step.__name__: at_the_first(step) for step in OF_A_MEMBER}
    run({**steps, "a_watch_outlives_its_member": a_watch_outlives_its_member})
