package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"

	"github.com/hashicorp/go-hclog"
	"github.com/spf13/cobra"

	"leasehold/drivers"
	"leasehold/internal/daemon"
	"leasehold/vm"
)

// driverCommand answers for a whole process what serve decides for each host.
func driverCommand() *cobra.Command {
	var c choice
	var log daemon.Log
	cmd := &cobra.Command{
		Use:   "driver",
		Short: "Tell which driver a new host gets here, and why",
		Args:  cobra.NoArgs,
	}
	cmd.RunE = daemon.Body(func(context.Context) error {
		name, why, err := c.pick("")
		if err != nil {
			return err
		}
		fmt.Fprintf(cmd.OutOrStdout(), "%s (%s)\n", name, why)
		return nil
	})
	c.flags(cmd.Flags())
	log.Flags(cmd.Flags())
	return cmd
}

// purgeCommand is for clusters that are thrown away: it ends what a host left running. No conductor is asked, so it is no
// way to delete an instance.
func purgeCommand() *cobra.Command {
	var s serve
	cmd := &cobra.Command{
		Use:    "purge",
		Short:  "Destroy all machines of hosts that are not served any more, with their disks",
		Args:   cobra.NoArgs,
		Hidden: true,
	}
	cmd.RunE = daemon.Body(func(ctx context.Context) error {
		homes, err := filepath.Glob(filepath.Join(s.dataDir, "*", "driver"))
		if err != nil {
			return daemon.Usagef("cannot use --data-dir %q: %v", s.dataDir, err)
		}
		var failures []error
		for _, path := range homes {
			host := filepath.Base(filepath.Dir(path))
			n, err := s.purge(ctx, vm.HostName(host))
			failures = append(failures, err)
			if n > 0 {
				fmt.Fprintf(cmd.OutOrStdout(), "destroyed %d machines of host %s\n", n, host)
			}
		}
		return errors.Join(failures...)
	})
	s.flags(cmd)
	return cmd
}

func (s *serve) purge(ctx context.Context, host vm.HostName) (destroyed int, err error) {
	h, err := s.enter(ctx, host, hclog.NewNullLogger())
	if err != nil {
		return 0, fmt.Errorf("cannot purge host %s: %w", host, err)
	}
	defer func() { err = errors.Join(err, h.leave()) }()
	machines, err := h.driver.List(ctx)
	if err != nil {
		return 0, fmt.Errorf("cannot purge host %s: %w", host, err)
	}
	for _, m := range machines {
		if err := end(ctx, h.driver, m.ID); err != nil {
			return destroyed, fmt.Errorf("cannot purge host %s: %w", host, err)
		}
		destroyed++
	}
	return destroyed, nil
}

// end destroys a machine, also one whose hypervisor hangs.
func end(ctx context.Context, d drivers.Driver, id vm.InstanceID) error {
	if i, ok := d.(drivers.Interrupter); ok {
		if err := i.Interrupt(ctx, id, true); err != nil {
			return err
		}
	}
	return d.Destroy(ctx, id, func(vm.Progress) {})
}
