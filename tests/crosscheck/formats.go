// What the programs of this directory share: signed notes, witnesses' keys, files.
package main

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

const cosignature = 4

// witness verifies tlog-cosignature lines, a type of signature that sumdb/note leaves to others.
type witness struct {
	name string
	hash uint32
	key  ed25519.PublicKey
}

func (w *witness) Name() string    { return w.name }
func (w *witness) KeyHash() uint32 { return w.hash }
func (w *witness) Verify(msg, sig []byte) bool {
	if len(sig) != 8+ed25519.SignatureSize {
		return false
	}
	signed := fmt.Sprintf("cosignature/v1\ntime %d\n%s", binary.BigEndian.Uint64(sig), msg)
	return ed25519.Verify(w.key, []byte(signed), sig[8:])
}

func check(err error, what string) {
	if err != nil {
		refuse("%s: %v", what, err)
	}
}

func refuse(format string, args ...interface{}) {
	fmt.Fprintf(os.Stderr, format+"\n", args...)
	os.Exit(1)
}

func verifier(vkey string) note.Verifier {
	parts := strings.SplitN(vkey, "+", 3)
	if len(parts) != 3 {
		refuse("%s is no verifier key", vkey)
	}
	key, err := base64.StdEncoding.DecodeString(parts[2])
	check(err, "verifier key")
	if len(key) != 33 || key[0] != cosignature {
		known, err := note.NewVerifier(vkey)
		check(err, "verifier key")
		return known
	}
	sum := sha256.Sum256(append([]byte(parts[0]+"\n"), key...))
	hash := binary.BigEndian.Uint32(sum[:])
	if fmt.Sprintf("%08x", hash) != parts[1] {
		refuse("the id of %s is not that of its key", vkey)
	}
	return &witness{parts[0], hash, key[1:]}
}

func readHash(line string) tlog.Hash {
	hash, err := tlog.ParseHash(line)
	check(err, "hash")
	return hash
}

// readFile reads a file of a directory, or of a node's address.
func readFile(path ...string) []byte {
	if isAddress(path[0]) {
		answer, err := http.Get(strings.Join(path, "/"))
		check(err, "request")
		defer answer.Body.Close()
		if answer.StatusCode != http.StatusOK {
			refuse("%s: %s", path[len(path)-1], answer.Status)
		}
		content, err := io.ReadAll(answer.Body)
		check(err, "answer")
		return content
	}
	content, err := os.ReadFile(filepath.Join(path...))
	check(err, "file")
	return content
}

func isAddress(path string) bool { return strings.HasPrefix(path, "http://") }

// blank splits a head of lines from what follows the first empty line.
func blank(content []byte) ([]string, []byte) {
	parts := bytes.SplitN(content, []byte("\n\n"), 2)
	if len(parts) != 2 {
		refuse("there is no empty line")
	}
	return strings.Split(string(parts[0]), "\n"), parts[1]
}

func number(line, name string) int64 {
	found, err := strconv.ParseInt(strings.TrimPrefix(line, name+" "), 10, 64)
	check(err, name)
	return found
}

func hashes(lines []string) []tlog.Hash {
	var found []tlog.Hash
	for _, line := range lines {
		found = append(found, readHash(line))
	}
	return found
}
