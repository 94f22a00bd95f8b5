package main

import (
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
)

// The event of a power button that is pressed: input-event-codes.h.
const (
	eventKey = 1
	keyPower = 116
	pressed  = 1
)

// inputEvent is a record of /dev/input/event*.
type inputEvent struct {
	Sec, Usec  int64
	Type, Code uint16
	Value      int32
}

// watchButtons obeys the power buttons that the kernel knows.
func watchButtons(g *guest) error {
	devices, err := filepath.Glob("/sys/class/input/event*")
	if err != nil {
		return fmt.Errorf("cannot list the input devices: %w", err)
	}
	for _, d := range devices {
		if name, _ := os.ReadFile(filepath.Join(d, "device/name")); !strings.Contains(string(name), "Power Button") {
			continue
		}
		f, err := os.Open(filepath.Join("/dev/input", filepath.Base(d)))
		if err != nil {
			return fmt.Errorf("cannot open the power button: %w", err)
		}
		go func() {
			waitForPress(f)
			g.tell("PWRBTN")
			powerOff()
		}()
	}
	return nil
}

// waitForPress returns when the button is pressed, or is there no more.
func waitForPress(events io.Reader) {
	for {
		var e inputEvent
		err := binary.Read(events, binary.LittleEndian, &e)
		if err != nil || e.Type == eventKey && e.Code == keyPower && e.Value == pressed {
			return
		}
	}
}
