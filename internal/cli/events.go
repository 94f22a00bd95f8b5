package cli

import (
	"context"
	"time"

	"github.com/spf13/cobra"

	conductorv1 "leasehold/api/conductor/v1"
	"leasehold/internal/cli/client"
)

// quiet is how long a conductor says nothing until what it remembers is taken to be all told: its events come one after
// the other from memory, and no message of theirs says that it was the last.
const quiet = time.Second

// happenings is what to print of what happens.
type happenings struct {
	since  int64
	follow bool
}

const eventsHelp = `Without --since it prints what happens from now on; with it, what the conductor still remembers from that revision
on, and with --follow what happens after that too. Every line begins with its revision, and lists and records have
theirs: with -o json as "revision". When the conductor dies, the next one goes on where it was. Ctrl-C ends it.`

func (a *app) events() *cobra.Command {
	var h happenings
	cmd := &cobra.Command{
		Use:   "events",
		Short: "Print what happens to instances, tasks and hosts",
		Long:  "events prints a line for every change of the project's instances and tasks, of hosts and locks.\n\n" + eventsHelp,
		Example: `  vmctl events
  vmctl events --since 1042 -o json | jq -r .message`,
		Args:              cobra.NoArgs,
		ValidArgsFunction: nothing,
		RunE:              a.run(func(ctx context.Context, _ []string) error { return a.tell(ctx, "", h) }),
	}
	h.flags(cmd)
	return cmd
}

func (a *app) instanceEvents() *cobra.Command {
	var h happenings
	cmd := &cobra.Command{
		Use:   "events INSTANCE",
		Short: "Print what happens to an instance",
		Long:  "events prints a line for every change of an instance, its tasks and its locks.\n\n" + eventsHelp,
		Example: `  vmctl instance events web-1
  vmctl instance events web-1 --since 1042 --follow`,
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: first(a.instanceNames),
		RunE:              a.run(func(ctx context.Context, args []string) error { return a.tell(ctx, args[0], h) }),
	}
	h.flags(cmd)
	return cmd
}

func (h *happenings) flags(cmd *cobra.Command) {
	cmd.Flags().Int64Var(&h.since, "since", 0, "begin with this revision")
	cmd.Flags().BoolVarP(&h.follow, "follow", "f", false, "go on after what is known already; so it does without --since")
}

// tell prints events until all is told, or until Ctrl-C.
func (a *app) tell(ctx context.Context, instance string, h happenings) error {
	if h.since < 0 {
		return usagef("cannot begin with revision %d: it is below zero", h.since)
	}
	c, err := a.client()
	if err != nil {
		return err
	}
	want := client.Happenings{Instance: instance, From: h.since}
	if h.since > 0 && !h.follow {
		want.Quiet = quiet
	}
	err = c.FollowEvents(ctx, want, func(e *conductorv1.Event) error { return a.print().Event(e) })
	if ctx.Err() != nil {
		return nil //nolint:nilerr // the person has seen enough
	}
	return err
}
