package agent_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"leasehold/drivers"
	"leasehold/vm"
)

// powers is what the hypervisor of these tests can do beside its core: saved memory, rescue disks, images, a guest with an
// agent. It refuses what a real one refuses, and everything is idempotent (drivers, I1).
type powers struct {
	saved     map[vm.InstanceID]bool
	rescued   map[vm.InstanceID]vm.ImageID
	disks     map[vm.InstanceID]string // what is on the disk, when it is not the instance's id
	copies    map[vm.ImageID]string
	images    map[vm.ImageID]string
	passwords map[vm.InstanceID]string
	closed    chan vm.ImageID // has the id of each image that was read and closed

	fetch   drivers.Fetch             // of host:// images
	padding int64                     // bytes that an export adds to the disk's
	mute    bool                      // the guest has no agent
	answers func(secret string) error // what the guest's agent says to a password
	jammed  error                     // what DropImage and Images say
	silent  map[vm.InstanceID]string  // hypervisors that do not answer, and how Inspect tells
	blind   error                     // what Inspect says
}

func newPowers() powers {
	return powers{
		saved: map[vm.InstanceID]bool{}, rescued: map[vm.InstanceID]vm.ImageID{}, disks: map[vm.InstanceID]string{},
		copies: map[vm.ImageID]string{}, images: map[vm.ImageID]string{}, passwords: map[vm.InstanceID]string{},
		silent: map[vm.InstanceID]string{}, closed: make(chan vm.ImageID, 100),
	}
}

// clear forgets what goes with a machine.
func (p *powers) clear(id vm.InstanceID) {
	delete(p.saved, id)
	delete(p.rescued, id)
	delete(p.disks, id)
	delete(p.passwords, id)
}

func (h *hypervisor) Inspect(ctx context.Context, id vm.InstanceID) (drivers.Machine, error) {
	m, err := h.Driver.Inspect(ctx, id)
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.blind != nil {
		return drivers.Machine{}, h.blind
	}
	return h.seen(m), err
}

func (h *hypervisor) List(ctx context.Context) ([]drivers.Machine, error) {
	all, err := h.Driver.List(ctx)
	h.mu.Lock()
	defer h.mu.Unlock()
	h.lists++
	for i := range all {
		all[i] = h.seen(all[i])
	}
	return all, err
}

// seen adds what the powers know of a machine. h.mu is held.
func (h *hypervisor) seen(m drivers.Machine) drivers.Machine {
	m.Rescue = h.rescued[m.ID]
	if h.saved[m.ID] {
		m.PowerState = vm.PowerSuspended
	}
	if how, ok := h.silent[m.ID]; ok {
		m.PowerState, m.Detail = vm.PowerNoState, how
	}
	return m
}

// there is the machine, or drivers.ErrNoMachine.
func (h *hypervisor) there(ctx context.Context, id vm.InstanceID) (drivers.Machine, error) {
	m, err := h.Inspect(ctx, id)
	if err == nil && !m.Exists {
		err = drivers.ErrNoMachine
	}
	return m, err
}

func (h *hypervisor) Suspend(ctx context.Context, id vm.InstanceID, r drivers.Report) error {
	h.enter("suspend")
	m, err := h.there(ctx, id)
	switch {
	case err != nil || m.PowerState == vm.PowerSuspended:
		return err
	case m.PowerState != vm.PowerRunning && m.PowerState != vm.PowerPaused:
		return fmt.Errorf("the machine is %s", m.PowerState)
	}
	err = h.Driver.Stop(ctx, id, 0, r)
	h.set(func(h *hypervisor) { h.saved[id] = err == nil })
	return err
}

func (h *hypervisor) Resume(ctx context.Context, id vm.InstanceID, r drivers.Report) error {
	h.enter("resume")
	m, err := h.there(ctx, id)
	switch {
	case err != nil || m.PowerState == vm.PowerRunning:
		return err
	case m.PowerState != vm.PowerSuspended:
		return drivers.ErrNoMemory
	}
	err = h.Driver.Start(ctx, id, r)
	h.set(func(h *hypervisor) { h.saved[id] = err != nil })
	return err
}

func (h *hypervisor) Rescue(ctx context.Context, id vm.InstanceID, image drivers.Image, r drivers.Report) error {
	h.enter("rescue")
	m, err := h.there(ctx, id)
	if err != nil || m.Rescue == image.ID && m.PowerState == vm.PowerRunning {
		return err
	}
	if _, err := h.content(ctx, image); err != nil {
		return err
	}
	return h.restart(ctx, id, r, func() { h.rescued[id] = image.ID })
}

func (h *hypervisor) Unrescue(ctx context.Context, id vm.InstanceID, r drivers.Report) error {
	h.enter("unrescue")
	m, err := h.there(ctx, id)
	if err != nil || m.Rescue == "" && m.PowerState == vm.PowerRunning {
		return err
	}
	return h.restart(ctx, id, r, func() { delete(h.rescued, id) })
}

