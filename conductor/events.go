package conductor

import (
	"fmt"
	"strings"

	"leasehold/api/conductor/v1"
	"leasehold/coord"
	"leasehold/vm"
)

// eventFilter is what a follower may see and wants to see.
type eventFilter struct {
	project  vm.ProjectName
	instance vm.InstanceID // empty for all
}

// told is one change as a person would say it.
type told struct {
	kind     string
	id       string
	project  vm.ProjectName // empty: everybody's
	instance vm.InstanceID
	message  string
}

// eventOf makes an event of a change; nil when nobody is told of it, or this follower is not.
func (c *Conductor) eventOf(batch []happened, i int, f eventFilter) *conductorv1.Event {
	h := batch[i]
	t := c.tell(batch, i)
	if t.kind == "" || t.project != "" && t.project != f.project || f.instance != "" && t.instance != f.instance {
		return nil
	}
	change := "put"
	if h.Now == nil {
		change = "delete"
	}
	return &conductorv1.Event{
		Revision: h.Revision, Kind: t.kind, Id: t.id, Change: change, Message: t.message, Instance: string(t.instance), At: at(h.at),
	}
}

func (c *Conductor) tell(batch []happened, i int) told {
	h := batch[i]
	was, now := h.Was, h.Now
	switch h.Table {
	case coord.Instances:
		return tellInstance(value[vm.Instance](was), value[vm.Instance](now))
	case coord.Tasks:
		return tellTask(value[vm.Task](was), value[vm.Task](now))
	case coord.ObservedT:
		return c.tellObserved(batch, i)
	case coord.Hosts:
		return told{kind: "host", id: h.Rest, message: tellHost(h.Rest, value[vm.Host](was), value[vm.Host](now))}
	case coord.Alive:
		return tellAlive(h)
	case coord.Locks:
		return c.tellLock(batch, i)
	case coord.Claims:
		return c.tellClaim(batch, i)
	default:
		return told{}
	}
}

// value is the decoded record of an entry; nil without one, or when it cannot be read.
func value[T any](e *coord.Entry) *T {
	if e == nil {
		return nil
	}
	r, err := coord.Decoded[T](e)
	if err != nil {
		return nil
	}
	return r
}

// either is the newer of two forms of a record; nil when neither can be read.
func either[T any](was, now *T) *T {
	if now != nil {
		return now
	}
	return was
}

func tellInstance(was, now *vm.Instance) told {
	in := either(was, now)
	if in == nil {
		return told{}
	}
	t := told{kind: "instance", id: string(in.ID), project: in.Project, instance: in.ID}
	condition := func(i *vm.Instance) string {
		if i.TaskState == vm.Idle {
			return string(i.State)
		}
		return string(i.State) + ", " + string(i.TaskState)
	}
	switch {
	case now == nil:
		t.message = fmt.Sprintf("instance %s is gone", in.Name)
	case was == nil:
		t.message = fmt.Sprintf("instance %s is new: %s", in.Name, condition(now))
	case condition(was) != condition(now):
		t.message = fmt.Sprintf("instance %s was %s and is %s", in.Name, condition(was), condition(now))
	case was.Host != now.Host && now.Host != "":
		t.message = fmt.Sprintf("instance %s is placed on host %s", in.Name, now.Host)
	case was.Name != now.Name:
		t.message = fmt.Sprintf("instance %s is named %s now", was.Name, now.Name)
	default:
		t.message = fmt.Sprintf("instance %s changed", in.Name)
	}
	return t
}

func tellTask(was, now *vm.Task) told {
	task := either(was, now)
	if task == nil {
		return told{}
	}
	t := told{kind: "task", id: string(task.ID), project: task.Project, instance: task.Instance}
	switch {
	case now == nil:
		t.message = fmt.Sprintf("task %s (%s) has ended", task.ID, task.Kind)
	case was == nil:
		t.message = fmt.Sprintf("task %s (%s) is new: %s", task.ID, task.Kind, now.Status)
	case now.Waiting != nil && was.Waiting == nil:
		t.message = fmt.Sprintf("task %s (%s) waits: %s", task.ID, task.Kind, now.Waiting.Message)
	case was.Status != now.Status:
		t.message = fmt.Sprintf("task %s (%s) was %s and is %s", task.ID, task.Kind, was.Status, now.Status)
	case len(was.Attempts) < len(now.Attempts):
		a := now.Attempts[len(now.Attempts)-1]
		t.message = fmt.Sprintf("task %s (%s) is driven by conductor %s now: %s", task.ID, task.Kind, a.Conductor, a.Why)
	case len(now.Steps) > 0:
		s := now.Steps[len(now.Steps)-1]
		t.message = fmt.Sprintf("task %s (%s): step %s is %s", task.ID, task.Kind, s.Name, s.Status)
	default:
		t.message = fmt.Sprintf("task %s (%s) changed", task.ID, task.Kind)
	}
	return t
}

