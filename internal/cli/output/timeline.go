package output

import (
	"fmt"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	conductorv1 "leasehold/api/conductor/v1"
	"leasehold/vm"
)

// chapter is one thing that happened to a task.
type chapter struct {
	began, ended *timestamppb.Timestamp // ended is nil for what has no length, or goes on
	lasts        bool
	what         string
	host         string
	how          string
}

// timeline is what happened to a task: who drove it, and what each step came to. Both lists are in their order already,
// and clocks of two conductors may differ, so neither is sorted.
func timeline(v view, t *task) []chapter {
	var all []chapter
	attempts := t.GetAttempts()
	for _, s := range t.GetSteps() {
		for len(attempts) > 0 && !attempts[0].GetSince().AsTime().After(s.GetStartedAt().AsTime()) {
			all, attempts = append(all, turn(attempts[0])), attempts[1:]
		}
		all = append(all, chapter{
			began: s.GetStartedAt(), ended: s.GetEndedAt(), lasts: true, what: s.GetName(), host: s.GetHost(), how: result(v, s),
		})
	}
	for _, a := range attempts {
		all = append(all, turn(a))
	}
	if t.GetEndedAt() != nil {
		all = append(all, chapter{began: t.GetEndedAt(), what: "end", how: t.GetStatus()})
	}
	return all
}

// turn is a conductor that takes the task.
func turn(a *conductorv1.Attempt) chapter {
	c := chapter{began: a.GetSince(), what: "conductor " + a.GetConductor(), how: a.GetWhy()}
	if fence := a.GetFence(); fence != "" {
		c.how += ", fence " + fence
	}
	return c
}

// result is how far a step is, at which try, and what went wrong. The error of a step that is still being done is that
// of the try before.
func result(v view, s *conductorv1.Step) string {
	text := s.GetStatus()
	if s.GetTry() > 1 {
		text += fmt.Sprintf(", try %d", s.GetTry())
	}
	switch {
	case s.GetError() == "":
		return text
	case vm.StepStatus(s.GetStatus()) == vm.StepDoing:
		return text + ", after: " + v.sentence(s.GetError())
	default:
		return text + ": " + v.sentence(s.GetError())
	}
}

func (p Printer) timeline(t *task) error {
	v := view{now: p.Now(), full: p.Format == Wide}
	chapters := timeline(v, t)
	if len(chapters) == 0 {
		return nil
	}
	return p.section("timeline", grid(p, chapters, []column[chapter]{
		{"  after", always, func(v view, c chapter) string {
			if v.full {
				return "  " + c.began.AsTime().UTC().Format("2006-01-02T15:04:05.000Z07:00")
			}
			return "  " + precise(c.began.AsTime().Sub(t.GetCreatedAt().AsTime()))
		}},
		{"took", always, func(v view, c chapter) string {
			switch {
			case !c.lasts || c.began == nil:
				return ""
			case c.ended == nil:
				return precise(v.now.Sub(c.began.AsTime())) + " so far"
			default:
				return precise(c.ended.AsTime().Sub(c.began.AsTime()))
			}
		}},
		{"what", always, func(_ view, c chapter) string { return c.what }},
		{"host", always, func(_ view, c chapter) string { return c.host }},
		{"result", always, func(_ view, c chapter) string { return c.how }},
	}))
}

// precise is d to the millisecond below a minute, since most steps take a few, and as Duration has it above.
func precise(d time.Duration) string {
	if d < time.Minute {
		return fmt.Sprintf("%.3fs", max(d, 0).Seconds())
	}
	return Duration(d)
}
