package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"syscall"
	"time"

	conductorv1 "leasehold/api/conductor/v1"
)

// limit is for everything after the downloads.
const limit = 3 * time.Minute

func main() {
	runtime.LockOSThread() // see startCluster
	root := flag.String("root", ".", "the repository, with the programs in bin")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	// A second Ctrl-C ends the process at once; one that came both directly and from make is no second one.
	context.AfterFunc(ctx, func() { time.AfterFunc(500*time.Millisecond, stop) })
	d := &demo{show: newShow(os.Stdout), root: *root}
	began := time.Now()
	if err := d.run(ctx); err != nil {
		fmt.Fprintf(os.Stderr, "\nThe demo failed: %v\n", err)
		os.Exit(1)
	}
	fmt.Printf("\nAll as promised, in %s. Now try it yourself: bin/conductor dev\n", time.Since(began).Round(time.Second))
}

// demo is one run of the story.
type demo struct {
	show      *show
	root      string // of the repository
	installed bool   // QEMU, when the story begins
	cluster   *cluster
	vmctl     *vmctl
	image     *slowImage
	driver    string // that the hosts use
	task      *conductorv1.Task
	victim    string // the conductor that was killed
	killed    time.Time
	name      string // of the instance
}

// run tells the story and cleans up, whatever happened.
func (d *demo) run(ctx context.Context) (err error) {
	d.installed = d.findQEMU(ctx)
	ctx, cancel := context.WithTimeoutCause(ctx, limit, fmt.Errorf("it takes longer than %s", limit))
	defer cancel()
	defer func() {
		if err != nil && d.cluster != nil {
			fmt.Fprint(os.Stderr, d.cluster.logs())
		}
		err = errors.Join(err, d.end())
	}()
	for _, chapter := range []func(context.Context) error{d.begin, d.create, d.talk, d.verbs, d.remove, d.timeline} {
		if err := chapter(ctx); err != nil {
			if ctx.Err() != nil {
				err = context.Cause(ctx)
			}
			return err
		}
	}
	return nil
}
