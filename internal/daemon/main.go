package daemon

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"leasehold/internal/config"
)

// The exit codes.
const (
	CodeClean   = 0
	CodeFailure = 1
	CodeUsage   = 2
)

// usageError is a setting that makes no sense.
type usageError struct{ error }

func (e *usageError) Unwrap() error { return e.error }

// Usagef is an error about the settings, found after they were parsed.
func Usagef(format string, args ...any) error { return &usageError{fmt.Errorf(format, args...)} }

// failure is an error of the work itself. What has neither mark comes from cobra, which did not like the command line.
type failure struct{ error }

func (e *failure) Unwrap() error { return e.error }

// Body makes the body of a command out of its work, which begins when all settings are complete.
func Body(work func(ctx context.Context) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, _ []string) error {
		err := work(cmd.Context())
		if usage := new(usageError); err == nil || errors.As(err, &usage) {
			return err
		}
		return &failure{err}
	}
}

// Require marks flags without which a command makes no sense.
func Require(cmd *cobra.Command, flags ...string) {
	for _, flag := range flags {
		if err := cmd.MarkFlagRequired(flag); err != nil {
			panic("internal error: " + err.Error()) // there is no such flag
		}
	}
}

// together is how close signals are that mean the same.
const together = 500 * time.Millisecond

// Main runs a program until it ends by itself or is told to stop, and returns the code to end with.
func Main(root *cobra.Command, args []string) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	// After a moment a signal does what it does by itself: end the process. Those that come together are one: the death of
	// a parent is told once for each of its threads, and Ctrl-C directly and by whoever started us.
	context.AfterFunc(ctx, func() { time.AfterFunc(together, stop) })
	return Execute(ctx, root, args)
}

// Execute is Main without signals: ctx tells when to stop.
func Execute(ctx context.Context, root *cobra.Command, args []string) int {
	root.SilenceErrors, root.SilenceUsage = true, true
	root.CompletionOptions.DisableDefaultCmd = true
	root.PersistentPreRunE = func(cmd *cobra.Command, _ []string) error {
		return config.Complete(cmd.Flags(), os.Getenv)
	}
	root.SetArgs(args)
	cmd, err := root.ExecuteContextC(ctx)
	if err == nil {
		return CodeClean
	}
	fmt.Fprintf(root.ErrOrStderr(), "%s: %v\n", root.Name(), err)
	if failed := new(failure); errors.As(err, &failed) {
		return CodeFailure
	}
	fmt.Fprintf(root.ErrOrStderr(), "see: %s --help\n", cmd.CommandPath())
	return CodeUsage
}
