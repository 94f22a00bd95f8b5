// Command cmd builds the Linux test guest and prints the path of its disk: go run ./drivers/qemu/linuxguest/cmd.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"

	"leasehold/drivers/qemu/linuxguest"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	cache, err := linuxguest.Cache()
	if err == nil {
		var disk string
		if disk, err = linuxguest.Disk(ctx, cache); err == nil {
			fmt.Fprintln(os.Stdout, disk)
		}
	}
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1) //nolint:forbidigo // this is a main
	}
}
