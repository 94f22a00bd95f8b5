package liveness

import (
	"errors"
	"fmt"
	"time"

	"leasehold/vm"
)

// Causes with which a session's context ends.
var (
	// ErrLost: the trust window has ended, or the lease is gone. Somebody else may act by now.
	ErrLost = errors.New("the session is lost")
	// ErrStopping: this conductor closed its session.
	ErrStopping = errors.New("the conductor is stopping")
)

// NameTakenError says that an earlier process has this conductor's name.
type NameTakenError struct {
	Name        vm.ConductorName
	Incarnation string
	Address     string
	Since       time.Time
	Alive       bool // it answered; otherwise nobody knows, and its name is free again when its lease has expired
}

func (e *NameTakenError) Error() string {
	doubt := "it does not answer; its lease ends by itself if it is dead"
	if e.Alive {
		doubt = "it is alive; give this one another name"
	}
	return fmt.Sprintf("cannot start as conductor %s: the name is taken by incarnation %s at %s since %s: %s",
		e.Name, e.Incarnation, e.Address, e.Since.Format(time.RFC3339), doubt)
}

// Reason is already_exists.
func (e *NameTakenError) Reason() vm.Reason { return vm.ReasonAlreadyExists }

// NotRegisteredError says that a host's alive key does not hang on the lease and epoch it named: it must register again.
type NotRegisteredError struct {
	Host  vm.HostName
	Epoch int64
	Lease int64
	Why   string
}

func (e *NotRegisteredError) Error() string {
	return fmt.Sprintf("cannot renew host %s with epoch %d and lease %x: %s; register again", e.Host, e.Epoch, e.Lease, e.Why)
}

// Reason is not_found.
func (e *NotRegisteredError) Reason() vm.Reason { return vm.ReasonNotFound }
