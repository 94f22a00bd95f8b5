package cli

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
)

// longestLine is what a line that is read may have: more than any answer, and no file that was named by mistake.
const longestLine = 4096

// ask says something that is answered on the same line.
func (a *app) ask(question string) { fmt.Fprint(a.env.Err, question) }

// line reads a line from standard input, or ends early when ctx does. A read cannot be broken off, so the goroutine may
// stay in it until the process ends.
func (a *app) line(ctx context.Context) (string, error) {
	type read struct {
		line string
		err  error
	}
	done := make(chan read, 1)
	go func() {
		line, err := firstLine(a.env.In)
		done <- read{line, err}
	}()
	select {
	case r := <-done:
		return r.line, r.err
	case <-ctx.Done():
		return "", context.Cause(ctx)
	}
}

// firstLine is the text up to the first line break, or all of it.
func firstLine(from io.Reader) (string, error) {
	line, err := bufio.NewReader(io.LimitReader(from, longestLine+1)).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return "", err
	}
	if len(line) > longestLine {
		return "", fmt.Errorf("its first line is longer than %d bytes", longestLine)
	}
	return strings.TrimRight(line, "\r\n"), nil
}

// confirm has a person at a terminal type the name of what is lost. A script has said it once, and that is enough.
func (a *app) confirm(ctx context.Context, what, name string) error {
	if a.env.Raw == nil {
		return nil
	}
	a.ask(fmt.Sprintf("This cannot be undone. To %s, type its name again: ", what))
	typed, err := a.line(ctx)
	switch {
	case ctx.Err() != nil:
		a.say("") // the question's own line
		return context.Cause(ctx)
	case err != nil:
		return usagef("cannot %s %s: nothing was confirmed: %v", what, name, err)
	case typed != name:
		return usagef("cannot %s %s: %q was typed", what, name, typed)
	}
	return nil
}
