package coord

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// MaxOps is etcd's default limit for each branch of a transaction, and for its compares.
const MaxOps = 128

// Guard is one thing that must be so for a Txn to happen. Guards on one key may be several.
type Guard struct {
	key  string
	test test
	rev  int64
}

type test int

const (
	modIs test = iota
	createIs
	exists
	noneUnder
	noneNewer
)

// Unchanged holds while the key's last change was at revision mod.
func Unchanged(key string, mod int64) Guard { return Guard{key, modIs, mod} }

// CreatedAt holds while the key exists and was created at revision create: the compare of a claim.
func CreatedAt(key string, create int64) Guard { return Guard{key, createIs, create} }

// Absent holds while there is no such key.
func Absent(key string) Guard { return Guard{key, createIs, 0} }

// Present holds while there is such a key, whatever its value.
func Present(key string) Guard { return Guard{key, exists, 0} }

// NoneUnder holds while no key begins with prefix. etcd compares a missing range as one key of revision 0, so an empty
// range holds and any key in it does not. The else branch reads one key of it.
func NoneUnder(prefix string) Guard { return Guard{prefix, noneUnder, 0} }

// NoneNewer holds while no key that begins with prefix was created after revision rev: what a list at rev showed is all
// there is. etcd looks at every key of the range: it is for what people do seldom.
func NoneNewer(prefix string, rev int64) Guard { return Guard{prefix, noneNewer, rev} }

// Key is the key, or prefix, that the guard is about.
func (g Guard) Key() string { return g.key }

// compare is etcd's form of the guard; probe is what the else branch reads to tell why it did not hold.
func (g Guard) compare() (cmp clientv3.Cmp, probe clientv3.Op) {
	probe = clientv3.OpGet(g.key)
	switch g.test {
	case createIs:
		return clientv3.Compare(clientv3.CreateRevision(g.key), "=", g.rev), probe
	case exists:
		return clientv3.Compare(clientv3.CreateRevision(g.key), ">", 0), probe
	case noneUnder:
		return clientv3.Compare(clientv3.CreateRevision(g.key), "=", 0).WithPrefix(),
			clientv3.OpGet(g.key, clientv3.WithPrefix(), clientv3.WithLimit(1))
	case noneNewer:
		return clientv3.Compare(clientv3.CreateRevision(g.key), "<", g.rev+1).WithPrefix(),
			clientv3.OpGet(g.key, clientv3.WithPrefix(), clientv3.WithLimit(1),
				clientv3.WithSort(clientv3.SortByCreateRevision, clientv3.SortDescend))
	default:
		return clientv3.Compare(clientv3.ModRevision(g.key), "=", g.rev), probe
	}
}

// holds evaluates the guard on what the else branch read, to name what failed.
func (g Guard) holds(kvs []KV) bool {
	var kv KV
	if len(kvs) > 0 {
		kv = kvs[0]
	}
	switch g.test {
	case createIs:
		return kv.Create == g.rev
	case exists:
		return kv.Create > 0
	case noneUnder:
		return len(kvs) == 0
	case noneNewer:
		return kv.Create <= g.rev
	default:
		return kv.Mod == g.rev
	}
}

// Write is one change of a Txn.
type Write struct {
	key     string
	value   any // nil for a delete
	lease   int64
	witness bool
}

// Put writes a durable record as JSON.
func Put(key string, record any) Write { return Write{key: key, value: record} }

// PutLeased writes a record that ends with a lease.
func PutLeased(key string, record any, lease int64) Write {
	return Write{key: key, value: record, lease: lease}
}

// Delete removes a key; removing a missing one is no error.
func Delete(key string) Write { return Write{key: key} }

// Witness marks the write that carries the attempt id. Exactly one write of a Txn is the witness, and it is a record
// that every later transaction about the same thing writes anew or removes.
func (w Write) Witness() Write { w.witness = true; return w }

// Key is the key that is written.
func (w Write) Key() string { return w.key }

