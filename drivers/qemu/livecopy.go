package qemu

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"leasehold/drivers"
	"leasehold/vm"
)

const (
	copyNode  = "copy0"     // the file that a disk is copied to, in QEMU's words: one at a time
	copyJob   = "snapshot-" // and the image's id
	copyLook  = 20 * time.Millisecond
	copyLeave = 2 * time.Second // for a QEMU to drop a copying when nobody waits for it any more
)

// job is a long work of QEMU's own.
type job struct {
	ID     string `json:"id"`
	Status string `json:"status"`
	Done   int64  `json:"current-progress"`
	Total  int64  `json:"total-progress"`
	Error  string `json:"error"`
}

// copyLive has QEMU copy the disk as it is at the moment when the job begins: what the guest writes later is kept out
// of the copy. The guest is held still around that moment only.
func (m *machine) copyLive(
	ctx context.Context, s status, path string, image vm.ImageID, report drivers.Report,
) (err error) {
	defer func() {
		last, cancel := context.WithTimeout(context.WithoutCancel(ctx), copyLeave)
		defer cancel()
		err = errors.Join(err, m.endCopy(last))
	}()
	if err := m.openCopy(ctx, path); err != nil {
		return err
	}
	if err := m.beginCopy(ctx, s, copyJob+string(image)); err != nil {
		return err
	}
	return m.followCopy(ctx, copyJob+string(image), report)
}

func (m *machine) openCopy(ctx context.Context, path string) error {
	return m.main.do(ctx, "blockdev-add", map[string]any{
		"node-name": copyNode, "driver": "qcow2", "file": map[string]string{"driver": "file", "filename": path},
	}, nil)
}

// beginCopy marks the moment.
func (m *machine) beginCopy(ctx context.Context, s status, id string) error {
	if s.power == vm.PowerRunning {
		thaw, err := m.d.freeze(ctx, m)
		if err != nil {
			return err
		}
		defer thaw()
	}
	return m.main.do(ctx, "blockdev-backup", map[string]any{
		"job-id": id, "device": "disk0", "target": copyNode, "sync": "full", "auto-dismiss": false,
		"speed": m.d.cfg.SnapshotSpeed,
	}, nil)
}

// followCopy returns when all is copied.
func (m *machine) followCopy(ctx context.Context, id string, report drivers.Report) error {
	tick := time.NewTicker(copyLook)
	defer tick.Stop()
	due, last := every(meterEvery), int64(0)
	for {
		jobs, err := m.copies(ctx)
		if err != nil {
			return err
		}
		at := slices.IndexFunc(jobs, func(j job) bool { return j.ID == id })
		switch {
		case at < 0:
			return errors.New("the copying has vanished")
		case jobs[at].Status == "concluded" && jobs[at].Error != "":
			return errors.New(jobs[at].Error)
		case jobs[at].Status == "concluded":
			return nil
		}
		if j := jobs[at]; j.Done > last && due() {
			last = j.Done
			report(progress("snapshot", j.Done, j.Total, "bytes"))
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("cannot wait for the copy: %w", context.Cause(ctx))
		}
	}
}

// copies are the jobs that copy the disk.
func (m *machine) copies(ctx context.Context) ([]job, error) {
	var jobs []job
	if err := m.main.do(ctx, "query-jobs", nil, &jobs); err != nil {
		return nil, err
	}
	return slices.DeleteFunc(jobs, func(j job) bool { return !strings.HasPrefix(j.ID, copyJob) }), nil
}

// endCopy ends every copying of the disk, whoever has begun it, and lets go of the file.
func (m *machine) endCopy(ctx context.Context) error {
	tick := time.NewTicker(copyLook)
	defer tick.Stop()
	asked := false
	for {
		jobs, err := m.copies(ctx)
		if err != nil {
			return err
		}
		if len(jobs) == 0 {
			return m.dropNode(ctx, copyNode)
		}
		for _, j := range jobs {
			command := "job-dismiss"
			if j.Status != "concluded" {
				if asked {
					continue
				}
				command, asked = "job-cancel", true
			}
			_ = m.main.do(ctx, command, map[string]string{"id": j.ID}, nil) // the next look tells
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("cannot wait for the end of a copying: %w", context.Cause(ctx))
		}
	}
}

// dropNode has QEMU close a file, if it has it open.
func (m *machine) dropNode(ctx context.Context, name string) error {
	var nodes []struct {
		Name string `json:"node-name"`
	}
	if err := m.main.do(ctx, "query-named-block-nodes", map[string]bool{"flat": true}, &nodes); err != nil {
		return err
	}
	for _, n := range nodes {
		if n.Name == name {
			return m.main.do(ctx, "blockdev-del", map[string]string{"node-name": name}, nil)
		}
	}
	return nil
}

// abandonCopy ends a copying into image that a dead agent may have left under way in the machine id. A hypervisor that
// does not answer keeps no image from being dropped.
func (d *Driver) abandonCopy(ctx context.Context, id vm.InstanceID, image vm.ImageID) {
	dir, err := d.folderOf(id)
	if err != nil {
		return
	}
	m := d.hold(id, dir)
	defer d.release(m)
	ctx, cancel := context.WithTimeoutCause(ctx, copyLeave, errSilent)
	defer cancel()
	jobs, err := m.copies(ctx)
	if slices.ContainsFunc(jobs, func(j job) bool { return j.ID == copyJob+string(image) }) {
		err = m.endCopy(ctx)
	}
	if err != nil && !errors.Is(err, errOff) {
		d.log.Warn("cannot end a copying whose image is dropped", "instance", id, "image", image, "error", err)
	}
}
