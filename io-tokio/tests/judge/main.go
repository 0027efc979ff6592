// A real etcd, built from its published modules: what the comparison in compat_random.rs holds
// Quorate against.
//
//	go build -o ../../../target/judge/etcd .
package main

import (
	"os"

	"go.etcd.io/etcd/server/v3/etcdmain"
)

func main() {
	etcdmain.Main(os.Args)
}
