package conductor

import (
	"context"
	"crypto/pbkdf2"
	"crypto/sha256"
	"fmt"
	"strings"

	"leasehold/api/conductor/v1"
	"leasehold/coord"
	"leasehold/internal/sealed"
	"leasehold/tasks"
	"leasehold/vm"
)

const (
	maxPassword = 128
	defaultUser = "root"
	// sameRounds makes it dear to guess a password from what its idempotency key keeps of it.
	sameRounds = 100_000
)

// SetPasswordInstance has the guest's agent set a password. From its admission on only the instance's host can read it: the
// task's record has it sealed to that host's key, and for that task. The history does not even keep that.
func (s *service) SetPasswordInstance(ctx context.Context, req *conductorv1.SetPasswordRequest) (*conductorv1.InstanceTask, error) {
	user := req.GetUser()
	if user == "" {
		user = defaultUser
	}
	if err := checkPassword(req.GetPassword(), user); err != nil {
		return nil, err
	}
	who, err := callerOf(ctx, req.GetRequestId()) // the key may stand in the request or beside it
	if err != nil {
		return nil, err
	}
	same, err := samePassword(user, req.GetPassword(), who.key)
	if err != nil {
		return nil, err
	}
	return s.order(ctx, req.GetId(), req.GetRequestId(), Order{
		Verb: vm.SetPassword, Same: same,
		Make: func(in *vm.Instance, task vm.TaskID) (any, error) {
			h, _, ok := coord.Load[vm.Host](s.c.cache, s.c.keys.Host(in.Host))
			if !ok || len(h.PublicKey) == 0 {
				return nil, vm.Refuse(vm.ReasonUnsupported,
					"cannot set a password of instance %s: host %s has given no key to seal it to", in.ID, in.Host)
			}
			secret, err := sealed.Seal(h.PublicKey, sealed.ForTask(in.ID, task), []byte(req.GetPassword()))
			if err != nil {
				return nil, fmt.Errorf("internal error: cannot seal a password for host %s: %w", in.Host, err)
			}
			return tasks.PasswordParams{User: user, Sealed: secret}, nil
		},
	})
}

// checkPassword refuses what a guest cannot take. It never repeats the password.
func checkPassword(password, user string) error {
	switch {
	case password == "":
		return vm.Refuse(vm.ReasonInvalidArgument, "cannot set an empty password")
	case len(password) > maxPassword:
		return vm.Refuse(vm.ReasonInvalidArgument, "cannot set a password of %d bytes: it may have at most %d", len(password), maxPassword)
	case strings.ContainsAny(password, "\n\r\x00:"):
		return vm.Refuse(vm.ReasonInvalidArgument, "cannot set a password with a line break, a colon or a zero byte: guests do not take one")
	case !validName(user) || len(user) > 32:
		return vm.Refuse(vm.ReasonInvalidArgument, "cannot set the password of user %s: that is no user name", shown(user))
	}
	return nil
}

// samePassword is what two requests under one idempotency key have in common. It stands in the store, so it tells nothing
// that is cheap to guess from; without a key nothing is kept.
func samePassword(user, password, key string) (any, error) {
	if key == "" {
		return user, nil
	}
	sum, err := pbkdf2.Key(sha256.New, password, []byte(user+"\x00"+key), sameRounds, sha256.Size)
	if err != nil {
		return nil, fmt.Errorf("internal error: cannot digest a request: %w", err)
	}
	return sum, nil
}
