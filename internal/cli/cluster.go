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
	cmd := group("host", "See the hosts, enable and disable them", "  vmctl host list",
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
