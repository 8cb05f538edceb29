// The tree of an export, from its entries, and that of a node's public tiles.
package main

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"strings"

	"golang.org/x/mod/sumdb/tlog"
)

const height = 8
const width = 1 << height

// entries reads every bundle.
func entries(directory string, size int64) [][]byte {
	var found [][]byte
	for n := int64(0); n*width < size; n++ {
		tile := tlog.Tile{H: height, L: -1, N: n, W: width}
		if rest := size - n*width; rest < width {
			tile.W = int(rest)
		}
		content := readFile(directory, "tile/entries", strings.TrimPrefix(tile.Path(), "tile/8/data/"))
		for len(content) > 0 {
			if len(content) < 2 || len(content) < 2+int(binary.BigEndian.Uint16(content)) {
				refuse("a bundle ends too early")
			}
			end := 2 + int(binary.BigEndian.Uint16(content))
			found = append(found, content[2:end])
			content = content[end:]
		}
	}
	if int64(len(found)) != size {
		refuse("%d entries, and the checkpoint says %d", len(found), size)
	}
	return found
}

// readTree computes the tree of an export from the entries alone, and holds it against every tile.
// It gives the hashes, the entries and the number of tiles.
func readTree(directory string, size int64, root tlog.Hash) (tlog.HashReader, [][]byte, int) {
	var stored []tlog.Hash
	reader := tlog.HashReaderFunc(func(indexes []int64) ([]tlog.Hash, error) {
		found := make([]tlog.Hash, len(indexes))
		for i, index := range indexes {
			if index >= int64(len(stored)) {
				return nil, fmt.Errorf("no hash %d", index)
			}
			found[i] = stored[index]
		}
		return found, nil
	})
	all := entries(directory, size)
	for n, entry := range all {
		made, err := tlog.StoredHashesForRecordHash(int64(n), tlog.RecordHash(entry), reader)
		check(err, "hashes")
		stored = append(stored, made...)
	}
	computed, err := tlog.TreeHash(size, reader)
	check(err, "root")
	if computed != root {
		refuse("the root is %v, and the checkpoint says %v", computed, root)
	}
	tiles := 0
	for _, tile := range tlog.NewTiles(height, 0, size) {
		// It lists every width that a growing tile had; an export has the last one.
		if tile.N*width+int64(tile.W) != size>>(height*tile.L) && tile.W != width {
			continue
		}
		tiles++
		made, err := tlog.ReadTileData(tile, reader)
		check(err, "tile")
		if !bytes.Equal(made, readFile(directory, tilePath(tile))) {
			refuse("%s is another", tilePath(tile))
		}
	}
	return reader, all, tiles
}

func tilePath(tile tlog.Tile) string {
	return "tile/" + strings.TrimPrefix(tile.Path(), "tile/8/")
}

// publicTiles reads the tiles of hashes that a node serves to anybody.
type publicTiles struct{ address string }

func (p publicTiles) Height() int                                { return height }
func (p publicTiles) SaveTiles(tiles []tlog.Tile, data [][]byte) {}
func (p publicTiles) ReadTiles(tiles []tlog.Tile) (data [][]byte, err error) {
	for _, tile := range tiles {
		data = append(data, readFile(p.address, tilePath(tile)))
	}
	return data, nil
}

// publicLeaves gives the hash of every event as a node serves it, each of which it proves.
func publicLeaves(address string, size int64, root tlog.Hash) []tlog.Hash {
	reader := tlog.TileHashReader(tlog.Tree{N: size, Hash: root}, publicTiles{address})
	indexes := make([]int64, size)
	for n := range indexes {
		indexes[n] = tlog.StoredHashIndex(0, int64(n))
	}
	found, err := reader.ReadHashes(indexes)
	check(err, "tiles")
	return found
}
