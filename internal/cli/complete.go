package cli

import (
	"context"
	"strings"
	"time"

	"github.com/spf13/cobra"

	conductorv1 "leasehold/api/conductor/v1"
	"leasehold/internal/cli/client"
	"leasehold/vm"
)

// completionTimeout is how long a person who pressed Tab may wait for nothing.
const completionTimeout = 2 * time.Second

// names are what a word may be; typed is how it begins. Each may have a description behind a tab.
type names func(cmd *cobra.Command, typed string) []string

type completion = func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective)

// first completes the first argument only.
func first(n names) completion {
	return func(cmd *cobra.Command, args []string, typed string) ([]string, cobra.ShellCompDirective) {
		if len(args) > 0 {
			return nothing(cmd, args, typed)
		}
		return n(cmd, typed), cobra.ShellCompDirectiveNoFileComp
	}
}

// nothing is the completion of what only its author knows.
func nothing(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	return nil, cobra.ShellCompDirectiveNoFileComp
}

func (a *app) completeFlag(cmd *cobra.Command, flag string, n names) {
	err := cmd.RegisterFlagCompletionFunc(flag, func(cmd *cobra.Command, _ []string, typed string) ([]string, cobra.ShellCompDirective) {
		return n(cmd, typed), cobra.ShellCompDirectiveNoFileComp
	})
	if err != nil {
		panic("internal error: " + err.Error()) // there is no such flag
	}
}

func fixed(words ...string) names {
	return func(_ *cobra.Command, typed string) []string { return beginning(words, typed) }
}

func beginning(words []string, typed string) []string {
	var match []string
	for _, word := range words {
		if strings.HasPrefix(word, typed) {
			match = append(match, word)
		}
	}
	return match
}

// asked makes names of what the server lists. When it cannot be asked there are none: the shell has no room for reasons.
func (a *app) asked(
	cmd *cobra.Command, typed string, list func(ctx context.Context, c *client.Client) ([]string, error),
) []string {
	if a.prepare(cmd) != nil {
		return nil
	}
	c, err := a.client()
	if err != nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(cmd.Context(), completionTimeout)
	defer cancel()
	all, err := list(ctx, c)
	if err != nil {
		return nil
	}
	return beginning(all, typed)
}

// instanceNames are the names, and the ids once something is typed that may be the beginning of one.
func (a *app) instanceNames(cmd *cobra.Command, typed string) []string {
	return a.asked(cmd, typed, func(ctx context.Context, c *client.Client) ([]string, error) {
		r, err := c.ListInstances(ctx, &conductorv1.ListInstancesRequest{PageSize: 1000})
		var all []string
		for _, i := range r.GetInstances() {
			all = append(all, i.GetName()+"\t"+i.GetVmState())
			if typed != "" {
				all = append(all, i.GetId()+"\t"+i.GetName())
			}
		}
		return all, err
	})
}

func (a *app) taskIDs(cmd *cobra.Command, typed string) []string {
	return a.asked(cmd, typed, func(ctx context.Context, c *client.Client) ([]string, error) {
		r, err := c.ListTasks(ctx, &conductorv1.ListTasksRequest{PageSize: 1000})
		var all []string
		for _, t := range r.GetTasks() {
			all = append(all, t.GetId()+"\t"+t.GetKind()+" "+t.GetStatus())
		}
		return all, err
	})
}

func (a *app) flavorNames(cmd *cobra.Command, typed string) []string {
	return a.asked(cmd, typed, func(ctx context.Context, c *client.Client) ([]string, error) {
		r, err := c.ListFlavors(ctx, &conductorv1.ListRequest{PageSize: 1000})
		var all []string
		for _, f := range r.GetFlavors() {
			all = append(all, f.GetName())
		}
		return all, err
	})
}

func (a *app) imageNames(cmd *cobra.Command, typed string) []string {
	return a.asked(cmd, typed, func(ctx context.Context, c *client.Client) ([]string, error) {
		r, err := c.ListImages(ctx, &conductorv1.ListRequest{PageSize: 1000})
		var all []string
		for _, i := range r.GetImages() {
			all = append(all, i.GetName()+"\t"+i.GetFormat())
		}
		return all, err
	})
}

func (a *app) hostNames(cmd *cobra.Command, typed string) []string {
	return a.asked(cmd, typed, func(ctx context.Context, c *client.Client) ([]string, error) {
		r, err := c.ListHosts(ctx, &conductorv1.ListRequest{PageSize: 1000})
		var all []string
		for _, h := range r.GetHosts() {
			all = append(all, h.GetName()+"\t"+h.GetStatus())
		}
		return all, err
	})
}

func states() []string { return texted(vm.States()) }

func kinds() []string { return texted(append(vm.Verbs(), vm.Create)) }

func statuses() []string {
	return texted([]vm.TaskStatus{
		vm.TaskWaiting, vm.TaskQueued, vm.TaskRunning, vm.TaskSucceeded, vm.TaskFailed, vm.TaskCancelled,
	})
}

func texted[T ~string](words []T) []string {
	all := make([]string, len(words))
	for i, word := range words {
		all[i] = string(word)
	}
	return all
}
