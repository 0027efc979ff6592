package main

import (
	"context"
	"fmt"
	"strconv"
	"sync"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/client/v3/concurrency"
)

func mutexes(ctx context.Context, c *clientv3.Client) {
	const count = 3
	locked := make(chan string, count)
	first := must(concurrency.NewSession(c))
	held := concurrency.NewMutex(first, "mutex")
	check(held.Lock(ctx))
	other := must(concurrency.NewSession(c))
	expect(concurrency.NewMutex(other, "mutex").TryLock(ctx), concurrency.ErrLocked)
	expect(must(c.Txn(ctx).If(held.IsOwner()).Commit()).Succeeded, true)

	// Those who wait get it in the order in which they came.
	arrivals := c.Watch(ctx, "mutex/", clientv3.WithPrefix(), clientv3.WithFilterDelete())
	var waiting sync.WaitGroup
	for number := range count {
		name := strconv.Itoa(number)
		waiting.Go(func() {
			session := must(concurrency.NewSession(c))
			defer session.Close()
			mutex := concurrency.NewMutex(session, "mutex")
			check(mutex.Lock(ctx))
			locked <- name
			check(mutex.Unlock(ctx))
		})
		expect(len((<-arrivals).Events), 1)
	}
	expect(len(locked), 0)
	check(held.Unlock(ctx))
	for number := range count {
		expect(<-locked, strconv.Itoa(number))
	}
	waiting.Wait()
	check(first.Close())
	check(other.Close())
}

func elections(ctx context.Context, c *clientv3.Client) {
	first, second := must(concurrency.NewSession(c)), must(concurrency.NewSession(c))
	leader := concurrency.NewElection(first, "election")
	_, err := leader.Leader(ctx)
	expect(err, concurrency.ErrElectionNoLeader)
	check(leader.Campaign(ctx, "first"))

	watching, cancel := context.WithCancel(ctx)
	defer cancel()
	seen := concurrency.NewElection(second, "election").Observe(watching)
	expect(string((<-seen).Kvs[0].Value), "first")
	check(leader.Proclaim(ctx, "still the first"))
	expect(string((<-seen).Kvs[0].Value), "still the first")

	follower := concurrency.NewElection(second, "election")
	won := make(chan error, 1)
	go func() { won <- follower.Campaign(ctx, "second") }()
	check(leader.Resign(ctx))
	check(<-won)
	expect(string((<-seen).Kvs[0].Value), "second")
	expect(string(must(leader.Leader(ctx)).Kvs[0].Value), "second")
	check(first.Close())
	check(second.Close())
}

// aLostSession is one whose lease is gone: it says so, and its lock is free.
func aLostSession(ctx context.Context, c *clientv3.Client) {
	lost := must(concurrency.NewSession(c, concurrency.WithTTL(2)))
	check(concurrency.NewMutex(lost, "lost").Lock(ctx))
	lost.Orphan()
	next := must(concurrency.NewSession(c))
	check(concurrency.NewMutex(next, "lost").Lock(ctx))
	check(next.Close())

	revoked := must(concurrency.NewSession(c))
	must(c.Revoke(ctx, revoked.Lease()))
	<-revoked.Done()
}

// transactionalMemory moves money around at once and counts it at the end.
func transactionalMemory(ctx context.Context, c *clientv3.Client) {
	const accounts, workers, transfers, total = 3, 4, 8, 300
	account := func(number int) string { return fmt.Sprintf("stm/%d", number%accounts) }
	for number := range accounts {
		must(c.Put(ctx, account(number), strconv.Itoa(total/accounts)))
	}
	transfer := func(from, to string) {
		must(concurrency.NewSTM(c, func(stm concurrency.STM) error {
			source, target := must(strconv.Atoi(stm.Get(from))), must(strconv.Atoi(stm.Get(to)))
			stm.Put(from, strconv.Itoa(source-1))
			stm.Put(to, strconv.Itoa(target+1))
			return nil
		}, concurrency.WithAbortContext(ctx)))
	}
	var working sync.WaitGroup
	for worker := range workers {
		working.Go(func() {
			for number := range transfers {
				transfer(account(worker+number), account(worker+number+1))
			}
		})
	}
	working.Wait()
	sum := 0
	for _, kv := range must(c.Get(ctx, "stm/", clientv3.WithPrefix())).Kvs {
		sum += must(strconv.Atoi(string(kv.Value)))
	}
	expect(sum, total)
}
