package cli

import (
	"context"

	"github.com/spf13/cobra"

	conductorv1 "leasehold/api/conductor/v1"
	"leasehold/internal/cli/client"
	"leasehold/internal/cli/output"
)

func (a *app) image() *cobra.Command {
	list := question{use: "list", short: "List the images of the project", example: "  vmctl image list -o wide"}
	show := question{
		use: "show IMAGE", short: "Show one image", example: "  vmctl image show default", names: a.imageNames,
	}
	cmd := group("image", "Manage what instances boot", "  vmctl image list",
		a.imageCreate(),
		asks(a, list, func(ctx context.Context, c *client.Client, _ []string) (*conductorv1.ListImagesResponse, error) {
			return pages(func(token string) (*conductorv1.ListImagesResponse, error) {
				return c.ListImages(ctx, &conductorv1.ListRequest{PageToken: token})
			})
		}, output.Printer.Images),
		asks(a, show, func(ctx context.Context, c *client.Client, args []string) (*conductorv1.Image, error) {
			return c.GetImage(ctx, &conductorv1.GetRequest{Id: args[0]})
		}, output.Printer.Image),
		a.removes("image", "It is refused while an instance was made from it.", a.imageNames,
			func(ctx context.Context, c *client.Client, id string) (*conductorv1.Empty, error) {
				return c.DeleteImage(ctx, &conductorv1.DeleteRequest{Id: id})
			}))
	cmd.Aliases = []string{"images"}
	return cmd
}

func (a *app) imageCreate() *cobra.Command {
	req := &conductorv1.CreateImageRequest{}
	cmd := &cobra.Command{
		Use:   "create NAME",
		Short: "Register an image by its URL",
		Example: `  vmctl image create debian-13 --url https://images.example.org/debian-13.qcow2 --format qcow2
  vmctl image create mine --url file:///srv/images/mine.raw --format raw --sha256 9f86d081...`,
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: nothing,
		RunE: answer(a, func(ctx context.Context, c *client.Client, args []string) (*conductorv1.Image, error) {
			req.Name = args[0]
			return c.CreateImage(ctx, req)
		}, output.Printer.Image),
	}
	f := cmd.Flags()
	f.StringVar(&req.Url, "url", "", "where it is: builtin:<name>, file:///path, http:// or https://, as the hosts see it")
	f.StringVar(&req.Format, "format", "", "raw or qcow2")
	f.StringVar(&req.Sha256, "sha256", "", "what it must be, in hex")
	require(cmd, "url")
	a.completeFlag(cmd, "format", fixed("raw", "qcow2"))
	return cmd
}
