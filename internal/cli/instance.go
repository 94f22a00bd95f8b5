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

func (a *app) instance() *cobra.Command {
	cmd := group("instance", "Create, change and delete instances",
		`  vmctl instance create web-1 --flavor tiny --image default --wait
  vmctl instance stop web-1 --wait`,
		a.instanceCreate(), a.instanceList(), a.instanceShow(), a.instanceUpdate(), a.instanceRename(), a.instanceDelete(),
		a.instanceStart(), a.instanceStop(), a.instanceReboot(), a.instancePause(), a.instanceUnpause(),
		a.instanceSuspend(), a.instanceResume(), a.instanceRescue(), a.instanceUnrescue(), a.instanceRebuild(),
		a.instanceSnapshot(), a.instanceSetPassword(), a.instanceUsage(),
		a.instanceConsole(), a.instanceActions(), a.explain("vmctl instance explain"), a.instanceTasks())
	cmd.Aliases = []string{"instances", "vm"}
	return cmd
}

func (a *app) instanceCreate() *cobra.Command {
	var o order
	req := &conductorv1.CreateInstanceRequest{}
	cmd := &cobra.Command{
		Use:   "create [NAME]",
		Short: "Create an instance and start it",
		Long:  "create admits a new instance and the task that builds it. Without a name it gets one made from its id.",
		Example: `  vmctl instance create web-1 --flavor small --image default --wait
  vmctl instance create --flavor tiny --image default --metadata tier=web --metadata owner=ann
  vmctl instance create db-1 --flavor large --image default --host h2 --request-id deploy-42`,
		Args:              cobra.MaximumNArgs(1),
		ValidArgsFunction: nothing,
		RunE: a.run(func(ctx context.Context, args []string) error {
			if len(args) > 0 {
				req.Name = args[0]
			}
			return a.place(ctx, o, func(ctx context.Context, c *client.Client, key string) (*conductorv1.InstanceTask, error) {
				req.RequestId = key
				return c.CreateInstance(ctx, req)
			})
		}),
	}
	f := cmd.Flags()
	f.StringVar(&req.Flavor, "flavor", "", "how large it is; see: vmctl flavor list")
	f.StringVar(&req.Image, "image", "", "what it boots, by id or name; see: vmctl image list")
	f.StringToStringVar(&req.Metadata, "metadata", nil, "key=value to keep with it; may be repeated")
	f.StringVar(&req.Host, "host", "", "place it on this host and no other")
	f.StringVar(&req.Availability, "availability", "", "none (the default) or restart: started elsewhere when its host is lost")
	f.StringVar(&req.OnHostBoot, "on-host-boot", "", "restart (the default) or stopped: what becomes of it when its host was rebooted")
	f.BoolVar(&req.DeleteProtection, "delete-protection", false, "refuse deletes until it is taken off")
	require(cmd, "flavor", "image")
	o.flags(cmd)
	a.completeFlag(cmd, "flavor", a.flavorNames)
	a.completeFlag(cmd, "image", a.imageNames)
	a.completeFlag(cmd, "host", a.hostNames)
	a.completeFlag(cmd, "availability", fixed("none", "restart"))
	a.completeFlag(cmd, "on-host-boot", fixed("restart", "stopped"))
	return cmd
}

func (a *app) instanceList() *cobra.Command {
	req := &conductorv1.ListInstancesRequest{}
	cmd := &cobra.Command{
		Use:     "list",
		Aliases: []string{"ls"},
		Short:   "List the instances of the project",
		Example: `  vmctl instance list
  vmctl instance list --state error -o wide
  vmctl instance list --label tier=web --sort -created_at -o json`,
		Args: cobra.NoArgs,
		RunE: answer(a, func(ctx context.Context, c *client.Client, _ []string) (*conductorv1.ListInstancesResponse, error) {
			return pages(func(token string) (*conductorv1.ListInstancesResponse, error) {
				req.PageToken = token
				return c.ListInstances(ctx, req)
			})
		}, output.Printer.Instances),
	}
	f := cmd.Flags()
	f.StringVar(&req.State, "state", "", "only those in this state")
	f.StringVar(&req.Host, "host", "", "only those on this host")
	f.StringVar(&req.Name, "name", "", "only the one with this name")
	f.StringVar(&req.Label, "label", "", "only those with this metadata: key or key=value")
	f.StringVar(&req.Sort, "sort", "", "name, created_at (the default), state or host; a leading - reverses")
	a.completeFlag(cmd, "state", fixed(states()...))
	a.completeFlag(cmd, "host", a.hostNames)
	a.completeFlag(cmd, "sort", fixed("name", "created_at", "state", "host"))
	return cmd
}

func (a *app) instanceShow() *cobra.Command {
	return &cobra.Command{
		Use:   "show INSTANCE",
		Short: "Show one instance",
		Long:  "show shows one instance. A deleted one is shown by its id while its history is kept.",
		Example: `  vmctl instance show web-1
  vmctl instance show 01934f6e-0000 -o yaml`,
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: first(a.instanceNames),
		RunE: answer(a, func(ctx context.Context, c *client.Client, args []string) (*conductorv1.Instance, error) {
			return c.GetInstance(ctx, &conductorv1.GetRequest{Id: args[0]})
		}, output.Printer.Instance),
	}
}

