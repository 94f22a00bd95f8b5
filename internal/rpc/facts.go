package rpc

import (
	"errors"
	"maps"
	"slices"
	"strings"
	"time"

	"leasehold/vm"
)

// The names of a refusal's facts in the metadata of an ErrorInfo. A fact of the same name in Refusal.Facts does not
// travel: the field is the truth.
const (
	factTask    = "task"
	factHolder  = "holder"
	factSince   = "since"    // RFC 3339, UTC
	factRetryAt = "retry_at" // RFC 3339, UTC
	factHost    = "host"
	factAllowed = "allowed" // verbs, separated by commas; empty but there: nothing is legal
	factAlready = "already" // "true" or not there
)

var named = []string{factTask, factHolder, factSince, factRetryAt, factHost, factAllowed, factAlready}

// facts are those of the refusal in err; nil without one.
func facts(err error) map[string]string {
	var r *vm.Refusal
	if !errors.As(err, &r) {
		return nil
	}
	m := make(map[string]string, len(r.Facts)+len(named))
	for name, value := range r.Facts {
		if !slices.Contains(named, name) {
			m[clean(name)] = clean(value)
		}
	}
	put := func(name, value string) {
		if value != "" {
			m[name] = clean(value)
		}
	}
	put(factTask, string(r.Task))
	put(factHolder, r.Holder)
	put(factSince, moment(r.Since))
	put(factRetryAt, moment(r.RetryAt))
	put(factHost, string(r.Host))
	if r.Allowed != nil {
		m[factAllowed] = clean(join(r.Allowed))
	}
	if r.Already {
		m[factAlready] = "true"
	}
	return m
}

// refusal is the refusal that has these facts.
func refusal(metadata map[string]string) *vm.Refusal {
	r := &vm.Refusal{
		Task:    vm.TaskID(metadata[factTask]),
		Holder:  metadata[factHolder],
		Since:   instant(metadata[factSince]),
		RetryAt: instant(metadata[factRetryAt]),
		Host:    vm.HostName(metadata[factHost]),
		Already: metadata[factAlready] == "true",
	}
	if verbs, ok := metadata[factAllowed]; ok {
		r.Allowed = split(verbs)
	}
	rest := maps.Clone(metadata)
	for _, name := range named {
		delete(rest, name)
	}
	if len(rest) > 0 {
		r.Facts = rest
	}
	return r
}

func moment(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339Nano)
}

// instant is zero for what is no time: a fact that cannot be read is no reason to lose the refusal.
func instant(text string) time.Time {
	t, err := time.Parse(time.RFC3339Nano, text)
	if err != nil {
		return time.Time{}
	}
	return t
}

func join(verbs []vm.Verb) string {
	words := make([]string, len(verbs))
	for i, v := range verbs {
		words[i] = string(v)
	}
	return strings.Join(words, ",")
}

func split(words string) []vm.Verb {
	verbs := []vm.Verb{}
	for word := range strings.SplitSeq(words, ",") {
		if word != "" {
			verbs = append(verbs, vm.Verb(word))
		}
	}
	return verbs
}
