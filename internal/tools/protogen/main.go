package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
)

func main() {
	root := flag.String("root", "../..", "the repository")
	check := flag.Bool("check", false, "write nothing, fail when a generated file is not current")
	flag.Parse()

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := run(ctx, *root, *check)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "protogen:", err)
		os.Exit(1)
	}
}

// run generates everything in memory first, so a proto that does not compile leaves the tree as it was.
func run(ctx context.Context, root string, check bool) error {
	protos, err := find(root)
	if err != nil {
		return err
	}
	files, err := compile(ctx, root, protos)
	if err != nil {
		return err
	}
	made := tree{}
	for _, p := range plugins {
		if err := p.run(ctx, files, protos, made); err != nil {
			return err
		}
	}
	if check {
		return made.check(root)
	}
	return made.write(root)
}
