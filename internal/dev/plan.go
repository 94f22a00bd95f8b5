package dev

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
)

// plan is the children in the stages in which they start: the store, the conductors, the hosts.
func (c *cluster) plan(ctx context.Context) ([][]*child, error) {
	cfg := c.cfg
	etcd, err := addresses(ctx, "etcd-port", cfg.EtcdPort, 2)
	if err != nil {
		return nil, err
	}
	grpc, err := addresses(ctx, "grpc-port", cfg.GRPCPort, cfg.Conductors)
	if err != nil {
		return nil, err
	}
	http, err := addresses(ctx, "http-port", cfg.HTTPPort, cfg.Conductors)
	if err != nil {
		return nil, err
	}
	hosts, err := addresses(ctx, "compute-port", cfg.ComputePort, cfg.Computes)
	if err != nil {
		return nil, err
	}
	stages := [][]*child{{c.child("etcd", etcd[0], "", "http://"+etcd[0]+"/health", cfg.Conductor, "etcd",
		"--data-dir", filepath.Join(cfg.Dir, "etcd"), "--client-url", "http://"+etcd[0], "--peer-url", "http://"+etcd[1])}}
	var conductors, computes []*child
	for i := range cfg.Conductors {
		name := fmt.Sprintf("c%d", i+1)
		conductors = append(conductors, c.child(name, grpc[i], "http://"+http[i], "http://"+http[i]+"/readyz",
			cfg.Conductor, append([]string{
				"serve", "--name", name, "--etcd", "http://" + etcd[0], "--prefix", cfg.Prefix,
				"--grpc", grpc[i], "--http", http[i],
			}, cfg.ConductorArgs...)...))
	}
	for i := range cfg.Computes {
		name := fmt.Sprintf("h%d", i+1)
		computes = append(computes, c.child(name, hosts[i], "", "", cfg.Compute, append([]string{
			"serve", "--host", name, "--conductors", strings.Join(grpc, ","), "--listen", hosts[i], "--data-dir", c.home(),
		}, cfg.ComputeArgs...)...))
	}
	return append(stages, conductors, computes), nil
}

func (c *cluster) child(name, address, http, ready, program string, args ...string) *child {
	return &child{
		Process: Process{
			Name: name, Address: address, HTTP: http, Log: filepath.Join(c.cfg.Dir, "logs", name+".log"),
		},
		argv: append([]string{program}, args...), ready: ready,
	}
}
