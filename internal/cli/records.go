package cli

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	conductorv1 "leasehold/api/conductor/v1"
	"leasehold/internal/cli/client"
	"leasehold/internal/cli/output"
)

// question is a command that asks about records of one kind and changes nothing.
type question struct {
	use, short, example string

	names names // what its argument is completed with; nil when it takes none
}

// asks makes the command of a question.
func asks[T any](
	a *app, q question, ask func(ctx context.Context, c *client.Client, args []string) (T, error),
	show func(output.Printer, T) error,
) *cobra.Command {
	cmd := &cobra.Command{Use: q.use, Short: q.short, Example: q.example, Args: cobra.NoArgs, ValidArgsFunction: nothing}
	if q.names != nil {
		cmd.Args, cmd.ValidArgsFunction = cobra.ExactArgs(1), first(q.names)
	}
	if cmd.Name() == "list" {
		cmd.Aliases = []string{"ls"}
	}
	cmd.RunE = answer(a, ask, show)
	return cmd
}

// removes makes the command that deletes a record at once, without a task.
func (a *app) removes(
	kind, long string, names names, remove func(ctx context.Context, c *client.Client, id string) (*conductorv1.Empty, error),
) *cobra.Command {
	var id string
	return &cobra.Command{
		Use:               "delete " + strings.ToUpper(kind),
		Aliases:           []string{"rm"},
		Short:             "Delete one " + kind,
		Long:              "delete removes the " + kind + " at once. " + long,
		Example:           "  vmctl " + kind + " delete old",
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: first(names),
		RunE: answer(a, func(ctx context.Context, c *client.Client, args []string) (*conductorv1.Empty, error) {
			id = args[0]
			return remove(ctx, c, id)
		}, func(p output.Printer, e *conductorv1.Empty) error {
			return p.Empty(e, fmt.Sprintf("deleted %s %s", kind, id))
		}),
	}
}