// Txn is a set of guards and writes that happen together. Name says in metrics, logs and crash points what it is for.
type Txn struct {
	Name   string
	Guards []Guard
	Writes []Write
}

// If adds guards.
func (t *Txn) If(gs ...Guard) *Txn { t.Guards = append(t.Guards, gs...); return t }

// Then adds writes.
func (t *Txn) Then(ws ...Write) *Txn { t.Writes = append(t.Writes, ws...); return t }

// build makes etcd's form of it. attempt goes into the witness.
func (t *Txn) build(attempt string) (cmps []clientv3.Cmp, then, otherwise []clientv3.Op, witness string, err error) {
	seen := make(map[string]bool, len(t.Guards)+len(t.Writes))
	probed := make(map[string]bool, len(t.Guards)+1)
	for _, g := range t.Guards {
		cmp, probe := g.compare()
		cmps = append(cmps, cmp)
		if !probed[g.key] {
			probed[g.key] = true
			otherwise = append(otherwise, probe)
		}
	}
	for _, w := range t.Writes {
		if seen[w.key] {
			return nil, nil, nil, "", fmt.Errorf("internal error: transaction %s writes %s twice", t.Name, w.key)
		}
		seen[w.key] = true
		if w.value == nil {
			then = append(then, clientv3.OpDelete(w.key))
			continue
		}
		b, err := json.Marshal(w.value)
		if err != nil {
			return nil, nil, nil, "", fmt.Errorf("internal error: cannot encode %s: %w", w.key, err)
		}
		if w.witness {
			witness = w.key
			b = splice(b, attempt)
			if !probed[w.key] {
				probed[w.key] = true
				otherwise = append(otherwise, clientv3.OpGet(w.key))
			}
		}
		var opts []clientv3.OpOption
		if w.lease != 0 {
			opts = append(opts, clientv3.WithLease(clientv3.LeaseID(w.lease)))
		}
		then = append(then, clientv3.OpPut(w.key, string(b), opts...))
	}
	if witness == "" {
		return nil, nil, nil, "", fmt.Errorf("internal error: transaction %s has no witness", t.Name)
	}
	if n := max(len(cmps), len(then), len(otherwise)); n > MaxOps {
		return nil, nil, nil, "", &TooWideError{Txn: t.Name, Ops: n}
	}
	return cmps, then, otherwise, witness, nil
}

// breaks says whether the guard cannot hold any more once t has happened. A repetition is then refused and finds its own
// witness instead of happening twice. C1
func (t *Txn) breaks(g Guard) bool {
	return slices.ContainsFunc(t.Writes, func(w Write) bool {
		put := w.value != nil
		switch g.test {
		case noneUnder:
			return put && strings.HasPrefix(w.key, g.key)
		case noneNewer: // a put may change what was there before
			return false
		case exists:
			return !put && w.key == g.key
		case createIs: // a put keeps the create revision of what exists
			return w.key == g.key && put == (g.rev == 0)
		default:
			return w.key == g.key && (put || g.rev != 0)
		}
	})
}

// never says whether a refusal proves that no earlier try happened: a guard that t would have broken for good still
// holds. Revisions do not come back; absence does.
func (t *Txn) never(refused *ConflictError) bool {
	return slices.ContainsFunc(t.Guards, func(g Guard) bool {
		return g.rev != 0 && t.breaks(g) && g.holds(refused.Current[g.key])
	})
}

// splice adds the attempt id as last member of a JSON object, so that every record can carry one without a field for it.
func splice(object []byte, attempt string) []byte {
	b := object[:len(object)-1]
	if len(b) > 1 {
		b = append(b, ',')
	}
	return fmt.Appendf(b, `"txn":%q}`, attempt)
}

// attemptOf reads back what splice wrote.
func attemptOf(value []byte) string {
	var v struct {
		Txn string `json:"txn"`
	}
	if json.Unmarshal(value, &v) != nil {
		return ""
	}
	return v.Txn
}
