package sim_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"leasehold/drivers"
	"leasehold/drivers/drivertest"
	"leasehold/drivers/sim"
	"leasehold/vm"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestDriverKeepsTheRules(t *testing.T) {
	for name, fsync := range map[string]bool{"page cache": false, "synced": true} {
		t.Run(name, func(t *testing.T) {
			drivertest.Run(t, drivertest.Harness{
				New: func(t *testing.T, dir string) drivers.Driver {
					t.Helper()
					d, err := sim.New(sim.Config{Dir: dir, Fsync: fsync})
					require.NoError(t, err)
					return d
				},
				Spec:  func(*testing.T) drivers.Spec { return spec(nil) },
				Ready: func(*testing.T, drivers.Driver, vm.InstanceID) {},
				GuestShutdown: func(t *testing.T, d drivers.Driver, id vm.InstanceID) {
					t.Helper()
					require.NoError(t, d.(*sim.Driver).GuestShutdown(id))
				},
				GuestCrash: func(t *testing.T, d drivers.Driver, id vm.InstanceID) {
					t.Helper()
					require.NoError(t, d.(*sim.Driver).GuestCrash(id))
				},
				Hang: func(t *testing.T, d drivers.Driver, id vm.InstanceID) {
					t.Helper()
					require.NoError(t, d.(*sim.Driver).Hang(id, "pause"))
				},
				Litter: func(t *testing.T, dir string) vm.InstanceID {
					t.Helper()
					require.NoError(t, os.WriteFile(filepath.Join(dir, "machines", "m1.json"), []byte("{"), 0o644))
					return "m1"
				},
				Console: &drivertest.Console{Banner: "SIM-READY ", Send: "marco\n", Reply: "marco\n"},
				Counter: func(t *testing.T, d drivers.Driver, id vm.InstanceID) uint64 {
					t.Helper()
					n, err := d.(*sim.Driver).GuestCount(id)
					require.NoError(t, err)
					return n
				},
				Disk: &drivertest.Disk{
					Write: func(t *testing.T, d drivers.Driver, id vm.InstanceID) string {
						t.Helper()
						return write(t, d.(*sim.Driver), id)
					},
					Read: func(t *testing.T, d drivers.Driver, id vm.InstanceID) string {
						t.Helper()
						return read(t, d.(*sim.Driver), id)
					},
				},
				Agent: &drivertest.Agent{
					With: func(*testing.T) drivers.Spec { return spec(nil) },
					Without: func(*testing.T) drivers.Spec {
						return spec(map[string]string{"sim.no_agent": "true"})
					},
					Knows: func(_ *testing.T, d drivers.Driver, id vm.InstanceID, user, password string) bool {
						return d.(*sim.Driver).HasPassword(id, user, password)
					},
				},
			})
		})
	}
}

// open closes the driver when the test ends; a second Close changes nothing.
func open(t *testing.T, cfg sim.Config) *sim.Driver {
	t.Helper()
	d, err := sim.New(cfg)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, d.Close()) })
	return d
}

func spec(metadata map[string]string) drivers.Spec {
	id := vm.InstanceID(uuid.Must(uuid.NewV7()).String())
	return drivers.Spec{
		ID: id, Name: "vm-" + string(id[len(id)-6:]), Size: vm.Size{VCPUs: 1, MemoryMiB: 128, DiskGiB: 1},
		Image: drivers.Image{Name: "default", URL: "builtin:default", Format: "raw"}, Metadata: metadata,
	}
}

// rescueImage is what machines are rescued from.
var rescueImage = drivers.Image{ID: "rescue", Name: "rescue", URL: "builtin:rescue", Format: "raw"}

func quiet(vm.Progress) {}

// write has the guest mark the disk that it started from; read looks for the mark.
func write(t *testing.T, d *sim.Driver, id vm.InstanceID) string {
	t.Helper()
	mark := uuid.NewString()
	require.NoError(t, d.GuestWrite(id, mark))
	return mark
}

func read(t *testing.T, d *sim.Driver, id vm.InstanceID) string {
	t.Helper()
	mark, err := d.GuestRead(id)
	require.NoError(t, err)
	return mark
}

func power(t *testing.T, d *sim.Driver, id vm.InstanceID) vm.PowerState {
	t.Helper()
	m, err := d.Inspect(t.Context(), id)
	require.NoError(t, err)
	return m.PowerState
}
