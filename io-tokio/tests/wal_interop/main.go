// Reads a log with etcd's own code and prints what it found, one line each.
//
// usage: wal_interop <folder> <index> <term>
package main

import (
	"fmt"
	"os"
	"strconv"

	"go.etcd.io/etcd/server/v3/storage/wal"
	"go.etcd.io/etcd/server/v3/storage/wal/walpb"
	"go.uber.org/zap"
)

func main() {
	index, _ := strconv.ParseUint(os.Args[2], 10, 64)
	term, _ := strconv.ParseUint(os.Args[3], 10, 64)
	snapshot := &walpb.Snapshot{Index: &index, Term: &term}
	log, err := wal.Open(zap.NewNop(), os.Args[1], snapshot)
	if err != nil {
		fmt.Println("cannot open:", err)
		os.Exit(1)
	}
	defer log.Close()
	metadata, state, entries, err := log.ReadAll()
	if err != nil {
		fmt.Println("cannot read:", err)
		os.Exit(1)
	}
	fmt.Printf("metadata %x\n", metadata)
	fmt.Printf("state %d %d %d\n", state.GetTerm(), state.GetVote(), state.GetCommit())
	for _, entry := range entries {
		fmt.Printf("entry %d %d %d %x\n", entry.GetIndex(), entry.GetTerm(), entry.GetType(), entry.GetData())
	}
}
