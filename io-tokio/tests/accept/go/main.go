// A round of etcd's own client for Go, go.etcd.io/etcd/client/v3, with its concurrency package and
// the layers above its KV.
//
// Usage: round URL,URL,... STEP... Prints the name of each step that held and panics at the first
// that did not. A line `? kill 0` or `? start 0` asks the reader for the death or the return of a
// member; the answer is a line `done`. Where members speak TLS, the variables CA_FILE, CERT_FILE and
// KEY_FILE name what a client needs; where there are users, USER_NAME and USER_PASSWORD who it is. The
// cluster must be fresh: revisions are absolute.
package main

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"os"
	"reflect"
	"strings"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
)

// How long one step may take.
const stepMax = 60 * time.Second

var steps = map[string]func(context.Context, *clientv3.Client){
	"keys":                        keys,
	"transactions":                transactions,
	"watches":                     watches,
	"leases":                      leases,
	"state":                       state,
	"mutexes":                     mutexes,
	"elections":                   elections,
	"a_lost_session":              aLostSession,
	"transactional_memory":        transactionalMemory,
	"a_leasing_cache":             aLeasingCache,
	"a_mirror":                    aMirror,
	"a_namespace":                 aNamespace,
	"ordered_reads":               orderedReads,
	"the_interface_of_kubernetes": theInterfaceOfKubernetes,
	"a_watch_outlives_its_member": aWatchOutlivesItsMember,
	"a_steady_load":               aSteadyLoad,
}

var stdin = bufio.NewReader(os.Stdin)

func main() {
	client := connect(os.Args[1])
	defer client.Close()
	for _, name := range os.Args[2:] {
		ctx, cancel := context.WithTimeout(context.Background(), stepMax)
		steps[name](ctx, client)
		cancel()
		fmt.Println(name)
	}
}

func connect(urls string) *clientv3.Client {
	client, err := clientv3.New(clientv3.Config{
		Endpoints:   strings.Split(urls, ","),
		DialTimeout: 5 * time.Second,
		Logger:      zap.NewNop(),
		TLS:         tlsConfig(),
		Username:    os.Getenv("USER_NAME"),
		Password:    os.Getenv("USER_PASSWORD"),
	})
	check(err)
	return client
}

// tlsConfig is nil where members do not speak TLS.
func tlsConfig() *tls.Config {
	authority := os.Getenv("CA_FILE")
	if authority == "" {
		return nil
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(must(os.ReadFile(authority)))
	pair := must(tls.LoadX509KeyPair(os.Getenv("CERT_FILE"), os.Getenv("KEY_FILE")))
	return &tls.Config{RootCAs: pool, Certificates: []tls.Certificate{pair}}
}

func ask(wish string) {
	fmt.Println("?", wish)
	answer, err := stdin.ReadString('\n')
	check(err)
	expect(answer, "done\n")
}

func check(err error) {
	if err != nil {
		panic(err)
	}
}

// must is what a call returned, which must not have failed.
func must[T any](value T, err error) T {
	check(err)
	return value
}

func expect(got, want any) {
	if !reflect.DeepEqual(got, want) {
		panic(fmt.Sprintf("got %#v, want %#v", got, want))
	}
}
