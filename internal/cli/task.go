package cli

import (
	"context"
	"time"

	"github.com/spf13/cobra"

	conductorv1 "leasehold/api/conductor/v1"
	"leasehold/internal/cli/client"
	"leasehold/internal/cli/output"
)

func (a *app) task() *cobra.Command {
	cmd := group("task", "Follow and cancel tasks", "  vmctl task list --closed",
		a.taskList(), a.taskShow(), a.taskWatch(), a.taskWait(), a.taskCancel())
	cmd.Aliases = []string{"tasks"}
	return cmd
}

func (a *app) taskList() *cobra.Command {
	req := &conductorv1.ListTasksRequest{}
	cmd := &cobra.Command{
		Use:     "list",
		Aliases: []string{"ls"},
		Short:   "List the open tasks of the project, newest first",
		Example: `  vmctl task list
  vmctl task list --closed --status failed
  vmctl task list --kind create -o wide`,
		Args: cobra.NoArgs,
		RunE: answer(a, func(ctx context.Context, c *client.Client, _ []string) (*conductorv1.ListTasksResponse, error) {
			return pages(func(token string) (*conductorv1.ListTasksResponse, error) {
				req.PageToken = token
				return c.ListTasks(ctx, req)
			})
		}, output.Printer.Tasks),
	}
	cmd.Flags().BoolVar(&req.Closed, "closed", false, "those that have ended too")
	a.taskFilters(cmd, req)
	return cmd
}

func (a *app) taskFilters(cmd *cobra.Command, req *conductorv1.ListTasksRequest) {
	cmd.Flags().StringVar(&req.Status, "status", "", "only those with this status")
	cmd.Flags().StringVar(&req.Kind, "kind", "", "only those of this kind: create, stop, delete ...")
	a.completeFlag(cmd, "status", fixed(statuses()...))
	a.completeFlag(cmd, "kind", fixed(kinds()...))
}

func (a *app) taskShow() *cobra.Command {
	return &cobra.Command{
		Use:               "show TASK",
		Short:             "Show one task with its steps and the conductors that had it",
		Example:           "  vmctl task show 01934f6e-0000",
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: first(a.taskIDs),
		RunE: answer(a, func(ctx context.Context, c *client.Client, args []string) (*conductorv1.Task, error) {
			return c.GetTask(ctx, &conductorv1.GetRequest{Id: args[0]})
		}, output.Printer.Task),
	}
}

func (a *app) taskWatch() *cobra.Command {
	return &cobra.Command{
		Use:   "watch TASK",
		Short: "Print a line whenever a task changes, until it has ended",
		Long: `watch prints where a task is, now and whenever that changes, until it has ended; with -o json one object a line. Ctrl-C
leaves the task running. The exit code is that of the task: see vmctl help exit-codes.`,
		Example: `  vmctl task watch 01934f6e-0000
  vmctl task watch 01934f6e-0000 -o json | jq .status`,
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: first(a.taskIDs),
		RunE: a.run(func(ctx context.Context, args []string) error {
			var printing error
			var before string
			t, err := a.follow(ctx, &conductorv1.Task{Id: args[0]}, 0, func(now *conductorv1.Task) {
				// Lines are compared as of one moment: that time goes by is no change.
				line := output.TaskLine(now, now.GetCreatedAt().AsTime())
				if printing == nil && (line != before || a.settings.format.Structured()) {
					printing, before = a.print().TaskChange(now), line
				}
			})
			if err != nil {
				return err
			}
			if printing != nil {
				return printing
			}
			return outcome(t)
		}),
	}
}

func (a *app) taskWait() *cobra.Command {
	var patience time.Duration
	cmd := &cobra.Command{
		Use:   "wait TASK",
		Short: "Wait until a task has ended",
		Example: `  vmctl task wait 01934f6e-0000
  vmctl task wait 01934f6e-0000 --wait-timeout 5m && echo done`,
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: first(a.taskIDs),
		RunE: a.run(func(ctx context.Context, args []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			t, err := c.GetTask(ctx, &conductorv1.GetRequest{Id: args[0]})
			if err != nil {
				return err
			}
			if t, err = a.await(ctx, t, patience); err != nil {
				return err
			}
			if err := a.print().Task(t); err != nil {
				return err
			}
			return outcome(t)
		}),
	}
	patienceFlag(cmd, &patience)
	return cmd
}

func (a *app) taskCancel() *cobra.Command {
	return &cobra.Command{
		Use:   "cancel TASK",
		Short: "Ask a task to stop and undo what it did",
		Long: `cancel asks. The task undoes what it did and ends as cancelled, or says that it is too late: it passed its point of no
return. Follow it with: vmctl task watch`,
		Example:           "  vmctl task cancel 01934f6e-0000",
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: first(a.taskIDs),
		RunE: answer(a, func(ctx context.Context, c *client.Client, args []string) (*conductorv1.Task, error) {
			return c.CancelTask(ctx, &conductorv1.CancelTaskRequest{Id: args[0]})
		}, output.Printer.Task),
	}
}
