package cli

import (
	"context"

	"github.com/spf13/cobra"

	conductorv1 "leasehold/api/conductor/v1"
	"leasehold/internal/cli/client"
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
		}, output.Printer.Host),
		a.hostConfirmFenced(), a.hostDelete())
	cmd.Aliases = []string{"hosts"}
	return cmd
}

func (a *app) hostConfirmFenced() *cobra.Command {
	req := &conductorv1.ConfirmFencedRequest{}
	cmd := &cobra.Command{
		Use:   "confirm-fenced HOST",
		Short: "Sign that a host that is down is off and executes nothing",
		Long: `confirm-fenced is your word for what no machine can prove: that the host has no power, or was wiped. What is signed
wrongly may run a machine twice. It is kept with the reason, until the host comes back.`,
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
	var yes bool
	cmd := &cobra.Command{
		Use:     "delete HOST",
		Aliases: []string{"rm"},
		Short:   "Remove a host that never comes back, and what it owes with it",
		Long: `delete removes a host that is down. While instances are on it, it must be confirmed fenced before; they are then
in error, and deletes that wait for the host succeed. On a terminal it asks for the name again.`,
		Example: `  vmctl host delete h2
  vmctl host delete h2 --yes -o json`,
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: first(a.hostNames),
		RunE: a.run(func(ctx context.Context, args []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			if !yes {
				if err := a.confirm(ctx, "delete host", args[0]); err != nil {
					return err
				}
			}
			done, err := c.DeleteHost(ctx, &conductorv1.DeleteRequest{Id: args[0]})
			if err != nil {
				return err
			}
			return a.print().Empty(done, "deleted host "+args[0])
		}),
	}
	cmd.Flags().BoolVarP(&yes, "yes", "y", false, "do not ask")
	return cmd
}
