package cli

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	conductorv1 "leasehold/api/conductor/v1"
	"leasehold/internal/cli/client"
)

func (a *app) instanceSuspend() *cobra.Command {
	return a.verb(verb{
		use: "suspend", short: "Save the memory to disk and free the host's",
		example: "  vmctl instance suspend web-1 --wait",
		send: func(ctx context.Context, c *client.Client, id, key string) (*conductorv1.InstanceTask, error) {
			return c.SuspendInstance(ctx, &conductorv1.VerbRequest{Id: id, RequestId: key})
		},
	})
}

func (a *app) instanceResume() *cobra.Command {
	return a.verb(verb{
		use: "resume", short: "Go on from the saved memory",
		example: "  vmctl instance resume web-1 --wait",
		send: func(ctx context.Context, c *client.Client, id, key string) (*conductorv1.InstanceTask, error) {
			return c.ResumeInstance(ctx, &conductorv1.VerbRequest{Id: id, RequestId: key})
		},
	})
}

func (a *app) instanceRescue() *cobra.Command {
	var image string
	cmd := a.verb(verb{
		use: "rescue", short: "Start an instance from another disk, to repair its own",
		long: "rescue starts the instance from a disk made of an image, with its own disk as the second. It stays rescued over stop,\n" +
			"pause and suspend, until unrescue or rebuild.",
		example: `  vmctl instance rescue web-1 --wait
  vmctl instance rescue web-1 --image repair-tools`,
		send: func(ctx context.Context, c *client.Client, id, key string) (*conductorv1.InstanceTask, error) {
			return c.RescueInstance(ctx, &conductorv1.ImageVerbRequest{Id: id, RequestId: key, Image: image})
		},
	})
	a.imageFlag(cmd, &image)
	return cmd
}

func (a *app) instanceUnrescue() *cobra.Command {
	return a.verb(verb{
		use: "unrescue", short: "Start an instance from its own disk again",
		example: "  vmctl instance unrescue web-1 --wait",
		send: func(ctx context.Context, c *client.Client, id, key string) (*conductorv1.InstanceTask, error) {
			return c.UnrescueInstance(ctx, &conductorv1.VerbRequest{Id: id, RequestId: key})
		},
	})
}

func (a *app) instanceRebuild() *cobra.Command {
	var image string
	cmd := a.verb(verb{
		use: "rebuild", short: "Make the disk of an instance anew; what was on it is lost",
		long: "rebuild makes a new disk from an image and keeps the identity. The old disk is whole until the new one is complete.",
		example: `  vmctl instance rebuild web-1 --wait
  vmctl instance rebuild web-1 --image debian-13`,
		send: func(ctx context.Context, c *client.Client, id, key string) (*conductorv1.InstanceTask, error) {
			return c.RebuildInstance(ctx, &conductorv1.ImageVerbRequest{Id: id, RequestId: key, Image: image})
		},
	})
	a.imageFlag(cmd, &image)
	return cmd
}

// imageFlag is the image of a verb that makes a disk.
func (a *app) imageFlag(cmd *cobra.Command, image *string) {
	cmd.Flags().StringVar(image, "image", "", "what the disk is made of, by id or name (default: the instance's own image)")
	a.completeFlag(cmd, "image", a.imageNames)
}

func (a *app) instanceSnapshot() *cobra.Command {
	var name string
	cmd := a.verb(verb{
		use: "snapshot", short: "Make an image of the disk; the guest runs on",
		long: "snapshot makes an image of the disk as it is at one moment. The image can be used when the task has succeeded.",
		example: `  vmctl instance snapshot web-1 --name web-nightly --wait
  vmctl instance create web-2 --flavor tiny --image web-nightly`,
		send: func(ctx context.Context, c *client.Client, id, key string) (*conductorv1.InstanceTask, error) {
			return c.SnapshotInstance(ctx, &conductorv1.SnapshotRequest{Id: id, RequestId: key, Name: name})
		},
	})
	cmd.Flags().StringVar(&name, "name", "", "the name of the image")
	require(cmd, "name")
	return cmd
}

func (a *app) instanceSetPassword() *cobra.Command {
	var user, file string
	cmd := a.verb(verb{
		use: "set-password", short: "Have the guest's agent set a password",
		long: "set-password asks for the password without showing it, or reads one line from standard input or a file. It is never an\n" +
			"argument: those are seen by every user of the machine. Only the host that runs the instance can read it.",
		example: `  vmctl instance set-password web-1 --wait
  vmctl instance set-password web-1 --user admin --password-file secret.txt`,
		send: func(ctx context.Context, c *client.Client, id, key string) (*conductorv1.InstanceTask, error) {
			password, err := a.readPassword(file)
			if err != nil {
				return nil, err
			}
			return c.SetPasswordInstance(ctx, &conductorv1.SetPasswordRequest{Id: id, RequestId: key, User: user, Password: password})
		},
	})
	cmd.Flags().StringVar(&user, "user", "", "whose password it is (the server's default is root)")
	cmd.Flags().StringVar(&file, "password-file", "", "read its first line from this file")
	return cmd
}

// readPassword asks a person, or reads one line.
func (a *app) readPassword(path string) (string, error) {
	if path != "" {
		text, err := os.ReadFile(path)
		if err != nil {
			return "", usagef("cannot read the password: %v", err)
		}
		line, _, _ := strings.Cut(string(text), "\n")
		return strings.TrimSuffix(line, "\r"), nil
	}
	if in, ok := a.env.In.(*os.File); ok && term.IsTerminal(int(in.Fd())) {
		fmt.Fprint(a.env.Err, "Password: ")
		typed, err := term.ReadPassword(int(in.Fd()))
		fmt.Fprintln(a.env.Err)
		if err != nil {
			return "", usagef("cannot read the password: %v", err)
		}
		return string(typed), nil
	}
	line, err := bufio.NewReader(a.env.In).ReadString('\n')
	if line == "" && err != nil {
		return "", usagef("cannot read the password from standard input: %v", err)
	}
	return strings.TrimRight(line, "\r\n"), nil
}
