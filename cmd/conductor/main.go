package main

import (
	"os"

	"github.com/spf13/cobra"

	"leasehold/internal/daemon"
	"leasehold/internal/version"
)

func main() {
	root := &cobra.Command{
		Use:     "conductor",
		Short:   "The control plane of Leasehold: drives tasks, answers gRPC and REST",
		Version: version.Version(),
	}
	root.AddCommand(serveCommand(), etcdCommand(), devCommand())
	os.Exit(daemon.Main(root, os.Args[1:]))
}
