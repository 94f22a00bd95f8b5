package agent

// Frame is a journal frame with that payload.
func Frame(payload []byte) []byte { return formatFrame(payload) }

// Remembered is how many machines the subscribers to events are known to have been told of.
func (a *Agent) Remembered() int {
	a.hub.mu.Lock()
	defer a.hub.mu.Unlock()
	n := 0
	for s := range a.hub.subs {
		s.mu.Lock()
		n += len(s.sent)
		s.mu.Unlock()
	}
	return n
}
