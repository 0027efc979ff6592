package main

import (
	"context"
	"crypto/tls"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// How long one request of the load may take: it is slow machines that are patient, not clients.
const requestMax = 30 * time.Second

// aSteadyLoad writes and reads while the reader changes certificates, as `? rotate 0` asks: on a
// connection that stays, and on a new one for every request. No request may fail.
func aSteadyLoad(_ context.Context, client *clientv3.Client) {
	var isOver atomic.Bool
	var group sync.WaitGroup
	counts := make([]int, 2)
	staying := func(do func(*clientv3.Client)) { do(client) }
	for number, with := range []func(func(*clientv3.Client)){staying, anew} {
		group.Add(1)
		go func() {
			defer group.Done()
			for !isOver.Load() {
				with(func(client *clientv3.Client) { writeAndRead(client, number, counts[number]) })
				counts[number]++
			}
		}()
	}
	ask("rotate 0")
	isOver.Store(true)
	group.Wait()
	fmt.Fprintln(os.Stderr, "rounds on one connection, and on new ones:", counts)
	expect(counts[0] > 5 && counts[1] > 5, true)
}

// anew does it on a connection of its own, with the files as they are now.
func anew(do func(*clientv3.Client)) {
	// Between the replacement of a key and that of its certificate the two do not match.
	for {
		_, err := tls.LoadX509KeyPair(os.Getenv("CERT_FILE"), os.Getenv("KEY_FILE"))
		if err == nil {
			break
		}
		time.Sleep(time.Millisecond)
	}
	client := connect(os.Args[1])
	defer client.Close()
	do(client)
}

func writeAndRead(client *clientv3.Client, number, round int) {
	ctx, cancel := context.WithTimeout(context.Background(), requestMax)
	defer cancel()
	key, value := fmt.Sprint("load/", number), fmt.Sprint(round)
	must(client.Put(ctx, key, value))
	got := must(client.Get(ctx, key))
	expect(string(got.Kvs[0].Value), value)
}
