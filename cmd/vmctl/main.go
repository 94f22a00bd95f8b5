package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"leasehold/internal/cli"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second Ctrl-C ends the process at once
	os.Exit(int(cli.Main(ctx, os.Args[1:], cli.OS())))
}
