package cli

import (
	"context"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	conductorv1 "leasehold/api/conductor/v1"
	"leasehold/internal/cli/client"
	"leasehold/internal/cli/output"
)

// tables are what fsm show can be asked for, in the order in which it shows them.
var tables = []string{"actions", "recovery", "power", "restart"}

func (a *app) fsm() *cobra.Command {
	show := a.fsmShow()
	cmd := group("fsm", "Show the rules: what is legal in which state, and what happens after a crash",
		"  vmctl fsm show actions", show)
	below := cmd.RunE
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if len(args) == 0 { // what stands here for itself
			return show.RunE(cmd, args)
		}
		return below(cmd, args)
	}
	return cmd
}

func (a *app) fsmShow() *cobra.Command {
	return &cobra.Command{
		Use:   "show [TABLE]...",
		Short: "Show the tables that the conductors run on, or some of them",
		Long: `show prints the tables that the conductors run on; all of them when none is named:

  actions   what is legal in which state, and where it leads
  recovery  what a conductor does with a step that another one left
  power     what follows when a machine is seen in another power state than its record says
  restart   what an agent does with what it finds when it starts`,
		Example: `  vmctl fsm show
  vmctl fsm show actions power
  vmctl fsm show recovery -o json`,
		Args: cobra.ArbitraryArgs,
		ValidArgsFunction: func(_ *cobra.Command, _ []string, typed string) ([]string, cobra.ShellCompDirective) {
			return beginning(tables, typed), cobra.ShellCompDirectiveNoFileComp
		},
		RunE: answer(a, func(ctx context.Context, c *client.Client, args []string) (*conductorv1.FSM, error) {
			for _, name := range args {
				if !slices.Contains(tables, name) {
					return nil, usagef("cannot show the table %q: it is none of %s", name, strings.Join(tables, ", "))
				}
			}
			f, err := c.GetFSM(ctx, &conductorv1.ListRequest{})
			if err != nil || len(args) == 0 {
				return f, err
			}
			wanted := &conductorv1.FSM{}
			for _, name := range args {
				switch name {
				case "actions":
					wanted.Actions = f.GetActions()
				case "recovery":
					wanted.Recovery = f.GetRecovery()
				case "power":
					wanted.Power = f.GetPower()
				case "restart":
					wanted.Restart = f.GetRestart()
				}
			}
			return wanted, nil
		}, output.Printer.FSM),
	}
}
