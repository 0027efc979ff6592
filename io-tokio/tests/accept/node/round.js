// A round of `etcd3` for Node, with its leases, locks, elections and transactional memory.
//
// Usage: round.js URL,URL,... STEP... Prints the name of each step that held and ends with an
// exception at the first that did not. A line `? kill 0` or `? start 0` asks the reader for the
// death or the return of a member; the answer is a line `done`. Where members speak TLS, the
// variables CA_FILE, CERT_FILE and KEY_FILE name what a client needs; where there are users,
// USER_NAME and USER_PASSWORD who it is. The cluster must be fresh: revisions are absolute.
"use strict";

const assert = require("node:assert/strict");
const { on, once } = require("node:events");
const { readFileSync } = require("node:fs");
const { createInterface } = require("node:readline");
const { setTimeout: sleep } = require("node:timers/promises");
const { Etcd3, EtcdLeaseInvalidError, EtcdLockFailedError } = require("etcd3");

const urls = process.argv[2].split(",");
const answers = createInterface({ input: process.stdin })[Symbol.asyncIterator]();

async function ask(wish) {
  console.log("?", wish);
  assert.equal((await answers.next()).value, "done");
}

// The changes a watch brings, one by one, in words.
async function* changes(watcher) {
  for await (const [answer] of on(watcher, "data")) {
    for (const { type, kv } of answer.events) {
      yield `${type} ${kv.key}=${kv.value}`;
    }
  }
}

async function next(iterator) {
  return (await iterator.next()).value;
}

async function keys(client) {
  assert.equal(await client.get("a").string(), null);
  assert.equal((await client.put("a").value("1")).header.revision, "2");
  assert.equal((await client.put("a").value("2").getPrevious()).value.toString(), "1");
  const [kv] = (await client.get("a").exec()).kvs;
  assert.deepEqual([kv.create_revision, kv.mod_revision, kv.version], ["2", "3", "2"]);
  assert.equal(await client.get("a").revision(2).string(), "1");
  for (const number of [2, 1, 3]) {
    await client.put(`p/${number}`).value(number);
  }
  const page = client.getAll().prefix("p/").sort("Create", "Descend").limit(2);
  assert.deepEqual(await page.numbers(), { "p/3": 3, "p/1": 1 });
  assert.equal(await client.getAll().prefix("p/").count(), 3);
  assert.deepEqual(await client.namespace("p/").getAll().keys(), ["1", "2", "3"]);
  assert.equal((await client.delete().prefix("p/")).deleted, "3");
  assert.deepEqual(await client.getAll().prefix("p/").strings(), {});
}

async function transactions(client) {
  await client.put("t").value("x");
  const swap = () =>
    client
      .if("t", "Value", "==", "x")
      .then(client.put("t").value("y"), client.get("t"))
      .else(client.delete().key("t"))
      .commit();
  const first = await swap();
  assert.equal(first.succeeded, true);
  assert.equal(first.responses[1].response_range.kvs[0].value.toString(), "y");
  const second = await swap();
  assert.equal(second.succeeded, false);
  assert.equal(second.responses[0].response_delete_range.deleted, "1");
}

async function watches(client) {
  const { header } = await client.put("w/0").value("before");
  const watcher = client.watch().prefix("w/").startRevision(header.revision).watcher();
  const seen = changes(watcher);
  assert.equal(await next(seen), "Put w/0=before");
  await client.put("w/1").value("now");
  await client.delete().key("w/0");
  assert.equal(await next(seen), "Put w/1=now");
  assert.equal(await next(seen), "Delete w/0=");
  await watcher.cancel();
}

