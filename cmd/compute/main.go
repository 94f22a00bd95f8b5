package main

import (
	"os"

	"github.com/spf13/cobra"

	"leasehold/drivers/qemu/shim"
	"leasehold/internal/daemon"
	"leasehold/internal/version"
)

func main() {
	// The shim is a process of its own that outlives this one: no signals, settings or help of ours.
	if len(os.Args) > 1 && os.Args[1] == "shim" {
		os.Exit(shim.Main(os.Args[2:]))
	}
	root := &cobra.Command{
		Use:     "compute",
		Short:   "The host side of Leasehold: runs machines",
		Version: version.Version(),
	}
	root.AddCommand(serveCommand(), driverCommand(), purgeCommand())
	os.Exit(daemon.Main(root, os.Args[1:]))
}
