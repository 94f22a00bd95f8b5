package cli

import (
	"context"

	"github.com/spf13/cobra"

	conductorv1 "leasehold/api/conductor/v1"
	"leasehold/internal/cli/client"
	"leasehold/internal/cli/output"
)

func (a *app) flavor() *cobra.Command {
	list := question{use: "list", short: "List the flavors", example: "  vmctl flavor list"}
	show := question{
		use: "show FLAVOR", short: "Show one flavor", example: "  vmctl flavor show tiny", names: a.flavorNames,
	}
	cmd := group("flavor", "Manage the sizes that instances may have", "  vmctl flavor list",
		a.flavorCreate(),
		asks(a, list, func(ctx context.Context, c *client.Client, _ []string) (*conductorv1.ListFlavorsResponse, error) {
			return pages(func(token string) (*conductorv1.ListFlavorsResponse, error) {
				return c.ListFlavors(ctx, &conductorv1.ListRequest{PageToken: token})
			})
		}, output.Printer.Flavors),
		asks(a, show, func(ctx context.Context, c *client.Client, args []string) (*conductorv1.Flavor, error) {
			return c.GetFlavor(ctx, &conductorv1.GetRequest{Id: args[0]})
		}, output.Printer.Flavor),
		a.removes("flavor", "Instances carry their own size and stay as they are.", a.flavorNames,
			func(ctx context.Context, c *client.Client, id string) (*conductorv1.Empty, error) {
				return c.DeleteFlavor(ctx, &conductorv1.DeleteRequest{Id: id})
			}))
	cmd.Aliases = []string{"flavors"}
	return cmd
}

func (a *app) flavorCreate() *cobra.Command {
	req := &conductorv1.CreateFlavorRequest{}
	cmd := &cobra.Command{
		Use:               "create NAME",
		Short:             "Make a flavor",
		Example:           "  vmctl flavor create medium --vcpus 2 --memory-mib 2048 --disk-gib 20",
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: nothing,
		RunE: answer(a, func(ctx context.Context, c *client.Client, args []string) (*conductorv1.Flavor, error) {
			req.Name = args[0]
			return c.CreateFlavor(ctx, req)
		}, output.Printer.Flavor),
	}
	f := cmd.Flags()
	f.Int32Var(&req.Vcpus, "vcpus", 0, "virtual CPUs, 1 to 256")
	f.Int32Var(&req.MemoryMib, "memory-mib", 0, "memory in MiB")
	f.Int32Var(&req.DiskGib, "disk-gib", 0, "disk in GiB")
	require(cmd, "vcpus", "memory-mib", "disk-gib")
	return cmd
}
