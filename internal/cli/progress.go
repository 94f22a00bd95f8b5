package cli

import (
	"fmt"
	"sync"
	"time"

	conductorv1 "leasehold/api/conductor/v1"
	"leasehold/internal/cli/output"
)

// redraw is how often the line is drawn when nothing changes: the time in it has seconds.
const redraw = time.Second

// progress is one line of a terminal that is written again and again, by its own goroutine until stop. Without a
// terminal it does nothing.
type progress struct {
	app  *app
	done chan struct{}
	wait sync.WaitGroup

	mu   sync.Mutex
	task *conductorv1.Task
}

func (a *app) startProgress(t *conductorv1.Task) *progress {
	p := &progress{app: a, task: t, done: make(chan struct{})}
	if a.env.Terminal == nil {
		return p
	}
	p.draw()
	p.wait.Go(func() {
		ticks := time.NewTicker(redraw)
		defer ticks.Stop()
		for {
			select {
			case <-ticks.C:
				p.draw()
			case <-p.done:
				return
			}
		}
	})
	return p
}

// set draws what the task is now.
func (p *progress) set(t *conductorv1.Task) {
	p.mu.Lock()
	p.task = t
	p.mu.Unlock()
	p.draw()
}

// stop takes the line away, so that what is printed next stands on a clean one.
func (p *progress) stop() {
	close(p.done)
	p.wait.Wait()
	if p.app.env.Terminal != nil {
		fmt.Fprint(p.app.env.Err, "\r\x1b[K")
	}
}

func (p *progress) draw() {
	if p.app.env.Terminal == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	line := []rune(output.TaskLine(p.task, p.app.env.Now()))
	if columns := p.app.env.Terminal(); columns > 1 && len(line) >= columns {
		line = append(line[:columns-2], '…') // a line that wraps could not be written over
	}
	fmt.Fprintf(p.app.env.Err, "\r%s\x1b[K", string(line))
}
