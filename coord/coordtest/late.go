package coordtest

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// Late remembers the transactions that were sent through one client, so that each can arrive once more: the first try that
// got stuck on its way while the second was answered.
type Late struct {
	clientv3.KV
	sent []*sentTxn
}

// Record remembers what client sends from now on. It is for one goroutine, and before a Store is made of the client.
func Record(client *clientv3.Client) *Late {
	l := &Late{KV: client.KV}
	client.KV = l
	return l
}

// Txn implements clientv3.KV.
func (l *Late) Txn(ctx context.Context) clientv3.Txn {
	t := &sentTxn{Txn: l.KV.Txn(ctx)}
	l.sent = append(l.sent, t)
	return t
}

// Arrive sends all transactions again, in order, and says of each whether it happened.
func (l *Late) Arrive(t testing.TB) (happened []bool) {
	t.Helper()
	for _, late := range l.sent {
		resp, err := l.KV.Txn(t.Context()).If(late.cmps...).Then(late.then...).Commit()
		require.NoError(t, err)
		happened = append(happened, resp.Succeeded)
	}
	return happened
}

type sentTxn struct {
	clientv3.Txn
	cmps []clientv3.Cmp
	then []clientv3.Op
}

func (t *sentTxn) If(cs ...clientv3.Cmp) clientv3.Txn {
	t.cmps = cs
	t.Txn = t.Txn.If(cs...)
	return t
}

func (t *sentTxn) Then(ops ...clientv3.Op) clientv3.Txn {
	t.then = ops
	t.Txn = t.Txn.Then(ops...)
	return t
}

func (t *sentTxn) Else(ops ...clientv3.Op) clientv3.Txn {
	t.Txn = t.Txn.Else(ops...)
	return t
}
