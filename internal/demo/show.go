package main

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"strings"

	"golang.org/x/term"
)

// show prints for a reader who sees all this for the first time.
type show struct {
	out    io.Writer
	colour bool
	step   int
}

func newShow(out *os.File) *show {
	return &show{out: out, colour: term.IsTerminal(int(out.Fd())) && os.Getenv("NO_COLOR") == ""}
}

func (s *show) paint(code, text string) string {
	if !s.colour {
		return text
	}
	return "\x1b[" + code + "m" + text + "\x1b[0m"
}

// title begins a step, with what the reader should know about it.
func (s *show) title(title, explanation string) {
	s.step++
	fmt.Fprintf(s.out, "\n%s\n", s.paint("1;36", fmt.Sprintf("%d. %s", s.step, title)))
	for line := range strings.Lines(explanation) {
		fmt.Fprintf(s.out, "   %s\n", strings.TrimSpace(line))
	}
	fmt.Fprintln(s.out)
}

// command shows what is typed.
func (s *show) command(line string) { fmt.Fprintln(s.out, "   "+s.paint("1", "$ "+line)) }

// answer shows what came back.
func (s *show) answer(text string) {
	for lines := bufio.NewScanner(strings.NewReader(text)); lines.Scan(); {
		fmt.Fprintln(s.out, "   "+s.paint("2", lines.Text()))
	}
}

// good is a check that held.
func (s *show) good(format string, args ...any) {
	fmt.Fprintln(s.out, "   "+s.paint("32", "ok: ")+fmt.Sprintf(format, args...))
}

// note is something the reader should see, good or not.
func (s *show) note(format string, args ...any) {
	fmt.Fprintln(s.out, "   "+s.paint("33", fmt.Sprintf(format, args...)))
}
