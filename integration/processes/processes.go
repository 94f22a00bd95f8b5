package processes

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"leasehold/coord"
	"leasehold/vm"
)

// Process is a child that this run started.
type Process struct {
	Name, Role string
	Cmd        *exec.Cmd
	GRPC, HTTP string // of a conductor: host:port, and http://host:port
}

// Roles of processes.
const (
	Etcd       = "etcd"
	Conductors = "conductors"
	Computes   = "computes"
)

// Options of a cluster. Bin and Dir are required.
type Options struct {
	Bin        string // folder of the binaries conductor and compute
	Dir        string // for data and logs
	Conductors int
	Computes   int
	Driver     string   // sim when empty
	Compute    []string // more flags of each compute
	Conductor  []string // more flags of each conductor
	Env        func(name string) []string
}

// Cluster is the running processes. It is not safe for concurrent use but for Call and CPU.
type Cluster struct {
	Client *clientv3.Client
	Keys   coord.Keys
	opts   Options
	etcd   string
	all    []*Process
	web    *http.Client
	places map[string][2]string // gRPC and HTTP addresses by conductor name
	hosts  map[string]string    // listening address by host name
}

const clockTicks = 100 // a second, of the kernel's user interface

// Start starts a cluster and waits until every conductor is ready and every host schedulable.
func Start(ctx context.Context, o Options) (*Cluster, error) {
	if o.Driver == "" {
		o.Driver = "sim"
	}
	c := &Cluster{
		opts: o, web: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 1000}}, hosts: map[string]string{}, places: map[string][2]string{},
	}
	if err := c.boot(ctx); err != nil {
		c.Stop()
		return nil, err
	}
	return c, nil
}

func (c *Cluster) boot(ctx context.Context) error {
	client, peer := freeAddr(), freeAddr()
	c.etcd = "http://" + client
	_, err := c.start(ctx, "etcd", Etcd, "conductor", "etcd", "--data-dir", filepath.Join(c.opts.Dir, "etcd"),
		"--client-url", c.etcd, "--peer-url", "http://"+peer)
	if err != nil {
		return err
	}
	if c.Client, err = coord.Dial([]string{c.etcd}, nil); err != nil {
		return err
	}
	if c.Keys, err = coord.NewKeys("/leasehold"); err != nil {
		return err
	}
	for range c.opts.Conductors {
		if _, err := c.StartConductor(ctx); err != nil {
			return err
		}
	}
	for i := range c.opts.Computes {
		if err := c.StartCompute(ctx, fmt.Sprintf("h%d", i+1)); err != nil {
			return err
		}
	}
	return nil
}

// StartCompute starts, or starts again, the agent of a host and waits until it is schedulable.
func (c *Cluster) StartCompute(ctx context.Context, name string) error {
	var conductors []string
	for _, p := range c.Role(Conductors) {
		conductors = append(conductors, p.GRPC)
	}
	if c.hosts[name] == "" {
		c.hosts[name] = freeAddr()
	}
	args := append([]string{
		"serve", "--host", name, "--driver", c.opts.Driver, "--conductors", strings.Join(conductors, ","),
		"--listen", c.hosts[name], "--data-dir", filepath.Join(c.opts.Dir, name),
	}, c.opts.Compute...)
	was, err := c.Client.Get(ctx, c.Keys.AliveCompute(vm.HostName(name)))
	if err != nil {
		return err
	}
	if _, err := c.start(ctx, name, Computes, "compute", args...); err != nil {
		return err
	}
	return c.Await(ctx, "host "+name, func(ctx context.Context) bool {
		r, err := c.Client.Get(ctx, c.Keys.AliveCompute(vm.HostName(name)))
		return err == nil && len(r.Kvs) > 0 && (len(was.Kvs) == 0 || r.Kvs[0].ModRevision > was.Kvs[0].ModRevision)
	})
}

// StartConductor starts a replica under the first name that is free, at the addresses which that name has always had, and
// waits until it is ready: hosts are told the addresses of conductors once.
func (c *Cluster) StartConductor(ctx context.Context) (*Process, error) {
	n := 1
	for c.Named(fmt.Sprintf("c%d", n)) != nil {
		n++
	}
	name := fmt.Sprintf("c%d", n)
	if c.places[name] == [2]string{} {
		c.places[name] = [2]string{freeAddr(), freeAddr()}
	}
	grpc, web := c.places[name][0], c.places[name][1]
	args := append([]string{"serve", "--name", name, "--etcd", c.etcd, "--grpc", grpc, "--http", web}, c.opts.Conductor...)
	p, err := c.start(ctx, name, Conductors, "conductor", args...)
	if err != nil {
		return nil, err
	}
	p.GRPC, p.HTTP = grpc, "http://"+web
	return p, c.Await(ctx, name, func(ctx context.Context) bool {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, p.HTTP+"/readyz", nil)
		if err != nil {
			return false
		}
		resp, err := c.web.Do(req)
		if err != nil {
			return false
		}
		defer resp.Body.Close()
		return resp.StatusCode == http.StatusOK
	})
}

