package qemu_test

import (
	"testing"

	"go.uber.org/goleak"

	"leasehold/drivers/qemu/shim/shimtest"
)

func TestMain(m *testing.M) {
	shimtest.Intercept()
	goleak.VerifyTestMain(m)
}
