// Reads a log's files with the Go project's own implementation of signed notes and Merkle
// trees (golang.org/x/mod/sumdb), which shares no line with ours, and says what it makes of them.
//
//	read_log DIRECTORY VERIFIER_KEY...
//
// DIRECTORY holds `checkpoint`, `tile/…`, and may hold `receipts/*` (tlog-proof) and
// `submissions/*` (tlog-witness requests). Ends with 1 and a reason where anything does not hold.
package main

import (
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

// open verifies every signature of a checkpoint, all of which must be known.
func open(content []byte, known note.Verifiers, signers int) (int64, tlog.Hash) {
	opened, err := note.Open(content, known)
	check(err, "note")
	if len(opened.Sigs) != signers || len(opened.UnverifiedSigs) != 0 {
		refuse("%d signatures verify, and %d must", len(opened.Sigs), signers)
	}
	lines := strings.Split(opened.Text, "\n")
	if len(lines) != 4 || lines[3] != "" {
		refuse("a checkpoint has three lines")
	}
	size, err := strconv.ParseInt(lines[1], 10, 64)
	check(err, "size")
	return size, readHash(lines[2])
}

func files(directory, name string) []string {
	found, err := filepath.Glob(filepath.Join(directory, name, "*"))
	check(err, name)
	return found
}

func main() {
	directory := os.Args[1]
	var keys []note.Verifier
	for _, vkey := range os.Args[2:] {
		keys = append(keys, verifier(vkey))
	}
	known := note.VerifierList(keys...)
	size, root := open(readFile(directory, "checkpoint"), known, len(keys))

	reader, all, tiles := readTree(directory, size, root)
	receipts := files(directory, "receipts")
	for _, file := range receipts {
		head, checkpoint := blank(readFile(file))
		if head[0] != "c2sp.org/tlog-proof@v1" || !strings.HasPrefix(head[1], "extra ") {
			refuse("%s is no proof", file)
		}
		entry, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(head[1], "extra "))
		check(err, "extra")
		of, itsRoot := open(checkpoint, known, len(keys))
		index := number(head[2], "index")
		check(tlog.CheckRecord(hashes(head[3:]), of, itsRoot, index, tlog.RecordHash(entry)), file)
	}
	submissions := files(directory, "submissions")
	for _, file := range submissions {
		head, checkpoint := blank(readFile(file))
		of, itsRoot := open(checkpoint, known, 1)
		old := number(head[0], "old")
		if old == 0 || old == of {
			if len(head) != 1 {
				refuse("%s proves what needs no proof", file)
			}
			continue
		}
		oldRoot, err := tlog.TreeHash(old, reader)
		check(err, "old root")
		check(tlog.CheckTree(hashes(head[1:]), of, itsRoot, old, oldRoot), file)
	}

	// And what it makes itself, for ours to read.
	record, err := tlog.ProveRecord(size, size/3, reader)
	check(err, "proof")
	consistency, err := tlog.ProveTree(size, size/2+1, reader)
	check(err, "proof")
	secret, public, err := note.GenerateKey(rand.Reader, "another.example/log")
	check(err, "key")
	signer, err := note.NewSigner(secret)
	check(err, "key")
	text := fmt.Sprintf("another.example/log\n%d\n%v\n", size, root)
	signed, err := note.Sign(&note.Note{Text: text}, signer)
	check(err, "note")
	check(json.NewEncoder(os.Stdout).Encode(map[string]interface{}{
		"size": size, "root": root.String(), "tiles": tiles, "entries": len(all),
		"receipts": len(receipts), "submissions": len(submissions),
		"record": record, "consistency": consistency, "key": public, "note": string(signed),
	}), "answer")
}