async function leases(client) {
  const lease = client.lease(60);
  await lease.put("l").value("v");
  assert.equal((await lease.keepaliveOnce()).TTL, "60");
  const id = await lease.grant();
  assert.equal((await client.leaseClient.leaseTimeToLive({ ID: id })).grantedTTL, "60");
  await lease.revoke();
  assert.equal(await client.get("l").exists(), false);

  const short = client.lease(1, { autoKeepAlive: false });
  const { header } = await short.put("s").value("v");
  const from = Number(header.revision) + 1;
  const watcher = client.watch().key("s").startRevision(String(from)).watcher();
  assert.equal(await next(changes(watcher)), "Delete s=");
  await watcher.cancel();
  await assert.rejects(short.keepaliveOnce(), EtcdLeaseInvalidError);

  const kept = client.lease(2);
  await kept.put("k").value("v");
  await sleep(4000);
  assert.equal(await client.get("k").string(), "v");
  await client.leaseClient.leaseRevoke({ ID: await kept.grant() });
  const [error] = await once(kept, "lost");
  assert(error instanceof EtcdLeaseInvalidError, error);
}

async function locks(client) {
  const first = await client.lock("lock").ttl(60).acquire();
  await assert.rejects(client.lock("lock").acquire(), EtcdLockFailedError);
  await first.release();
  const value = await client.lock("lock").do(async () => {
    await assert.rejects(client.lock("lock").acquire(), EtcdLockFailedError);
    return "done";
  });
  assert.equal(value, "done");
  assert.equal(await client.get("lock").exists(), false);
}

async function elections(client) {
  const election = client.election("office", 60);
  const first = await election.campaign("first").wait();
  assert.equal(await election.leader(), "first");
  const observer = await election.observe();
  const leaders = on(observer, "change");
  const second = election.campaign("second");
  const won = once(second, "elected");
  await first.proclaim("still the first");
  assert.deepEqual(await next(leaders), ["still the first"]);
  await first.resign();
  await won;
  assert.equal(await election.leader(), "second");
  assert.deepEqual(await next(leaders), ["second"]);
  await observer.cancel();
  await second.resign();
  assert.equal(await election.leader(), undefined);
}

async function transactionalMemory(client) {
  await client.put("stm").value(0);
  const add = () =>
    client.stm({ retries: 50 }).transact(async (memory) => {
      await memory.put("stm").value((await memory.get("stm").number()) + 1);
    });
  await Promise.all([add(), add(), add(), add()]);
  assert.equal(await client.get("stm").number(), 4);
}

// Every member dies in turn, one of which served the watch.
async function aWatchOutlivesItsMember(client) {
  const { header } = await client.put("resume/").value("v");
  const watcher = client.watch().prefix("resume/").startRevision(header.revision).watcher();
  const seen = changes(watcher);
  assert.equal(await next(seen), "Put resume/=v");
  for (const number of urls.keys()) {
    await ask(`kill ${number}`);
    for (const part of ["a", "b"]) {
      const key = `resume/${number}${part}`;
      await create(client, key);
      assert.equal(await next(seen), `Put ${key}=v`);
    }
    await ask(`start ${number}`);
  }
  await watcher.cancel();
}

// Writes a key once, however often it must be tried.
async function create(client, key) {
  for (;;) {
    try {
      const put = client.put(key).value("v");
      return await client.if(key, "Create", "==", 0).then(put).commit();
    } catch {
      await sleep(100);
    }
  }
}

const steps = {
  keys,
  transactions,
  watches,
  leases,
  locks,
  elections,
  transactional_memory: transactionalMemory,
  a_watch_outlives_its_member: aWatchOutlivesItsMember,
};

// What the client is told beside where to connect to.
function identity() {
  const { CA_FILE, CERT_FILE, KEY_FILE, USER_NAME, USER_PASSWORD } = process.env;
  const credentials = CA_FILE && {
    rootCertificate: readFileSync(CA_FILE),
    certChain: readFileSync(CERT_FILE),
    privateKey: readFileSync(KEY_FILE),
  };
  const auth = USER_NAME && { username: USER_NAME, password: USER_PASSWORD };
  return { ...(credentials && { credentials }), ...(auth && { auth }) };
}

async function main() {
  const client = new Etcd3({ hosts: urls, ...identity() });
  for (const name of process.argv.slice(3)) {
    await steps[name](client);
    console.log(name);
  }
  client.close();
}

main().then(
  () => process.exit(0),
  (error) => {
    console.error(error);
    process.exit(1);
  },
);
