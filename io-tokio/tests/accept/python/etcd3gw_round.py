"""A round of the Python client `etcd3gw`, which speaks to the JSON gateway."""

import itertools
import queue
import threading
import time

import etcd3gw
from etcd3gw.exceptions import ConnectionFailedError, Etcd3Exception
from etcd3gw.utils import _decode, _encode

from steps import ask, host_and_port, run, tls_files, user


def connect(url):
    host, port = host_and_port(url)
    files = tls_files()
    protocol = "https" if files else "http"
    client = etcd3gw.client(host=host, port=port, timeout=15, protocol=protocol, **files)
    # Authorities of the environment would be believed in place of the one that is given.
    client.session.trust_env = False
    name, password = user()
    if name:
        # It has no way to log in of its own.
        token = post(client, "/auth/authenticate", name=name, password=password)["token"]
        client.session.headers["Authorization"] = token
    return client


def post(client, path, **message):
    """A call for which the client has no method of its own."""
    return client.post(client.get_url(path), json=message)


def keys(client):
    assert client.get("a") == []
    assert client.put("a", "1") is True
    assert client.create("a", "2") is False
    assert client.replace("a", "1", "2") is True
    assert client.replace("a", "1", "3") is False
    [(value, meta)] = client.get("a", metadata=True)
    assert (value, meta["key"], meta["version"]) == (b"2", b"a", "2"), meta
    assert meta["mod_revision"] == str(int(meta["create_revision"]) + 1), meta
    for name in ("p/2", "p/1", "p/3"):
        client.put(name, name[-1])
    found = client.get_prefix("p/", sort_order="descend", sort_target="key")
    assert [value for value, _ in found] == [b"3", b"2", b"1"], found
    assert client.delete("p/1") is True
    assert client.delete("p/1") is False
    assert client.delete_prefix("p/") is True
    assert client.get_prefix("p/") == []


def transactions(client):
    client.put("t", "x")
    key = _encode("t")
    script = {
        "compare": [{"key": key, "result": "EQUAL", "target": "VALUE", "value": _encode("x")}],
        "success": [
            {"request_put": {"key": key, "value": _encode("y")}},
            {"request_range": {"key": key}},
        ],
        "failure": [{"request_delete_range": {"key": key}}],
    }
    answer = client.transaction(script)
    assert answer["succeeded"] is True
    assert _decode(answer["responses"][1]["response_range"]["kvs"][0]["value"]) == b"y"
    answer = client.transaction(script)
    # False is what JSON of this kind leaves out.
    assert "succeeded" not in answer
    assert answer["responses"][0]["response_delete_range"]["deleted"] == "1"


def revision_of(client):
    return int(client.status()["header"]["revision"])


def watches(client):
    client.put("w/0", "before")
    revision = revision_of(client)
    events, cancel = client.watch_prefix("w/", start_revision=revision)
    first = next(events)
    assert (first["kv"]["key"], first["kv"]["value"]) == (b"w/0", b"before")
    client.put("w/1", "now")
    client.delete("w/0")
    second, third = next(events), next(events)
    assert (second["kv"]["key"], second["kv"]["mod_revision"]) == (b"w/1", str(revision + 1))
    assert (third["type"], third["kv"]["key"]) == ("DELETE", b"w/0")
    cancel()


def leases(client):
    lease = client.lease(60)
    client.put("l", "v", lease=lease)
    assert 50 <= lease.ttl() <= 60
    assert lease.keys() == [b"l"]
    assert lease.refresh() == 60
    assert lease.revoke() is True
    assert client.get("l") == []
    short = client.lease(1)
    client.put("s", "v", lease=short)
    [(_, meta)] = client.get("s", metadata=True)
    revision = int(meta["mod_revision"])
    gone = client.watch_once("s", timeout=10, start_revision=revision + 1)
    assert gone["type"] == "DELETE", gone
    assert short.refresh() == -1


def locks(client):
    first, second = client.lock("lock", ttl=60), client.lock("lock", ttl=60)
    assert first.acquire() is True
    assert second.acquire() is False
    assert (first.is_acquired(), second.is_acquired()) == (True, False)
    assert first.refresh() == 60
    assert second.release() is False
    assert first.release() is True
    with second:
        assert second.is_acquired()
    assert client.get("/locks/lock") == []


