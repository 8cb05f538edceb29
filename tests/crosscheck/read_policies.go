// Verifies receipts and exports by a policy that another one replaced since, or before, with the
// file of recorded policies. It uses the Go project's own signed notes and Merkle proofs.
//
//	read_policies TRUSTED_POLICY POLICIES PROOF...
//
// A proof is a receipt, the directory of an export, or the address of a node's log (http://…/log),
// of which only the hashes are public. POLICIES is a file, or such an address with /policies.
// Ends with 1 and a reason where anything does not hold.
package main

import (
	"bytes"
	"compress/flate"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"sort"
	"strconv"
	"strings"
	"time"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

type policy struct {
	logs      []note.Verifier
	witnesses map[string]note.Verifier
	groups    map[string][]string
	needed    map[string]int
	quorum    string
	trust     string
}

func readPolicy(text string) policy {
	p := policy{witnesses: map[string]note.Verifier{}, groups: map[string][]string{}, needed: map[string]int{}}
	var trust []string
	for _, line := range strings.Split(text, "\n") {
		words := strings.Fields(line)
		if len(words) == 0 || strings.HasPrefix(words[0], "#") {
			continue
		}
		switch words[0] {
		case "log":
			p.logs = append(p.logs, verifier(words[1]))
			words = words[:2]
		case "witness":
			p.witnesses[words[1]] = verifier(words[2])
			words = words[:3]
		case "group":
			members := words[3:]
			p.groups[words[1]] = members
			switch words[2] {
			case "all":
				p.needed[words[1]] = len(members)
			case "any":
				p.needed[words[1]] = 1
			default:
				p.needed[words[1]] = int(number("threshold "+words[2], "threshold"))
			}
			words[2] = strconv.Itoa(p.needed[words[1]])
		case "quorum":
			p.quorum = words[1]
		default:
			refuse("this is no line of a policy: %s", words[0])
		}
		trust = append(trust, strings.Join(words, " "))
	}
	sort.Strings(trust)
	p.trust = strings.Join(trust, "\n")
	return p
}

type checkpoint struct {
	origin string
	size   int64
	root   tlog.Hash
}

// parse reads a checkpoint's text, whoever signed it.
func parse(content string) checkpoint {
	lines := strings.Split(content, "\n")
	if len(lines) < 5 || lines[3] != "" {
		refuse("a checkpoint has three lines")
	}
	size, err := strconv.ParseInt(lines[1], 10, 64)
	check(err, "size")
	return checkpoint{lines[0], size, readHash(lines[2])}
}

// verify is whether the log signed a checkpoint and a quorum cosigned it.
func (p policy) verify(content string) checkpoint {
	found := parse(content)
	_, err := note.Open([]byte(content), note.VerifierList(p.logs...))
	check(err, "no log key of the policy in force")
	met := func(name string) bool { return false }
	met = func(name string) bool {
		if members, ok := p.groups[name]; ok {
			count := 0
			for _, member := range members {
				if met(member) {
					count++
				}
			}
			return count >= p.needed[name]
		}
		_, err := note.Open([]byte(content), note.VerifierList(p.witnesses[name]))
		return err == nil
	}
	if p.quorum != "none" && !met(p.quorum) {
		refuse("no quorum cosigned the checkpoint of %d events", found.size)
	}
	return found
}

type history struct {
	Format  string
	Periods []struct {
		Since      int64
		Policy     string
		Checkpoint *string
	}
	Acts []struct {
		Position int64
		Event    []byte
		Path     []string
	}
	Bridges []struct {
		Size  int64
		Proof []string
	}
}

type plainText struct {
	Parties  []struct{ Code string }
	Agencies []struct{ ID, Party, Role string }
	Edition  int
	Quorum   *struct {
		Coordinators int
		NoticeDays   int `json:"notice_days"`
	}
}

// text is the text of a protocol, which is deflated where it is long.
type text plainText

func (t *text) UnmarshalJSON(content []byte) error {
	var packed struct{ Deflated string }
	if err := json.Unmarshal(content, &packed); err != nil {
		return err
	}
	if packed.Deflated != "" {
		whole, err := io.ReadAll(flate.NewReader(bytes.NewReader(unbase64url(packed.Deflated))))
		if err != nil {
			return err
		}
		content = whole
	}
	return json.Unmarshal(content, (*plainText)(t))
}

type act struct {
	Agency string `json:"iss"`
	Kind   string
	Act    struct {
		Protocol text
		Keys     []grant
		Grant    grant
		KeyID    string `json:"key_id"`
		Policy   string
		Without  []string
		Party    string
		Subjects []string
		// A vote's.
		Checkpoint *struct {
			Size int64
			Root string
		}
	}
}

// vote is the policy that a party adopted last, and the absent parties that it names.
type vote struct{ text, without string }

// changes gives the subjects of a vote that replaces another policy.
func (p policy) changes(before policy) []string {
	part := func(trust string, isLog bool) string {
		var lines []string
		for _, line := range strings.Split(trust, "\n") {
			if strings.HasPrefix(line, "log ") == isLog {
				lines = append(lines, line)
			}
		}
		return strings.Join(lines, "\n")
	}
	var changed []string
	if part(p.trust, true) != part(before.trust, true) {
		changed = append(changed, "LogKey")
	}
	if part(p.trust, false) != part(before.trust, false) {
		changed = append(changed, "Witnesses")
	}
	return changed
}

type grant struct {
	Agency string
	Key    struct{ X string }
}

func unbase64url(text string) []byte {
	content, err := base64.RawURLEncoding.DecodeString(text)
	check(err, "base64url")
	return content
}

func thumbprint(x string) string {
	sum := sha256.Sum256([]byte(`{"crv":"Ed25519","kty":"OKP","x":"` + x + `"}`))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

type key struct {
	agency string
	public ed25519.PublicKey
}

type recovery struct {
	grant   grant
	since   time.Time
	parties map[string]bool
}

type adopted struct {
	since int64
	trust string
}

// fold gives the policies that the acts adopt, each of which a registered key must have signed.
// continues refuses a checkpoint that is no beginning of the head: the votes name such checkpoints.
func fold(h history, head checkpoint, continues func(checkpoint)) []adopted {
	keys, party, votes := map[string]key{}, map[string]string{}, map[string]vote{}
	speaks := map[string]string{} // the party of each coordinator and node
	absences := map[string]map[string]time.Time{}
	deciding, notice := 0, time.Duration(0)
	var inForce *policy
	var found []adopted
	recoveries := map[string]*recovery{}
	parties, edition := 0, 1
	for _, one := range h.Acts {
		err := tlog.CheckRecord(hashes(one.Path), head.size, head.root, one.Position-1, tlog.RecordHash(one.Event))
		check(err, fmt.Sprintf("position %d", one.Position))
		var event struct {
			Text string `json:"sd_jwt"`
			At   string `json:"recorded_at"`
		}
		check(json.Unmarshal(one.Event, &event), "event")
		parts := strings.Split(strings.TrimSuffix(event.Text, "~"), ".")
		var header struct{ Kid string }
		var claims act
		check(json.Unmarshal(unbase64url(parts[0]), &header), "header")
		check(json.Unmarshal(unbase64url(parts[1]), &claims), "claims")
		register := func(g grant) {
			keys[thumbprint(g.Key.X)] = key{g.Agency, unbase64url(g.Key.X)}
		}
		if claims.Kind == "protocol_adopted" {
			parties, edition = len(claims.Act.Protocol.Parties), claims.Act.Protocol.Edition
			for _, agency := range claims.Act.Protocol.Agencies {
				if agency.Role == "coordinator" {
					party[agency.ID] = agency.Party
				}
				if agency.Role == "coordinator" || agency.Role == "node" {
					speaks[agency.ID] = agency.Party
				}
			}
			if quorum := claims.Act.Protocol.Quorum; quorum != nil {
				deciding, notice = quorum.Coordinators, time.Duration(quorum.NoticeDays)*24*time.Hour
			}
			for _, g := range claims.Act.Keys {
				register(g)
			}
		}
		by := keys[header.Kid]
		signed := []byte(parts[0] + "." + parts[1])
		if by.agency != claims.Agency || !ed25519.Verify(by.public, signed, unbase64url(parts[2])) {
			refuse("the act at position %d is not signed by a registered key", one.Position)
		}
		for id, begun := range recoveries {
			if begun.grant.Agency == claims.Agency {
				delete(recoveries, id)
			}
		}
		at, err := time.Parse(time.RFC3339Nano, event.At)
		check(err, "time of recording")
		if present := speaks[claims.Agency]; absences[present] != nil {
			delete(absences, present)
			for of, one := range votes {
				if strings.Contains(one.without, present) {
					delete(votes, of)
				}
			}
		}
		switch claims.Kind {
		case "absence_announced":
			if absences[claims.Act.Party] == nil {
				absences[claims.Act.Party] = map[string]time.Time{}
			}
			for _, subject := range claims.Act.Subjects {
				if _, known := absences[claims.Act.Party][subject]; !known {
					absences[claims.Act.Party][subject] = at
				}
			}
		case "key_registered":
			register(claims.Act.Grant)
		case "coordinator_key_recovered":
			id, of := thumbprint(claims.Act.Grant.Key.X), claims.Act.Grant.Agency
			begun, known := recoveries[id]
			if !known {
				begun = &recovery{claims.Act.Grant, at, map[string]bool{}}
				recoveries[id] = begun
			}
			begun.parties[party[claims.Agency]] = true
			delete(begun.parties, party[of])
			if len(begun.parties) == parties-1 && !at.Before(begun.since.Add(7*24*time.Hour)) {
				register(begun.grant)
				delete(recoveries, id)
			}
		case "key_revoked", "key_compromised":
			delete(keys, claims.Act.KeyID)
		case "log_policy_adopted":
			if named := claims.Act.Checkpoint; named != nil {
				root, err := hex.DecodeString(named.Root)
				check(err, "root")
				if named.Size >= one.Position || len(root) != 32 {
					refuse("the vote at position %d names no checkpoint before it", one.Position)
				}
				var hash tlog.Hash
				copy(hash[:], root)
				continues(checkpoint{size: named.Size, root: hash})
			} else if edition >= 2 {
				refuse("the vote at position %d names no checkpoint", one.Position)
			}
			sort.Strings(claims.Act.Without)
			made, proposed := vote{claims.Act.Policy, strings.Join(claims.Act.Without, " ")}, readPolicy(claims.Act.Policy)
			for _, absent := range claims.Act.Without {
				if inForce == nil || parties-len(claims.Act.Without) < deciding {
					refuse("the vote at position %d is without too many parties", one.Position)
				}
				for _, subject := range proposed.changes(*inForce) {
					since, known := absences[absent][subject]
					if !known || at.Before(since.Add(notice)) {
						refuse("%s is not absent for the vote at position %d", absent, one.Position)
					}
				}
			}
			votes[party[claims.Agency]] = made
			agreeing, alike := 0, 0
			for _, other := range votes {
				if other.text == made.text {
					agreeing++
				}
				if other == made {
					alike++
				}
			}
			if agreeing == parties || made.without != "" && alike >= parties-len(claims.Act.Without) {
				found = append(found, adopted{one.Position, proposed.trust})
				inForce, votes = &proposed, map[string]vote{}
			}
		}
	}
	return found
}

func main() {
	trusted := readPolicy(string(readFile(os.Args[1])))
	var h history
	check(json.Unmarshal(readFile(os.Args[2]), &h), "policies")
	if h.Format != "case-ledger policies 1" {
		refuse("the policies have another format")
	}
	bridges := map[int64][]tlog.Hash{}
	for _, one := range h.Bridges {
		bridges[one.Size] = hashes(one.Proof)
	}
	first, head := -1, checkpoint{}
	for n, period := range h.Periods {
		if period.Checkpoint == nil {
			continue
		}
		head = parse(*period.Checkpoint)
		if first < 0 && readPolicy(period.Policy).trust == trusted.trust {
			first = n
		}
	}
	if first < 0 {
		refuse("the recorded policies do not lead from the trusted one")
	}
	continues := func(old checkpoint) {
		proof, known := bridges[old.size]
		if !known {
			refuse("the proof is missing that the checkpoint of %d events is of the same ledger", old.size)
		}
		if old.size == head.size {
			if old.root != head.root {
				refuse("two roots of one size")
			}
			return
		}
		check(tlog.CheckTree(proof, head.size, head.root, old.size, old.root), "another ledger")
	}
	for n := first; n < len(h.Periods); n++ {
		period := h.Periods[n]
		if period.Checkpoint == nil {
			continue
		}
		found := readPolicy(period.Policy).verify(*period.Checkpoint)
		if found.size < period.Since || n+1 < len(h.Periods) && found.size >= h.Periods[n+1].Since {
			refuse("a checkpoint is of another policy's time")
		}
		continues(found)
	}
	recorded := fold(h, head, continues)
	if len(recorded) != len(h.Periods)-1 {
		refuse("the acts adopt %d policies, and the file tells %d", len(recorded), len(h.Periods)-1)
	}
	for n, one := range recorded {
		period := h.Periods[n+1]
		if one.since != period.Since || one.trust != readPolicy(period.Policy).trust {
			refuse("the acts adopt another policy at %d", one.since)
		}
	}

	// holds verifies a checkpoint by the policy of its size.
	holds := func(content string) checkpoint {
		found := parse(content)
		at := 0
		for n, period := range h.Periods {
			if period.Since <= found.size {
				at = n
			}
		}
		if at >= first {
			readPolicy(h.Periods[at].Policy).verify(content)
		} else {
			continues(found)
		}
		return found
	}
	for _, proof := range os.Args[3:] {
		if isAddress(proof) {
			found := holds(string(readFile(proof, "checkpoint")))
			leaves := publicLeaves(proof, found.size, found.root)
			fmt.Printf("%d hashes of %d hold\n", len(leaves), found.size)
			continue
		}
		if about, err := os.Stat(proof); err == nil && about.IsDir() {
			found := holds(string(readFile(proof, "checkpoint")))
			_, all, _ := readTree(proof, found.size, found.root)
			fmt.Printf("%d events of %d hold\n", len(all), found.size)
			continue
		}
		lines, content := blank(readFile(proof))
		found := holds(string(content))
		entry, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(lines[1], "extra "))
		check(err, "extra")
		index := number(lines[2], "index")
		check(tlog.CheckRecord(hashes(lines[3:]), found.size, found.root, index, tlog.RecordHash(entry)), "receipt")
		fmt.Printf("position %d of %d holds\n", index+1, found.size)
	}
}