func (a *app) instanceUpdate() *cobra.Command {
	req := &conductorv1.UpdateInstanceRequest{}
	var unset []string
	var protect bool
	cmd := &cobra.Command{
		Use:   "update INSTANCE",
		Short: "Change the name, metadata, delete protection or on_host_boot of an instance",
		Example: `  vmctl instance update web-1 --name web-2
  vmctl instance update web-1 --set tier=web --unset owner
  vmctl instance update web-1 --delete-protection=false`,
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: first(a.instanceNames),
	}
	cmd.RunE = answer(a, func(ctx context.Context, c *client.Client, args []string) (*conductorv1.Instance, error) {
		req.Id = args[0]
		for _, key := range unset {
			if req.Metadata == nil {
				req.Metadata = map[string]string{}
			}
			if _, both := req.Metadata[key]; both {
				return nil, usagef("cannot set and unset %q at once", key)
			}
			req.Metadata[key] = "" // takes the entry away
		}
		if cmd.Flags().Changed("delete-protection") {
			req.DeleteProtection = &protect
		}
		if req.Name == "" && len(req.Metadata) == 0 && req.DeleteProtection == nil && req.OnHostBoot == "" {
			return nil, usagef("cannot update %s: no change is given", args[0])
		}
		return c.UpdateInstance(ctx, req)
	}, output.Printer.Instance)
	f := cmd.Flags()
	f.StringVar(&req.Name, "name", "", "the new name")
	f.StringToStringVar(&req.Metadata, "set", nil, "metadata to set, key=value; may be repeated")
	f.StringSliceVar(&unset, "unset", nil, "keys of metadata to take away")
	f.BoolVar(&protect, "delete-protection", false, "refuse deletes, or no longer")
	f.StringVar(&req.OnHostBoot, "on-host-boot", "", "restart or stopped: what becomes of it when its host was rebooted")
	f.Int64Var(&req.IfRevision, "if-revision", 0, "only when the record still has this revision")
	return cmd
}

func (a *app) instanceRename() *cobra.Command {
	return &cobra.Command{
		Use:               "rename INSTANCE NAME",
		Short:             "Give an instance another name",
		Example:           "  vmctl instance rename web-1 web-2",
		Args:              cobra.ExactArgs(2),
		ValidArgsFunction: first(a.instanceNames),
		RunE: answer(a, func(ctx context.Context, c *client.Client, args []string) (*conductorv1.Instance, error) {
			if args[1] == "" {
				return nil, usagef("cannot rename %s: the new name is empty", args[0])
			}
			return c.UpdateInstance(ctx, &conductorv1.UpdateInstanceRequest{Id: args[0], Name: args[1]})
		}, output.Printer.Instance),
	}
}

func (a *app) instanceUsage() *cobra.Command {
	return &cobra.Command{
		Use:               "usage INSTANCE",
		Short:             "Tell how long each vCPU has run and waited",
		Example:           "  vmctl instance usage web-1",
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: first(a.instanceNames),
		RunE: answer(a, func(ctx context.Context, c *client.Client, args []string) (*conductorv1.Usage, error) {
			return c.GetUsage(ctx, &conductorv1.GetRequest{Id: args[0]})
		}, output.Printer.Usage),
	}
}

func (a *app) instanceActions() *cobra.Command {
	return &cobra.Command{
		Use:               "actions INSTANCE",
		Short:             "Tell what is legal now, and why the rest is not",
		Example:           "  vmctl instance actions web-1",
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: first(a.instanceNames),
		RunE: answer(a, func(ctx context.Context, c *client.Client, args []string) (*conductorv1.ListActionsResponse, error) {
			return c.ListActions(ctx, &conductorv1.GetRequest{Id: args[0]})
		}, output.Printer.Actions),
	}
}

// explain stands at the top too: it is what a person types who does not know where to look. typed is how it is called.
func (a *app) explain(typed string) *cobra.Command {
	return &cobra.Command{
		Use:   "explain INSTANCE",
		Short: "Tell why an instance is as it is",
		Long: `explain tells what is known about an instance: its task and what that waits for, who holds which lock, its host, what
the hypervisor was last seen doing, its last error. With -o wide it adds the numbers behind each sentence.`,
		Example:           fmt.Sprintf("  %s web-1\n  %s web-1 -o json", typed, typed),
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: first(a.instanceNames),
		RunE: answer(a, func(ctx context.Context, c *client.Client, args []string) (*conductorv1.Explanation, error) {
			return c.ExplainInstance(ctx, &conductorv1.GetRequest{Id: args[0]})
		}, output.Printer.Explanation),
	}
}

func (a *app) instanceTasks() *cobra.Command {
	req := &conductorv1.ListTasksRequest{Closed: true}
	cmd := &cobra.Command{
		Use:   "tasks INSTANCE",
		Short: "List what was done to an instance, newest first",
		Example: `  vmctl instance tasks web-1
  vmctl instance tasks web-1 --status failed`,
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: first(a.instanceNames),
		RunE: answer(a, func(ctx context.Context, c *client.Client, args []string) (*conductorv1.ListTasksResponse, error) {
			req.Id = args[0]
			return pages(func(token string) (*conductorv1.ListTasksResponse, error) {
				req.PageToken = token
				return c.ListInstanceTasks(ctx, req)
			})
		}, output.Printer.Tasks),
	}
	a.taskFilters(cmd, req)
	return cmd
}

// require marks flags without which a command makes no sense.
func require(cmd *cobra.Command, names ...string) {
	for _, name := range names {
		if err := cmd.MarkFlagRequired(name); err != nil {
			panic("internal error: " + strings.TrimSpace(err.Error())) // there is no such flag
		}
	}
}
