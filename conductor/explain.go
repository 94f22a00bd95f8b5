package conductor

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"leasehold/api/conductor/v1"
	"leasehold/coord"
	"leasehold/scheduler"
	"leasehold/tasks"
	"leasehold/vm"
)

// The topics of facts.
const (
	topicState     = "state"
	topicTask      = "task"
	topicClaim     = "claim"
	topicLock      = "lock"
	topicWait      = "wait"
	topicHost      = "host"
	topicPower     = "power"
	topicError     = "error"
	topicPlacement = "placement"
)

// ExplainInstance answers why the instance is as it is. It only says what is known: a fact is left out when there is none. P8
func (s *service) ExplainInstance(ctx context.Context, req *conductorv1.GetRequest) (*conductorv1.Explanation, error) {
	found, err := s.sought(ctx, req)
	if err != nil {
		return nil, err
	}
	x := explanation{ctx: ctx, c: s.c, in: found.rec, now: time.Now()}
	x.state()
	if found.gone {
		x.facts[0].Message = fmt.Sprintf("instance %s was deleted %s ago; its history is still kept", x.in.Name, x.since(x.in.UpdatedAt))
		return x.view(), nil
	}
	x.task()
	x.host()
	x.power()
	x.fault()
	return x.view(), nil
}

// explanation collects the facts about one instance.
type explanation struct {
	ctx   context.Context //nolint:containedctx // of the one call that it answers
	c     *Conductor
	in    *vm.Instance
	now   time.Time
	facts []*conductorv1.Fact
}

// values are the numbers behind a sentence, by name; empty ones are left out.
type values map[string]string

func (x *explanation) say(topic string, v values, format string, args ...any) {
	for name, value := range v {
		if value == "" {
			delete(v, name)
		}
	}
	x.facts = append(x.facts, &conductorv1.Fact{Topic: topic, Message: fmt.Sprintf(format, args...), Values: v})
}

// view has the first sentence as summary, and what the task waits for when it waits: that is what most people ask.
func (x *explanation) view() *conductorv1.Explanation {
	out := &conductorv1.Explanation{Id: string(x.in.ID), Facts: x.facts, Summary: x.facts[0].GetMessage()}
	for _, f := range x.facts {
		if f.GetTopic() == topicWait || f.GetTopic() == topicError {
			out.Summary += "; " + f.GetMessage()
			break
		}
	}
	return out
}

// since is how long ago a moment was, as a person would say it.
func (x *explanation) since(t time.Time) string {
	d := x.now.Sub(t)
	if d < time.Minute {
		return max(d, 0).Round(100 * time.Millisecond).String()
	}
	return d.Round(time.Second).String()
}

func (x *explanation) state() {
	in := x.in
	v := values{"vm_state": string(in.State), "task_state": string(in.TaskState), "since": stamp(in.Since)}
	if in.TaskState == vm.Idle {
		x.say(topicState, v, "instance %s has been %s for %s; no task works on it", in.Name, in.State, x.since(in.Since))
		return
	}
	x.say(topicState, v, "instance %s has been %s for %s; its task is %s", in.Name, in.State, x.since(in.Since),
		strings.ReplaceAll(string(in.TaskState), "_", " "))
}

// task tells of the task, its step, who drives it, and what it waits for.
func (x *explanation) task() {
	if x.in.Task == "" {
		return
	}
	t, _, ok := coord.Load[vm.Task](x.c.cache, x.c.keys.Task(x.in.Task))
	if !ok {
		x.say(topicTask, values{"task": string(x.in.Task)}, "task %s has it; this conductor has not read that task yet", x.in.Task)
		return
	}
	v := values{"task": string(t.ID), "kind": string(t.Kind), "status": string(t.Status), "since": stamp(t.CreatedAt), "by": t.RequestBy}
	doing := "has not begun a step"
	if n := len(t.Steps); n > 0 {
		s := t.Steps[n-1]
		v["step"], v["step_status"], v["step_since"], v["try"] = s.Name, string(s.Status), stamp(s.StartedAt), fmt.Sprint(max(s.Try, 1))
		doing = fmt.Sprintf("step %s has been %s for %s", s.Name, s.Status, x.since(s.StartedAt))
		if s.Error != "" {
			doing += ", after: " + s.Error
		}
	}
	x.say(topicTask, v, "task %s (%s) was asked for %s ago and is %s; %s", t.ID, t.Kind, x.since(t.CreatedAt), t.Status, doing)
	x.progress(t)
	x.claim(t)
	x.locks(t)
	x.wait(t)
}

