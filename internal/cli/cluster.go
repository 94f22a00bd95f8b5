package cli

import (
	"context"

	"github.com/spf13/cobra"

	conductorv1 "leasehold/api/conductor/v1"
	"leasehold/internal/cli/client"
	"leasehold/internal/cli/exit"
	"leasehold/internal/cli/output"
)

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
