package main

import (
	"context"
	"fmt"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
)

func keys(ctx context.Context, c *clientv3.Client) {
	expect(must(c.Put(ctx, "a", "1")).Header.Revision, int64(2))
	previous := must(c.Put(ctx, "a", "2", clientv3.WithPrevKV())).PrevKv
	expect(string(previous.Value), "1")
	got := must(c.Get(ctx, "a")).Kvs[0]
	expect([]int64{got.CreateRevision, got.ModRevision, got.Version}, []int64{2, 3, 2})
	expect(string(must(c.Get(ctx, "a", clientv3.WithRev(2))).Kvs[0].Value), "1")
	for _, key := range []string{"p/2", "p/1", "p/3"} {
		must(c.Put(ctx, key, key))
	}
	newest := must(c.Get(ctx, "p/", clientv3.WithLastCreate()...))
	expect(string(newest.Kvs[0].Key), "p/3")
	expect(newest.Count, int64(3))
	page := must(c.Get(ctx, "p/", clientv3.WithPrefix(), clientv3.WithLimit(2)))
	expect([]any{len(page.Kvs), page.More, page.Count}, []any{2, true, int64(3)})
	expect(must(c.Get(ctx, "p/", clientv3.WithPrefix(), clientv3.WithCountOnly())).Count, int64(3))
	expect(must(c.Delete(ctx, "p/1", clientv3.WithFromKey())).Deleted, int64(3))
	_, err := c.Put(ctx, "", "v")
	expect(err, rpctypes.ErrEmptyKey)
}

func transactions(ctx context.Context, c *clientv3.Client) {
	must(c.Put(ctx, "t", "x"))
	swap := func() *clientv3.TxnResponse {
		return must(c.Txn(ctx).
			If(clientv3.Compare(clientv3.Value("t"), "=", "x")).
			Then(
				clientv3.OpPut("t", "y"),
				clientv3.OpTxn(nil, []clientv3.Op{clientv3.OpGet("t")}, nil),
			).
			Else(clientv3.OpDelete("t")).
			Commit())
	}
	first := swap()
	expect(first.Succeeded, true)
	nested := first.Responses[1].GetResponseTxn().Responses[0].GetResponseRange()
	expect(string(nested.Kvs[0].Value), "y")
	second := swap()
	expect(second.Succeeded, false)
	expect(second.Responses[0].GetResponseDeleteRange().Deleted, int64(1))
}

func watches(ctx context.Context, c *clientv3.Client) {
	ctx, cancel := context.WithCancel(ctx)
	revision := must(c.Put(ctx, "w/0", "before")).Header.Revision
	past := c.Watch(ctx, "w/", clientv3.WithPrefix(), clientv3.WithRev(revision))
	expect(describe(<-past), []string{"PUT w/0=before"})
	must(c.Put(ctx, "w/1", "now"))
	expect(describe(<-past), []string{"PUT w/1=now"})
	must(c.Txn(ctx).Then(clientv3.OpDelete("w/0"), clientv3.OpPut("w/1", "then")).Commit())
	expect(describe(<-past), []string{"DELETE w/0=", "PUT w/1=then"})
	cancel()
	for range past {
	}
	ctx = context.Background()
	must(c.Compact(ctx, revision+1))
	refused := <-c.Watch(ctx, "w/0", clientv3.WithRev(revision))
	expect(refused.CompactRevision, revision+1)
	expect(refused.Err(), rpctypes.ErrCompacted)
	progress := c.Watch(clientv3.WithRequireLeader(ctx), "w/", clientv3.WithPrefix())
	check(c.RequestProgress(clientv3.WithRequireLeader(ctx)))
	idle := <-progress
	expect(idle.IsProgressNotify(), true)
}

// describe is one watch response in words.
func describe(response clientv3.WatchResponse) []string {
	check(response.Err())
	var events []string
	for _, event := range response.Events {
		events = append(events, fmt.Sprintf("%s %s=%s", event.Type, event.Kv.Key, event.Kv.Value))
	}
	return events
}

func leases(ctx context.Context, c *clientv3.Client) {
	lease := must(c.Grant(ctx, 60))
	must(c.Put(ctx, "l", "v", clientv3.WithLease(lease.ID)))
	left := must(c.TimeToLive(ctx, lease.ID, clientv3.WithAttachedKeys()))
	expect([]any{left.GrantedTTL, len(left.Keys)}, []any{int64(60), 1})
	expect((<-must(c.KeepAlive(ctx, lease.ID))).TTL, int64(60))
	must(c.Revoke(ctx, lease.ID))
	expect(must(c.Get(ctx, "l")).Count, int64(0))
	_, err := c.KeepAliveOnce(ctx, lease.ID)
	expect(err, rpctypes.ErrLeaseNotFound)

	short := must(c.Grant(ctx, 1))
	put := must(c.Put(ctx, "s", "v", clientv3.WithLease(short.ID)))
	gone := c.Watch(ctx, "s", clientv3.WithRev(put.Header.Revision+1))
	expect(describe(<-gone), []string{"DELETE s="})
}

func state(ctx context.Context, c *clientv3.Client) {
	members := must(c.MemberList(ctx)).Members
	expect(len(members), 1)
	status := must(c.Status(ctx, c.Endpoints()[0]))
	expect(status.Leader, members[0].ID)
	expect(must(c.HashKV(ctx, c.Endpoints()[0], 0)).Hash != 0, true)
	expect(len(must(c.AlarmList(ctx)).Alarms), 0)
}

// aWatchOutlivesItsMember lets every member die in turn, one of which served the watch.
func aWatchOutlivesItsMember(ctx context.Context, c *clientv3.Client) {
	revision := must(c.Put(ctx, "resume/", "v")).Header.Revision
	watch := c.Watch(ctx, "resume/", clientv3.WithPrefix(), clientv3.WithRev(revision))
	expect(describe(<-watch), []string{"PUT resume/=v"})
	for number := range c.Endpoints() {
		ask(fmt.Sprintf("kill %d", number))
		for _, part := range []string{"a", "b"} {
			key := fmt.Sprintf("resume/%d%s", number, part)
			create(ctx, c, key)
			expect(describe(<-watch), []string{"PUT " + key + "=v"})
		}
		ask(fmt.Sprintf("start %d", number))
	}
}

// create writes a key once, however often it must be tried.
func create(ctx context.Context, c *clientv3.Client, key string) {
	for {
		once, cancel := context.WithTimeout(ctx, 5*time.Second)
		isNew := clientv3.Compare(clientv3.CreateRevision(key), "=", 0)
		_, err := c.Txn(once).If(isNew).Then(clientv3.OpPut(key, "v")).Commit()
		cancel()
		if err == nil {
			return
		}
		check(ctx.Err())
	}
}
