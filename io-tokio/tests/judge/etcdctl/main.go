// A real etcdctl, built from its published modules: what operators type, of the version whose
// behaviour is the reference.
//
//	go build -o ../../../target/judge/etcdctl ./etcdctl
package main

import "go.etcd.io/etcd/etcdctl/v3/ctlv3"

func main() {
	ctlv3.MustStart()
}
