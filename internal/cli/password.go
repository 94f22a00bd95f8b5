package cli

import (
	"context"
	"os"

	"github.com/spf13/cobra"

	conductorv1 "leasehold/api/conductor/v1"
	"leasehold/internal/cli/client"
)

func (a *app) instanceSetPassword() *cobra.Command {
	var user, file string
	cmd := a.verb(verb{
		use: "set-password", short: "Have the guest's agent set a password",
		long: `set-password asks for the password twice and does not show it; where standard input is no terminal it takes its
first line. It is never an argument: those are seen by every user of the machine. Only the host that runs the instance
can read it.`,
		example: `  vmctl instance set-password web-1 --wait
  vmctl instance set-password web-1 --user admin --password-file secret.txt
  pwgen 20 1 | vmctl instance set-password web-1`,
		send: func(ctx context.Context, c *client.Client, id, key string) (*conductorv1.InstanceTask, error) {
			password, err := a.password(ctx, file)
			if err != nil {
				return nil, err
			}
			return c.SetPasswordInstance(ctx, &conductorv1.SetPasswordRequest{
				Id: id, RequestId: key, User: user, Password: password,
			})
		},
	})
	cmd.Flags().StringVar(&user, "user", "", "whose password it is (the server's default is root)")
	cmd.Flags().StringVar(&file, "password-file", "", "take the first line of this file")
	return cmd
}

// password is the first line of a file or of standard input, or what a person types twice.
func (a *app) password(ctx context.Context, path string) (string, error) {
	var password string
	var err error
	switch {
	case path != "":
		file, failed := os.Open(path)
		if failed != nil {
			return "", usagef("cannot read the password: %v", failed)
		}
		defer func() { _ = file.Close() }()
		password, err = firstLine(file)
	case a.env.Secret != nil:
		return a.typedTwice(ctx)
	default:
		password, err = a.line(ctx)
	}
	switch {
	case ctx.Err() != nil:
		return "", context.Cause(ctx)
	case err != nil:
		return "", usagef("cannot read the password: %v", err)
	case password == "":
		return "", usagef("cannot set an empty password")
	}
	return password, nil
}

// typedTwice asks a person, who does not see what is typed: a slip would lock everybody out.
func (a *app) typedTwice(ctx context.Context) (string, error) {
	var typed [2]string
	for i, prompt := range []string{"New password: ", "Once more: "} {
		a.ask(prompt)
		line, err := a.env.Secret(ctx)
		a.say("") // the person's own line break was not shown
		switch {
		case ctx.Err() != nil:
			return "", context.Cause(ctx)
		case err != nil:
			return "", usagef("cannot read the password: %v", err)
		case line == "":
			return "", usagef("cannot set an empty password")
		}
		typed[i] = line
	}
	if typed[0] != typed[1] {
		return "", usagef("cannot set the password: it was typed differently the second time")
	}
	return typed[0], nil
}