// restart starts a machine from another disk. Saved memory is given up.
func (h *hypervisor) restart(ctx context.Context, id vm.InstanceID, r drivers.Report, change func()) error {
	if err := h.Driver.Stop(ctx, id, 0, r); err != nil {
		return err
	}
	h.set(func(h *hypervisor) { delete(h.saved, id); change() })
	return h.Driver.Start(ctx, id, r)
}

func (h *hypervisor) Rebuild(ctx context.Context, spec drivers.Spec, r drivers.Report) error {
	h.enter("rebuild")
	if _, err := h.there(ctx, spec.ID); err != nil {
		return err
	}
	content, err := h.content(ctx, spec.Image)
	if err != nil {
		return err
	}
	if err := h.Driver.Stop(ctx, spec.ID, 0, r); err != nil {
		return err
	}
	h.set(func(h *hypervisor) { h.clear(spec.ID); h.disks[spec.ID] = content })
	return nil
}

// content is what a disk made of the image has on it.
func (h *hypervisor) content(ctx context.Context, image drivers.Image) (string, error) {
	switch {
	case strings.HasPrefix(image.URL, "builtin:"):
		return image.URL, nil
	case !strings.HasPrefix(image.URL, "host://") || h.fetch == nil:
		return "", fmt.Errorf("%w: %q", drivers.ErrBadImage, image.URL)
	}
	body, size, err := h.fetch(ctx, image, 0)
	if err != nil {
		return "", err
	}
	text, err := io.ReadAll(body)
	if err := errors.Join(err, body.Close()); err != nil {
		return "", err
	}
	if sum := sha256.Sum256(text); int64(len(text)) != size || hex.EncodeToString(sum[:]) != image.SHA256 {
		return "", fmt.Errorf("%w: its digest is another", drivers.ErrBadImage)
	}
	return string(text), nil
}

func (h *hypervisor) Snapshot(ctx context.Context, id vm.InstanceID, image vm.ImageID, _ drivers.Report) error {
	h.enter("snapshot")
	if _, err := h.there(ctx, id); err != nil {
		return err
	}
	h.set(func(h *hypervisor) {
		if _, made := h.copies[image]; !made {
			h.copies[image] = "disk of " + string(id) + " " + h.disks[id]
		}
	})
	return nil
}

func (h *hypervisor) Export(_ context.Context, _ vm.InstanceID, image vm.ImageID, _ drivers.Report) (drivers.ImageFile, error) {
	h.enter("export")
	h.mu.Lock()
	defer h.mu.Unlock()
	if half, ok := h.copies[image]; ok {
		h.images[image] = half + strings.Repeat(".", int(h.padding))
		delete(h.copies, image)
	}
	whole, ok := h.images[image]
	if !ok {
		return drivers.ImageFile{}, drivers.ErrNoImage
	}
	sum := sha256.Sum256([]byte(whole))
	return drivers.ImageFile{ID: image, SizeBytes: int64(len(whole)), SHA256: hex.EncodeToString(sum[:]), Format: "raw"}, nil
}

func (h *hypervisor) DropImage(_ context.Context, image vm.ImageID) error {
	h.enter("drop")
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.jammed == nil {
		delete(h.copies, image)
		delete(h.images, image)
	}
	return h.jammed
}

func (h *hypervisor) Images(context.Context) ([]vm.ImageID, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	all := slices.AppendSeq(slices.Collect(maps.Keys(h.copies)), maps.Keys(h.images))
	return slices.Sorted(slices.Values(all)), h.jammed
}

func (h *hypervisor) OpenImage(_ context.Context, image vm.ImageID) (drivers.ImageReader, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	whole, ok := h.images[image]
	if !ok {
		return nil, drivers.ErrNoImage
	}
	return &imageReader{bytes.NewReader([]byte(whole)), func() { h.closed <- image }}, nil
}

type imageReader struct {
	*bytes.Reader
	close func()
}

func (r *imageReader) Close() error { r.close(); return nil }

func (h *hypervisor) SetPassword(ctx context.Context, id vm.InstanceID, user, password string, report drivers.Report) error {
	h.enter("password")
	m, err := h.there(ctx, id)
	if err != nil {
		return err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.mute || m.PowerState != vm.PowerRunning {
		return drivers.ErrNoAgent
	}
	if h.answers != nil {
		report(vm.Progress{Phase: "password", Note: "setting " + password})
		return h.answers(password)
	}
	h.passwords[id] = user + ":" + password
	return nil
}

func (h *hypervisor) Usage(ctx context.Context, id vm.InstanceID) ([]drivers.VCPUUsage, error) {
	m, err := h.there(ctx, id)
	if err != nil || m.PowerState != vm.PowerRunning {
		return nil, err
	}
	return []drivers.VCPUUsage{{Run: 3 * time.Second, Wait: 20 * time.Millisecond}, {Run: time.Second}}, nil
}

// plain hides every power of a driver.
type plain struct{ drivers.Driver }
