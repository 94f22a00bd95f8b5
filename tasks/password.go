package tasks

import (
	"context"
	"time"

	"leasehold/api/compute/v1"
	"leasehold/vm"
	"leasehold/workflow"
)

// PasswordParams are the durable parameters of set_password.
type PasswordParams struct {
	User   string `json:"user"`
	Sealed []byte `json:"sealed"` // to the key of the instance's host: nobody else can read it
}

// setPassword is done again by a successor: setting the same password twice is setting it once.
func setPassword() Kind {
	return Kind{
		Verb: vm.SetPassword,
		Flow: workflow.Flow[*Work]{Name: string(vm.SetPassword), Steps: []workflow.Step[*Work]{
			{Name: "password", Resume: workflow.Redo, Tries: 3, Backoff: time.Second, Do: sendPassword, Undo: find},
		}},
		States: map[string]vm.TaskState{"password": vm.UpdatingPassword},
		Settle: settlePassword,
	}
}

func sendPassword(ctx context.Context, w *Work, beat workflow.Beat) error {
	return w.onHost(ctx, "password", func(w *Work, r *computev1.RunRequest) error {
		var p PasswordParams
		err := params(w.Task, &p)
		r.Action = &computev1.RunRequest_SetPassword{SetPassword: &computev1.SetGuestPassword{User: p.User, Sealed: p.Sealed}}
		return err
	}, beat)
}

// settlePassword keeps nothing of the secret, not even sealed: the history is read by more people than the host.
func settlePassword(w *Work, out workflow.Outcome) {
	w.Task.Params = nil
	if out.Result == workflow.Succeeded {
		w.succeed()
		return
	}
	w.failed(out)
}
