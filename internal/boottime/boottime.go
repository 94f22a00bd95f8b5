// Package boottime reads the clock that lease arithmetic is done with: CLOCK_BOOTTIME. Unlike Go's monotonic clock it goes
// on while the machine is suspended, as etcd's does; unlike the wall clock nobody sets it.
package boottime

import (
	"fmt"
	"time"

	"golang.org/x/sys/unix"
)

// Clock tells the time since some fixed moment. Now is the one outside tests.
type Clock func() time.Duration

// Now is the time since the machine's boot, time in suspend included.
func Now() time.Duration {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts); err != nil {
		// Linux has had this clock since 2.6.39 and the call has no other way to fail.
		panic(fmt.Sprintf("cannot read CLOCK_BOOTTIME: %v", err))
	}
	return time.Duration(ts.Nano())
}
