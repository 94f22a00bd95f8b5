package cli

import (
	"context"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/protobuf/types/known/durationpb"

	conductorv1 "leasehold/api/conductor/v1"
	"leasehold/internal/cli/client"
)

// verb is an order to one existing instance.
type verb struct {
	use, short, long, example string

	send func(ctx context.Context, c *client.Client, id, requestID string) (*conductorv1.InstanceTask, error)
}

func (a *app) verb(v verb) *cobra.Command {
	var o order
	cmd := &cobra.Command{
		Use:               v.use + " INSTANCE",
		Short:             v.short,
		Long:              v.long,
		Example:           v.example,
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: first(a.instanceNames),
		RunE: a.run(func(ctx context.Context, args []string) error {
			return a.place(ctx, o, func(ctx context.Context, c *client.Client, key string) (*conductorv1.InstanceTask, error) {
				return v.send(ctx, c, args[0], key)
			})
		}),
	}
	o.flags(cmd)
	return cmd
}

func (a *app) instanceStart() *cobra.Command {
	return a.verb(verb{
		use: "start", short: "Start a stopped instance",
		example: "  vmctl instance start web-1 --wait",
		send: func(ctx context.Context, c *client.Client, id, key string) (*conductorv1.InstanceTask, error) {
			return c.StartInstance(ctx, &conductorv1.VerbRequest{Id: id, RequestId: key})
		},
	})
}

func (a *app) instanceStop() *cobra.Command {
	var force bool
	var patience time.Duration
	cmd := a.verb(verb{
		use: "stop", short: "Shut an instance down",
		long: "stop asks the guest to shut down and cuts the power when it has not obeyed in time.",
		example: `  vmctl instance stop web-1 --wait
  vmctl instance stop web-1 --guest-timeout 5m
  vmctl instance stop web-1 --force`,
		send: func(ctx context.Context, c *client.Client, id, key string) (*conductorv1.InstanceTask, error) {
			req := &conductorv1.StopRequest{Id: id, RequestId: key, Force: force}
			if patience > 0 {
				req.Timeout = durationpb.New(patience)
			}
			return c.StopInstance(ctx, req)
		},
	})
	cmd.Flags().BoolVar(&force, "force", false, "cut the power at once")
	cmd.Flags().DurationVar(&patience, "guest-timeout", 0, "how long the guest may take (the server's default is 60s, at most 1h)")
	return cmd
}

func (a *app) instanceReboot() *cobra.Command {
	var hard bool
	cmd := a.verb(verb{
		use: "reboot", short: "Restart the guest",
		long: "reboot asks the guest to restart; with --hard it resets the machine.",
		example: `  vmctl instance reboot web-1 --wait
  vmctl instance reboot web-1 --hard`,
		send: func(ctx context.Context, c *client.Client, id, key string) (*conductorv1.InstanceTask, error) {
			return c.RebootInstance(ctx, &conductorv1.RebootRequest{Id: id, RequestId: key, Hard: hard})
		},
	})
	cmd.Flags().BoolVar(&hard, "hard", false, "reset the machine, whatever the guest does")
	return cmd
}

func (a *app) instancePause() *cobra.Command {
	return a.verb(verb{
		use: "pause", short: "Stop the vCPUs and keep the memory",
		example: "  vmctl instance pause web-1 --wait",
		send: func(ctx context.Context, c *client.Client, id, key string) (*conductorv1.InstanceTask, error) {
			return c.PauseInstance(ctx, &conductorv1.VerbRequest{Id: id, RequestId: key})
		},
	})
}

func (a *app) instanceUnpause() *cobra.Command {
	return a.verb(verb{
		use: "unpause", short: "Continue a paused instance",
		example: "  vmctl instance unpause web-1 --wait",
		send: func(ctx context.Context, c *client.Client, id, key string) (*conductorv1.InstanceTask, error) {
			return c.UnpauseInstance(ctx, &conductorv1.VerbRequest{Id: id, RequestId: key})
		},
	})
}

func (a *app) instanceDelete() *cobra.Command {
	cmd := a.verb(verb{
		use: "delete", short: "Delete an instance, whatever it is doing",
		long: "delete is legal in every state and ends the task that is running. Its disks are gone when the task has succeeded.",
		example: `  vmctl instance delete web-1 --wait
  vmctl instance delete 01934f6e-0000 --wait --wait-timeout 1m`,
		send: func(ctx context.Context, c *client.Client, id, key string) (*conductorv1.InstanceTask, error) {
			return c.DeleteInstance(ctx, &conductorv1.DeleteRequest{Id: id, RequestId: key})
		},
	})
	cmd.Aliases = []string{"rm"}
	return cmd
}
