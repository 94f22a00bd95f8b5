package main

import (
	"fmt"
	"strings"

	"leasehold/fsm"
)

const header = "<!-- Printed from the tables of package fsm by `make generate`; change those. -->\n\n"

// pages is every file of docs/fsm by name.
func pages() map[string]string {
	return map[string]string{
		"actions.dot": fsm.Dot(),
		"actions.md":  actions(),
		"actions.svg": svg(),
		"power.md":    power(),
		"recovery.md": recovery(),
		"tasks.dot":   fsm.TasksDot(),
		"tasks.md":    tasks(),
	}
}

func actions() string {
	var b strings.Builder
	b.WriteString(header + "# Actions on an instance\n\n![what is legal in which state](actions.svg)\n\n")
	b.WriteString("Each verb in each idle state: the `vm_state` it leads to, in brackets when only `error.allowed` makes it legal,\n" +
		"`=` for what is already so (refused with `already: true`), `.` for what is denied. While `task_state` is set only\n" +
		"delete is legal, and to cancel the task.\n\n")
	fmt.Fprintf(&b, "```\n%s```\n\n## What is legal\n\n", fsm.Matrix())
	b.WriteString("*preempts*: also while another task runs, which it ends. *returns*: to rescued while the record keeps a rescue.\n" +
		"*by fault*: only when `error.allowed` lists it. *host any*, *host dead*: also, or only, when the host is down.\n\n")
	rows := [][]string{}
	for _, r := range fsm.Actions() {
		rows = append(rows, []string{word(r.From), word(r.On), string(r.Mode), word(r.Via), word(r.To), notes(r), r.Why})
	}
	table(&b, []string{"from", "verb", "mode", "task_state", "to", "notes", "why"}, rows)

	b.WriteString("\n## What is refused\n\n")
	rows = nil
	for _, r := range fsm.Refusals() {
		verdict := "denied"
		if r.Already {
			verdict = "already so"
		}
		rows = append(rows, []string{words(r.In), words(r.On), verdict, r.Why})
	}
	table(&b, []string{"in", "verbs", "verdict", "why"}, rows)
	return b.String()
}

func notes(r fsm.Row) string {
	var all []string
	for _, n := range []struct {
		is   bool
		text string
	}{
		{r.Preempts, "preempts"},
		{r.Returns, "returns"},
		{r.ByFault, "by fault"},
		{r.NoOp(), "no-op"},
		{r.Host != fsm.HostUp, "host " + string(r.Host)},
	} {
		if n.is {
			all = append(all, n.text)
		}
	}
	return strings.Join(all, ", ")
}

func recovery() string {
	var b strings.Builder
	b.WriteString(header + "# After a crash\n\n## The conductor that takes a task over\n\n")
	b.WriteString("It fences every host of the task, observes what is there, and only then goes by the policy. *Leaves* is the\n" +
		"`vm_state` after a failure, with `error.allowed` (delete is always legal beside it).\n\n")
	rows := [][]string{}
	for _, r := range fsm.Recoveries() {
		leaves := string(r.Leaves)
		if len(r.Allowed) > 0 {
			leaves += " {" + words(r.Allowed) + "}"
		}
		rows = append(rows, []string{word(r.TaskState), words(r.Of), string(r.Policy), r.Then, leaves, r.Why})
	}
	table(&b, []string{"task_state", "tasks", "policy", "then", "leaves", "why"}, rows)

	b.WriteString("\n## The agent that starts again\n\nWhat it does with what it finds:\n\n")
	rows = nil
	for _, r := range fsm.Restarts() {
		rows = append(rows, []string{string(r.Finding), r.Does, r.Why})
	}
	table(&b, []string{"finds", "does", "why"}, rows)

	b.WriteString("\nWhat it does on its own with a step that was begun and not ended:\n\n")
	rows = nil
	for _, r := range fsm.Recoveries() {
		rows = append(rows, []string{word(r.TaskState), r.Agent})
	}
	table(&b, []string{"task_state", "agent"}, rows)
	return b.String()
}

func power() string {
	var b strings.Builder
	b.WriteString(header + "# What an observation leads to\n\n")
	b.WriteString("Of an idle instance; while a task has it, the task decides. *keep*: only the observation is recorded. *follow*: the\n" +
		"machine is right, the record enters the state. *correct*: the record is right, a task does the verb.\n\n")
	rows := [][]string{}
	for _, r := range fsm.PowerRules() {
		leads := word(r.To)
		switch {
		case r.Does == fsm.Correct:
			leads = word(r.Verb)
		case len(r.Allowed) > 0:
			leads += " {" + words(r.Allowed) + "}"
		}
		rows = append(rows, []string{words(r.In), words(r.Seen), string(r.Does), leads, r.Why})
	}
	table(&b, []string{"vm_state", "power_state", "does", "leads to", "why"}, rows)
	b.WriteString("\nAfter a reboot of the host `on_host_boot` of the instance decides about what does not execute: `restart`, the default,\n" +
		"reboots what ran; anything else is then `stopped`. Of what its host has nothing any more, only an error is left.\n")
	return b.String()
}

func tasks() string {
	var b strings.Builder
	b.WriteString(header + "# Status of a task\n\n")
	rows := [][]string{}
	for _, t := range fsm.Transitions() {
		rows = append(rows, []string{word(t.From), word(t.To), t.Why})
	}
	table(&b, []string{"from", "to", "why"}, rows)
	return b.String()
}

func table(b *strings.Builder, head []string, rows [][]string) {
	fmt.Fprintf(b, "| %s |\n|%s\n", strings.Join(head, " | "), strings.Repeat("---|", len(head)))
	for _, r := range rows {
		fmt.Fprintf(b, "| %s |\n", strings.Join(r, " | "))
	}
}

// word is a word as it stands in records; a record that is not there yet has a dash.
func word[T ~string](w T) string {
	if w == "" {
		return "-"
	}
	return "`" + string(w) + "`"
}

func words[T ~string](all []T) string {
	quoted := make([]string, len(all))
	for i, w := range all {
		quoted[i] = word(w)
	}
	return strings.Join(quoted, " ")
}
