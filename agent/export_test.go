package agent

// Frame is a journal frame with that payload.
func Frame(payload []byte) []byte { return formatFrame(payload) }