func (x *explanation) progress(t *vm.Task) {
	p := x.c.progressOf(t)
	if p == nil {
		return
	}
	v := values{"phase": p.Phase, "done": fmt.Sprint(p.Done), "unit": p.Unit, "at": stamp(p.At), "note": p.Note}
	done := fmt.Sprintf("%d %s", p.Done, p.Unit)
	if p.Total > 0 {
		v["total"] = fmt.Sprint(p.Total)
		done = fmt.Sprintf("%d of %d %s (%d%%)", p.Done, p.Total, p.Unit, 100*p.Done/p.Total)
	}
	x.say(topicTask, v, "its progress is %s: %s, heard %s ago", p.Phase, strings.TrimSpace(done), x.since(p.At))
}

// claim tells who drives the task, and how often it changed hands.
func (x *explanation) claim(t *vm.Task) {
	claim, e, ok := coord.Load[vm.Claim](x.c.cache, x.c.keys.Claim(t.ID))
	attempts := fmt.Sprint(len(t.Attempts))
	switch {
	case ok:
		v := values{
			"task": string(t.ID), "holder": string(claim.Conductor), "since": stamp(claim.Since), "attempts": attempts,
			"fence": vm.Fence{Generation: x.c.generation().Generation, Revision: e.Create}.String(),
		}
		lease := ""
		if left, ok := x.c.leases.Remaining(x.ctx, e.Lease); ok {
			v["lease_remaining"] = left.String()
			lease = fmt.Sprintf("; were it to fall silent, its lease would end in %s and another one go on", left)
		}
		x.say(topicClaim, v, "conductor %s has driven it for %s; attempt %s%s", claim.Conductor, x.since(claim.Since), attempts, lease)
	case t.Status == vm.TaskWaiting:
		x.say(topicClaim, values{"task": string(t.ID)}, "nobody drives it: it has not begun, it waits")
	default:
		v, last := values{"task": string(t.ID), "attempts": attempts}, ""
		if n := len(t.Attempts); n > 0 {
			v["previous"] = string(t.Attempts[n-1].Conductor)
			last = "; the last was " + v["previous"]
		}
		x.say(topicClaim, v, "nobody drives it now%s; the next free conductor takes it over", last)
	}
}

func (x *explanation) locks(t *vm.Task) {
	for _, r := range lockSet(t) {
		if l, _, ok := coord.Load[vm.Lock](x.c.cache, x.c.keys.Lock(r)); ok {
			x.say(topicLock, values{
				"resource": r.String(), "task": string(l.Task), "holder": string(l.Conductor), "since": stamp(l.Since),
			}, "conductor %[2]s has locked %[1]s for task %[3]s, %[4]s ago", r, l.Conductor, l.Task, x.since(l.Since))
		}
	}
}

func (x *explanation) wait(t *vm.Task) {
	if w := x.c.waitingOf(t); w != nil {
		v := values{"reason": string(w.Reason), "holder": w.Holder, "since": stamp(w.Since), "retry_at": stamp(w.RetryAt)}
		if w.On != nil {
			v["on"] = w.On.String()
		}
		held, next := "", ""
		if w.Holder != "" {
			held = ", held by " + w.Holder
		}
		if !w.RetryAt.IsZero() {
			next = ", tried again at " + stamp(w.RetryAt)
		}
		x.say(topicWait, v, "it has waited for %s: %s%s%s", x.since(w.Since), w.Message, held, next)
	}
	for _, r := range t.Shared {
		for place, p := range x.c.queue.Line(x.c.keys, r) {
			if p.Task == t.ID {
				x.say(topicWait, values{"on": r.String(), "place": fmt.Sprint(place + 1), "since": stamp(p.Since)},
					"it is number %d in the queue of %s and has stood there for %s", place+1, r, x.since(p.Since))
			}
		}
	}
	if cancel, _, ok := coord.Load[vm.Cancel](x.c.cache, x.c.keys.Cancel(t.ID)); ok {
		x.say(topicWait, values{"by": cancel.By, "since": stamp(cancel.At)}, "its cancel was asked for %s ago", x.since(cancel.At))
	}
}