func (c *Conductor) tellObserved(batch []happened, i int) told {
	h := batch[i]
	t := told{kind: "observed", id: h.Rest, instance: vm.InstanceID(h.Rest)}
	in := c.instanceAt(batch, i, t.instance)
	if in == nil {
		return told{}
	}
	t.project = in.Project
	if o := value[vm.Observed](h.Now); o != nil {
		t.message = fmt.Sprintf("instance %s was seen %s on host %s", in.Name, o.PowerState, o.Host)
	} else {
		t.message = fmt.Sprintf("instance %s is not observed any more", in.Name)
	}
	return t
}

func tellHost(name string, was, now *vm.Host) string {
	switch {
	case now == nil:
		return fmt.Sprintf("host %s is removed", name)
	case was == nil:
		return fmt.Sprintf("host %s is new", name)
	case was.Admin != now.Admin:
		return fmt.Sprintf("host %s was %s and is %s", name, was.Admin, now.Admin)
	case was.Epoch != now.Epoch:
		return fmt.Sprintf("host %s was registered anew with epoch %d", name, now.Epoch)
	}
	return fmt.Sprintf("host %s changed", name)
}

func tellAlive(h happened) told {
	kind, name, _ := strings.Cut(h.Rest, "/")
	if kind == "compute" {
		kind = "host"
	}
	t := told{kind: "alive", id: h.Rest}
	switch {
	case h.Now == nil:
		t.message = fmt.Sprintf("%s %s is down", kind, name)
	case h.Was == nil:
		t.message = fmt.Sprintf("%s %s is up", kind, name)
	default:
		t.message = fmt.Sprintf("%s %s changed", kind, name)
	}
	return t
}

func (c *Conductor) tellLock(batch []happened, i int) told {
	h := batch[i]
	l := either(value[vm.Lock](h.Was), value[vm.Lock](h.Now))
	if l == nil {
		return told{}
	}
	t := c.ofTask(batch, i, l.Task)
	t.kind, t.id = "lock", h.Rest
	t.message = fmt.Sprintf("%s is locked by conductor %s for task %s", h.Rest, l.Conductor, l.Task)
	if h.Now == nil {
		t.message = fmt.Sprintf("%s is not locked any more", h.Rest)
	}
	return t
}

func (c *Conductor) tellClaim(batch []happened, i int) told {
	h := batch[i]
	claim := either(value[vm.Claim](h.Was), value[vm.Claim](h.Now))
	if claim == nil {
		return told{}
	}
	t := c.ofTask(batch, i, vm.TaskID(h.Rest))
	t.kind, t.id = "claim", h.Rest
	t.message = fmt.Sprintf("conductor %s has task %s", claim.Conductor, h.Rest)
	if h.Now == nil {
		t.message = fmt.Sprintf("conductor %s has given up task %s", claim.Conductor, h.Rest)
	}
	return t
}

// ofTask says whose a lock or claim is: the task is in the cache, or ended in the same transaction. What cannot be told is
// shown: locks and claims are everybody's to see, as in ListLocks.
func (c *Conductor) ofTask(batch []happened, i int, id vm.TaskID) told {
	task, _, ok := coord.Load[vm.Task](c.cache, c.keys.Task(id))
	if !ok {
		if h := beside(batch, i, coord.Tasks, string(id)); h != nil {
			task = either(value[vm.Task](h.Was), value[vm.Task](h.Now))
		}
	}
	if task == nil {
		return told{}
	}
	return told{project: task.Project, instance: task.Instance}
}

func (c *Conductor) instanceAt(batch []happened, i int, id vm.InstanceID) *vm.Instance {
	if in, _, ok := coord.Load[vm.Instance](c.cache, c.keys.Instance(id)); ok {
		return in
	}
	if h := beside(batch, i, coord.Instances, string(id)); h != nil {
		return either(value[vm.Instance](h.Was), value[vm.Instance](h.Now))
	}
	return nil
}

// beside finds another change of the same transaction.
func beside(batch []happened, i int, t coord.Table, rest string) *happened {
	for _, step := range []int{-1, 1} {
		for j := i + step; j >= 0 && j < len(batch) && batch[j].Revision == batch[i].Revision; j += step {
			if batch[j].Table == t && batch[j].Rest == rest {
				return &batch[j]
			}
		}
	}
	return nil
}
