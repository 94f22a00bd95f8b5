package sim

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"leasehold/vm"
)

// Steps lists the steps that take time and fail when told to.
func Steps() []string {
	return []string{
		"image", "disk", "network", "volume", "spawn", "start", "stop", "reboot", "pause", "unpause", "destroy",
		"suspend", "resume", "rescue", "unrescue", "rebuild", "snapshot", "upload", "password",
	}
}

// faults is what the metadata of one machine says, by step.
type faults struct {
	latency map[string]time.Duration
	fail    map[string]int
	hang    map[string]bool
	noAgent bool
}

// parseFaults reads the metadata under sim. and refuses, naming the key, what it does not understand: a fault with a
// typing error would let a test pass that tests nothing.
func parseFaults(metadata map[string]string) (faults, error) {
	f := faults{latency: map[string]time.Duration{}, fail: map[string]int{}, hang: map[string]bool{}}
	for key, value := range metadata {
		rest, ok := strings.CutPrefix(key, "sim.")
		if !ok {
			continue
		}
		if rest == "no_agent" {
			f.noAgent = value == "true"
		}
		if err := f.set(rest, value); err != nil {
			return faults{}, vm.Refuse(vm.ReasonInvalidArgument, "metadata %s=%s: %v", key, value, err)
		}
	}
	return f, nil
}

func (f faults) set(rest, value string) error {
	kind, step, _ := strings.Cut(rest, ".")
	if rest != "no_agent" && !slices.Contains(Steps(), step) {
		return fmt.Errorf("the key is not sim.latency, sim.fail or sim.hang of one of the steps %s",
			strings.Join(Steps(), " "))
	}
	var err error
	switch kind {
	case "latency":
		f.latency[step], err = time.ParseDuration(value)
		if err == nil && f.latency[step] < 0 {
			err = errors.New("a latency is not negative")
		}
	case "fail":
		f.fail[step], err = strconv.Atoi(value)
		if err == nil && f.fail[step] < 0 {
			err = errors.New("a count is not negative")
		}
	case "hang":
		f.hang[step], err = strconv.ParseBool(value)
	case "no_agent":
		_, err = strconv.ParseBool(value)
	default:
		err = errors.New("the key is not sim.latency, sim.fail or sim.hang")
	}
	return err
}

// checkSteps refuses a configuration that names no step.
func checkSteps(cfg Config) error {
	check := func(step string) error {
		if slices.Contains(Steps(), step) {
			return nil
		}
		return fmt.Errorf("cannot simulate the step %q: the steps are %s", step, strings.Join(Steps(), " "))
	}
	var errs []error
	for step := range cfg.Latency {
		errs = append(errs, check(step))
	}
	for step := range cfg.Fail {
		errs = append(errs, check(step))
	}
	for step := range cfg.Hang {
		errs = append(errs, check(step))
	}
	return errors.Join(errs...)
}

// or is what the machine says of the step, else what the host says.
func or[T any](own, host map[string]T, step string) T {
	if v, ok := own[step]; ok {
		return v
	}
	return host[step]
}

// spend says whether the step is to fail this time, and counts it. The count is the size of a file: it survives the
// agent, and the machine, which is often destroyed and made again because of the failure.
func (d *Driver) spend(id vm.InstanceID, step string, budget int) (bool, error) {
	if budget == 0 {
		return false, nil
	}
	path := filepath.Join(d.spentDir(), string(id)+"."+step)
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return false, fmt.Errorf("cannot count failures: %w", err)
	case info.Size() >= int64(budget):
		return false, nil
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return false, fmt.Errorf("cannot count failures: %w", err)
	}
	_, err = f.WriteString("x")
	if err := errors.Join(err, f.Close()); err != nil {
		return false, fmt.Errorf("cannot count failures: %w", err)
	}
	return true, nil
}
