package integration_test

import (
	"os"
	"testing"

	"leasehold/coord/coordtest"
)

func TestMain(m *testing.M) { os.Exit(coordtest.Main(m)) }
