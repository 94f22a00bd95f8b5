package output

import (
	"fmt"

	conductorv1 "leasehold/api/conductor/v1"
)

// Event prints one change as it happens: a line, or one document of several. Its revision is what to go on from.
// Columns have a width of their own: what comes next is not known.
func (p Printer) Event(e *conductorv1.Event) error {
	if p.Format.Structured() {
		return p.next(e)
	}
	v := view{full: p.Format == Wide}
	cells := []string{fmt.Sprintf("%-8d", e.GetRevision()), moment(e.GetAt().AsTime())}
	if p.Format == Wide {
		cells = append(cells, fmt.Sprintf("%-8s", e.GetKind()), fmt.Sprintf("%-6s", e.GetChange()))
	}
	return p.aligned([][]string{append(cells, v.sentence(e.GetMessage()))})
}