// host tells of the host or, before there is one, why each host could take it or not.
func (x *explanation) host() {
	in := x.in
	if in.Host == "" {
		x.placement()
		return
	}
	h := string(in.Host)
	alive, ok := x.c.hosts.alive(in.Host)
	switch down := x.c.downSince(in.Host); {
	case ok:
		x.say(topicHost, values{"host": h, "status": hostUp, "address": alive.Address, "epoch": fmt.Sprint(alive.Epoch), "since": stamp(alive.Started)},
			"it is on host %s, which has been up for %s (epoch %d)", h, x.since(alive.Started), alive.Epoch)
	case down.IsZero():
		x.say(topicHost, values{"host": h, "status": hostDown}, "it is on host %s, which is down for longer than this conductor runs", h)
	default:
		x.say(topicHost, values{"host": h, "status": hostDown, "since": stamp(down)}, "it is on host %s, which has been down for %s", h, x.since(down))
	}
	for _, f := range in.Footprint {
		if f != in.Host {
			x.say(topicHost, values{"host": string(f), "status": x.c.hostStatus(f), "since": stamp(x.c.downSince(f))},
				"host %s may still hold something of it, and is %s", f, x.c.hostStatus(f))
		}
	}
}

func (x *explanation) placement() {
	req := scheduler.Request{Instance: x.in.ID, Size: x.in.Size, Host: x.wanted()}
	for _, r := range scheduler.Explain(req, x.c.candidates()) {
		v := values{"host": string(r.Host), "filter": string(r.Filter)}
		for _, short := range r.Short {
			v["need_"+short.Part], v["free_"+short.Part] = fmt.Sprint(short.Need), fmt.Sprint(short.Free)
		}
		x.say(topicPlacement, v, "host %s: %s", r.Host, r.Why)
	}
}

// wanted is the only host that a running create may use; empty for any.
func (x *explanation) wanted() vm.HostName {
	t, _, ok := coord.Load[vm.Task](x.c.cache, x.c.keys.Task(x.in.Task))
	if !ok || t.Kind != vm.Create {
		return ""
	}
	var p tasks.CreateParams
	if json.Unmarshal(t.Params, &p) != nil {
		return ""
	}
	return p.Host
}

// power tells what the hypervisor was last seen doing: another fact than the state.
func (x *explanation) power() {
	o, _, ok := coord.Load[vm.Observed](x.c.cache, x.c.keys.Observed(x.in.ID))
	if !ok {
		x.say(topicPower, values{"power_state": string(vm.PowerNoState)}, "its machine was not observed yet")
		return
	}
	detail := ""
	if o.Detail != "" {
		detail = " (" + o.Detail + ")"
	}
	x.say(topicPower, values{
		"power_state": string(o.PowerState), "detail": o.Detail, "host": string(o.Host), "seen_at": stamp(o.SeenAt), "fence": o.Fence.String(),
	}, "its machine was last seen %s%s on host %s, %s ago", o.PowerState, detail, o.Host, x.since(o.SeenAt))
}

func (x *explanation) fault() {
	e := x.in.Error
	if e == nil {
		return
	}
	allowed := append(append([]vm.Verb{}, e.Allowed...), vm.Delete)
	x.say(topicError, values{
		"reason": string(e.Reason), "task": string(e.Task), "since": stamp(e.Since), "allowed": strings.Join(words(allowed), ","),
	}, "it has been in error for %s: %s; what can repair it: %s", x.since(e.Since), e.Message, strings.Join(words(allowed), ", "))
}

// stamp is a moment as the records have it; empty for none.
func stamp(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339)
}
