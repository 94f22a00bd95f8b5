package vm

import (
	"errors"
	"fmt"
	"time"
)

// Reason is a word of the closed set that every refusal and failure carries over the wire and in records.
type Reason string

// The reasons, with their HTTP status. They cross the wire through the one table of package internal/rpc.
const (
	ReasonInvalidArgument  Reason = "invalid_argument"  // 400
	ReasonUnauthenticated  Reason = "unauthenticated"   // 401
	ReasonPermissionDenied Reason = "permission_denied" // 403
	ReasonNotFound         Reason = "not_found"         // 404
	ReasonTaskInProgress   Reason = "task_in_progress"  // 409
	ReasonStateForbids     Reason = "state_forbids"     // 409
	ReasonHostDown         Reason = "host_down"         // 409
	ReasonLocked           Reason = "locked"            // 409
	ReasonInUse            Reason = "in_use"            // 409
	ReasonAlreadyExists    Reason = "already_exists"    // 409
	ReasonKeyReused        Reason = "key_reused"        // 409
	ReasonTooLate          Reason = "too_late"          // 409
	ReasonTooLarge         Reason = "too_large"         // 413
	ReasonQuota            Reason = "quota"             // 429
	ReasonCapacity         Reason = "capacity"          // 429
	ReasonUnsupported      Reason = "unsupported"       // 501
	ReasonStoreUnavailable Reason = "store_unavailable" // 503
)

// Reasons that agents give to conductors, and a task's outcome may carry; they never answer a user's request.
const (
	ReasonStaleFence  Reason = "stale_fence" // the caller was replaced; a newer fence is known
	ReasonWrongEpoch  Reason = "wrong_epoch" // the host was registered anew since the caller looked
	ReasonInterrupted Reason = "interrupted" // the step was begun and not ended: the agent or its machine died in it
	ReasonDriver      Reason = "driver"      // the hypervisor said no; the message is its own
	ReasonNoProgress  Reason = "no_progress" // silent past the step's deadline
	ReasonPreempted   Reason = "preempted"   // closed by a delete
	ReasonCancelled   Reason = "cancelled"   // a user asked
	ReasonInternal    Reason = "internal"    // our own bug
)

// Refusal is an error for the person who reads it: what, which object, why, and what is legal now. Facts are optional
// and travel as ErrorInfo metadata under the names given.
type Refusal struct { //nolint:errname // the word of the house for it
	Why     Reason
	Message string
	Task    TaskID    // "task": the task in the way
	Holder  string    // "holder": who drives it
	Since   time.Time // "since"
	RetryAt time.Time // "retry_at"
	Host    HostName  // "host"
	Allowed []Verb    // "allowed": what is legal now
	Already bool      // "already": the action is already so
	Facts   map[string]string
}

func (r *Refusal) Error() string { return r.Message }

// Reason is the word for the wire.
func (r *Refusal) Reason() Reason { return r.Why }

// Refuse makes a Refusal with a formatted message.
func Refuse(why Reason, format string, args ...any) *Refusal {
	return &Refusal{Why: why, Message: fmt.Sprintf(format, args...)}
}

// ReasonOf finds the reason that err, or one it wraps, answers to. Without one it is ReasonInternal.
func ReasonOf(err error) Reason {
	var r interface{ Reason() Reason }
	if errors.As(err, &r) {
		return r.Reason()
	}
	return ReasonInternal
}
