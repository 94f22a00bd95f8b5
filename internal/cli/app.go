package cli

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"leasehold/internal/cli/client"
	"leasehold/internal/cli/exit"
	"leasehold/internal/cli/output"
	"leasehold/vm"
)

// Main runs vmctl with the arguments after its name and returns the code to end with. It ends early, and says so, when
// ctx does.
func Main(ctx context.Context, args []string, env Env) exit.Code {
	a := &app{env: env}
	defer a.close()
	root := a.root() //nolint:contextcheck // cobra gives the context to the command that it runs
	root.SetArgs(args)
	root.SetIn(env.In)
	root.SetOut(env.Out)
	root.SetErr(env.Err)
	at, err := root.ExecuteContextC(ctx)
	if err != nil && !a.began {
		err = &usageError{err} // cobra did not like the command line
	}
	return a.report(at, err)
}

// app is what the commands share during one run.
type app struct {
	env      Env
	settings settings
	began    bool // a command has begun its work: what goes wrong from then on is no usage error by itself
	ready    bool // settings are complete
	servers  *client.Client
}

// run makes the body of a command out of what it does.
func (a *app) run(do func(ctx context.Context, args []string) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		a.began = true
		if err := a.prepare(cmd); err != nil {
			return err
		}
		return do(cmd.Context(), args)
	}
}

// answer makes the body of a command that asks one question and prints the answer.
func answer[T any](
	a *app, ask func(ctx context.Context, c *client.Client, args []string) (T, error), show func(output.Printer, T) error,
) func(*cobra.Command, []string) error {
	return a.run(func(ctx context.Context, args []string) error {
		c, err := a.client()
		if err != nil {
			return err
		}
		what, err := ask(ctx, c, args)
		if err != nil {
			return err
		}
		return show(a.print(), what)
	})
}

// prepare completes the settings.
func (a *app) prepare(cmd *cobra.Command) error {
	if a.ready {
		return nil
	}
	a.ready = true
	return a.settings.complete(cmd.Root().PersistentFlags(), a.env)
}

// client returns the one client of this run.
func (a *app) client() (*client.Client, error) {
	if a.servers == nil {
		c, err := client.New(client.Config{
			Servers: a.settings.servers, Project: a.settings.project, Timeout: a.settings.timeout,
		})
		if err != nil {
			return nil, err
		}
		a.servers = c
	}
	return a.servers, nil
}

func (a *app) close() {
	if a.servers != nil {
		a.servers.Close()
	}
}

func (a *app) print() output.Printer {
	p := output.Printer{Out: a.env.Out, Format: a.settings.format, Now: a.env.Now}
	if a.env.Screen != nil {
		p.Columns = a.env.Screen()
	}
	return p
}

// say writes a line for a person.
func (a *app) say(format string, args ...any) { fmt.Fprintf(a.env.Err, format+"\n", args...) }

// report tells what went wrong, and returns the code to end with.
func (a *app) report(cmd *cobra.Command, err error) exit.Code {
	code := exit.Of(err)
	var silent *quietError
	if err == nil || errors.As(err, &silent) {
		return code
	}
	var hinted interface{ Hint() string }
	hint := ""
	if errors.As(err, &hinted) {
		hint = hinted.Hint()
	}
	var usage *usageError
	if errors.As(err, &usage) && cmd != nil {
		hint = fmt.Sprintf("see: %s --help", cmd.CommandPath())
	}
	output.ProblemOf(err, reasonOf(err, code), int(code), hint).Print(a.env.Err, a.settings.format, a.env.Now())
	return code
}

// reasonOf is the word for what went wrong; where the server gave none, the one that is nearest.
func reasonOf(err error, code exit.Code) string {
	switch code {
	case exit.Interrupted:
		return "interrupted"
	case exit.TimedOut:
		return "wait_timeout"
	case exit.Usage:
		return string(vm.ReasonInvalidArgument)
	default:
		return string(vm.ReasonOf(err))
	}
}
