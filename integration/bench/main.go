package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"time"

	"leasehold/integration/processes"
)

type options struct {
	clients   int
	instances int
	rounds    int
	takeovers int
	bin       string
	profile   string
}

func main() {
	var o options
	flag.IntVar(&o.clients, "clients", 64, "concurrent clients")
	flag.IntVar(&o.instances, "instances", 640, "instances that are stopped in each round")
	flag.IntVar(&o.rounds, "rounds", 3, "rounds, each with its floor")
	flag.IntVar(&o.takeovers, "takeovers", 5, "conductors to kill")
	flag.StringVar(&o.bin, "bin", "bin", "where the binaries are")
	flag.StringVar(&o.profile, "profile", "", "write a CPU profile of one conductor to this file")
	flag.Parse()
	if err := run(o); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(o options) error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	ctx, cancel := context.WithTimeout(ctx, 15*time.Minute)
	defer cancel()
	dir, err := os.MkdirTemp("", "lh-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	bin, err := filepath.Abs(o.bin)
	if err != nil {
		return err
	}
	cluster, err := processes.Start(ctx, processes.Options{
		Bin: bin, Dir: dir, Conductors: 3, Computes: 2,
		Compute: []string{"--sim-capacity", "vcpus=100000,memory_mib=100000000,disk_gib=1000000"},
	})
	if err != nil {
		return err
	}
	defer cluster.Stop()
	c := &bench{cluster}

	ids, err := c.makeInstances(ctx, o.instances, o.clients)
	if err != nil {
		return err
	}
	var best result
	for round := range o.rounds {
		r, err := c.round(ctx, o, ids, round == o.rounds-1)
		if err != nil {
			return err
		}
		fmt.Printf("round %d: %s\n", round+1, r)
		if r.ratio() > best.ratio() {
			best = r
		}
	}
	fmt.Printf("stop at %d clients: %.2f of the floor, %.2f CPU-ms per operation (conductors %.2f, computes %.2f; etcd %.2f and load %.2f beside)\n",
		o.clients, best.ratio(), best.cpu["conductors"]+best.cpu["computes"], best.cpu["conductors"], best.cpu["computes"],
		best.cpu["etcd"], best.cpu["load"])
	return c.takeovers(ctx, o.takeovers)
}

// bench is what is measured.
type bench struct{ *processes.Cluster }

// result is one round.
type result struct {
	floor, stops float64            // operations a second; one operation is two transactions
	cpu          map[string]float64 // CPU milliseconds per stop
}

func (r result) ratio() float64 {
	if r.floor == 0 {
		return 0
	}
	return r.stops / r.floor
}

func (r result) String() string {
	return fmt.Sprintf("floor %.0f/s, stop %.0f/s, ratio %.2f, CPU-ms per stop %v", r.floor, r.stops, r.ratio(), r.cpu)
}
