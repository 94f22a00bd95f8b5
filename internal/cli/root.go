package cli

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"leasehold/internal/cli/exit"
	"leasehold/internal/version"
)

func (a *app) root() *cobra.Command {
	root := group("vmctl", "Work with virtual machines and the tasks that change them",
		`  vmctl instance create web-1 --flavor tiny --image default --wait
  vmctl instance list
  vmctl explain web-1
  vmctl instance delete web-1 --wait`,
		a.instance(), a.task(), a.explain("vmctl explain"), a.events(), a.image(), a.flavor(),
		a.host(), a.lock(), a.conductor(), a.check(), a.fsm(), a.version(), exitCodes())
	root.Long = `vmctl asks the conductors of a Leasehold cluster. Any of them answers; the next one is asked when one is away.

An instance is named by its id, a unique beginning of the id, or its name; a task by its id or a beginning of it.
Flags may also stand in the environment (LEASEHOLD_SERVER, LEASEHOLD_PROJECT, LEASEHOLD_OUTPUT, LEASEHOLD_TIMEOUT) and in
the configuration file, under their own names.`
	root.SilenceErrors, root.SilenceUsage = true, true
	a.settings.flags(root.PersistentFlags())
	a.completeFlag(root, "output", fixed("table", "wide", "json", "yaml"))
	return root
}

// group is a command that only has others below it.
func group(use, short, example string, below ...*cobra.Command) *cobra.Command {
	cmd := &cobra.Command{Use: use, Short: short, Example: example, Args: cobra.ArbitraryArgs}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if len(args) == 0 {
			return cmd.Help()
		}
		message := fmt.Sprintf("unknown command %q for %q", args[0], cmd.CommandPath())
		if near := cmd.SuggestionsFor(args[0]); len(near) > 0 {
			message += "; did you mean " + strings.Join(near, " or ") + "?"
		}
		return usagef("%s", message)
	}
	cmd.SuggestionsMinimumDistance = 2
	cmd.AddCommand(below...)
	return cmd
}

func (a *app) version() *cobra.Command {
	return &cobra.Command{
		Use:     "version",
		Short:   "Show the version of vmctl",
		Long:    "version shows the version of vmctl. Those of the conductors are in: vmctl conductor list",
		Example: "  vmctl version",
		Args:    cobra.NoArgs,
		RunE: a.run(func(context.Context, []string) error {
			return a.print().Version(version.Version())
		}),
	}
}

// exitCodes is no command but a page of the help.
func exitCodes() *cobra.Command {
	return &cobra.Command{
		Use:   "exit-codes",
		Short: "What the exit codes mean",
		Long: "vmctl ends with one of these codes. The reason itself is in the error: on standard error, as JSON with -o json.\n\n" +
			strings.TrimRight(exit.Table(), "\n"),
	}
}