def elections(client):
    first, second = client.lease(60), client.lease(60)
    assert client.create("leader", "first", lease=first) is True
    assert client.create("leader", "second", lease=second) is False
    revision = revision_of(client)
    first.revoke()
    gone = client.watch_once("leader", timeout=10, start_revision=revision + 1)
    assert gone["type"] == "DELETE", gone
    assert client.create("leader", "second", lease=second) is True
    assert client.get("leader") == [b"second"]


def state(client):
    status = client.status()
    assert status["leader"] == status["header"]["member_id"]
    assert all(part.isdigit() for part in status["version"].split(".")), status
    assert [member["name"] for member in client.members()] == ["m0"]
    try:
        post(client, "/kv/put", value=_encode("v"))
    except Etcd3Exception as error:
        assert "etcdserver: key is not provided" in error.detail_text, error.detail_text
    else:
        raise AssertionError("a put without a key was accepted")


def server_side_locks(client):
    first, second = client.lease(60), client.lease(60)
    held = post(client, "/lock/lock", name=_encode("order"), lease=first.id)["key"]
    assert _decode(held) == f"order/{first.id:x}".encode()
    waiting = queue.Queue()

    def wait():
        other = connect(client.base_url)
        waiting.put(post(other, "/lock/lock", name=_encode("order"), lease=second.id)["key"])

    threading.Thread(target=wait, daemon=True).start()
    time.sleep(0.2)
    assert waiting.empty()
    post(client, "/lock/unlock", key=held)
    held = waiting.get(timeout=15)
    assert _decode(held) == f"order/{second.id:x}".encode()
    post(client, "/lock/unlock", key=held)


def server_side_elections(client):
    lease = client.lease(60)
    name = _encode("office")
    leader = post(client, "/election/campaign", name=name, lease=lease.id, value=_encode("v"))
    leader = leader["leader"]
    assert _decode(leader["key"]) == f"office/{lease.id:x}".encode()
    assert (leader["name"], leader["lease"]) == (name, str(lease.id))
    post(client, "/election/proclaim", leader=leader, value=_encode("w"))
    found = post(client, "/election/leader", name=name)["kv"]
    assert (found["key"], _decode(found["value"])) == (leader["key"], b"w")
    post(client, "/election/resign", leader=leader)
    try:
        post(client, "/election/leader", name=name)
    except Etcd3Exception as error:
        assert "election: no leader" in error.detail_text, error.detail_text
    else:
        raise AssertionError("who resigned still leads")


def create(urls, key):
    """Writes a key once, however often it must be tried."""
    for url in itertools.cycle(urls):
        try:
            return connect(url).create(key, "v")
        except Etcd3Exception:
            time.sleep(0.1)


def next_event(url, prefix, revision):
    """The first change of a prefix from a revision on, as this member tells it."""
    events, cancel = connect(url).watch_prefix(prefix, start_revision=revision)
    event = next(events)
    cancel()
    return event["kv"]["key"].decode(), int(event["kv"]["mod_revision"])


def a_watch_outlives_its_member(urls):
    """This client does not say when a watch breaks; who needs to know asks now and then."""
    last = revision_of(connect(urls[0]))
    for number in range(len(urls)):
        events, cancel = connect(urls[number]).watch_prefix("resume/", start_revision=last + 1)
        others = urls[number + 1 :] + urls[:number]
        create(others, f"resume/{number}a")
        event = next(events)
        assert event["kv"]["key"] == f"resume/{number}a".encode(), event
        last = int(event["kv"]["mod_revision"])
        ask(f"kill {number}")
        try:
            connect(urls[number]).status()
        except ConnectionFailedError:
            cancel()
        else:
            raise AssertionError("a dead member answers")
        create(others, f"resume/{number}b")
        key, last = next_event(others[0], "resume/", last + 1)
        assert key == f"resume/{number}b", key
        ask(f"start {number}")


OF_A_MEMBER = (
    keys,
    transactions,
    watches,
    leases,
    locks,
    elections,
    state,
    server_side_locks,
    server_side_elections,
)


def at_the_first(step):
    return lambda urls: step(connect(urls[0]))


if __name__ == "__main__":
    steps = {step.__name__: at_the_first(step) for step in OF_A_MEMBER}
    run({**steps, "a_watch_outlives_its_member": a_watch_outlives_its_member})
