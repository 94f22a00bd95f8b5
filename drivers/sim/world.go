package sim

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"leasehold/vm"
)

// Execution is one line of a world's log: a machine began or ceased to execute on a host. A paused machine does not
// execute. The order of the lines is the order of the facts; At is for people.
type Execution struct {
	At     time.Time
	Host   vm.HostName
	ID     vm.InstanceID
	Starts bool
}

func (e Execution) String() string {
	word := "stop"
	if e.Starts {
		word = "start"
	}
	return fmt.Sprintf("%s %s %s %s", e.At.Format(time.RFC3339Nano), e.Host, e.ID, word)
}

// world appends to the log that all hosts share. Each line is one write to a file opened for appending, which the kernel
// does not mix with others. A nil world writes nothing.
type world struct {
	host vm.HostName
	file *os.File
}

func worldFile(dir string) string { return filepath.Join(dir, "executions") }

func openWorld(dir string, host vm.HostName) (*world, error) {
	if dir == "" {
		return nil, nil
	}
	if host == "" || strings.ContainsAny(string(host), " \n") {
		return nil, fmt.Errorf("cannot tell a world of the host %q: it needs a name in one word", host)
	}
	file, err := os.OpenFile(worldFile(dir), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, fmt.Errorf("cannot open the world: %w", err)
	}
	return &world{host: host, file: file}, nil
}

func (w *world) tell(id vm.InstanceID, starts bool) error {
	if w == nil {
		return nil
	}
	e := Execution{At: time.Now().UTC(), Host: w.host, ID: id, Starts: starts}
	if _, err := fmt.Fprintln(w.file, e); err != nil {
		return fmt.Errorf("cannot tell the world: %w", err)
	}
	return nil
}

func (w *world) close() error {
	if w == nil {
		return nil
	}
	return w.file.Close()
}

// witness tells the world again what is so, because a predecessor may have died between a change and its line (I7).
func (d *Driver) witness() error {
	if d.world == nil {
		return nil
	}
	for _, m := range d.all() {
		if r := m.rec.Load(); r != nil && r.Spawned {
			if err := d.world.tell(m.id, r.executing()); err != nil {
				return err
			}
		}
	}
	return nil
}

// ReadWorld reads the log in dir, empty when nothing has executed yet.
func ReadWorld(dir string) ([]Execution, error) {
	file, err := os.Open(worldFile(dir))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("cannot read the world: %w", err)
	}
	defer file.Close()
	var all []Execution
	lines := bufio.NewScanner(file)
	for lines.Scan() {
		e, err := parseExecution(lines.Text())
		if err != nil {
			return nil, fmt.Errorf("cannot read line %d of the world: %w", len(all)+1, err)
		}
		all = append(all, e)
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("cannot read the world: %w", err)
	}
	return all, nil
}

func parseExecution(text string) (Execution, error) {
	words := strings.Fields(text)
	if len(words) != 4 || words[3] != "start" && words[3] != "stop" {
		return Execution{}, fmt.Errorf("%q is not <time> <host> <id> start|stop", text)
	}
	at, err := time.Parse(time.RFC3339Nano, words[0])
	if err != nil {
		return Execution{}, fmt.Errorf("%q is not a time", words[0])
	}
	return Execution{At: at, Host: vm.HostName(words[1]), ID: vm.InstanceID(words[2]), Starts: words[3] == "start"}, nil
}

// Twice returns each start of an instance that was executing on another host at that moment. It is empty as long as the
// second half of promise P2 is kept; the first, nothing after a delete, needs the deletes as well.
func Twice(log []Execution) []Execution {
	on := map[vm.InstanceID]map[vm.HostName]bool{}
	var twice []Execution
	for _, e := range log {
		if on[e.ID] == nil {
			on[e.ID] = map[vm.HostName]bool{}
		}
		if !e.Starts {
			delete(on[e.ID], e.Host)
			continue
		}
		on[e.ID][e.Host] = true
		if len(on[e.ID]) > 1 {
			twice = append(twice, e)
		}
	}
	return twice
}
