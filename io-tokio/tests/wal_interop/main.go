// Reads a log with etcd's own code and prints what it found, one line each.
//
// usage: wal_interop <folder> [<index> <term>]
//
// Without a place to begin at, it begins at the log's newest marker, and says which that is.
package main

import (
	"fmt"
	"os"
	"strconv"

	"go.etcd.io/etcd/server/v3/storage/wal"
	"go.etcd.io/etcd/server/v3/storage/wal/walpb"
	"go.uber.org/zap"
)

func fail(what string, err error) {
	if err != nil {
		fmt.Println(what, err)
		os.Exit(1)
	}
}

func begin(folder string) *walpb.Snapshot {
	if len(os.Args) > 3 {
		index, _ := strconv.ParseUint(os.Args[2], 10, 64)
		term, _ := strconv.ParseUint(os.Args[3], 10, 64)
		return &walpb.Snapshot{Index: &index, Term: &term}
	}
	marks, err := wal.ValidSnapshotEntries(zap.NewNop(), folder)
	fail("cannot find markers:", err)
	newest := marks[len(marks)-1]
	fmt.Printf("mark %d %d %v\n", newest.GetIndex(), newest.GetTerm(), newest.GetConfState().GetVoters())
	return newest
}

func main() {
	folder := os.Args[1]
	snapshot := begin(folder)
	_, err := wal.Verify(zap.NewNop(), folder, snapshot)
	fail("cannot verify:", err)
	log, err := wal.OpenForRead(zap.NewNop(), folder, snapshot)
	fail("cannot open:", err)
	defer log.Close()
	metadata, state, entries, err := log.ReadAll()
	fail("cannot read:", err)
	fmt.Printf("metadata %x\n", metadata)
	fmt.Printf("state %d %d %d\n", state.GetTerm(), state.GetVote(), state.GetCommit())
	for _, entry := range entries {
		fmt.Printf("entry %d %d %d %x\n", entry.GetIndex(), entry.GetTerm(), entry.GetType(), entry.GetData())
	}
}
