package main

import (
	"context"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/client/v3/kubernetes"
	"go.etcd.io/etcd/client/v3/leasing"
	"go.etcd.io/etcd/client/v3/mirror"
	"go.etcd.io/etcd/client/v3/namespace"
	"go.etcd.io/etcd/client/v3/ordering"
)

// aLeasingCache answers from memory, and lets go of what another client writes.
func aLeasingCache(ctx context.Context, c *clientv3.Client) {
	first, closeFirst, err := leasing.NewKV(c, "leasing/")
	check(err)
	defer closeFirst()
	second, closeSecond, err := leasing.NewKV(c, "leasing/")
	check(err)
	defer closeSecond()
	must(first.Put(ctx, "cached", "1"))
	expect(string(must(first.Get(ctx, "cached")).Kvs[0].Value), "1")
	expect(must(c.Get(ctx, "leasing/cached")).Count, int64(1))
	must(second.Put(ctx, "cached", "2"))
	expect(must(c.Get(ctx, "leasing/cached")).Count, int64(0))
	expect(string(must(first.Get(ctx, "cached")).Kvs[0].Value), "2")
}

// aMirror copies what is there, then follows what comes.
func aMirror(ctx context.Context, c *clientv3.Client) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	must(c.Put(ctx, "mirror/a", "1"))
	must(c.Put(ctx, "mirror/b", "2"))
	syncer := mirror.NewSyncer(c, "mirror/", 0)
	base, errors := syncer.SyncBase(ctx)
	var copied []string
	for page := range base {
		for _, kv := range page.Kvs {
			copied = append(copied, string(kv.Key)+"="+string(kv.Value))
		}
	}
	check(<-errors)
	expect(copied, []string{"mirror/a=1", "mirror/b=2"})
	updates := syncer.SyncUpdates(ctx)
	must(c.Delete(ctx, "mirror/a"))
	must(c.Put(ctx, "mirror/c", "3"))
	expect(describe(<-updates), []string{"DELETE mirror/a="})
	expect(describe(<-updates), []string{"PUT mirror/c=3"})
}

func aNamespace(ctx context.Context, c *clientv3.Client) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	kv := namespace.NewKV(c, "tenant/")
	put := must(kv.Put(ctx, "key", "v"))
	expect(string(must(c.Get(ctx, "tenant/key")).Kvs[0].Value), "v")
	inside := namespace.NewWatcher(c, "tenant/")
	watch := inside.Watch(ctx, "", clientv3.WithPrefix(), clientv3.WithRev(put.Header.Revision))
	expect(describe(<-watch), []string{"PUT key=v"})
	isThere := clientv3.Compare(clientv3.Version("key"), "=", 1)
	expect(must(kv.Txn(ctx).If(isThere).Commit()).Succeeded, true)
}

// orderedReads never see an older revision than the one before.
func orderedReads(ctx context.Context, c *clientv3.Client) {
	kv := ordering.NewKV(c, func(clientv3.Op, clientv3.OpResponse, int64) error {
		return ordering.ErrNoGreaterRev
	})
	last := must(kv.Put(ctx, "ordered", "v")).Header.Revision
	got := must(kv.Get(ctx, "ordered", clientv3.WithSerializable()))
	expect(got.Header.Revision >= last, true)
	expect(got.Count, int64(1))
}

// theInterfaceOfKubernetes writes only over what it has seen.
func theInterfaceOfKubernetes(ctx context.Context, c *clientv3.Client) {
	objects := kubernetes.Client{Client: c}
	put := must(objects.OptimisticPut(ctx, "pods/a", []byte("1"), 0, kubernetes.PutOptions{}))
	expect(put.Succeeded, true)
	stale := must(objects.OptimisticPut(ctx, "pods/a", []byte("2"), put.Revision-1,
		kubernetes.PutOptions{GetOnFailure: true}))
	expect(stale.Succeeded, false)
	expect(stale.KV.ModRevision, put.Revision)
	list := must(objects.List(ctx, "pods/", kubernetes.ListOptions{Limit: 10}))
	expect([]any{len(list.Kvs), list.Count, list.Revision}, []any{1, int64(1), put.Revision})
	expect(must(objects.Count(ctx, "pods/", kubernetes.CountOptions{})), int64(1))
	gone := must(objects.OptimisticDelete(ctx, "pods/a", put.Revision, kubernetes.DeleteOptions{}))
	expect(gone.Succeeded, true)
}
