package dev

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
)

// File is the name of the state's file in the directory of a cluster.
const File = "dev.json"

// State is who runs where. It is written anew whenever it changes.
type State struct {
	PID        int       `json:"pid"` // of the process that runs all others
	Ready      bool      `json:"ready"`
	Dir        string    `json:"data_dir"`
	Prefix     string    `json:"prefix"`
	Driver     string    `json:"driver"` // what compute says of its driver, and why
	Etcd       Process   `json:"etcd"`
	Conductors []Process `json:"conductors"`
	Computes   []Process `json:"computes"`
}

// Process is one child.
type Process struct {
	Name    string `json:"name"`
	PID     int    `json:"pid"`            // 0 while it does not run
	Address string `json:"address"`        // host:port of gRPC; of etcd: where clients connect
	HTTP    string `json:"http,omitempty"` // base URL of REST
	Log     string `json:"log"`
}

// Read returns the state of the cluster in dir.
func Read(dir string) (State, error) {
	var s State
	b, err := os.ReadFile(filepath.Join(dir, File))
	if err != nil {
		return s, fmt.Errorf("cannot read the state of the cluster: %w", err)
	}
	if err := json.Unmarshal(b, &s); err != nil {
		return s, fmt.Errorf("cannot understand the state of the cluster: %w", err)
	}
	return s, nil
}

// write replaces the file: a reader sees the old or the new state.
func (s State) write() error {
	b, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return fmt.Errorf("internal error: cannot encode the state: %w", err)
	}
	path := filepath.Join(s.Dir, File)
	if err := os.WriteFile(path+".part", append(b, '\n'), 0o600); err != nil {
		return fmt.Errorf("cannot write the state of the cluster: %w", err)
	}
	if err := os.Rename(path+".part", path); err != nil {
		return fmt.Errorf("cannot write the state of the cluster: %w", err)
	}
	return nil
}
