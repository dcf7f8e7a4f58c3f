// A MongoDB-protocol server for the tests: FerretDB on SQLite, behind a gate that lets one write through at a time.
//
// MongoDB promises that a write to one document is atomic. FerretDB 1.24 reads, filters and writes in separate steps: two
// connections that replace a document at the same revision may both be told that they won. The gate makes the promise true.
package main

import (
	"bytes"
	"context"
	"encoding/binary"
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/FerretDB/FerretDB/ferretdb"
)

// A message begins with its own length; 48 MB is what the protocol allows. One of kind OP_MSG goes on with flags, the kind
// of its first section, and a document, whose first field is named like the command.
const (
	headerBytes  = 16
	messageLimit = 48_000_000
	opMsg        = 2013
	commandAt    = headerBytes + 4 + 1 + 4 + 1
)

var writes = map[string]bool{"insert": true, "update": true, "delete": true, "findAndModify": true, "findandmodify": true}

func main() {
	addr := flag.String("listen", "127.0.0.1:0", "address")
	dir := flag.String("dir", ".", "data folder")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	hidden, err := os.MkdirTemp("", "mongo")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(hidden)
	inner := filepath.Join(hidden, "s")
	f, err := ferretdb.New(&ferretdb.Config{
		Listener:  ferretdb.ListenerConfig{Unix: inner},
		Handler:   "sqlite",
		SQLiteURL: "file:" + *dir + "/",
	})
	if err != nil {
		log.Fatal(err)
	}
	listener, err := net.Listen("tcp", *addr)
	if err != nil {
		log.Fatal(err)
	}
	go serve(listener, inner)
	if err := f.Run(ctx); err != nil {
		log.Fatal(err)
	}
}

// serve says that it listens once FerretDB does, and then takes connections for ever.
func serve(listener net.Listener, inner string) {
	for {
		probe, err := net.Dial("unix", inner)
		if err == nil {
			probe.Close()
			break
		}
		time.Sleep(5 * time.Millisecond)
	}
	fmt.Println("listening on", listener.Addr())
	var gate sync.Mutex
	for {
		client, err := listener.Accept()
		if err != nil {
			log.Fatal(err)
		}
		go pass(client, inner, &gate)
	}
}

// pass hands on a connection's commands, each with its answer, until either side hangs up.
func pass(client net.Conn, inner string, gate *sync.Mutex) {
	defer client.Close()
	server, err := net.Dial("unix", inner)
	if err != nil {
		return
	}
	defer server.Close()
	for {
		command, err := message(client)
		if err != nil {
			return
		}
		answer, err := ask(server, command, gate)
		if err != nil {
			return
		}
		if _, err := client.Write(answer); err != nil {
			return
		}
	}
}

func ask(server net.Conn, command []byte, gate *sync.Mutex) ([]byte, error) {
	if writes[name(command)] {
		gate.Lock()
		defer gate.Unlock()
	}
	if _, err := server.Write(command); err != nil {
		return nil, err
	}
	return message(server)
}

func name(command []byte) string {
	if len(command) <= commandAt || binary.LittleEndian.Uint32(command[12:]) != opMsg {
		return ""
	}
	name, _, _ := bytes.Cut(command[commandAt:], []byte{0})
	return string(name)
}

func message(from io.Reader) ([]byte, error) {
	var length [4]byte
	if _, err := io.ReadFull(from, length[:]); err != nil {
		return nil, err
	}
	size := binary.LittleEndian.Uint32(length[:])
	if size < headerBytes || size > messageLimit {
		return nil, fmt.Errorf("a message of %d bytes", size)
	}
	whole := make([]byte, size)
	copy(whole, length[:])
	_, err := io.ReadFull(from, whole[4:])
	return whole, err
}
