package coord

import (
	"errors"
	"fmt"

	"leasehold/vm"
)

// What a caller branches on.
var (
	// ErrUnknown: the answer was lost, and either did not come back before the context ended, or came so late that others
	// had written over what would have told. The write may have happened, or may still happen.
	ErrUnknown = errors.New("the outcome of the write is unknown")
	// ErrUnavailable: etcd did not answer a read.
	ErrUnavailable = errors.New("the store cannot be reached")
	// ErrLeaseGone: the transaction named a lease that does not exist; nothing was written.
	ErrLeaseGone = errors.New("the lease is gone")
	// ErrSchema: the record was written by a newer version, which knows what this one would lose.
	ErrSchema = errors.New("the record has a newer schema")
	// ErrNotFound: there is no such key.
	ErrNotFound = errors.New("no such record")
)

// ConflictError says that a guard did not hold, and what is there instead. Nothing was written.
type ConflictError struct {
	Txn      string
	Revision int64           // of the store when it was refused
	Current  map[string][]KV // by guarded key or prefix: what is there now; missing keys have no entry
	Failed   []string        // keys whose guard did not hold, as far as the values show
}

func (e *ConflictError) Error() string {
	return fmt.Sprintf("cannot %s: changed meanwhile: %v", e.Txn, e.Failed)
}

// Now returns what is under a guarded key, if anything.
func (e *ConflictError) Now(key string) (KV, bool) {
	kvs := e.Current[key]
	if len(kvs) == 0 {
		return KV{}, false
	}
	return kvs[0], true
}

// TooWideError says that a transaction has more operations than etcd takes.
type TooWideError struct {
	Txn string
	Ops int
}

func (e *TooWideError) Error() string {
	return fmt.Sprintf("cannot %s: it takes %d operations and etcd allows %d in one transaction", e.Txn, e.Ops, MaxOps)
}

// Reason is invalid_argument: an instance has too many volumes and ports.
func (e *TooWideError) Reason() vm.Reason { return vm.ReasonInvalidArgument }

// storeError is an error of etcd that answers store_unavailable to a user.
type storeError struct {
	kind  error // ErrUnknown, ErrUnavailable or ErrLeaseGone
	what  string
	cause error
}

func (e *storeError) Error() string { return fmt.Sprintf("cannot %s: %v: %v", e.what, e.kind, e.cause) }

func (e *storeError) Is(target error) bool { return target == e.kind }

func (e *storeError) Unwrap() error { return e.cause }

// Reason is store_unavailable.
func (e *storeError) Reason() vm.Reason { return vm.ReasonStoreUnavailable }