func (c *Cluster) start(ctx context.Context, name, role, binary string, args ...string) (*Process, error) {
	log, err := os.OpenFile(filepath.Join(c.opts.Dir, name+".log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	cmd := exec.CommandContext(context.WithoutCancel(ctx), filepath.Join(c.opts.Bin, binary), args...)
	cmd.Stdout, cmd.Stderr = log, log
	if c.opts.Env != nil {
		cmd.Env = append(os.Environ(), c.opts.Env(name)...)
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("cannot start %s: %w", name, err)
	}
	p := &Process{Name: name, Role: role, Cmd: cmd}
	c.all = append(c.all, p)
	return p, nil
}

// Stop kills everything that was started, in reverse. What a test wants to end cleanly it ends before.
func (c *Cluster) Stop() {
	if c.Client != nil {
		_ = c.Client.Close()
	}
	for _, p := range slices.Backward(c.all) {
		_ = p.Cmd.Process.Kill()
		_ = p.Cmd.Wait()
	}
	c.all = nil
}

// Kill sends a process SIGKILL and waits until it is gone.
func (c *Cluster) Kill(p *Process) {
	_ = p.Cmd.Process.Kill()
	c.Gone(p)
}

// Gone waits for a process that ends, and forgets it.
func (c *Cluster) Gone(p *Process) {
	_ = p.Cmd.Wait()
	c.all = slices.DeleteFunc(c.all, func(x *Process) bool { return x == p })
}

// Role are the processes of one role, in the order of their start.
func (c *Cluster) Role(role string) []*Process {
	var out []*Process
	for _, p := range c.all {
		if p.Role == role {
			out = append(out, p)
		}
	}
	return out
}

// All are all processes, in the order of their start.
func (c *Cluster) All() []*Process { return slices.Clone(c.all) }

// Named is the process of that name, nil when it does not run.
func (c *Cluster) Named(name string) *Process {
	i := slices.IndexFunc(c.all, func(p *Process) bool { return p.Name == name })
	if i < 0 {
		return nil
	}
	return c.all[i]
}

// CPU is the CPU time used so far by each role, and under "load" by this program.
func (c *Cluster) CPU() (map[string]time.Duration, error) {
	out := map[string]time.Duration{}
	for _, p := range c.all {
		d, err := cpuOf(strconv.Itoa(p.Cmd.Process.Pid))
		if err != nil {
			return nil, err
		}
		out[p.Role] += d
	}
	d, err := cpuOf("self")
	out["load"] = d
	return out, err
}

func cpuOf(pid string) (time.Duration, error) {
	b, err := os.ReadFile(filepath.Join("/proc", pid, "stat"))
	if err != nil {
		return 0, err
	}
	// The name in parentheses may hold blanks; utime and stime are the 12th and 13th field behind it.
	fields := strings.Fields(string(b[strings.LastIndexByte(string(b), ')')+1:]))
	user, err1 := strconv.Atoi(fields[11])
	system, err2 := strconv.Atoi(fields[12])
	return time.Duration(user+system) * time.Second / clockTicks, errors.Join(err1, err2)
}

// Await polls until ok, for at most two minutes.
func (c *Cluster) Await(ctx context.Context, what string, ok func(context.Context) bool) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for !ok(ctx) {
		select {
		case <-ctx.Done():
			return fmt.Errorf("cannot go on: %s did not come within two minutes; the logs are in %s", what, c.opts.Dir)
		case <-tick.C:
		}
	}
	return nil
}

// Call makes a REST request and decodes the answer into what into points to. An answer of 400 or more is an error.
func (c *Cluster) Call(ctx context.Context, method, url, body string, into any) error {
	req, err := http.NewRequestWithContext(ctx, method, url, strings.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := c.web.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	if resp.StatusCode >= http.StatusBadRequest {
		return fmt.Errorf("cannot %s %s: %s: %s", method, url, resp.Status, b)
	}
	return json.Unmarshal(b, into)
}

func freeAddr() string {
	l, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // it does not block
	if err != nil {
		panic(err)
	}
	defer l.Close()
	return l.Addr().String()
}
