package cli

import (
	"context"

	"github.com/spf13/cobra"

	conductorv1 "leasehold/api/conductor/v1"
	"leasehold/internal/cli/client"
	"leasehold/internal/cli/exit"
	"leasehold/internal/cli/output"
)

func (a *app) host() *cobra.Command {
	list := question{use: "list", short: "List the hosts and what is used of them", example: "  vmctl host list -o wide"}
	show := question{use: "show HOST", short: "Show one host", example: "  vmctl host show h1", names: a.hostNames}
	enable := question{
		use: "enable HOST", short: "Let the scheduler use a host again", example: "  vmctl host enable h1", names: a.hostNames,
	}
	disable := question{
		use: "disable HOST", short: "Place nothing new on a host; what runs there goes on",
		example: "  vmctl host disable h1", names: a.hostNames,
	}
	cmd := group("host", "See the hosts, enable, disable and remove them", "  vmctl host list",
		a.hostConfirmFenced(), a.hostDelete(),
		asks(a, list, func(ctx context.Context, c *client.Client, _ []string) (*conductorv1.ListHostsResponse, error) {
			return pages(func(token string) (*conductorv1.ListHostsResponse, error) {
				return c.ListHosts(ctx, &conductorv1.ListRequest{PageToken: token})
			})
		}, output.Printer.Hosts),
		asks(a, show, func(ctx context.Context, c *client.Client, args []string) (*conductorv1.Host, error) {
			return c.GetHost(ctx, &conductorv1.GetRequest{Id: args[0]})
		}, output.Printer.Host),
		asks(a, enable, func(ctx context.Context, c *client.Client, args []string) (*conductorv1.Host, error) {
			return c.EnableHost(ctx, &conductorv1.HostVerbRequest{Id: args[0]})
		}, output.Printer.Host),
		asks(a, disable, func(ctx context.Context, c *client.Client, args []string) (*conductorv1.Host, error) {
			return c.DisableHost(ctx, &conductorv1.HostVerbRequest{Id: args[0]})
		}, output.Printer.Host))
	cmd.Aliases = []string{"hosts"}
	return cmd
}

func (a *app) hostConfirmFenced() *cobra.Command {
	req := &conductorv1.ConfirmFencedRequest{}
	cmd := &cobra.Command{
		Use:   "confirm-fenced HOST",
		Short: "Sign that a host that is down is off and executes nothing",
		Long: "confirm-fenced is your word for what no machine can prove: that the host has no power, or was wiped. What is signed\n" +
			"wrongly may run a machine twice. It is kept with the reason, until the host comes back.",
		Example:           `  vmctl host confirm-fenced h2 --reason "unplugged, ticket 4711"`,
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: first(a.hostNames),
		RunE: answer(a, func(ctx context.Context, c *client.Client, args []string) (*conductorv1.Host, error) {
			req.Id = args[0]
			return c.ConfirmFencedHost(ctx, req)
		}, output.Printer.Host),
	}
	cmd.Flags().StringVar(&req.Reason, "reason", "", "how that is known")
	require(cmd, "reason")
	return cmd
}

func (a *app) hostDelete() *cobra.Command {
	return &cobra.Command{
		Use:   "delete HOST",
		Short: "Remove a host that never comes back, and what it owes with it",
		Long: "delete removes a host that is down. While instances are on it, it must be confirmed fenced before; they are then in\n" +
			"error, and deletes that wait for the host succeed.",
		Example: `  vmctl host delete h2
  vmctl host delete h2 -o json`,
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: first(a.hostNames),
		RunE: a.run(func(ctx context.Context, args []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			_, err = c.DeleteHost(ctx, &conductorv1.DeleteRequest{Id: args[0]})
			return err
		}),
	}
}

func (a *app) lock() *cobra.Command {
	list := question{use: "list", short: "List all locks and claims", example: "  vmctl lock list"}
	cmd := group("lock", "See who holds what", "  vmctl lock list -o wide",
		asks(a, list, func(ctx context.Context, c *client.Client, _ []string) (*conductorv1.ListLocksResponse, error) {
			return pages(func(token string) (*conductorv1.ListLocksResponse, error) {
				return c.ListLocks(ctx, &conductorv1.ListRequest{PageToken: token})
			})
		}, output.Printer.Locks))
	cmd.Aliases = []string{"locks"}
	return cmd
}

func (a *app) conductor() *cobra.Command {
	list := question{
		use: "list", short: "List the live conductors and how many tasks each drives", example: "  vmctl conductor list",
	}
	cmd := group("conductor", "See the conductors", "  vmctl conductor list",
		asks(a, list, func(ctx context.Context, c *client.Client, _ []string) (*conductorv1.ListConductorsResponse, error) {
			return pages(func(token string) (*conductorv1.ListConductorsResponse, error) {
				return c.ListConductors(ctx, &conductorv1.ListRequest{PageToken: token})
			})
		}, output.Printer.Conductors))
	cmd.Aliases = []string{"conductors"}
	return cmd
}

func (a *app) check() *cobra.Command {
	q := question{
		use: "check", short: "Look over the whole store for anything leaked or doubled",
		example: "  vmctl check && echo all is well",
	}
	cmd := asks(a, q, func(ctx context.Context, c *client.Client, _ []string) (*conductorv1.CheckResponse, error) {
		return c.Check(ctx, &conductorv1.ListRequest{})
	}, func(p output.Printer, r *conductorv1.CheckResponse) error {
		if err := p.Check(r); err != nil || len(r.GetViolations()) == 0 {
			return err
		}
		return &quietError{code: exit.Failed}
	})
	cmd.Long = "check compares records, tasks, locks, claims and allocations (promises P1, P2 and P6). It ends with 1 when it finds\n" +
		"a violation."
	return cmd
}

func (a *app) fsm() *cobra.Command {
	q := question{
		use: "fsm", short: "Show the tables: what is legal in which state, and what happens after a crash",
		example: "  vmctl fsm -o json",
	}
	return asks(a, q, func(ctx context.Context, c *client.Client, _ []string) (*conductorv1.FSM, error) {
		return c.GetFSM(ctx, &conductorv1.ListRequest{})
	}, output.Printer.FSM)
}
